//! A request to the Kubernetes API by what it means: verb, resource, subresource, namespace and name.

use std::fmt;

use http::header::ACCEPT;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the verbs of Kubernetes")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// The word that RBAC has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub verb: Verb,
    /// The resource's plural (`connectors`); the path of what is no resource (`/version`).
    pub resource: String,
    /// `status` and the like.
    pub subresource: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The form of the answer that is asked for.
    pub accept: Option<String>,
}

impl Call {
    pub(super) fn parse(method: &http::Method, uri: &http::Uri, headers: &http::HeaderMap) -> Self {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (namespace, rest) = match rest {
            // `/namespaces/x` alone is the namespace itself.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (resource, name) = match rest {
            [] => (uri.path().to_owned(), None),
            [resource, rest @ ..] => ((*resource).to_owned(), rest.first()),
        };
        let watches = uri.query().is_some_and(|query| {
            url::form_urlencoded::parse(query.as_bytes())
                .any(|(key, value)| key == "watch" && value != "false")
        });
        let verb = match (method.as_str(), name) {
            ("GET" | "HEAD", _) if watches => Verb::Watch,
            ("GET" | "HEAD", Some(_)) => Verb::Get,
            ("GET" | "HEAD", None) if rest.is_empty() => Verb::Get,
            ("GET" | "HEAD", None) => Verb::List,
            ("POST", _) => Verb::Create,
            ("PUT", _) => Verb::Update,
            ("PATCH", _) => Verb::Patch,
            _ => Verb::Delete,
        };
        Self {
            verb,
            resource,
            subresource: rest.get(2).map(|part| (*part).to_owned()),
            namespace,
            name: name.map(|name| (*name).to_owned()),
            accept: headers.get(ACCEPT).and_then(|form| form.to_str().ok()).map(str::to_owned),
        }
    }
}

/// `update connectors/status`: without names, so that it counts alike in every namespace.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.resource)?;
        match &self.subresource {
            Some(subresource) => write!(f, "/{subresource}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str) -> Call {
        Call::parse(&method.parse().unwrap(), &uri.parse().unwrap(), &http::HeaderMap::new())
    }

    #[test]
    fn requests_are_known_by_verb_resource_and_subresource() {
        let one = "/apis/slim.io/v1alpha1/namespaces/team/connectors/lake";
        for (method, uri, shown) in [
            ("GET", "/apis/slim.io/v1alpha1/connectors?limit=1", "list connectors"),
            ("GET", "/apis/slim.io/v1alpha1/namespaces/team/connectors?watch=true", "watch connectors"),
            ("GET", "/api/v1/secrets?watch=1&x=y", "watch secrets"),
            ("GET", one, "get connectors"),
            ("PUT", &format!("{one}/status?fieldManager=x"), "update connectors/status"),
            ("PATCH", one, "patch connectors"),
            ("DELETE", one, "delete connectors"),
            ("POST", "/apis/events.k8s.io/v1/namespaces/team/events", "create events"),
            ("GET", "/api/v1/namespaces/team", "get namespaces"),
            ("GET", "/version", "get /version"),
        ] {
            assert_eq!(call(method, uri).to_string(), shown, "{method} {uri}");
        }
        let put = call("PUT", &format!("{one}/status"));
        assert_eq!((put.namespace.as_deref(), put.name.as_deref()), (Some("team"), Some("lake")));
        assert!(put.verb.writes() && !call("GET", one).verb.writes());
    }
}

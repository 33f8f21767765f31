//! The address of an API, normalised once, so that paths can be joined without doubling `/api/v1` or a slash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::paths::{API_PREFIX, Route};

/// Longest address that is accepted, in bytes.
const MAX_ENDPOINT_LENGTH: usize = 2048;

/// Address of a Connectors API, always ending in `/api/v1`.
///
/// Two spellings of one address (a trailing slash, the default port, an upper-case host, with or without
/// `/api/v1`) are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Url);

/// Why a text is no address of an API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is empty or has white space around it.
    #[error("the endpoint must be a URL such as https://api.slim.io, without white space around it")]
    Blank,
    /// It is too long.
    #[error("the endpoint is longer than {MAX_ENDPOINT_LENGTH} bytes")]
    TooLong,
    /// It cannot be read as a URL.
    #[error("the endpoint is not a URL ({0}); write it like https://api.slim.io")]
    NotAUrl(url::ParseError),
    /// Neither https nor http.
    #[error("the endpoint must begin with https:// or http://, not {0}:")]
    Scheme(String),
    /// It has a user name or a password in it.
    #[error("the endpoint must not hold a user name or password; the credential belongs in a Secret")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("the endpoint must not have a query (?) or a fragment (#)")]
    QueryOrFragment,
    /// It names another version of the API.
    #[error(
        "the endpoint names version {0} of the API, this client speaks v1; end it with /api/v1 or leave that out"
    )]
    Version(String),
}

impl Endpoint {
    /// The vendor's production address (`docs.slim.io/api-reference`).
    pub const VENDOR: &'static str = "https://api.slim.io";

    /// Reads an address, with or without `/api/v1` at its end.
    ///
    /// # Errors
    /// When it is not an http or https URL, or has parts that do not belong in an address. The error never
    /// repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() || text.trim() != text {
            return Err(EndpointError::Blank);
        }
        if text.len() > MAX_ENDPOINT_LENGTH {
            return Err(EndpointError::TooLong);
        }
        let mut url = Url::parse(text).map_err(EndpointError::NotAUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(EndpointError::Scheme(url.scheme().chars().take(20).collect()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::QueryOrFragment);
        }
        let path = url.path().trim_end_matches('/');
        let path = if path.ends_with(API_PREFIX) {
            path.to_owned()
        } else if let Some(version) = other_version(path) {
            return Err(EndpointError::Version(version.to_owned()));
        } else {
            format!("{path}{API_PREFIX}")
        };
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Scheme, host and port: what a list of permitted endpoints compares.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The address, ending in `/api/v1`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL of a route. `id` fills the template's `{id}`, percent-encoded as one segment.
    pub(crate) fn route_url(&self, route: Route, id: &str) -> Url {
        let mut url = self.0.clone();
        // An http or https URL always has path segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            let below = route.template().trim_start_matches(API_PREFIX).trim_start_matches('/');
            segments.extend(below.split('/').map(|segment| if segment == "{id}" { id } else { segment }));
        }
        url
    }
}

/// The version at the end of a path, when it is one of an API.
fn other_version(path: &str) -> Option<&str> {
    let last = path.rsplit('/').next()?;
    let digits = last.strip_prefix('v')?;
    (!digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(last)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        Self::parse(&text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_one_address_are_equal() {
        for text in [
            "https://api.slim.io",
            "https://api.slim.io/",
            "https://API.slim.io:443//",
            "https://api.slim.io/api/v1",
            "https://api.slim.io/api/v1/",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.as_str(), "https://api.slim.io/api/v1", "{text}");
            assert_eq!(endpoint.origin(), "https://api.slim.io");
        }
        let behind = Endpoint::parse("http://127.0.0.1:8080/slim/").unwrap();
        assert_eq!(behind.to_string(), "http://127.0.0.1:8080/slim/api/v1");
        assert_eq!(behind.origin(), "http://127.0.0.1:8080");
        assert!(!behind.is_https());
    }

    #[test]
    fn what_does_not_belong_in_an_address_is_refused_with_what_to_do() {
        let refused = |text: &str| Endpoint::parse(text).unwrap_err().to_string();
        assert!(refused("api.slim.io").contains("write it like https://api.slim.io"));
        assert!(refused(" https://api.slim.io").contains("white space"));
        assert!(refused("").contains("must be a URL"));
        assert!(refused("ftp://api.slim.io").contains("not ftp:"));
        assert!(refused("https://api.slim.io?x=1").contains("query"));
        assert!(refused("https://api.slim.io#x").contains("fragment"));
        assert!(refused("https://api.slim.io/api/v2").contains("version v2"));
        assert!(refused("https://").contains("not a URL"));
        assert!(refused(&format!("https://h/{}", "x".repeat(3000))).contains("longer than 2048"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        for text in ["https://user:canary@api.slim.io", "https://canary@api.slim.io"] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error, EndpointError::UserInfo);
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn routes_are_joined_without_doubling_and_ids_stay_one_segment() {
        let endpoint = Endpoint::parse("https://api.slim.io/api/v1/").unwrap();
        let url = |route, id| endpoint.route_url(route, id).to_string();
        assert_eq!(url(Route::ListConnectors, ""), "https://api.slim.io/api/v1/connectors");
        assert_eq!(url(Route::TestConnector, "conn-1"), "https://api.slim.io/api/v1/connectors/conn-1/test");
        assert_eq!(
            url(Route::ReadConnector, "../x?y#z"),
            "https://api.slim.io/api/v1/connectors/..%2Fx%3Fy%23z"
        );
        assert_eq!(url(Route::ReadScan, "a%2Fb\\é"), "https://api.slim.io/api/v1/scans/a%252Fb%5C%C3%A9");
        assert_eq!(url(Route::StartParallelScan, ""), "https://api.slim.io/api/v1/scans/parallel");
    }
}

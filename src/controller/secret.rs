//! One value out of one Secret: read by name, in the referring object's own namespace, when it is needed.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use super::{Blocked, Error, Reason};
use crate::crd::SecretKeyRef;

/// Reads the value that `reference` names.
///
/// # Errors
/// When the API server does not answer. What is wrong with the Secret is a [`Blocked`].
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Result<SecretString, Blocked>, Error> {
    let name = &reference.name;
    let found = match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let message = format!("the operator may not read Secret {namespace}/{name}: {}", status.message);
            return Ok(Err(Blocked {
                reason: Reason::SecretForbidden,
                message,
                retry: Some(std::time::Duration::from_mins(1)),
            }));
        }
        Err(error) => return Err(Error::kubernetes("read a Secret")(error)),
    };
    Ok(value(namespace, reference, found).map_err(|(reason, message)| Blocked::new(reason, message)))
}

fn value(
    namespace: &str,
    SecretKeyRef { name, key }: &SecretKeyRef,
    secret: Option<Secret>,
) -> Result<SecretString, (Reason, String)> {
    let Some(secret) = secret else {
        return Err((
            Reason::SecretNotFound,
            format!("Secret {namespace}/{name} is not there: create it with the key {key}"),
        ));
    };
    let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        let keys = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ");
        let has = if keys.is_empty() { "it has none".to_owned() } else { format!("it has {keys}") };
        return Err((
            Reason::SecretKeyMissing,
            format!("Secret {namespace}/{name} has no key {key} ({has})"),
        ));
    };
    let wrong = |what: &str| {
        (Reason::SecretValueInvalid, format!("the value under {key} in Secret {namespace}/{name} {what}"))
    };
    let text = std::str::from_utf8(&value.0).map_err(|_| wrong("is not text"))?;
    if text.trim().is_empty() {
        return Err(wrong("is empty"));
    }
    if text.ends_with(['\n', '\r']) {
        return Err(wrong(
            "ends in a line break: write it without one, for example with kubectl create secret generic --from-literal",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("holds a control character or a line break"));
    }
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    fn said(bytes: Option<&[u8]>) -> Result<String, (Reason, String)> {
        let reference = SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
        let secret = Secret {
            data: bytes.map(|bytes| [("k".to_owned(), ByteString(bytes.to_vec()))].into()),
            ..Secret::default()
        };
        value("ns", &reference, Some(secret)).map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn a_sound_value_is_given_as_it_is() {
        assert_eq!(said(Some(b"ext-51c0ffee")).unwrap(), "ext-51c0ffee");
    }

    #[test]
    fn each_thing_that_can_be_wrong_is_told_apart_and_the_value_is_not_shown() {
        let reference = SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
        let missing = value("ns", &reference, None).unwrap_err();
        assert_eq!(
            missing,
            (Reason::SecretNotFound, "Secret ns/s is not there: create it with the key k".to_owned())
        );
        assert_eq!(said(None).unwrap_err().0, Reason::SecretKeyMissing);
        for bad in [&b""[..], b"  ", b"canary\n", b"can\nary", &[0xff, 0xfe]] {
            let (reason, message) = said(Some(bad)).unwrap_err();
            assert_eq!(reason, Reason::SecretValueInvalid);
            assert!(!message.contains("canary"), "{message}");
        }
    }
}

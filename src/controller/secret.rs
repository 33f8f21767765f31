//! One value out of one Secret: read by name, in the referring object's own namespace, when it is needed. What is kept of it
//! beyond that is a salted digest, by which a quiet look is known to be quiet.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Blocked, Error, ObjectKey, Reason};
use crate::crd::SecretKeyRef;

/// A value, and the resourceVersion of the Secret that it was read from.
#[derive(Debug)]
pub(super) struct Read {
    /// The value.
    pub value: SecretString,
    /// The Secret's resourceVersion.
    pub version: String,
}

/// Reads the value that `reference` names.
///
/// # Errors
/// When the API server does not answer. What is wrong with the Secret is a [`Blocked`].
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    reference: &SecretKeyRef,
) -> Result<Result<Read, Blocked>, Error> {
    let name = &reference.name;
    let found = match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let message = format!("the operator may not read Secret {namespace}/{name}: {}", status.message);
            return Ok(Err(Blocked {
                reason: Reason::SecretForbidden,
                message,
                retry: Some(Duration::from_mins(1)),
            }));
        }
        Err(error) => return Err(Error::kubernetes("read a Secret")(error)),
    };
    let version = found.as_ref().and_then(|secret| secret.metadata.resource_version.clone());
    let value = value(namespace, reference, found);
    Ok(value
        .map(|value| Read { value, version: version.unwrap_or_default() })
        .map_err(|(reason, message)| Blocked::new(reason, message)))
}

/// What Connectors were last seen to send, by digest.
///
/// Memory: about 300 bytes a Connector that names a Secret.
#[derive(Debug)]
pub struct Digests {
    /// How long a digest is believed where no watch tells of changes.
    unwatched: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    digests: HashMap<ObjectKey, Digest>,
    /// The versions of Secrets that the watch told of. None: gone.
    heard: HashMap<ObjectKey, Option<String>>,
}

#[derive(Debug)]
struct Digest {
    of: Subject,
    secret: ObjectKey,
    version: String,
    sent: String,
    read: Instant,
}

/// What a digest is of, beside the Secret: which object with which spec, and the name that it is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Subject {
    /// The object's UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// What it is called at the API.
    pub name: String,
}

impl Digests {
    /// Where the metadata of Secrets is `watched`, a digest holds until its Secret changes.
    pub fn new(watched: bool) -> Self {
        Self { unwatched: !watched, inner: Mutex::default() }
    }

    /// The digest of what `object` would send, where nothing changed since it was taken. Without a watch nobody can say, and it
    /// is believed for half a poll, so that each poll looks again.
    pub(super) fn get(&self, object: &ObjectKey, of: &Subject, poll: Duration) -> Option<String> {
        let inner = self.inner.lock();
        let digest = inner.digests.get(object).filter(|digest| digest.of == *of)?;
        let holds = if self.unwatched {
            digest.read.elapsed() < poll / 2
        } else {
            inner.heard.get(&digest.secret).is_none_or(|heard| heard.as_ref() == Some(&digest.version))
        };
        holds.then(|| digest.sent.clone())
    }

    /// Keeps a digest, and the version of the Secret that it was taken with.
    pub(super) fn put(
        &self,
        object: ObjectKey,
        of: Subject,
        secret: ObjectKey,
        version: String,
        sent: String,
    ) {
        let digest = Digest { of, secret, version, sent, read: Instant::now() };
        self.inner.lock().digests.insert(object, digest);
    }

    /// A Secret was heard of. Where nobody names it, nothing is kept of it.
    pub(super) fn heard(&self, secret: &ObjectKey, version: Option<&str>, named: bool) {
        let mut inner = self.inner.lock();
        if named {
            inner.heard.insert(secret.clone(), version.map(str::to_owned));
        } else {
            inner.heard.remove(secret);
        }
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, object: &ObjectKey) {
        self.inner.lock().digests.remove(object);
    }
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

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "team".to_owned(), name: name.to_owned() }
    }

    fn subject(generation: i64) -> Subject {
        Subject { uid: "u".to_owned(), generation, name: "n".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_digest_holds_until_the_spec_or_the_secret_changes() {
        let digests = Digests::new(true);
        let get = |generation| digests.get(&key("a"), &subject(generation), Duration::from_mins(1));
        digests.put(key("a"), subject(1), key("s"), "7".to_owned(), "d".to_owned());
        assert_eq!(get(1).as_deref(), Some("d"));
        assert_eq!(get(2), None, "another spec");
        digests.heard(&key("s"), Some("7"), true);
        digests.heard(&key("other"), Some("8"), true);
        assert!(get(1).is_some(), "a watch that begins anew tells what is known");
        digests.heard(&key("s"), Some("8"), true);
        assert_eq!(get(1), None);
        // What was read before the change and put down after it is not believed.
        digests.put(key("a"), subject(1), key("s"), "7".to_owned(), "d".to_owned());
        assert_eq!(get(1), None);
        digests.heard(&key("s"), None, true);
        assert_eq!(get(1), None, "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watch_each_poll_looks_again() {
        let digests = Digests::new(false);
        digests.put(key("a"), subject(1), key("s"), "7".to_owned(), "d".to_owned());
        let get = || digests.get(&key("a"), &subject(1), Duration::from_mins(1));
        assert!(get().is_some());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(get(), None);
    }
}

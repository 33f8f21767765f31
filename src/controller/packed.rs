//! A watched object as the caches keep it: its text and what it is called, which takes half of what the object itself does.
//! Whoever wants more opens it.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::Guarded;

/// An object that may be malformed, packed.
#[derive(Debug)]
pub struct Packed<K> {
    /// What it is called, and of which version it is.
    meta: ObjectMeta,
    body: Body,
    digest: u64,
    /// Whether anything changed with it that a reconcile reads.
    news: bool,
    kind: PhantomData<fn() -> K>,
}

#[derive(Clone, Debug)]
enum Body {
    Sound(Arc<[u8]>),
    Malformed(Arc<str>),
}

impl<K> Packed<K>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    /// Packs an object.
    pub fn new(object: &Guarded<K>) -> Self {
        let ObjectMeta { name, namespace, uid, resource_version, generation, deletion_timestamp, .. } =
            object.meta();
        let meta = ObjectMeta {
            name: name.clone(),
            namespace: namespace.clone(),
            uid: uid.clone(),
            resource_version: resource_version.clone(),
            generation: *generation,
            // What cannot be read may be on its way out all the same.
            deletion_timestamp: deletion_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let body = match &object.0 {
            Ok(sound) => serde_json::to_vec(sound).map_or_else(
                |error| Body::Malformed(error.to_string().into()),
                |text| Body::Sound(text.into()),
            ),
            Err(malformed) => Body::Malformed(malformed.error.as_str().into()),
        };
        Self { meta, body, digest: digest(object), news: true, kind: PhantomData }
    }

    /// Whether it differs from what was kept of it before in more than its status: our own status writes wake nobody.
    pub(super) fn is_news(&self) -> bool {
        self.news
    }

    /// The object.
    pub fn open(&self) -> Guarded<K> {
        let malformed = |error: String| InvalidObject { error, metadata: self.meta.clone() };
        kube::core::DeserializeGuard(match &self.body {
            Body::Sound(text) => serde_json::from_slice(text).map_err(|error| malformed(error.to_string())),
            Body::Malformed(error) => Err(malformed(error.to_string())),
        })
    }
}

/// What a watch tells, with its objects packed, of which some were kept before.
pub(super) fn pack<K>(
    event: &Event<Guarded<K>>,
    before: impl Fn(&Packed<K>) -> Option<Arc<Packed<K>>>,
) -> Event<Packed<K>>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let packed = |object: &Guarded<K>| {
        let mut packed = Packed::new(object);
        packed.news = before(&packed).is_none_or(|before| before.digest != packed.digest);
        packed
    };
    match event {
        Event::Apply(object) => Event::Apply(packed(object)),
        Event::Delete(object) => Event::Delete(packed(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(packed(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// A digest of what a reconcile reads of an object, without its status.
fn digest<K: Resource<DynamicType = ()>>(object: &Guarded<K>) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some(), &meta.finalizers, &meta.annotations)
        .hash(&mut hasher);
    object.0.is_err().hash(&mut hasher);
    hasher.finish()
}

// Derived, these would ask the same of the kind.
impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        let Self { meta, body, digest, news, kind } = self;
        Self { meta: meta.clone(), body: body.clone(), digest: *digest, news: *news, kind: *kind }
    }
}

impl<'de, K> Deserialize<'de> for Packed<K>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Guarded::<K>::deserialize(deserializer).map(|object| Self::new(&object))
    }
}

impl<K: Resource> Resource for Packed<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crd::Connector;

    fn guarded(object: Value) -> Guarded<Connector> {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_object_comes_out_as_it_went_in() {
        let time = "2026-01-02T03:04:05Z";
        let object = guarded(json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
            "metadata": {
                "namespace": "team", "name": "lake", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": time, "deletionTimestamp": time, "finalizers": ["slim.io/finalizer"],
                "annotations": {"slim.io/connector": "{\"id\":\"conn-1\"}"}, "labels": {"team": "ö"},
            },
            "spec": {
                "workspaceRef": {"kind": "Workspace", "name": "main"}, "suspend": true, "maxRiskScore": 40,
                "aws": {"roleArn": "arn:aws:iam::123456789012:role/r", "region": "eu-west-1",
                    "externalIdSecretRef": {"name": "external", "key": "id"}},
                "scope": {"buckets": ["b"], "prefixes": ["p/"]}, "deletionPolicy": "Retain",
            },
            "status": {
                "connectorId": "conn-1", "origin": "Created", "riskScore": 0, "lastScanTime": time,
                "observedGeneration": -1, "nextCreateTime": time,
                "connectionTest": {"time": time, "connected": true, "sampleObjects": 1},
                "scanHistory": [{"scanId": "scan-1", "state": "completed", "startTime": time}],
                "replacement": {"oldId": "conn-0", "phase": "Creating"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "it is",
                    "lastTransitionTime": time, "observedGeneration": 3}],
            },
        }));
        let packed = Packed::new(&object);
        assert_eq!(packed.open().0.unwrap(), object.0.unwrap());
        let ObjectMeta { name, namespace, uid, resource_version, generation, .. } = packed.meta();
        assert_eq!(
            (name.as_deref(), namespace.as_deref(), uid.as_deref()),
            (Some("lake"), Some("team"), Some("u"))
        );
        assert_eq!((resource_version.as_deref(), *generation), (Some("7"), Some(3)));
    }

    #[test]
    fn a_status_is_no_news_and_an_edit_is() {
        let connector = |generation: i64, status: Value| {
            guarded(json!({
                "apiVersion": "slim.io/v1alpha1", "kind": "Connector", "status": status,
                "metadata": {"namespace": "team", "name": "lake", "uid": "u", "generation": generation},
                "spec": {"azure": {"tenantId": "t", "clientId": "c", "storageAccount": "s",
                    "clientSecretRef": {"name": "n", "key": "k"}}},
            }))
        };
        let kept = Arc::new(Packed::new(&connector(1, Value::Null)));
        let is_news = |object, before: Option<&Arc<Packed<Connector>>>| {
            let event = pack(&Event::Apply(object), |_| before.cloned());
            matches!(event, Event::Apply(packed) if packed.is_news())
        };
        assert!(is_news(connector(1, Value::Null), None));
        assert!(!is_news(connector(1, json!({"state": "active"})), Some(&kept)));
        assert!(is_news(connector(2, Value::Null), Some(&kept)));
    }

    #[test]
    fn one_that_cannot_be_read_says_the_same_as_before() {
        let object = guarded(json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
            "metadata": {"namespace": "team", "name": "lake", "uid": "u",
                "deletionTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"aws": 7},
        }));
        let error = object.0.as_ref().unwrap_err().error.clone();
        let opened = Packed::new(&object).open().0.unwrap_err();
        assert_eq!((opened.error, opened.metadata.uid.as_deref()), (error, Some("u")));
        assert!(opened.metadata.deletion_timestamp.is_some());
    }
}

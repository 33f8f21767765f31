//! What the watched objects say of each other, kept beside the caches: whom a change concerns is found by looking it up, and
//! never by walking all objects. As fresh as the watches, and so no ground for anything irreversible.
//!
//! Memory: about 400 bytes a connector, each text kept once.

mod links;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use super::conditions::READY;
use super::{Guarded, Reason};
use crate::telemetry::Metrics;

pub use links::Link;
pub(super) use links::Linked;

/// Which object of a kind: its namespace, empty for a cluster-scoped one, and its name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// That of an object.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// The links of every watched object. Counts them, too.
#[derive(Debug, Default)]
pub struct Index {
    metrics: Arc<Metrics>,
    connectors: RwLock<Table>,
    scans: RwLock<Table>,
    schedules: RwLock<Table>,
    workspaces: RwLock<Table>,
    cluster_workspaces: RwLock<Table>,
}

/// The links of one kind.
#[derive(Debug, Default)]
pub(super) struct Table {
    objects: HashMap<Arc<ObjectKey>, Entry>,
    by_link: HashMap<Arc<Link>, HashSet<Arc<ObjectKey>>>,
    uids: HashSet<Arc<str>>,
    /// How many objects there are, by the reason of their `Ready`.
    reasons: HashMap<&'static str, i64>,
    /// What a list that is under way has shown, by the namespace that is listed.
    relisting: HashMap<Option<String>, HashSet<Arc<ObjectKey>>>,
}

#[derive(Debug)]
struct Entry {
    uid: Arc<str>,
    created: Timestamp,
    links: Vec<Arc<Link>>,
    /// The reason of its `Ready`.
    reason: &'static str,
}

impl Index {
    /// An empty one.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Takes over what the watch of `scope` (a namespace, or all) says, and gives the objects that are gone by it.
    pub(super) fn heed<K: Linked>(
        &self,
        scope: Option<&str>,
        event: &Event<Guarded<K>>,
    ) -> Vec<Arc<ObjectKey>> {
        let mut table = K::table(self).write();
        let gone = match event {
            Event::Apply(object) => {
                table.put(object);
                Vec::new()
            }
            Event::Delete(object) => table.remove(&ObjectKey::of(object.meta())).into_iter().collect(),
            Event::Init => {
                table.relisting.insert(scope.map(str::to_owned), HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let key = table.put(object);
                if let Some(shown) = table.relisting.get_mut(&scope.map(str::to_owned)) {
                    shown.insert(key);
                }
                Vec::new()
            }
            Event::InitDone => {
                let Some(shown) = table.relisting.remove(&scope.map(str::to_owned)) else {
                    return Vec::new();
                };
                let missing = table.objects.keys().filter(|key| {
                    scope.is_none_or(|scope| key.namespace == scope) && !shown.contains(key.as_ref())
                });
                let missing = missing.cloned().collect::<Vec<_>>();
                missing.iter().filter_map(|key| table.remove(key)).collect::<Vec<_>>()
            }
        };
        self.count::<K>(&table, event, &gone);
        gone
    }

    fn count<K: Linked>(&self, table: &Table, event: &Event<Guarded<K>>, gone: &[Arc<ObjectKey>]) {
        // A list is counted at its end.
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            self.metrics.resources(&K::kind(&()), &table.reasons);
        }
        if let Event::Apply(object) | Event::InitApply(object) = event
            && let Ok(sound) = &object.0
            && let Some((risk, findings)) = sound.score()
        {
            self.metrics.score(&ObjectKey::of(object.meta()), risk, findings);
        }
        if K::SCORED {
            gone.iter().for_each(|key| self.metrics.no_score(key));
        }
    }

    /// The objects of a kind that refer to `link`.
    pub(super) fn referring<K: Linked>(&self, link: &Link) -> Vec<Arc<ObjectKey>> {
        K::table(self).read().by_link.get(link).into_iter().flatten().cloned().collect()
    }

    /// The same, with when each was made, and its UID.
    pub(super) fn ages<K: Linked>(&self, link: &Link) -> Vec<(Arc<ObjectKey>, Timestamp, Arc<str>)> {
        let table = K::table(self).read();
        let keys = table.by_link.get(link).into_iter().flatten();
        keys.filter_map(|key| {
            let Entry { created, uid, .. } = table.objects.get(key)?;
            Some((Arc::clone(key), *created, Arc::clone(uid)))
        })
        .collect()
    }

    /// How many objects of a kind refer to `link`.
    pub(super) fn count_of<K: Linked>(&self, link: &Link) -> usize {
        K::table(self).read().by_link.get(link).map_or(0, HashSet::len)
    }

    /// Whether any object of a kind refers to `link`.
    pub(super) fn refers<K: Linked>(&self, link: &Link) -> bool {
        K::table(self).read().by_link.contains_key(link)
    }

    /// Whether an object of another UID refers to `link`.
    pub(super) fn another_refers<K: Linked>(&self, link: &Link, uid: &str) -> bool {
        let table = K::table(self).read();
        let mut others = table.by_link.get(link).into_iter().flatten();
        others.any(|key| table.objects.get(key).is_some_and(|entry| &*entry.uid != uid))
    }

    /// Whether an object of that UID is watched.
    pub(super) fn lives<K: Linked>(&self, uid: &str) -> bool {
        K::table(self).read().uids.contains(uid)
    }
}

impl Table {
    fn put<K: Linked>(&mut self, object: &Guarded<K>) -> Arc<ObjectKey> {
        let key = ObjectKey::of(object.meta());
        let (key, old) = match self.objects.remove_entry(&key) {
            Some((key, entry)) => (key, Some(entry)),
            None => (Arc::new(key), None),
        };
        let links = match &object.0 {
            Ok(sound) => sound.links().into_iter().map(|link| self.interned(link)).collect(),
            // What cannot be read still has what it had.
            Err(_) => {
                let had = old.iter().flat_map(|old| &old.links);
                had.filter(|link| !link.is_passing()).cloned().collect::<Vec<_>>()
            }
        };
        for link in &links {
            self.by_link.entry(Arc::clone(link)).or_default().insert(Arc::clone(&key));
        }
        if let Some(old) = old {
            self.unlink(&key, old.links.iter().filter(|link| !links.contains(link)));
            self.uids.remove(&old.uid);
            self.recount(old.reason, -1);
        }
        let reason = match &object.0 {
            Ok(sound) => ready_reason(sound.conditions()),
            Err(_) => MALFORMED,
        };
        self.recount(reason, 1);
        let uid: Arc<str> = object.meta().uid.as_deref().unwrap_or_default().into();
        self.uids.insert(Arc::clone(&uid));
        let created = object.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        self.objects.insert(Arc::clone(&key), Entry { uid, created, links, reason });
        key
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<ObjectKey>> {
        let (key, entry) = self.objects.remove_entry(key)?;
        self.unlink(&key, entry.links.iter());
        self.uids.remove(&entry.uid);
        self.recount(entry.reason, -1);
        Some(key)
    }

    fn recount(&mut self, reason: &'static str, more: i64) {
        *self.reasons.entry(reason).or_default() += more;
    }

    fn unlink<'a>(&mut self, key: &ObjectKey, links: impl Iterator<Item = &'a Arc<Link>>) {
        for link in links {
            if let Some(referring) = self.by_link.get_mut(link) {
                referring.remove(key);
                if referring.is_empty() {
                    self.by_link.remove(link);
                }
            }
        }
    }

    fn interned(&self, link: Link) -> Arc<Link> {
        self.by_link.get_key_value(&link).map_or_else(|| Arc::new(link), |(known, _)| Arc::clone(known))
    }
}

/// How an object that cannot be read is counted.
const MALFORMED: &str = "Malformed";
/// How an object is counted that nobody looked at yet, or of which somebody else says how it is.
const UNKNOWN: &str = "Unknown";

/// One of a bounded number of words.
fn ready_reason(conditions: &[Condition]) -> &'static str {
    let ready = conditions.iter().find(|condition| condition.type_ == READY);
    let known = ready.and_then(|ready| Reason::ALL.iter().find(|reason| reason.as_str() == ready.reason));
    known.map_or(UNKNOWN, |reason| reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Connector;
    use kube::core::DeserializeGuard;
    use kube::core::error_boundary::InvalidObject;
    use serde_json::json;

    fn connector(name: &str, id: Option<&str>) -> Guarded<Connector> {
        let status = id.map(|id| json!({ "connectorId": id }));
        DeserializeGuard(Ok(serde_json::from_value(json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
            "metadata": { "namespace": "team", "name": name, "uid": format!("uid-{name}") },
            "spec": {
                "workspaceRef": { "kind": "Workspace", "name": "main" },
                "aws": { "roleArn": "arn:aws:iam::123456789012:role/r", "region": "eu-west-1",
                    "externalIdSecretRef": { "name": "external", "key": "id" } },
            },
            "status": status,
        }))
        .unwrap()))
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "team".to_owned(), name: name.to_owned() }
    }

    fn names(index: &Index, link: &Link) -> Vec<String> {
        let mut names =
            index.referring::<Connector>(link).iter().map(|key| key.name.clone()).collect::<Vec<_>>();
        names.sort();
        names
    }

    #[test]
    fn an_object_is_found_by_what_it_refers_to_and_not_by_what_it_did_before() {
        let index = Index::default();
        index.heed(None, &Event::Apply(connector("a", Some("conn-1"))));
        index.heed(None, &Event::Apply(connector("b", None)));
        assert_eq!(names(&index, &Link::Secret(key("external"))), ["a", "b"]);
        assert!(index.another_refers::<Connector>(&Link::Remote("conn-1".to_owned()), "uid-b"));
        assert!(!index.another_refers::<Connector>(&Link::Remote("conn-1".to_owned()), "uid-a"));

        index.heed(None, &Event::Apply(connector("a", Some("conn-2"))));
        assert!(!index.refers::<Connector>(&Link::Remote("conn-1".to_owned())));
        assert_eq!(names(&index, &Link::Remote("conn-2".to_owned())), ["a"]);
        index.heed(None, &Event::Delete(connector("a", Some("conn-2"))));
        assert!(!index.refers::<Connector>(&Link::Remote("conn-2".to_owned())));
        assert!(!index.lives::<Connector>("uid-a") && index.lives::<Connector>("uid-b"));
        let counted = index.metrics.encode();
        assert!(counted.contains("slimio_resources{kind=\"Connector\",reason=\"Unknown\"} 1\n"), "{counted}");
    }

    #[test]
    fn a_list_that_is_read_again_takes_out_what_it_lacks_in_its_own_namespace_only() {
        let index = Index::default();
        for name in ["a", "b"] {
            index.heed(Some("team"), &Event::Apply(connector(name, None)));
        }
        let mut elsewhere = connector("c", None);
        elsewhere.meta_mut().namespace = Some("other".to_owned());
        index.heed(Some("other"), &Event::Apply(elsewhere));
        // A list that fails is begun again; only the one that comes to its end says what is missing.
        for event in [Event::Init, Event::Init, Event::InitApply(connector("b", None))] {
            assert!(index.heed(Some("team"), &event).is_empty());
        }
        assert!(index.lives::<Connector>("uid-a"), "the list is not complete yet");
        let gone = index.heed::<Connector>(Some("team"), &Event::InitDone);
        assert_eq!(gone.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(index.lives::<Connector>("uid-b") && index.lives::<Connector>("uid-c"));
    }

    #[test]
    fn an_object_that_turned_malformed_keeps_its_id() {
        let index = Index::default();
        index.heed(None, &Event::Apply(connector("a", Some("conn-1"))));
        let metadata = connector("a", None).0.unwrap().metadata;
        let malformed =
            DeserializeGuard::<Connector>(Err(InvalidObject { error: "no".to_owned(), metadata }));
        index.heed(None, &Event::Apply(malformed));
        assert!(index.another_refers::<Connector>(&Link::Remote("conn-1".to_owned()), "uid-b"));
    }
}

//! What the watched objects say of each other, kept beside the caches: whom a change concerns is found by looking it up, and
//! never by walking all objects. As fresh as the watches, and so no ground for anything irreversible.
//!
//! Memory: about 400 bytes a connector, each text kept once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use super::conditions::READY;
use super::{Guarded, Reason, turns, workspace};
use crate::crd::{ClusterWorkspace, Connector, Scan, ScanSchedule, SecretKeyRef, Workspace, WorkspaceKey};
use crate::telemetry::Metrics;

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

/// Something that objects refer to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Link {
    /// A connector at an API: of Connectors that have the id, or are replacing it.
    Remote(String),
    /// A connector at an API: of Connectors whose spec names it, to adopt or to observe it.
    Wanted(String),
    /// A workspace: of Connectors.
    Workspace(WorkspaceKey),
    /// A Secret, by namespace and name: of Connectors and workspaces. That of a ClusterWorkspace has no namespace.
    Secret(ObjectKey),
    /// A Connector: of Scans that have not ended.
    Connector(ObjectKey),
    /// A connector at an API: of Scans that were started on it, whether they have ended or not.
    Scanned(String),
    /// A ScanSchedule: of Scans that it made.
    Schedule(ObjectKey),
    /// A workspace: of Connectors that need it for their own end.
    Needed(WorkspaceKey),
    /// A workspace: of Connectors that wish to be created in it.
    Unmade(WorkspaceKey),
    /// A workspace: of Connectors that were told when their turn to be created comes.
    Told(WorkspaceKey),
}

impl Link {
    /// Whether it is only about what happens next.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Unmade(_) | Self::Told(_))
    }
}

/// An object that refers to others.
pub(super) trait Linked: Resource<DynamicType = ()> + Sized {
    /// What it refers to.
    fn links(&self) -> Vec<Link>;
    /// Its conditions.
    fn conditions(&self) -> &[Condition];
    /// Whether objects of this kind have a score.
    const SCORED: bool = false;
    /// Its risk score and findings, where it has such.
    fn score(&self) -> Option<(Option<i32>, Option<i64>)> {
        None
    }
    /// The ScanSchedule that has to hear that this object is as it is, or is gone.
    fn reports_to(&self, _gone: bool) -> Option<ObjectKey> {
        None
    }
    /// Where its kind is kept.
    fn table(index: &Index) -> &RwLock<Table>;
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

impl Linked for Connector {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    const SCORED: bool = true;

    fn score(&self) -> Option<(Option<i32>, Option<i64>)> {
        self.status.as_ref().map(|status| (status.risk_score, status.findings_count))
    }

    fn links(&self) -> Vec<Link> {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let workspace = self.spec.workspace_ref.key(&namespace);
        let mut links = vec![Link::Workspace(workspace.clone())];
        if workspace::needs(self) {
            links.push(Link::Needed(workspace.clone()));
        }
        if turns::wishes_to_be_created(self) {
            links.push(Link::Unmade(workspace.clone()));
        }
        if let Some(status) = &self.status {
            links.extend(status.next_create_time.map(|_| Link::Told(workspace)));
            links.extend(status.connector_id.iter().cloned().map(Link::Remote));
            let replaced = status.replacement.iter().flat_map(|it| [Some(&it.old_id), it.new_id.as_ref()]);
            links.extend(replaced.flatten().cloned().map(Link::Remote));
        }
        if self.status.as_ref().is_none_or(|status| status.connector_id.is_none()) {
            links.extend(self.spec.connector_id.iter().cloned().map(Link::Wanted));
        }
        let secrets = [
            self.spec.aws.as_ref().and_then(|aws| aws.external_id_secret_ref.as_ref()),
            self.spec.gcp.as_ref().and_then(|gcp| gcp.wif_provider_secret_ref.as_ref()),
            self.spec.azure.as_ref().map(|azure| &azure.client_secret_ref),
        ];
        links.extend(secrets.into_iter().flatten().map(|reference| secret(namespace.clone(), reference)));
        links
    }

    fn table(index: &Index) -> &RwLock<Table> {
        &index.connectors
    }
}

impl Linked for Scan {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn links(&self) -> Vec<Link> {
        let status = self.status.as_ref();
        let ended = status.and_then(|status| status.phase).is_some_and(|phase| phase.is_terminal());
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let connector = Link::Connector(ObjectKey { namespace, name: self.spec.connector_ref.name.clone() });
        let scanned = status.and_then(|status| status.connector_id.clone()).map(Link::Scanned);
        let schedule = self.reports_to(true).map(Link::Schedule);
        (!ended).then_some(connector).into_iter().chain(scanned).chain(schedule).collect()
    }

    fn reports_to(&self, gone: bool) -> Option<ObjectKey> {
        let status = self.status.as_ref();
        let ended = status.and_then(|status| status.phase).is_some_and(|phase| phase.is_terminal());
        // How far it is, is nothing to a schedule.
        let runs = !ended && status.is_some_and(|status| status.scan_id.is_some());
        let owner = self.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true))?;
        let key = || ObjectKey {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            name: owner.name.clone(),
        };
        ((gone || !runs) && owner.kind == ScanSchedule::kind(&())).then(key)
    }

    fn table(index: &Index) -> &RwLock<Table> {
        &index.scans
    }
}

impl Linked for ScanSchedule {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn links(&self) -> Vec<Link> {
        Vec::new()
    }

    fn table(index: &Index) -> &RwLock<Table> {
        &index.schedules
    }
}

impl Linked for Workspace {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn links(&self) -> Vec<Link> {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        vec![secret(namespace, &self.spec.api.auth.api_key.secret_ref)]
    }

    fn table(index: &Index) -> &RwLock<Table> {
        &index.workspaces
    }
}

impl Linked for ClusterWorkspace {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn links(&self) -> Vec<Link> {
        vec![secret(String::new(), &self.spec.api.auth.api_key.secret_ref)]
    }

    fn table(index: &Index) -> &RwLock<Table> {
        &index.cluster_workspaces
    }
}

fn secret(namespace: String, reference: &SecretKeyRef) -> Link {
    Link::Secret(ObjectKey { namespace, name: reference.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
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

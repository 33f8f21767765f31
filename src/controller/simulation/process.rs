//! One process of the operator: its context and caches, its queue, and the reconciles that it has under way. A crash drops
//! all of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Polling, Poll, Wake, Waker};
use std::time::Duration;

use connectors_api::Endpoint;
use futures::FutureExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::time::Instant;

use super::wire::{self, POLLED, Shared, ToApi};
use crate::controller::connector::wrong::{self, Variant};
use crate::controller::context::{Caches, Guarded};
use crate::controller::index::{Index, Linked};
use crate::controller::packed::{Packed, pack};
use crate::controller::workspace::{self, AnyWorkspace};
use crate::controller::{Context, Error, Leadership, ObjectKey, Objects, Settings};
use crate::crd::{ClusterWorkspace, Connector, Scan, Workspace};
use crate::remote::PermittedEndpoints;
use testbed::in_memory::{Cluster, Key};

/// What is watched, in the order in which a process begins.
pub(super) const WATCHED: [&str; 3] = ["workspaces", "connectors", "secrets"];
/// Where the API is said to be.
pub(super) const ENDPOINT: &str = "http://api.test";

type Outcome = Result<Option<Duration>, Error>;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    key: Key,
    uid: String,
    woken: Arc<Woken>,
    waker: Waker,
    future: Pin<Box<dyn Future<Output = Outcome>>>,
}

/// A process.
pub(super) struct Process {
    pub number: u64,
    pub leadership: Leadership,
    /// How far its wall clock is off.
    pub clock: jiff::SignedDuration,
    ctx: Arc<Context>,
    variant: Variant,
    connectors: Writer<Packed<Connector>>,
    workspaces: Writer<Packed<Workspace>>,
    woken_connectors: UnboundedReceiver<ObjectRef<Packed<Connector>>>,
    woken_workspaces: UnboundedReceiver<ObjectRef<Packed<Workspace>>>,
    /// How much of the history each cache knows; none while it is still being filled.
    known: BTreeMap<&'static str, Option<usize>>,
    digests: BTreeMap<Key, String>,
    queue: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
    tasks: Vec<Task>,
}

impl Process {
    pub(super) fn start(number: u64, wire: &Shared, variant: Variant, elected: bool) -> Self {
        let (connectors, connectors_writer) = store();
        let (scans, _) = store::<Packed<Scan>>();
        let (workspaces, workspaces_writer) = store();
        let (cluster_workspaces, _) = store::<Packed<ClusterWorkspace>>();
        let (to_connectors, woken_connectors) = unbounded();
        let (to_workspaces, woken_workspaces) = unbounded();
        let settings = Settings {
            permitted: PermittedEndpoints::new(&[Endpoint::parse(ENDPOINT).unwrap()]),
            namespace: "slimio-system".to_owned(),
            namespaces: None,
            watch_secrets: true,
        };
        let leadership = if elected { Leadership::elected() } else { Leadership::alone() };
        let caches = Caches {
            connectors: Objects::kept(connectors, to_connectors),
            scans: Objects::kept(scans, unbounded().0),
            schedules: Objects::kept(store().0, unbounded().0),
            workspaces: Objects::kept(workspaces, to_workspaces),
            cluster_workspaces: Objects::kept(cluster_workspaces, unbounded().0),
        };
        let index = Arc::new(Index::default());
        let client = wire::kubernetes(wire, number);
        let mut ctx = Context::new(client, settings, caches, index, leadership.clone(), Arc::default());
        ctx.in_process = Some(Arc::new(ToApi { wire: Arc::clone(wire), process: number }));
        Self {
            number,
            leadership,
            clock: jiff::SignedDuration::ZERO,
            ctx: Arc::new(ctx),
            variant,
            connectors: connectors_writer,
            workspaces: workspaces_writer,
            woken_connectors,
            woken_workspaces,
            known: WATCHED.iter().map(|resource| (*resource, None)).collect(),
            digests: BTreeMap::new(),
            queue: BTreeMap::new(),
            failures: BTreeMap::new(),
            tasks: Vec::new(),
        }
    }

    /// What its reconciles share.
    pub(super) fn context(&self) -> &Context {
        &self.ctx
    }

    /// Resources of which the watch has something to tell.
    pub(super) fn behind(&self, cluster: &Cluster) -> Vec<&'static str> {
        let news = |resource: &str, known: Option<usize>| match known {
            None => true,
            Some(known) => cluster.log[known..].iter().any(|change| change.key.0 == resource),
        };
        self.known
            .iter()
            .filter(|(resource, known)| news(resource, **known))
            .map(|(resource, _)| *resource)
            .collect()
    }

    /// The watch tells its next event, or its first list.
    pub(super) fn hear(&mut self, resource: &'static str, cluster: &Cluster) {
        let Some(known) = self.known[resource] else {
            let objects = cluster.objects.iter().filter(|(key, _)| key.0 == resource).collect::<Vec<_>>();
            self.apply(resource, None, "init");
            for (key, object) in &objects {
                self.apply(resource, Some(object), "list");
                self.noticed(key, object);
            }
            self.apply(resource, None, "done");
            self.known.insert(resource, Some(cluster.log.len()));
            return;
        };
        let next = cluster.log[known..].iter().position(|change| change.key.0 == resource);
        let Some(next) = next.map(|offset| known + offset) else { return };
        let change = &cluster.log[next];
        self.known.insert(resource, Some(next + 1));
        self.apply(resource, Some(&change.object), if change.deleted { "delete" } else { "apply" });
        if change.deleted {
            self.digests.remove(&change.key);
            if resource == "workspaces" {
                let (_, namespace, name) = change.key.clone();
                workspace::forget(
                    &crate::crd::WorkspaceKey {
                        kind: crate::crd::WorkspaceKind::Workspace,
                        namespace: Some(namespace),
                        name,
                    },
                    &self.ctx,
                );
            }
        } else {
            self.noticed(&change.key, &change.object);
        }
    }

    fn apply(&mut self, resource: &str, object: Option<&Value>, what: &str) {
        fn event<K: Linked + serde::de::DeserializeOwned>(
            object: Option<&Value>,
            what: &str,
        ) -> Event<Guarded<K>> {
            let object = || serde_json::from_value(object.cloned().unwrap_or_default()).unwrap();
            match what {
                "init" => Event::Init,
                "done" => Event::InitDone,
                "list" => Event::InitApply(object()),
                "delete" => Event::Delete(object()),
                _ => Event::Apply(object()),
            }
        }
        match resource {
            "connectors" => {
                let event = event::<Connector>(object, what);
                self.connectors.apply_watcher_event(&pack(&event, |_| None));
                self.ctx.index.heed(None, &event);
            }
            "workspaces" => {
                let event = event::<Workspace>(object, what);
                self.workspaces.apply_watcher_event(&pack(&event, |_| None));
                self.ctx.index.heed(None, &event);
            }
            _ => {}
        }
    }

    /// Wakes what an event is about, unless nothing changed that a reconcile reads.
    fn noticed(&mut self, key: &Key, object: &Value) {
        let meta = &object["metadata"];
        if key.0 == "secrets" {
            let version = meta["resourceVersion"].to_string();
            if self.digests.insert(key.clone(), version.clone()) != Some(version) {
                let secret = ObjectKey { namespace: key.1.clone(), name: key.2.clone() };
                self.ctx.secret_changed(secret, meta["resourceVersion"].as_str());
            }
            return;
        }
        let digest = ["uid", "generation", "deletionTimestamp", "finalizers", "annotations"]
            .map(|field| meta[field].to_string())
            .join(" ");
        if self.digests.insert(key.clone(), digest.clone()) != Some(digest) {
            self.wake(key.clone(), Duration::ZERO);
        }
    }

    fn wake(&mut self, key: Key, wait: Duration) {
        let at = Instant::now() + wait;
        let due = self.queue.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// The objects whose turn has come.
    pub(super) fn due(&self) -> Vec<Key> {
        let now = Instant::now();
        let idle = |key: &Key| !self.tasks.iter().any(|task| task.key == *key);
        let filled = |key: &Key| self.known[key.0.as_str()].is_some();
        self.queue
            .iter()
            .filter(|(key, due)| **due <= now && idle(key) && filled(key))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// When the next turn comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.values().min().copied()
    }

    pub(super) fn busy(&self) -> usize {
        self.tasks.len()
    }

    /// Begins the reconcile of an object, as the cache has it.
    pub(super) fn begin(&mut self, key: &Key) {
        self.queue.remove(key);
        let object_key = ObjectKey { namespace: key.1.clone(), name: key.2.clone() };
        let ctx = Arc::clone(&self.ctx);
        let variant = self.variant;
        let (uid, future) = if key.0 == "connectors" {
            let found = ctx.caches.connectors.get(&object_key);
            let Some(object) = found.and_then(|found| found.0.as_ref().ok().cloned()) else { return };
            let uid = object.metadata.uid.clone().unwrap_or_default();
            (uid, async move { wrong::reconcile(variant, &object, &ctx).await }.boxed_local())
        } else {
            let found = ctx.caches.workspaces.get(&object_key);
            let Some(object) = found.and_then(|found| found.0.as_ref().ok().cloned()) else { return };
            let uid = object.metadata.uid.clone().unwrap_or_default();
            let object = AnyWorkspace::Namespaced(Box::new(object));
            (uid, async move { workspace::reconcile(object, &ctx).await }.boxed_local())
        };
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        self.tasks.push(Task { key: key.clone(), uid, woken, waker, future });
    }

    /// Lets every reconcile that was woken go on. What ended, with its outcome in a word.
    pub(super) fn poll(&mut self) -> Vec<(Key, String)> {
        crate::clock::virtual_time::step_to(self.clock);
        let mut ended = Vec::new();
        let mut index = 0;
        while index < self.tasks.len() {
            let task = &mut self.tasks[index];
            if !task.woken.0.swap(false, Ordering::Relaxed) {
                index += 1;
                continue;
            }
            POLLED.set(Some(task.uid.clone()));
            let polled = task.future.as_mut().poll(&mut Polling::from_waker(&task.waker));
            POLLED.set(None);
            let Poll::Ready(outcome) = polled else {
                index += 1;
                continue;
            };
            let Task { key, .. } = self.tasks.remove(index);
            let word = match outcome {
                Ok(requeue) => {
                    self.failures.remove(&key);
                    if let Some(wait) = requeue {
                        self.wake(key.clone(), wait);
                    }
                    "ok".to_owned()
                }
                Err(error) => {
                    let count = self.failures.entry(key.clone()).or_default();
                    *count += 1;
                    let wait = error.wait(*count);
                    self.wake(key.clone(), wait);
                    error.class().to_owned()
                }
            };
            ended.push((key, word));
        }
        while let Ok(woken) = self.woken_connectors.try_recv() {
            self.wake(
                ("connectors".to_owned(), woken.namespace.unwrap_or_default(), woken.name),
                Duration::ZERO,
            );
        }
        while let Ok(woken) = self.woken_workspaces.try_recv() {
            self.wake(
                ("workspaces".to_owned(), woken.namespace.unwrap_or_default(), woken.name),
                Duration::ZERO,
            );
        }
        crate::clock::virtual_time::step_to(jiff::SignedDuration::ZERO);
        ended
    }

    /// Whether a reconcile can go on.
    pub(super) fn is_woken(&self) -> bool {
        self.tasks.iter().any(|task| task.woken.0.load(Ordering::Relaxed))
    }
}

//! What every reconcile shares: the Kubernetes client, the APIs, the caches, and the ways to wake other objects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::registry::Registry;
use super::workspace::AnyWorkspace;
use super::{Leadership, Reason};
use crate::crd::{ClusterWorkspace, Connector, Scan, Workspace, WorkspaceKey};
use crate::remote::PermittedEndpoints;
use crate::telemetry::Metrics;

/// Reasons that stand for ordinary progress.
const PROGRESS: [Reason; 7] = [
    Reason::ConnectorNotReady,
    Reason::Queued,
    Reason::Running,
    Reason::ScanAlreadyRunning,
    Reason::Suspended,
    Reason::WaitingForQuota,
    Reason::WorkspaceNotReady,
];

/// An object that may be malformed: one that is does not stop the others from being listed.
pub type Guarded<K> = DeserializeGuard<K>;

/// The operator's own configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The endpoints that may be talked to.
    pub permitted: PermittedEndpoints,
    /// The operator's namespace: where a ClusterWorkspace's Secrets and the Lease are.
    pub namespace: String,
}

/// What every reconcile shares.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The operator's own configuration.
    pub settings: Settings,
    /// The Connectors APIs.
    pub registry: Registry,
    /// The watched objects.
    pub caches: Caches,
    /// The ways to wake other objects.
    pub wakes: Wakes,
    /// Whether this replica leads.
    pub leadership: Leadership,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When the operator began to look.
    pub started: Instant,
    /// Claims found open, with the time of first sight; W is counted on our own clock.
    pub claims_seen: Mutex<HashMap<String, Instant>>,
    /// One writer at a time for each workspace's claims, so that they do not refuse each other.
    pub claim_writers: Mutex<HashMap<WorkspaceKey, Arc<tokio::sync::Mutex<()>>>>,
    /// Ids that this process put down and that the caches may not show yet.
    pub owned: Mutex<HashMap<String, String>>,
    /// Takes the requests to every API instead of the network.
    #[cfg(test)]
    pub in_process: Option<Arc<dyn connectors_api::client::InProcess>>,
    recorder: Recorder,
}

/// The watched objects, as they were last heard of. Nothing irreversible is decided from them.
pub struct Caches {
    /// Connectors.
    pub connectors: Store<Guarded<Connector>>,
    /// Scans.
    pub scans: Store<Guarded<Scan>>,
    /// Workspaces.
    pub workspaces: Store<Guarded<Workspace>>,
    /// ClusterWorkspaces.
    pub cluster_workspaces: Store<Guarded<ClusterWorkspace>>,
}

/// The ways to wake objects of each kind.
#[derive(Clone)]
pub struct Wakes {
    /// Connectors.
    pub connectors: UnboundedSender<ObjectRef<Guarded<Connector>>>,
    /// Scans.
    pub scans: UnboundedSender<ObjectRef<Guarded<Scan>>>,
    /// Workspaces.
    pub workspaces: UnboundedSender<ObjectRef<Guarded<Workspace>>>,
    /// ClusterWorkspaces.
    pub cluster_workspaces: UnboundedSender<ObjectRef<Guarded<ClusterWorkspace>>>,
}

impl Context {
    /// Puts it together.
    pub fn new(
        client: Client,
        settings: Settings,
        caches: Caches,
        wakes: Wakes,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let recorder = Recorder::new(client.clone(), crate::FIELD_MANAGER.into());
        Self {
            client,
            settings,
            registry: Registry::default(),
            caches,
            wakes,
            leadership,
            metrics,
            started: Instant::now(),
            claims_seen: Mutex::default(),
            claim_writers: Mutex::default(),
            owned: Mutex::default(),
            #[cfg(test)]
            in_process: None,
            recorder,
        }
    }

    /// How long a claim has been known to this process.
    pub fn known_for(&self, nonce: &str) -> Duration {
        self.claims_seen.lock().entry(nonce.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    /// The lock under which a workspace's claims are written by this process.
    pub fn claim_writer(&self, key: &WorkspaceKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.claim_writers.lock().entry(key.clone()).or_default())
    }

    /// A workspace as the caches have it.
    pub fn cached_workspace(&self, key: &WorkspaceKey) -> Option<AnyWorkspace> {
        if let Some(namespace) = &key.namespace {
            let found = self.caches.workspaces.get(&ObjectRef::new(&key.name).within(namespace))?;
            found.0.as_ref().ok().map(|workspace| AnyWorkspace::Namespaced(Box::new(workspace.clone())))
        } else {
            let found = self.caches.cluster_workspaces.get(&ObjectRef::new(&key.name))?;
            found.0.as_ref().ok().map(|workspace| AnyWorkspace::Cluster(Box::new(workspace.clone())))
        }
    }

    /// Says something in an event. Never fails a reconcile: an event that is refused is logged.
    pub async fn say(
        &self,
        about: &ObjectReference,
        warning: bool,
        reason: Reason,
        action: &str,
        note: String,
    ) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason = reason.as_str(), "cannot publish an event");
        }
    }

    /// Says in an event how `Ready` turned.
    pub async fn say_ready(&self, about: &ObjectReference, ready: &Condition) {
        let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == ready.reason);
        let calm = [
            Reason::Creating,
            Reason::Deleting,
            Reason::ConnectionTestPending,
            Reason::Replacing,
            Reason::Starting,
        ];
        if let Some(reason) = reason.filter(|reason| !calm.contains(reason)) {
            let warning = ready.status != "True" && !PROGRESS.contains(&reason);
            self.say(about, warning, reason, "Reconcile", ready.message.clone()).await;
        }
    }

    /// Has a workspace's list read soon.
    pub fn wake_workspace(&self, key: &WorkspaceKey) {
        // A closed channel means that the operator is stopping.
        let _ = match &key.namespace {
            Some(namespace) => self
                .wakes
                .workspaces
                .unbounded_send(ObjectRef::new(&key.name).within(namespace))
                .map_err(drop),
            None => self.wakes.cluster_workspaces.unbounded_send(ObjectRef::new(&key.name)).map_err(drop),
        };
    }

    /// Wakes the connectors that `which` picks.
    pub fn wake_connectors(&self, which: impl Fn(&Connector) -> bool) {
        for connector in self.caches.connectors.state() {
            if let Ok(connector) = &connector.0
                && which(connector)
            {
                let meta = &connector.metadata;
                let (name, namespace) = (meta.name.as_deref(), meta.namespace.as_deref());
                let reference =
                    ObjectRef::new(name.unwrap_or_default()).within(namespace.unwrap_or_default());
                let _ = self.wakes.connectors.unbounded_send(reference);
            }
        }
    }

    /// Wakes the unfinished Scans of a connector.
    pub fn wake_scans(&self, namespace: &str, connector: &str) {
        for scan in self.caches.scans.state() {
            if let Ok(scan) = &scan.0
                && scan.metadata.namespace.as_deref() == Some(namespace)
                && scan.spec.connector_ref.name == connector
                && !scan
                    .status
                    .as_ref()
                    .and_then(|status| status.phase)
                    .is_some_and(|phase| phase.is_terminal())
            {
                let reference =
                    ObjectRef::new(scan.metadata.name.as_deref().unwrap_or_default()).within(namespace);
                let _ = self.wakes.scans.unbounded_send(reference);
            }
        }
    }
}

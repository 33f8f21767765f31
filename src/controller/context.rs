//! What every reconcile shares: the Kubernetes client, the APIs, the caches, and the ways to wake other objects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType, Recorder};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::bulkhead::Bulkhead;
use super::claims::ClaimWriter;
use super::index::{Index, Link, ObjectKey};
use super::looks::Looks;
use super::registry::Registry;
use super::secret::Digests;
use super::watches::{Objects, Scope};
use super::workspace::AnyWorkspace;
use super::{Error, Leadership, Reason};
use crate::crd::{Claim, ClusterWorkspace, Connector, Scan, ScanSchedule, Workspace, WorkspaceKey};
use crate::remote::PermittedEndpoints;
use crate::telemetry::Metrics;

/// Reasons that stand for ordinary progress.
const PROGRESS: [Reason; 8] = [
    Reason::ConnectorNotReady,
    Reason::NoConnectorMatches,
    Reason::Queued,
    Reason::Running,
    Reason::ScanAlreadyRunning,
    Reason::Suspended,
    Reason::WaitingForQuota,
    Reason::WorkspaceNotReady,
];

/// The recorder keeps each event for minutes, to count repeats, and walks through all of them for each new one. After so many it
/// is begun anew: a repeat is then an event of its own, and a burst of thousands costs neither memory nor time.
const EVENTS_KEPT: usize = 200;

/// An object that may be malformed: one that is does not stop the others from being listed.
pub type Guarded<K> = DeserializeGuard<K>;

/// The operator's own configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The endpoints that may be talked to.
    pub permitted: PermittedEndpoints,
    /// The operator's namespace: where a ClusterWorkspace's Secrets and the Lease are.
    pub namespace: String,
    /// The namespaces that it is held to; none: the whole cluster.
    pub namespaces: Option<BTreeSet<String>>,
    /// Whether the metadata of Secrets is watched. Otherwise a change is noticed at the workspace's next poll.
    pub watch_secrets: bool,
}

impl Settings {
    /// Where objects are watched.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        match &self.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }
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
    /// What the watched objects say of each other.
    pub index: Arc<Index>,
    /// Whether this replica leads.
    pub leadership: Leadership,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When the operator began to look.
    pub started: Instant,
    /// Claims found open, with the time of first sight; W is counted on our own clock.
    pub claims_seen: Mutex<HashMap<(String, Timestamp), Instant>>,
    /// One writer at a time for each workspace's claims, so that they do not refuse each other.
    pub claim_writers: Mutex<HashMap<WorkspaceKey, Arc<ClaimWriter>>>,
    /// Seats of the Connectors' reconciles, by credential.
    pub connector_seats: Bulkhead,
    /// Seats of the Scans' reconciles, by credential.
    pub scan_seats: Bulkhead,
    /// Looks before creates, by credential.
    pub looks: Looks,
    /// Ids that this process put down and that the caches may not show yet.
    pub owned: Mutex<HashMap<String, String>>,
    /// Takes the requests to every API instead of the network.
    #[cfg(test)]
    pub in_process: Option<Arc<dyn connectors_api::client::InProcess>>,
    /// What Connectors were last seen to send.
    pub digests: Digests,
    recorder: Mutex<(Recorder, usize)>,
}

/// The watched objects, and the ways to wake them.
pub struct Caches {
    /// Connectors.
    pub connectors: Objects<Connector>,
    /// Scans.
    pub scans: Objects<Scan>,
    /// ScanSchedules.
    pub schedules: Objects<ScanSchedule>,
    /// Workspaces.
    pub workspaces: Objects<Workspace>,
    /// ClusterWorkspaces.
    pub cluster_workspaces: Objects<ClusterWorkspace>,
}

impl Context {
    /// Puts it together.
    pub fn new(
        client: Client,
        settings: Settings,
        caches: Caches,
        index: Arc<Index>,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let recorder = Mutex::new((recorder(&client), 0));
        Self {
            digests: Digests::new(settings.watch_secrets),
            client,
            settings,
            registry: Registry::default(),
            caches,
            index,
            leadership,
            metrics,
            started: Instant::now(),
            claims_seen: Mutex::default(),
            claim_writers: Mutex::default(),
            connector_seats: Bulkhead::default(),
            scan_seats: Bulkhead::default(),
            looks: Looks::default(),
            owned: Mutex::default(),
            #[cfg(test)]
            in_process: None,
            recorder,
        }
    }

    /// How long a claim has been known to this process. One that was renewed is another one: a POST may be sent under it
    /// from then on.
    pub fn known_for(&self, claim: &Claim) -> Duration {
        let key = (claim.nonce.clone(), claim.claimed_at);
        self.claims_seen.lock().entry(key).or_insert_with(Instant::now).elapsed()
    }

    /// The one who writes a workspace's claims in this process.
    pub fn claim_writer(&self, key: &WorkspaceKey) -> Arc<ClaimWriter> {
        Arc::clone(self.claim_writers.lock().entry(key.clone()).or_default())
    }

    /// Whether a workspace may be asked for: one of the cluster is out of reach for an operator that is held to namespaces.
    pub(super) fn reaches(&self, key: &WorkspaceKey) -> bool {
        key.namespace.is_some() || self.settings.namespaces.is_none()
    }

    /// Reads a workspace from the API server; none if it is not there, or out of reach.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn read_workspace(&self, key: &WorkspaceKey) -> Result<Option<AnyWorkspace>, Error> {
        if self.reaches(key) { AnyWorkspace::read(&self.client, key).await } else { Ok(None) }
    }

    /// A workspace as the caches have it.
    pub fn cached_workspace(&self, key: &WorkspaceKey) -> Option<AnyWorkspace> {
        let (object, namespaced) = object_key(key);
        if namespaced {
            self.caches.workspaces.get(&object)?.0.as_ref().ok().cloned().map(AnyWorkspace::from)
        } else {
            self.caches.cluster_workspaces.get(&object)?.0.as_ref().ok().cloned().map(AnyWorkspace::from)
        }
    }

    fn recorder(&self) -> Recorder {
        let mut current = self.recorder.lock();
        if current.1 == EVENTS_KEPT {
            *current = (recorder(&self.client), 0);
        }
        current.1 += 1;
        current.0.clone()
    }

    /// Says something in an event.
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
        self.publish(&event, about).await;
    }

    /// Publishes an event. Never fails a reconcile: one that is refused is logged.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) {
        let recorder = self.recorder();
        if let Err(error) = recorder.publish(event, about).await {
            tracing::warn!(%error, reason = event.reason, "cannot publish an event");
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
        let (object, namespaced) = object_key(key);
        if namespaced {
            self.caches.workspaces.wake(&object);
        } else {
            self.caches.cluster_workspaces.wake(&object);
        }
    }

    /// Wakes the connectors that refer to something.
    pub fn wake_connectors(&self, link: &Link) {
        for key in self.index.referring::<Connector>(link) {
            self.caches.connectors.wake(&key);
        }
    }

    /// Wakes the unfinished Scans of a connector.
    pub fn wake_scans(&self, namespace: &str, connector: &str) {
        let key = ObjectKey { namespace: namespace.to_owned(), name: connector.to_owned() };
        for key in self.index.referring::<Scan>(&Link::Connector(key)) {
            self.caches.scans.wake(&key);
        }
    }

    /// Wakes whatever names a Secret that changed. No version: it is gone.
    pub(super) fn secret_changed(&self, secret: ObjectKey, version: Option<&str>) {
        // That of a ClusterWorkspace is the operator's, whatever the workspace says.
        let cluster_wide = (secret.namespace == self.settings.namespace)
            .then(|| Link::Secret(ObjectKey { namespace: String::new(), name: secret.name.clone() }));
        let link = Link::Secret(secret.clone());
        self.digests.heard(&secret, version, self.index.refers::<Connector>(&link));
        self.wake_connectors(&link);
        for key in self.index.referring::<Workspace>(&link) {
            self.caches.workspaces.wake(&key);
        }
        for key in cluster_wide.iter().flat_map(|link| self.index.referring::<ClusterWorkspace>(link)) {
            self.caches.cluster_workspaces.wake(&key);
        }
    }
}

fn recorder(client: &Client) -> Recorder {
    Recorder::new(client.clone(), crate::FIELD_MANAGER.into())
}

/// Which object a workspace is, and whether it is of the namespaced kind.
fn object_key(key: &WorkspaceKey) -> (ObjectKey, bool) {
    let namespace = key.namespace.clone().unwrap_or_default();
    (ObjectKey { namespace, name: key.name.clone() }, key.namespace.is_some())
}

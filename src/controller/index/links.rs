//! What objects refer to: the links by which the index finds whom a change concerns.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use parking_lot::RwLock;

use super::{Index, ObjectKey, Table};
use crate::controller::{turns, workspace};
use crate::crd::{ClusterWorkspace, Connector, Scan, ScanSchedule, SecretKeyRef, Workspace, WorkspaceKey};

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
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unmade(_) | Self::Told(_))
    }
}

/// An object that refers to others.
pub(in crate::controller) trait Linked: Resource<DynamicType = ()> + Sized {
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

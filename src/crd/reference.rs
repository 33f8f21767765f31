//! References from one object to another. A Secret is always looked up in the referring object's own namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret. The Secret lives in the namespace of the object that names it; for a ClusterWorkspace that is
/// the operator's own namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The kinds that can hold a credential for the API.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    schemars::JsonSchema,
    Serialize,
)]
pub enum WorkspaceKind {
    /// Cluster-scoped, shared by the namespaces that it allows.
    #[default]
    ClusterWorkspace,
    /// In the same namespace as the referring object.
    Workspace,
}

impl WorkspaceKind {
    /// The kind's name as Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterWorkspace => "ClusterWorkspace",
            Self::Workspace => "Workspace",
        }
    }
}

/// The workspace that a connector belongs to.
#[derive(Clone, Debug, Deserialize, Eq, Hash, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceRef {
    /// `ClusterWorkspace`, or `Workspace` in the connector's own namespace.
    #[serde(default)]
    pub kind: WorkspaceKind,
    /// Name of the workspace.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default = "default_workspace")]
    pub name: String,
}

fn default_workspace() -> String {
    "default".to_owned()
}

impl Default for WorkspaceRef {
    fn default() -> Self {
        Self { kind: WorkspaceKind::ClusterWorkspace, name: default_workspace() }
    }
}

/// A connector in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorRef {
    /// Name of the Connector.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

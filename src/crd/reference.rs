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

/// Which workspace object is meant, once a reference's own namespace is known.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkspaceKey {
    /// Its kind.
    pub kind: WorkspaceKind,
    /// Its namespace; none for a ClusterWorkspace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl WorkspaceRef {
    /// The workspace that an object of `namespace` means.
    pub fn key(&self, namespace: &str) -> WorkspaceKey {
        let namespace = match self.kind {
            WorkspaceKind::ClusterWorkspace => None,
            WorkspaceKind::Workspace => Some(namespace.to_owned()),
        };
        WorkspaceKey { kind: self.kind, namespace, name: self.name.clone() }
    }
}

impl std::fmt::Display for WorkspaceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{} {}", self.kind.as_str(), self.name),
        }
    }
}

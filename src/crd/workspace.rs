//! `Workspace` and `ClusterWorkspace`: one credential for one API workspace, and the record of what is under way there.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{SecretKeyRef, WorkspaceKey, WorkspaceKind};

/// A credential for one workspace at a Connectors API, for the connectors of the same namespace.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "slim.io",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "slimws",
    category = "slimio",
    namespaced,
    status = "WorkspaceStatus",
    derive = "PartialEq",
    doc = "A credential for one workspace at a Connectors API, for the connectors of the same namespace.",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Connectors", type_ = "integer", json_path = ".status.connectors"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.spec.nameSuffix) && !has(self.spec.nameSuffix) || has(oldSelf.spec.nameSuffix) && has(self.spec.nameSuffix) && self.spec.nameSuffix == oldSelf.spec.nameSuffix").message("nameSuffix cannot change: connectors are recognised by it at the API; make a new workspace instead")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// The API to talk to and how.
    #[serde(flatten)]
    pub api: ApiAccess,
}

/// A credential for one workspace at a Connectors API, shared by the namespaces that it allows.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "slim.io",
    version = "v1alpha1",
    kind = "ClusterWorkspace",
    plural = "clusterworkspaces",
    shortname = "slimcws",
    category = "slimio",
    status = "WorkspaceStatus",
    derive = "PartialEq",
    doc = "A credential for one workspace at a Connectors API, shared by the namespaces that it allows.",
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Connectors", type_ = "integer", json_path = ".status.connectors"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.spec.nameSuffix) && !has(self.spec.nameSuffix) || has(oldSelf.spec.nameSuffix) && has(self.spec.nameSuffix) && self.spec.nameSuffix == oldSelf.spec.nameSuffix").message("nameSuffix cannot change: connectors are recognised by it at the API; make a new workspace instead")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct ClusterWorkspaceSpec {
    /// The API to talk to and how.
    #[serde(flatten)]
    pub api: ApiAccess,

    /// The namespaces whose connectors may use this workspace. Nobody, when left out.
    #[schemars(with = "AllowedNamespaces")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// Whether those namespaces may adopt or observe connectors that this operator did not create with this key. Whoever
    /// may write a Connector there can then take, and delete, any connector of the API workspace that no Connector has.
    #[serde(default)]
    pub allow_adoption: bool,
}

/// The part that both workspace kinds share.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiAccess {
    /// Base address of the Connectors API. The operator refuses, before it sends anything, addresses that its own
    /// configuration does not permit.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@\\\\s]+(/[^?#\\\\s]*)?$')").message("endpoint must be an http or https address without user, query or fragment, such as https://api.slim.io"))]
    #[serde(default = "default_endpoint")]
    pub endpoint: String,

    /// How to sign in.
    pub auth: Auth,

    /// Certificates (PEM) to trust for the endpoint, besides the platform's.
    #[schemars(length(max = 262_144))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,

    /// How much may be asked of the API. The defaults are those of the vendor's Free tier.
    #[serde(default)]
    pub rate_limits: RateLimits,

    /// How often the list of connectors is read, as a Go duration. Stretched where the hourly limit demands it.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("pollInterval must be a duration between 1s and 24h, such as 1m or 90s"))]
    #[serde(default = "default_poll_interval")]
    pub poll_interval: String,

    /// Appended to the names that connectors get at the API. Needed when several clusters share one API workspace.
    /// Cannot change.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_suffix: Option<String>,
}

/// How to sign in to the API.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// An API key of one workspace and one role.
    pub api_key: ApiKeyAuth,
}

/// Where the API key stands.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuth {
    /// The Secret's key that holds the API key.
    pub secret_ref: SecretKeyRef,
}

/// Which namespaces may use a ClusterWorkspace: those named and those selected.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels of namespaces; `{}` selects all.
    #[schemars(with = "LabelSelector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How much may be asked of the API with this credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, schemars::JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimits {
    /// Requests in any minute.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: u32,
    /// Requests in any hour.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests_per_hour: u32,
    /// Connectors created in any hour.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub creates_per_hour: u32,
    /// Requests under way at the same time.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrent_requests: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: 60,
            requests_per_hour: 1000,
            creates_per_hour: 20,
            concurrent_requests: 10,
        }
    }
}

fn default_endpoint() -> String {
    "https://api.slim.io".to_owned()
}

fn default_poll_interval() -> String {
    "1m".to_owned()
}

/// What the operator knows of a workspace. Users cannot write it, so it is the record of what is under way.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, and `Reconciling` or `Stalled` while true.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Connectors seen in the API workspace by the last complete list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<i64>,
    /// Salted digest of endpoint and credential: tells whether an id was made with today's credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Connectors created in the last hour, by minute.
    #[schemars(length(max = 61))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<CreateBucket>,
    /// Creates and scan starts whose outcome is not recorded yet.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Creates whose answer was lost and of which no trace was found in time. They are kept for a day: a connector that shows up
    /// with the marks of one is told of by the condition `Duplicated`, and is never deleted.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_creates: Vec<Claim>,
    /// The workspace of the same endpoint and credential that keeps the creates and claims of this one. This one itself, when
    /// absent.
    #[schemars(with = "WorkspaceId")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<WorkspaceId>,
    /// The workspaces of the same endpoint and credential whose creates and claims are kept here.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<WorkspaceId>,
    /// Identities of former keys that reach the same API workspace as today's: newest first.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_identities: Vec<String>,
    /// Identities that were given up by an acknowledgement, while something here was still made under them.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired_identities: Vec<String>,
    /// The value of the annotation `slim.io/identity-acknowledged` that was acted on: it serves once.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_acknowledged: Option<String>,
    /// Connectors that waited for the hourly limit when this was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<i64>,
    /// The last handled value of the annotation `slim.io/reconcile-requested-at`.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// One workspace object, and no other of the same name.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct WorkspaceId {
    /// Whether it is a Workspace or a ClusterWorkspace.
    pub kind: WorkspaceKind,
    /// Its namespace; none for a ClusterWorkspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
    /// The UID of that very object.
    pub uid: String,
}

impl WorkspaceId {
    /// How it is looked up.
    pub fn key(&self) -> WorkspaceKey {
        WorkspaceKey { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// How many creates fell into one minute.
#[derive(Clone, Copy, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct CreateBucket {
    /// The minute's start.
    pub minute: Timestamp,
    /// Creates in that minute.
    pub count: u32,
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ClaimKind {
    /// One `POST /connectors`.
    Connector,
    /// One `POST /connectors/:id/scan`.
    Scan,
}

/// A POST that may be under way: written before it is sent, cleared when its outcome is recorded. Whoever finds it open
/// finds out what became of it from what stands here alone.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// What is being made.
    pub kind: ClaimKind,
    /// Namespace of the object it is made for.
    pub namespace: String,
    /// Name of that object.
    pub name: String,
    /// UID of that object.
    pub uid: String,
    /// UID of the workspace that the object uses, where the claim is kept by another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Distinguishes this claim from all others.
    pub nonce: String,
    /// When the claim was written, by the writer's clock.
    pub claimed_at: Timestamp,
    /// The identity that it was made under.
    pub identity: String,
    /// The name as it is sent (connectors) or the connector's id (scans).
    pub subject: String,
    /// The provider as it is sent. Connectors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The config as it is sent, without its secrets, as JSON text. Connectors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Ids that bore that name already, or scans that were there already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_ids: Vec<String>,
}

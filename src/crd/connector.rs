//! `Connector`: one connection between an API workspace and the storage of one cloud provider.

use kube::core::cel::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConnectorStatus, SecretKeyRef, WorkspaceRef};

/// A cloud-storage connector, created at the Connectors API, tested and watched.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "slim.io",
    version = "v1alpha1",
    kind = "Connector",
    plural = "connectors",
    shortname = "conn",
    category = "slimio",
    namespaced,
    status = "ConnectorStatus",
    derive = "PartialEq",
    doc = "A cloud-storage connector, created at the Connectors API, tested and watched.",
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Risk", type_ = "integer", json_path = ".status.riskScore"),
    printcolumn(name = "Findings", type_ = "integer", json_path = ".status.findingsCount"),
    printcolumn(name = "Last-Scan", type_ = "date", json_path = ".status.lastScanTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.connectorId", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1"),
    validation = unchanged_unless_consented(),
    validation = workspace_unchanged(),
    validation = connector_id_unchanged()
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(
    validation = Rule::new("[has(self.aws), has(self.gcp), has(self.azure)].filter(p, p).size() == 1 || self.managementPolicy == 'Observe' && [has(self.aws), has(self.gcp), has(self.azure)].filter(p, p).size() == 0").message("set exactly one of spec.aws, spec.gcp and spec.azure"),
    validation = Rule::new("self.managementPolicy != 'Observe' || has(self.connectorId)").message("managementPolicy Observe needs spec.connectorId: the id of the connector to observe")
)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorSpec {
    /// The workspace whose credential is used. The ClusterWorkspace `default`, when left out. Cannot change once the
    /// connector exists at the API, nor while it is being created there.
    #[serde(default)]
    pub workspace_ref: WorkspaceRef,

    /// The connector's name at the API. `<namespace>.<name>`, when left out.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[^[:cntrl:]]+$') && self.trim() == self").message("displayName must not contain control characters, nor begin or end with a space"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,

    /// Amazon S3, through a role that is assumed.
    #[schemars(with = "AwsSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSource>,

    /// Google Cloud Storage, through workload identity federation.
    #[schemars(with = "GcpSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<GcpSource>,

    /// Azure Blob Storage, through an app registration.
    #[schemars(with = "AzureSource")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureSource>,

    /// What part of the storage is meant. All that the credentials reach, when left out.
    #[schemars(with = "ConnectorScope")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ConnectorScope>,

    /// What happens to the connector at the API when this object is deleted. `Delete` for what the operator created and
    /// `Retain` for what it adopted, when left out. Deletion takes scan history and findings with it.
    #[schemars(with = "DeletionPolicy")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// The API cannot change a connector, so a changed spec or Secret needs a new one. `Recreate` and `CreateFirst` consent to
    /// that, with the loss of scan history and findings. `Recreate` deletes the old one and makes it anew. `CreateFirst`
    /// makes the new one beside it, tests it, and deletes the old one only when the new one connects; otherwise it deletes
    /// the new one and keeps the old. It needs an API that takes two connectors of one name for that time. With `Never`, a
    /// connector that was never scanned is recreated all the same: nothing is lost.
    #[serde(default)]
    pub replace_policy: ReplacePolicy,

    /// `Observe` reads the connector of `connectorId` and writes nothing at the API: it is not created, tested, replaced or
    /// deleted, and does not belong to this object. From `Manage` to `Observe` it is let go and stays at the API; back, it is
    /// adopted.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// An existing connector to adopt, or to observe. Adopted is only what has this provider and config, as far as they can
    /// be read, and what no other Connector of the cluster has. Its name is compared where `displayName` is set.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._:-]*$')").message("connectorId must be an id as the API prints it, such as conn-7h2k9q"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,

    /// What happens when a connector of the same name, provider and config is there already and no Connector of the cluster
    /// has it: `Matching` adopts it, `ByIdOnly` reports `AlreadyExists`. Nothing is created in either case.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// Connection tests beyond those after a create, a change and a request.
    #[schemars(with = "ConnectionTestPolicy")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_test: Option<ConnectionTestPolicy>,

    /// Highest acceptable risk score, 0 to 100. Sets the condition `RiskAcceptable`; does not touch `Ready`.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_risk_score: Option<i32>,

    /// Stops creating, replacing and testing. Reading, and deletion, go on.
    #[serde(default)]
    pub suspend: bool,
}

/// Amazon S3.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.externalId) != has(self.externalIdSecretRef)").message("set exactly one of aws.externalId and aws.externalIdSecretRef: the role's trust policy must ask for an external id"))]
#[serde(rename_all = "camelCase")]
pub struct AwsSource {
    /// ARN of the IAM role to assume.
    #[schemars(length(min = 20, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')").message("aws.roleArn must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SlimIOScanner"))]
    pub role_arn: String,
    /// The external id that the role's trust policy asks for.
    #[schemars(length(min = 2, max = 1224))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+=,.@:/_-]+$')").message("aws.externalId may hold letters, digits and + = , . @ : / _ - only"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The external id, in a Secret of this namespace.
    #[schemars(with = "SecretKeyRef")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id_secret_ref: Option<SecretKeyRef>,
    /// Region of the buckets.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}$')").message("aws.region must be a region's code, such as eu-west-1"))]
    pub region: String,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.wifProvider) != has(self.wifProviderSecretRef)").message("set exactly one of gcp.wifProvider and gcp.wifProviderSecretRef"))]
#[serde(rename_all = "camelCase")]
pub struct GcpSource {
    /// Id of the project.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$')").message("gcp.projectId must be the project's id (not its name or number), such as acme-lake-42"))]
    pub project_id: String,
    /// E-mail address of the service account that reads the buckets.
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+@[a-z0-9.:-]+\\\\.gserviceaccount\\\\.com$')").message("gcp.serviceAccountEmail must end in .gserviceaccount.com, such as reader@acme-lake-42.iam.gserviceaccount.com"))]
    pub service_account_email: String,
    /// Resource name of the workload identity federation provider, or the Secret that holds it.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^projects/[0-9]+/locations/[a-z0-9-]+/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$')").message("gcp.wifProvider must have the form projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wif_provider: Option<String>,
    /// The provider's resource name, in a Secret of this namespace.
    #[schemars(with = "SecretKeyRef")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wif_provider_secret_ref: Option<SecretKeyRef>,
}

/// Azure Blob Storage.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureSource {
    /// The directory's (tenant's) id.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("azure.tenantId must be a UUID, such as 6f1d2c3b-0000-4000-8000-aabbccddeeff"))]
    pub tenant_id: String,
    /// The app registration's client id.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("azure.clientId must be a UUID, such as 0b9a8f7e-0000-4000-8000-112233445566"))]
    pub client_id: String,
    /// The client secret's value, in a Secret of this namespace.
    pub client_secret_ref: SecretKeyRef,
    /// Name of the storage account.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]{3,24}$')").message("azure.storageAccount must be 3 to 24 lower-case letters and digits"))]
    pub storage_account: String,
}

/// What part of the storage is meant.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorScope {
    /// Names of buckets (containers at Azure).
    #[schemars(length(max = 100), inner(length(min = 3, max = 222)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<String>,
    /// Prefixes of keys, each ending in `/`.
    #[schemars(length(max = 100), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new("self.all(p, p.endsWith('/') && !p.startsWith('/'))").message("each of scope.prefixes must end in / and not begin with it, such as invoices/"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Extensions of files, without the dot.
    #[schemars(length(max = 100), inner(length(min = 1, max = 32)))]
    #[x_kube(validation = Rule::new("self.all(t, t.matches('^[A-Za-z0-9]+$'))").message("each of scope.fileTypes must be an extension without its dot, such as csv"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_types: Vec<String>,
}

/// What deletion of the object means at the API.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum DeletionPolicy {
    /// The connector is deleted at the API, and its absence confirmed.
    Delete,
    /// The connector stays at the API.
    Retain,
}

/// What a change that the API cannot make means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ReplacePolicy {
    /// Refused, unless nothing would be lost.
    #[default]
    Never,
    /// Delete, then create.
    Recreate,
    /// Create and test, then delete the old one.
    CreateFirst,
}

/// Whether the operator manages the connector or only reads it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ManagementPolicy {
    /// Create, test, replace, delete.
    #[default]
    Manage,
    /// Read only.
    Observe,
}

/// Which existing connectors may be taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum AdoptionPolicy {
    /// Those named in `connectorId`.
    #[default]
    ByIdOnly,
    /// Also one of the same name, provider and config that nobody claims.
    Matching,
}

/// When to repeat the connection test.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTestPolicy {
    /// How often, as a Go duration of at least `15m`. Never, when left out.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('15m')").message("connectionTest.interval must be a duration of at least 15m, such as 6h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// `field`, compared between the old and the new spec whether or not it is set.
fn same(field: &str) -> String {
    format!(
        "has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
    )
}

/// The same for fields of one provider.
///
/// A field that can stand in a Secret instead is compared only where both specs have it in clear: moving it there changes
/// nothing at the API, and a different value behind the reference is found by its digest.
fn same_source(provider: &str, fields: &[&str]) -> String {
    let compared = fields
        .iter()
        .map(|field| {
            let path = format!("{provider}.{field}");
            format!(
                "(!has(self.spec.{path}) || !has(oldSelf.spec.{path}) || self.spec.{path} == oldSelf.spec.{path})"
            )
        })
        .collect::<Vec<_>>();
    format!(
        "has(self.spec.{provider}) == has(oldSelf.spec.{provider}) && (!has(self.spec.{provider}) || {})",
        compared.join(" && ")
    )
}

/// Status has an id: the connector exists at the API.
const EXISTS: &str = "has(oldSelf.status) && has(oldSelf.status.connectorId)";

fn unchanged_unless_consented() -> Rule {
    let unchanged = [
        same("displayName"),
        same("scope"),
        same_source("aws", &["roleArn", "region", "externalId"]),
        same_source("gcp", &["projectId", "serviceAccountEmail", "wifProvider"]),
        same_source("azure", &["tenantId", "clientId", "storageAccount"]),
    ]
    .map(|rule| format!("({rule})"))
    .join(" && ");
    let nothing_to_lose = "(has(oldSelf.status.origin) && oldSelf.status.origin == 'Created' \
        && (!has(self.spec.deletionPolicy) || self.spec.deletionPolicy == 'Delete') \
        && !has(oldSelf.status.lastScanTime) && (!has(oldSelf.status.scanned) || !oldSelf.status.scanned) \
        && (!has(oldSelf.status.findingsCount) || oldSelf.status.findingsCount == 0) \
        && (!has(oldSelf.status.scanHistory) || oldSelf.status.scanHistory.size() == 0))";
    Rule::new(format!(
        "!({EXISTS}) || self.spec.managementPolicy == 'Observe' || self.spec.replacePolicy in ['Recreate', 'CreateFirst'] || {nothing_to_lose} || ({unchanged})"
    ))
    .message(
        "the API cannot change a connector, and replacing this one would lose its scan history and findings: revert \
         the change of provider, scope or displayName, or set spec.replacePolicy to Recreate or CreateFirst to consent to \
         the loss",
    )
}

fn workspace_unchanged() -> Rule {
    let begun = "has(oldSelf.status) && has(oldSelf.status.claim)";
    Rule::new(format!("!({EXISTS} || {begun}) || self.spec.workspaceRef == oldSelf.spec.workspaceRef")).message(
        "spec.workspaceRef cannot change while the connector exists at the API or is being created there: delete this \
         object and make it anew in the other workspace",
    )
}

fn connector_id_unchanged() -> Rule {
    Rule::new(format!(
        "!({EXISTS}) || {} || has(self.spec.connectorId) && self.spec.connectorId == oldSelf.status.connectorId",
        format_args!("({})", same("connectorId"))
    ))
    .message("spec.connectorId cannot change once a connector is known; it may be set to status.connectorId")
}

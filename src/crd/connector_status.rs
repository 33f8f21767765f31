//! What the operator answers on a `Connector`. Every field is optional: the schema's default for an untouched object is
//! `{observedGeneration: -1}`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How many scans of the API's history are kept in the status, newest first.
pub const SCAN_HISTORY_LIMIT: usize = 10;

/// The state of a connector.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Synced`, `Connected`, `RiskAcceptable` where asked for; `Reconciling` or `Stalled` while true.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The connector's id at the API, once it is this object's. Absent while it is only observed.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// The id that is about to be taken. It stands here before anybody is asked who else has it, so that of two objects that
    /// want one id at the same time one sees the other.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopting: Option<String>,
    /// The claim under which the connector is being, or was, created: it stands here before anything is sent. Absent where no
    /// create was begun. While it is there, `spec.workspaceRef` cannot change.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// How the operator came to it.
    #[schemars(with = "Origin")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Salted digest of the credential and endpoint that the id was made or read under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Salted digests of what the API was given: of what stands in the spec, and of all, secrets included. They tell what it
    /// would have to learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// `aws`, `gcp` or `azure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The API's word for the connector's state: `active`, `pending_test`, `error`, `disconnected`, or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Risk score, 0 to 100. Absent before the first scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<i32>,
    /// Findings of sensitive data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_count: Option<i64>,
    /// The last scan, as the API's list tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scan_time: Option<Timestamp>,
    /// Whether a Scan of this connector was ever begun: from then on, replacing it loses something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<bool>,
    /// The last connection test.
    #[schemars(with = "ConnectionTest")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_test: Option<ConnectionTest>,
    /// The newest scans that the API knows of, newest first.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scan_history: Vec<ScanHistoryEntry>,
    /// When the create's turn comes, while it waits for the hourly limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_create_time: Option<Timestamp>,
    /// A replacement that is under way.
    #[schemars(with = "Replacement")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Box<Replacement>>,
    /// Whether the API has shown the connector as it was given it. What differs from then on was changed at the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_as_sent: Option<bool>,
    /// The last `CreateFirst` replacement, while its failure keeps it from being tried again: until the spec, a Secret or the
    /// annotation `slim.io/reconcile-requested-at` changes.
    #[schemars(with = "FailedReplacement")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_replacement: Option<Box<FailedReplacement>>,
    /// The last handled value of the annotation `slim.io/reconcile-requested-at`.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl ConnectorStatus {
    /// Every id that is recorded as this object's own.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let replacement = self.replacement.as_ref();
        let during = replacement.into_iter().flat_map(|it| [Some(&it.old_id), it.new_id.as_ref()]).flatten();
        self.connector_id.iter().chain(during).map(String::as_str)
    }

    /// The one that exists, or may exist, beside the connector: a replacement's other one.
    pub fn other_id(&self) -> Option<&str> {
        let known = self.connector_id.as_deref()?;
        self.ids().find(|id| *id != known)
    }
}

/// How the operator came to a connector.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum Origin {
    /// It created it.
    Created,
    /// It was told to take it.
    Adopted,
}

/// A connection test's outcome.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTest {
    /// When it ended.
    pub time: Timestamp,
    /// Whether the credentials work.
    pub connected: bool,
    /// Buckets that could be listed.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets_accessible: Vec<String>,
    /// Objects seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_objects: Option<i64>,
    /// How long the API's check took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_milliseconds: Option<i64>,
    /// What the API says of a failure.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Failed tests in a row, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// The digest of what had been sent when it ran: a change asks for a new test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// One scan that the API knows of.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanHistoryEntry {
    /// The scan's id.
    pub scan_id: String,
    /// The API's word for its state.
    pub state: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// Files processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_processed: Option<i64>,
    /// Findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_count: Option<i64>,
}

/// A replacement, recorded before each of its effects.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// The connector that goes.
    pub old_id: String,
    /// The connector that comes, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_id: Option<String>,
    /// How far it is.
    pub phase: ReplacementPhase,
    /// Salted digests of what the connector that comes was given, where it is made first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The last connection test of the connector that comes, where it is made first.
    #[schemars(with = "ConnectionTest")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_test: Option<ConnectionTest>,
}

/// How far a replacement is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ReplacementPhase {
    /// `Recreate`: the old connector is being deleted.
    Deleting,
    /// `Recreate`: the old one is confirmed gone; the new one is being created.
    Creating,
    /// `CreateFirst`: the new one is being created; the old one is still the object's connector.
    CreatingFirst,
    /// `CreateFirst`: the new one is known, and its connection is being tested.
    Testing,
    /// `CreateFirst`: the new one passed, and is the object's connector now; the old one is being deleted.
    Switched,
    /// `CreateFirst`: the new one is not to be kept, and is being deleted; the old one stays.
    RollingBack,
}

/// A replacement that ended with the old connector.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedReplacement {
    /// The generation of the spec that asked for it.
    pub generation: i64,
    /// Salted digests of what the new connector was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The value of `slim.io/reconcile-requested-at` at that time.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
    /// What went wrong, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

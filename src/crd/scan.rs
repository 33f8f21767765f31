//! `Scan`: one scan of one connector. Runs once, as a Job does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConnectorRef, WorkspaceId};

/// One scan of one connector. Runs once, as a Job does.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "slim.io",
    version = "v1alpha1",
    kind = "Scan",
    plural = "scans",
    category = "slimio",
    namespaced,
    status = "ScanStatus",
    derive = "PartialEq",
    doc = "One scan of one connector. Runs once, as a Job does.",
    printcolumn(name = "Connector", type_ = "string", json_path = ".spec.connectorRef.name"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.filesProcessed"),
    printcolumn(name = "Findings", type_ = "integer", json_path = ".status.findingsCount"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.scanId", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Scan cannot be changed: it runs once; make a new one"))]
#[serde(rename_all = "camelCase")]
pub struct ScanSpec {
    /// The connector to scan, in the same namespace.
    pub connector_ref: ConnectorRef,
    /// `Full` scans everything in scope; `Incremental` what is new or changed since the last completed scan.
    #[serde(rename = "type", default)]
    pub scan_type: ScanType,
    /// Limits of this scan. What is left out is the API's own default.
    #[schemars(with = "ScanOptions")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<ScanOptions>,
    /// How long the scan may wait for its connector before it fails without having begun, in seconds. Without end, when
    /// left out.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// How long after its start the scan is followed before this object fails, in seconds. The scan at the API may go
    /// on: it has no way to be stopped (see `options.timeoutMinutes`).
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// How long after its end this object is deleted, in seconds. Never, when left out. A tool that applies manifests
    /// again and again, as Argo CD and Flux do, would make a Scan that is gone anew, and so start, and pay for, another
    /// one: use a ScanSchedule there.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// What is scanned.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ScanType {
    /// Everything in scope.
    #[default]
    Full,
    /// What is new or changed since the last completed scan.
    Incremental,
}

/// Limits of one scan.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanOptions {
    /// Most files to process.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<i64>,
    /// Most parallel workers at the API.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<i64>,
    /// Extensions to include, without the dot.
    #[schemars(length(max = 100), inner(length(min = 1, max = 32)))]
    #[x_kube(validation = Rule::new("self.all(t, t.matches('^[A-Za-z0-9]+$'))").message("each of options.fileTypes must be an extension without its dot, such as csv"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_types: Vec<String>,
    /// Prefixes of keys to include, each ending in `/`.
    #[schemars(length(max = 100), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new("self.all(p, p.endsWith('/') && !p.startsWith('/'))").message("each of options.prefixes must end in / and not begin with it, such as invoices/"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// A second look by a language model, where the API has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_assist: Option<bool>,
    /// Time limit that the API itself keeps, in minutes.
    #[schemars(range(min = 1, max = 525_600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_minutes: Option<i64>,
}

/// The state of a scan.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Complete` and `Failed` as a Job has them, `Ready`; `Reconciling` or `Stalled` while true.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The scan's id at the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<String>,
    /// The id of the connector that it runs on, also after that connector is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// The workspace that it was begun in, also after its Connector is deleted, or made anew in another one.
    #[schemars(with = "WorkspaceId")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// The claim under which it is being, or was, started: it stands here before anything is sent.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Where the scan is. `Completed`, `Failed` and `Cancelled` are final.
    #[schemars(with = "ScanPhase")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ScanPhase>,
    /// The API's word for the scan's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How far it is.
    #[schemars(with = "ScanProgress")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ScanProgress>,
    /// Findings of sensitive data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_count: Option<i64>,
    /// Files processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_processed: Option<i64>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// From start to end, as kubectl prints durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// Where a scan is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ScanPhase {
    /// Not started at the API yet.
    Pending,
    /// Accepted by the API, waiting for workers.
    Queued,
    /// Files are being processed.
    Running,
    /// All files are done.
    Completed,
    /// It could not be started or finished.
    Failed,
    /// Somebody stopped it at the API.
    Cancelled,
}

impl ScanPhase {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How far a scan is.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanProgress {
    /// Percent of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Files in the scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_total: Option<i64>,
    /// Files processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_processed: Option<i64>,
    /// Files that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_failed: Option<i64>,
    /// When the API expects to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Timestamp>,
}

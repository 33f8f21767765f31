//! `ScanSchedule`: Scans by the clock. Means what a CronJob means, word for word where it applies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConnectorRef, ScanOptions, ScanSpec, ScanType};

/// Scans by the clock, as a CronJob makes Jobs.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "slim.io",
    version = "v1alpha1",
    kind = "ScanSchedule",
    plural = "scanschedules",
    category = "slimio",
    namespaced,
    status = "ScanScheduleStatus",
    derive = "PartialEq",
    doc = "Scans by the clock, as a CronJob makes Jobs.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Time-Zone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.activeCount"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[cfg_attr(test, kube(cel))]
#[x_kube(validation = Rule::new("has(self.connectorRef) != has(self.connectorSelector)").message("name what to scan by either connectorRef or connectorSelector"))]
#[x_kube(validation = Rule::new("!has(self.spread) || has(self.connectorSelector)").message("spread needs a connectorSelector: one connector is scanned at the planned time"))]
#[serde(rename_all = "camelCase")]
pub struct ScanScheduleSpec {
    /// When to scan, as cron writes it: minute, hour, day of month, month, day of week (`0 2 * * 1-5`); or `@hourly`,
    /// `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`. Where both days are given, either will do.
    /// On the day when clocks are put forward, a time that does not exist becomes the first moment after the gap; when
    /// they are put back, a time that exists twice is the first of the two. With `*` as the hour it follows the elapsed
    /// time instead, and so runs in every hour that the day has.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[0-9*/,-]+ +[0-9*/,-]+ +[0-9*/,?-]+ +[0-9A-Za-z*/,-]+ +[0-9A-Za-z*/,?-]+)$')").message("schedule must have five fields (minute, hour, day of month, month, day of week), such as 0 2 * * 1-5, or be one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"))]
    pub schedule: String,
    /// The time zone of the schedule, by its name in the IANA database, such as `Europe/Berlin`. UTC, when left out. The
    /// operator brings its own copy of the database.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z][A-Za-z0-9_+/-]*$') && self != 'Local'").message("timeZone must be a name of the IANA time zone database, such as Europe/Berlin"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The connector to scan, in the same namespace.
    #[schemars(with = "ConnectorRef")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_ref: Option<ConnectorRef>,
    /// The connectors to scan, by their labels, in the same namespace; `{}` selects all. One Scan for each. Those that are
    /// only observed, or are being deleted, are left out.
    #[schemars(with = "LabelSelector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_selector: Option<LabelSelector>,
    /// The time over which the Scans of a run are spread, as a Go duration, so that they do not begin all at once. Each
    /// connector keeps its place in it. Never longer than until the next run. All at the planned time, when left out.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')").message("spread must be a duration of at most 24h, such as 30m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// What happens when a Scan of an earlier run has not ended, for each connector by itself. `Forbid`: that connector
    /// is left out of the run; where no connector is free, the run waits for one, as a CronJob's does. `Allow`: a Scan is made
    /// all the same; it waits, since the API runs one scan of a connector at a time. `Replace`: an earlier Scan that has
    /// not begun at the API is deleted and a new one made; one that has begun cannot be cancelled there, so it stays and goes on,
    /// and the new one waits for it.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// Starts nothing while true; Scans that were made go on. Runs that come due meanwhile are missed, and the newest of
    /// them is made up for afterwards, unless `startingDeadlineSeconds` forbids it.
    #[serde(default)]
    pub suspend: bool,
    /// How late a run, or a connector's place in it, may be begun, in seconds. What is later is missed. Without end, when
    /// left out.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// How many completed Scans are kept, for each connector. The oldest go first.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default = "default_successful_limit")]
    pub successful_scans_history_limit: i32,
    /// How many failed or cancelled Scans are kept, for each connector. The oldest go first.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default = "default_failed_limit")]
    pub failed_scans_history_limit: i32,
    /// The Scans that are made.
    #[serde(default)]
    pub scan_template: ScanTemplate,
}

fn default_successful_limit() -> i32 {
    3
}

fn default_failed_limit() -> i32 {
    1
}

/// What happens when a Scan of an earlier run has not ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum ConcurrencyPolicy {
    /// The connector is left out of the run.
    #[default]
    Forbid,
    /// Another Scan is made, and waits.
    Allow,
    /// A Scan that has not begun is deleted, and another one is made.
    Replace,
}

/// A Scan to be made.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanTemplate {
    /// What its metadata have besides what the schedule puts there.
    #[serde(default)]
    pub metadata: TemplateMetadata,
    /// What it does.
    #[serde(default)]
    pub spec: ScanTemplateSpec,
}

/// Metadata of the Scans that are made.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels of each Scan. `slim.io/schedule` is added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of each Scan. `slim.io/scheduled-at` is added.
    #[x_kube(validation = Rule::new("!('slim.io/scan' in self)").message("scanTemplate.metadata.annotations must not have slim.io/scan: it marks a Scan that ran already"))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the Scans that are made do: the fields of a Scan, but for its connector.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanTemplateSpec {
    /// `Full` scans everything in scope; `Incremental` what is new or changed since the last completed scan.
    #[serde(rename = "type", default)]
    pub scan_type: ScanType,
    /// Limits of each scan. What is left out is the API's own default.
    #[schemars(with = "ScanOptions")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<ScanOptions>,
    /// How long a Scan may wait for its connector before it fails without having begun, in seconds. Without end, when
    /// left out.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// How long after its start a scan is followed before its object fails, in seconds. The scan at the API may go on.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// How long after its end a Scan is deleted, in seconds, if the history limits let it stay that long.
    #[schemars(range(min = 0, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
}

impl ScanTemplateSpec {
    /// The Scan of that connector.
    pub fn scan_of(&self, connector: &str) -> ScanSpec {
        let Self {
            scan_type,
            options,
            starting_deadline_seconds,
            active_deadline_seconds,
            ttl_seconds_after_finished,
        } = self.clone();
        ScanSpec {
            connector_ref: ConnectorRef { name: connector.to_owned() },
            scan_type,
            options,
            starting_deadline_seconds,
            active_deadline_seconds,
            ttl_seconds_after_finished,
        }
    }
}

/// The state of a schedule.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanScheduleStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`; `Reconciling` or `Stalled` while true.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The planned time of the last run that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    /// When a Scan of this schedule last completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// The planned time of the next run. None while suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// Scans of this schedule that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_count: Option<i32>,
    /// Names of the first 50 of them.
    #[schemars(length(max = 50))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
    /// How many runs came due before the last one, since the one before it, and were not begun: the operator was away, the schedule
    /// suspended, an earlier Scan in the way, or the deadline over. At most 101 are counted at a time, which means: more than
    /// 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<i32>,
    /// The schedule and time zone that the times here were reckoned by. A change of either begins anew: runs planned for
    /// the time before it are not made up for.
    #[schemars(length(max = 200))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Planned times up to this one are dealt with: begun or missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_until: Option<Timestamp>,
    /// The last run that was begun, by the schedule or on request.
    #[schemars(with = "ScanRun")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<ScanRun>,
    /// The last handled value of the annotation `slim.io/run-requested-at`.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_run_request: Option<String>,
}

/// One run of a schedule: a Scan for each connector.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanRun {
    /// The planned time, or that of the request.
    pub time: Timestamp,
    /// The value of the annotation that asked for it; none: the schedule did.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Scans that were made.
    #[serde(default)]
    pub started: i32,
    /// Connectors that were left out: an earlier Scan was in the way, or the deadline over.
    #[serde(default)]
    pub skipped: i32,
    /// The place of the connector that was dealt with last, while others may follow.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Whether every connector was dealt with.
    #[serde(default)]
    pub finished: bool,
    /// An object that has the name of one of the Scans and does not belong to the schedule. It is left alone.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_taken: Option<String>,
}

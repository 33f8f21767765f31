//! Scans: starting one for a connector, starting one across connectors, and reading how far it is.
//!
//! `docs.slim.io/api-reference/connectors` (trigger) and `docs.slim.io/api-reference/scans`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tolerant;
use super::{ConnectorId, ScanId, ScanState, ScanType};

/// Body of `POST /connectors/{id}/scan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartScan {
    /// Kind of scan. Whether it may be left out is not documented, so it is always sent; a server reads an
    /// absent one as `full`, the only kind that the page shows here.
    #[serde(rename = "type", default = "full")]
    pub scan_type: ScanType,
    /// Limits of this scan.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "ScanOptions::is_empty")]
    pub options: ScanOptions,
}

fn full() -> ScanType {
    ScanType::Full
}

fn null_is_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ScanOptions, D::Error> {
    Ok(Option::<ScanOptions>::deserialize(deserializer)?.unwrap_or_default())
}

/// Options of a scan. What is left out takes the default of the tier.
///
/// The connectors page shows `max_files` and `file_types`; the scans page documents all six.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanOptions {
    /// Most files to process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u64>,
    /// Most parallel workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<u32>,
    /// Extensions to include, without the dot.
    #[serde(default, deserialize_with = "tolerant::list", skip_serializing_if = "Vec::is_empty")]
    pub file_types: Vec<String>,
    /// Key prefixes to include.
    #[serde(default, deserialize_with = "tolerant::list", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// A second look by a language model; documented default `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_assist: Option<bool>,
    /// Time limit of the remote scan, in minutes; documented default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_minutes: Option<u32>,
}

impl ScanOptions {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Answer of `POST /connectors/{id}/scan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanStarted {
    /// Id that the service gave.
    pub scan_id: ScanId,
    /// Connector that is scanned; `None` when the service does not repeat it.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<ConnectorId>,
    /// `queued` in the sample.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ScanState,
    /// When it was accepted, on the service's clock.
    #[serde(default, with = "tolerant::time")]
    pub created_at: Option<Timestamp>,
}

/// Body of `POST /scans/parallel`: one scan across several connectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartParallelScan {
    /// Connectors to scan, one or more.
    pub connectors: Vec<ConnectorId>,
    /// Kind of scan.
    #[serde(rename = "type")]
    pub scan_type: ScanType,
    /// Limits of this scan.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "ScanOptions::is_empty")]
    pub options: ScanOptions,
}

/// Answer of `POST /scans/parallel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParallelScanStarted {
    /// Id that the service gave; `scan-par-` plus digits in the sample.
    pub scan_id: ScanId,
    /// `queued` in the sample.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ScanState,
    /// Connectors as sent.
    #[serde(default, deserialize_with = "tolerant::list")]
    pub connectors: Vec<ConnectorId>,
    /// Kind as sent.
    #[serde(rename = "type", default, deserialize_with = "tolerant::word")]
    pub scan_type: ScanType,
    /// Workers asked for; repeats `max_workers` in the sample.
    #[serde(default, deserialize_with = "tolerant::optional_small_count")]
    pub workers_requested: Option<u32>,
    /// When it was accepted, on the service's clock.
    #[serde(default, with = "tolerant::time")]
    pub created_at: Option<Timestamp>,
}

/// Answer of `GET /scans/{id}`.
///
/// The page is known up to `workers` and has more after it. What the last four fields hold is read where it is
/// sent under these names; `connectors-server` sends them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRead {
    /// Id.
    pub scan_id: ScanId,
    /// State.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ScanState,
    /// Files so far; `None` when there is nothing to tell yet.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub progress: Option<ScanProgress>,
    /// How much of the whole was looked at. Counted apart from `progress`: do not check one against the other.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub coverage: Option<ScanCoverage>,
    /// Workers of the job.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub workers: Option<ScanWorkers>,
    /// Connector that is scanned. Not on the page.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<ConnectorId>,
    /// When it started. Not on the page.
    #[serde(default, with = "tolerant::time", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended. Not on the page.
    #[serde(default, with = "tolerant::time", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Why it failed, as a sentence for a person. Not on the page.
    #[serde(default, deserialize_with = "tolerant::optional_text", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Files of a scan (`data.progress`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanProgress {
    /// Files in the job.
    #[serde(deserialize_with = "tolerant::count")]
    pub files_total: u64,
    /// Files read.
    #[serde(deserialize_with = "tolerant::count")]
    pub files_processed: u64,
    /// Files that could not be read.
    #[serde(deserialize_with = "tolerant::count")]
    pub files_failed: u64,
    /// Findings so far.
    #[serde(deserialize_with = "tolerant::count")]
    pub findings_count: u64,
    /// 0 to 100.
    #[serde(deserialize_with = "tolerant::share")]
    pub percent_complete: f64,
    /// Seconds since the start.
    #[serde(deserialize_with = "tolerant::count")]
    pub elapsed_seconds: u64,
    /// Seconds that may be left; `None` without an estimate.
    #[serde(deserialize_with = "tolerant::optional_count")]
    pub estimated_remaining_seconds: Option<u64>,
}

/// Coverage of a scan (`data.coverage`). Shares run from 0 to 1, `coverage_pct` too, despite its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanCoverage {
    /// Share aimed at, 0 to 1.
    #[serde(deserialize_with = "tolerant::share")]
    pub coverage_target: f64,
    /// `best_effort` in the sample.
    #[serde(deserialize_with = "tolerant::text")]
    pub coverage_strategy: String,
    /// Share reached, 0 to 1.
    #[serde(deserialize_with = "tolerant::share")]
    pub coverage_pct: f64,
    /// Whether the target is reached.
    #[serde(deserialize_with = "tolerant::flag")]
    pub target_met: bool,
    /// 0 to 1; equal to `coverage_pct` in the sample.
    #[serde(deserialize_with = "tolerant::share")]
    pub completeness_score: f64,
    /// `in_progress` in the sample.
    #[serde(deserialize_with = "tolerant::text")]
    pub enumeration_status: String,
    /// Objects listed.
    #[serde(deserialize_with = "tolerant::count")]
    pub total_enumerated: u64,
    /// Objects scanned.
    #[serde(deserialize_with = "tolerant::count")]
    pub total_scanned: u64,
    /// Objects left out.
    #[serde(deserialize_with = "tolerant::count")]
    pub total_skipped: u64,
    /// Objects that could not be scanned.
    #[serde(deserialize_with = "tolerant::count")]
    pub total_failed: u64,
}

/// Workers of a scan (`data.workers`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanWorkers {
    /// All of them.
    #[serde(deserialize_with = "tolerant::count")]
    pub total: u64,
    /// At work.
    #[serde(deserialize_with = "tolerant::count")]
    pub active: u64,
    /// Done.
    #[serde(deserialize_with = "tolerant::count")]
    pub completed: u64,
    /// Given up.
    #[serde(deserialize_with = "tolerant::count")]
    pub failed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_start_sends_its_type_and_only_the_options_that_are_set() {
        let bare = StartScan { scan_type: ScanType::Full, options: ScanOptions::default() };
        assert_eq!(serde_json::to_value(&bare).unwrap(), json!({"type": "full"}));
        let options = ScanOptions {
            max_files: Some(2000),
            file_types: vec!["csv".to_owned()],
            ..ScanOptions::default()
        };
        let start = StartScan { scan_type: ScanType::Incremental, options };
        let json = json!({"type": "incremental", "options": {"max_files": 2000, "file_types": ["csv"]}});
        assert_eq!(serde_json::to_value(&start).unwrap(), json);
        assert_eq!(serde_json::from_value::<StartScan>(json).unwrap(), start);
    }

    #[test]
    fn a_start_may_arrive_without_options_or_type() {
        for body in ["{}", r#"{"type":"full"}"#, r#"{"type":"full","options":null}"#, r#"{"options":{}}"#] {
            let start: StartScan = serde_json::from_str(body).unwrap();
            assert_eq!(
                start,
                StartScan { scan_type: ScanType::Full, options: ScanOptions::default() },
                "{body}"
            );
        }
        assert!(serde_json::from_str::<StartScan>(r#"{"options":{"max_files":-1}}"#).is_err());
        assert!(serde_json::from_str::<StartParallelScan>(r#"{"connectors":["conn-1"]}"#).is_err());
    }

    #[test]
    fn a_started_scan_is_known_by_scan_id() {
        let started: ScanStarted = serde_json::from_value(json!({
            "scan_id": "scan-9p4w2r", "connector_id": "conn-7h2k9q", "status": "queued",
            "created_at": "2025-02-10T11:20:00Z"
        }))
        .unwrap();
        assert_eq!(started.status, ScanState::Queued);
        assert!(serde_json::from_str::<ScanStarted>(r#"{"scan_id":"scan-1"}"#).is_ok());
        assert!(serde_json::from_str::<ScanStarted>(r#"{"id":"scan-1"}"#).is_err());
    }

    #[test]
    fn a_scan_in_the_documented_shape_reads_and_writes_back_the_same() {
        let json = json!({
            "scan_id": "scan-par-042", "status": "running",
            "progress": {"files_total": 4000, "files_processed": 1000, "files_failed": 3, "findings_count": 57,
                "percent_complete": 25.0, "elapsed_seconds": 60, "estimated_remaining_seconds": 180},
            "coverage": {"coverage_target": 0.9, "coverage_strategy": "best_effort", "coverage_pct": 0.2,
                "target_met": false, "completeness_score": 0.2, "enumeration_status": "in_progress",
                "total_enumerated": 4000, "total_scanned": 800, "total_skipped": 150, "total_failed": 3},
            "workers": {"total": 4, "active": 3, "completed": 1, "failed": 0}
        });
        let scan: ScanRead = serde_json::from_value(json.clone()).unwrap();
        assert!(!scan.status.is_terminal());
        assert_eq!(serde_json::to_value(&scan).unwrap(), json);
    }

    #[test]
    fn a_scan_with_nothing_to_tell_yet_reads() {
        let scan: ScanRead = serde_json::from_str(
            r#"{"scan_id":"scan-1","status":"created","progress":null,"workers":"","later":{"a":1}}"#,
        )
        .unwrap();
        assert_eq!((scan.progress, scan.coverage, scan.workers), (None, None, None));
        let partial: ScanRead = serde_json::from_str(
            r#"{"scan_id":"scan-1","status":"canceled","progress":{"files_total":"12","percent_complete":"7.5",
                "estimated_remaining_seconds":null},"completed_at":""}"#,
        )
        .unwrap();
        let progress = partial.progress.unwrap();
        assert_eq!((progress.files_total, progress.percent_complete), (12, 7.5));
        assert_eq!(progress.estimated_remaining_seconds, None);
        assert_eq!((partial.status, partial.completed_at), (ScanState::Cancelled, None));
    }

    #[test]
    fn a_parallel_start_has_the_documented_shape() {
        let start = StartParallelScan {
            connectors: vec!["conn-1".parse().unwrap()],
            scan_type: ScanType::Incremental,
            options: ScanOptions {
                max_workers: Some(4),
                timeout_minutes: Some(45),
                ..ScanOptions::default()
            },
        };
        assert_eq!(
            serde_json::to_value(&start).unwrap(),
            json!({"connectors": ["conn-1"], "type": "incremental",
                   "options": {"max_workers": 4, "timeout_minutes": 45}})
        );
        let answer: ParallelScanStarted = serde_json::from_value(json!({
            "scan_id": "scan-par-042", "status": "queued", "connectors": ["conn-1"], "type": "incremental",
            "workers_requested": 4, "created_at": "2025-02-10T12:00:00Z"
        }))
        .unwrap();
        assert_eq!(answer.workers_requested, Some(4));
    }
}

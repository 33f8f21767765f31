//! Reading a scan: how far it is, counted from the database, so that it means the same after a restart.

use std::sync::Arc;

use axum::extract::State;
use connectors_api::{ConnectorId, ScanCoverage, ScanProgress, ScanRead, ScanState, ScanWorkers};
use jiff::Timestamp;

use super::Api;
use super::connectors::scan_id;
use super::envelope::Reply;
use super::error::ApiError;
use super::path::Id;
use crate::store::{Caller, Role, ScanRow};

pub(super) async fn read(State(api): State<Arc<Api>>, caller: Caller, Id(id): Id) -> Result<Reply, ApiError> {
    let scope = caller.at_least(Role::Viewer, "read scans")?;
    let scan = scope.scan(&id).await?.ok_or_else(|| ApiError::no_scan(&id))?;
    let active = api.runner.active_workers(&scan.connector_id, &scan.id);
    Reply::ok(ScanRead {
        scan_id: scan_id(&scan.id)?,
        status: ScanState::from(scan.state.as_str()),
        progress: Some(progress(&scan, Timestamp::now())),
        coverage: Some(coverage(&scan)),
        workers: Some(workers(&scan, active)),
        connector_id: ConnectorId::parse(scan.connector_id.as_str()).ok(),
        started_at: scan.started_at,
        completed_at: scan.completed_at,
        message: scan.failure,
    })
}

/// Files that the options and the scope leave in. A full scan ends with all of them processed.
fn progress(scan: &ScanRow, now: Timestamp) -> ScanProgress {
    let processed = scan.processed();
    let end = scan.completed_at.unwrap_or(now);
    let elapsed =
        scan.started_at.map_or(0, |start| u64::try_from(end.as_second() - start.as_second()).unwrap_or(0));
    let over = scan.completed_at.is_some();
    // While the listing goes on the total still grows, so 100 is kept for the end.
    let percent = match (scan.files_total, over) {
        (0, true) => 100,
        (0, false) => 0,
        (total, true) => 100 * processed / total,
        (total, false) => (100 * processed / total).min(99),
    };
    let remaining =
        (!over && processed > 0).then(|| elapsed * scan.files_total.saturating_sub(processed) / processed);
    ScanProgress {
        files_total: scan.files_total,
        files_processed: processed,
        files_failed: scan.failed,
        findings_count: scan.findings_count,
        percent_complete: percent as f64,
        elapsed_seconds: elapsed,
        estimated_remaining_seconds: if over { Some(0) } else { remaining },
    }
}

/// Everything that was listed. This server aims at all of it.
fn coverage(scan: &ScanRow) -> ScanCoverage {
    let skipped = scan.skipped + scan.unchanged + scan.left_out;
    let share = if scan.listed == 0 { 0.0 } else { scan.scanned as f64 / scan.listed as f64 };
    let share = (share.min(1.0) * 10_000.0).round() / 10_000.0;
    let over = scan.state == "completed";
    ScanCoverage {
        coverage_target: 1.0,
        coverage_strategy: "best_effort".to_owned(),
        coverage_pct: share,
        // What is left out was not asked for.
        target_met: over && scan.failed == 0,
        completeness_score: share,
        enumeration_status: if scan.enumerated { "completed" } else { "in_progress" }.to_owned(),
        total_enumerated: scan.listed,
        total_scanned: scan.scanned,
        total_skipped: skipped,
        total_failed: scan.failed,
    }
}

/// Workers add up: those at a file, and those that are done or wait for one.
fn workers(scan: &ScanRow, active: u64) -> ScanWorkers {
    let over = scan.completed_at.is_some();
    let active = if over { 0 } else { active.min(scan.workers) };
    let failed = if scan.state == "failed" { scan.workers } else { 0 };
    ScanWorkers { total: scan.workers, active, completed: scan.workers - active - failed, failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan() -> ScanRow {
        let start: Timestamp = "2025-02-03T04:00:00Z".parse().unwrap();
        ScanRow {
            id: "scan-1".to_owned(),
            connector_id: "conn-1".to_owned(),
            state: "running".to_owned(),
            failure: None,
            workers: 4,
            enumerated: false,
            files_total: 4000,
            scanned: 995,
            skipped: 2,
            failed: 3,
            unchanged: 0,
            findings_count: 57,
            listed: 4150,
            left_out: 150,
            created_at: start,
            started_at: Some(start),
            completed_at: None,
        }
    }

    fn minute_later() -> Timestamp {
        "2025-02-03T04:01:00Z".parse().unwrap()
    }

    #[test]
    fn a_quarter_done_in_a_minute_leaves_three() {
        let progress = progress(&scan(), minute_later());
        assert_eq!((progress.files_processed, progress.files_failed), (1000, 3));
        assert_eq!((progress.percent_complete, progress.elapsed_seconds), (25.0, 60));
        assert_eq!(progress.estimated_remaining_seconds, Some(180));
    }

    #[test]
    fn a_running_scan_is_never_at_100_and_an_ended_one_with_nothing_to_do_is() {
        let all = ScanRow { files_total: 1000, ..scan() };
        assert_eq!(progress(&all, minute_later()).percent_complete, 99.0);
        let ended = ScanRow { completed_at: Some(minute_later()), ..all };
        assert_eq!(progress(&ended, minute_later()).percent_complete, 100.0);
        let nothing = ScanRow { files_total: 0, scanned: 0, skipped: 0, failed: 0, ..ended };
        assert_eq!(progress(&nothing, minute_later()).percent_complete, 100.0);
        assert_eq!(
            progress(
                &ScanRow { files_total: 0, scanned: 0, skipped: 0, failed: 0, ..scan() },
                minute_later()
            )
            .estimated_remaining_seconds,
            None
        );
    }

    #[test]
    fn coverage_is_a_share_between_0_and_1_and_workers_add_up() {
        let coverage = coverage(&scan());
        assert!((coverage.coverage_pct - 995.0 / 4150.0).abs() < 0.0001);
        assert_eq!((coverage.total_skipped, coverage.enumeration_status.as_str()), (152, "in_progress"));
        assert_eq!(super::coverage(&ScanRow { listed: 0, ..scan() }).coverage_pct, 0.0);
        let workers = workers(&scan(), 3);
        assert_eq!(workers.total, workers.active + workers.completed + workers.failed);
    }
}

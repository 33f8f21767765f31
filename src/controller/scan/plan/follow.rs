//! Following a scan that was started, to its end.

use std::time::Duration;

use connectors_api::wire::{ConnectorId, ScanHistoryEntry, ScanId, ScanRead, ScanState};
use jiff::SignedDuration;

use super::super::observed::Observed;
use super::outlook::{self, Outlook, between};
use super::{Effect, Plan};
use crate::controller::Reason;
use crate::controller::conditions::whole_seconds;
use crate::crd::{ScanPhase, ScanProgress, ScanStatus};
use crate::remote::FaultKind;

/// The shortest wait between two reads of a scan.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn plan(o: &Observed, id: &ScanId) -> Plan {
    let running = || {
        Outlook::new(o.status.phase.unwrap_or(ScanPhase::Queued), Reason::Queued, format!("{id} was started"))
    };
    let copy = copy(o, id);
    if o.object.ran.as_ref() != Some(&copy) {
        return Plan::act(o, Effect::Annotate(copy), running());
    }
    if let Some((claim, _)) = &o.claim {
        return Plan::act(o, Effect::CloseClaim(claim.nonce.clone()), running());
    }
    match &o.facts.scan {
        None => too_long(o, id).unwrap_or_else(|| Plan::act(o, Effect::ReadScan(id.clone()), running())),
        Some(Ok(read)) => said(o, id, read),
        // Either the scan is gone, or this API has no such route: the connector's history tells.
        Some(Err(fault)) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Refused) => {
            from_history(o, id)
        }
        Some(Err(fault)) => Outlook::fault(o, "cannot read the scan", fault).settle(o),
    }
}

/// What the annotation keeps: a Scan restored from a backup finds it under another UID, or without a status.
fn copy(o: &Observed, id: &ScanId) -> String {
    serde_json::json!({ "uid": o.object.uid, "id": id.as_str() }).to_string()
}

fn too_long(o: &Observed, id: &ScanId) -> Option<Plan> {
    let limit = Duration::from_secs(u64::try_from(o.spec.active_deadline_seconds?).unwrap_or(0));
    let ran = between(o.status.start_time?, o.now);
    (ran >= limit).then(|| {
        let message = format!(
            "{id} did not end within spec.activeDeadlineSeconds ({}); it may go on at the API, which cannot be told to stop it",
            limit.as_secs()
        );
        Outlook::failed(Reason::DeadlineExceeded, message).settle(o)
    })
}

fn said(o: &Observed, id: &ScanId, read: &ScanRead) -> Plan {
    let mut status = o.status.clone();
    status.state = Some(read.status.as_str().to_owned());
    let mut wait = SHORTEST;
    if let Some(progress) = &read.progress {
        status.findings_count = Some(clamped(progress.findings_count));
        status.files_processed = Some(clamped(progress.files_processed));
        let remaining = progress.estimated_remaining_seconds.filter(|_| !read.status.is_terminal());
        // The nearer the end, the more often: a tenth of what remains.
        wait =
            remaining.map_or(SHORTEST, |seconds| Duration::from_secs(seconds / 10)).clamp(SHORTEST, LONGEST);
        let estimate = remaining.and_then(|seconds| {
            o.now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
        });
        status.progress = Some(ScanProgress {
            percent: Some(percent(progress.percent_complete)),
            files_total: Some(clamped(progress.files_total)),
            files_processed: Some(clamped(progress.files_processed)),
            files_failed: Some(clamped(progress.files_failed)),
            estimated_completion_time: steady(o, estimate.map(whole_seconds)),
        });
    }
    if let Some(begun) = read.started_at {
        status.start_time = Some(whole_seconds(begun));
    }
    if read.status.is_terminal() {
        status.completion_time = read.completed_at.map(whole_seconds);
    }
    verdict(o, id, &read.status, read.message.as_deref(), status, wait)
}

/// An estimate that moved by a few seconds is no news.
fn steady(o: &Observed, estimate: Option<jiff::Timestamp>) -> Option<jiff::Timestamp> {
    let before = o.status.progress.as_ref().and_then(|progress| progress.estimated_completion_time);
    match (before, estimate) {
        (Some(before), Some(now)) if (before.as_second() - now.as_second()).abs() < 10 => Some(before),
        _ => estimate,
    }
}

fn from_history(o: &Observed, id: &ScanId) -> Plan {
    let connector = o.status.connector_id.clone().and_then(|id| ConnectorId::parse(id).ok());
    let detail = match (&o.facts.connector, connector) {
        (None, Some(connector)) => {
            let outlook = Outlook::new(
                o.status.phase.unwrap_or(ScanPhase::Queued),
                Reason::Queued,
                "reading the history",
            );
            return Plan::act(o, Effect::ReadConnector(connector), outlook);
        }
        (Some(Ok(detail)), _) => detail,
        (Some(Err(fault)), _) if fault.kind != FaultKind::NotFound => {
            return Outlook::fault(o, "cannot read the connector's history", fault).settle(o);
        }
        _ => return outlook::lost(o, &format!("the connector that {id} ran on is not at the API any more")),
    };
    let Some(entry) = detail.scan_history.iter().find(|entry| entry.scan_id == *id) else {
        return outlook::lost(o, &format!("{id} is not in the connector's history"));
    };
    let ScanHistoryEntry {
        scan_id: _,
        status: state,
        started_at,
        completed_at,
        files_processed,
        findings_count,
    } = entry;
    let mut status = o.status.clone();
    status.state = Some(state.as_str().to_owned());
    status.findings_count = Some(clamped(*findings_count));
    status.files_processed = Some(clamped(*files_processed));
    status.start_time = started_at.map(whole_seconds).or(status.start_time);
    if state.is_terminal() {
        status.completion_time = completed_at.map(whole_seconds);
    }
    verdict(o, id, state, None, status, LONGEST)
}

fn verdict(
    o: &Observed,
    id: &ScanId,
    state: &ScanState,
    why: Option<&str>,
    status: ScanStatus,
    wait: Duration,
) -> Plan {
    let (files, findings) = (status.files_processed.unwrap_or(0), status.findings_count.unwrap_or(0));
    let why = why.map_or_else(String::new, |why| format!(": {}", why.chars().take(300).collect::<String>()));
    let outlook = match state {
        ScanState::Completed => {
            let message = format!("{id} is complete: {findings} findings in {files} files");
            Outlook::new(ScanPhase::Completed, Reason::Completed, message)
        }
        ScanState::Failed => Outlook::failed(
            Reason::ScanFailed,
            format!("{id} failed at the API after {files} files{why}; make a new Scan"),
        ),
        ScanState::Cancelled => {
            let message = format!("{id} was cancelled at the API after {files} files{why}");
            Outlook::new(ScanPhase::Cancelled, Reason::Cancelled, message)
        }
        ScanState::Created | ScanState::Queued => {
            Outlook::new(ScanPhase::Queued, Reason::Queued, format!("{id} waits for workers"))
        }
        // An unknown word is shown as it is, and is not the end.
        _ => Outlook::new(ScanPhase::Running, Reason::Running, format!("{id} is {state}")),
    };
    let deadline = o.spec.active_deadline_seconds.and_then(|limit| {
        let ran = between(o.status.start_time?, o.now);
        Some(
            Duration::from_secs(u64::try_from(limit).unwrap_or(0))
                .saturating_sub(ran)
                .max(Duration::from_secs(1)),
        )
    });
    outlook.with(status).again_in(deadline.map_or(wait, |deadline| deadline.min(wait))).settle(o)
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "clamped to 0..=100 first")]
fn percent(share: f64) -> i32 {
    share.clamp(0.0, 100.0).floor() as i32
}

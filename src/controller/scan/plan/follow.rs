//! Following a scan that was started, to its end.

use std::time::Duration;

use connectors_api::wire::{ConnectorId, ScanHistoryEntry, ScanId, ScanRead, ScanState};
use jiff::SignedDuration;

use super::super::observed::Observed;
use super::outlook::{self, Outlook, between};
use super::{Effect, Plan};
use crate::controller::Reason;
use crate::controller::conditions::whole_seconds;
use crate::controller::ledger::SETTLED_AFTER;
use crate::crd::{ScanPhase, ScanProgress, ScanStatus};
use crate::remote::{Fault, FaultKind};

/// The shortest wait between two reads of a scan.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);
/// The wait while nothing shows the scan.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The API's own limit of a scan where the spec sets none, as its documentation gives it.
const TIMEOUT_MINUTES: u64 = 120;

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
        None => Plan::act(o, Effect::ReadScan(id.clone()), running()),
        Some(Ok(read)) => said(o, id, read),
        // Either the scan is gone, or this API has no such route: the connector's history tells.
        Some(Err(fault)) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Refused) => {
            from_history(o, id)
        }
        Some(Err(fault)) => unread(o, id, "cannot read the scan", fault),
    }
}

fn unread(o: &Observed, id: &ScanId, what: &str, fault: &Fault) -> Plan {
    too_long(o, id, &o.status).unwrap_or_else(|| Outlook::fault(o, what, fault).settle(o))
}

/// What the annotation keeps: a Scan restored from a backup finds it under another UID, or without a status.
fn copy(o: &Observed, id: &ScanId) -> String {
    serde_json::json!({ "uid": o.object.uid, "id": id.as_str() }).to_string()
}

/// Whether it was to end by now. Asked after a look at it: it may have ended in time while nobody looked.
fn too_long(o: &Observed, id: &ScanId, status: &ScanStatus) -> Option<Plan> {
    let limit = Duration::from_secs(u64::try_from(o.spec.active_deadline_seconds?).unwrap_or(0));
    let ran = between(status.start_time?, o.now);
    (ran >= limit).then(|| {
        let message = format!(
            "{id} did not end within spec.activeDeadlineSeconds ({}); it may go on at the API, which cannot be told to stop it",
            limit.as_secs()
        );
        Outlook::failed(Reason::DeadlineExceeded, message).with(status.clone()).settle(o)
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
            return unread(o, id, "cannot read the connector's history", fault);
        }
        _ => {
            let why = format!("the connector that {id} ran on is not at the API any more");
            return not_shown(o, id, &why, true);
        }
    };
    let Some(entry) = detail.scan_history.iter().find(|entry| entry.scan_id == *id) else {
        // Where the scan itself was read before, its route is there, and now denies it.
        let denied = o.status.progress.is_some();
        return not_shown(o, id, &format!("{id} is not in the connector's history"), denied);
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

/// A scan that cannot be read. It was started, so it is lost only when it would have to be shown: a history may have been
/// read before the start, may lag, or may show what is over and nothing else, and then it shows a scan when the API's own
/// limit has ended it.
fn not_shown(o: &Observed, id: &ScanId, why: &str, denied: bool) -> Plan {
    let minutes = o.spec.options.as_ref().and_then(|options| options.timeout_minutes);
    let minutes = minutes.and_then(|minutes| u64::try_from(minutes).ok()).unwrap_or(TIMEOUT_MINUTES);
    // Under another key, or while the connector is suspended, replaced or deleted, an absence says less.
    let settled = denied && o.connector.is_ok();
    let patience = SETTLED_AFTER + if settled { Duration::ZERO } else { Duration::from_secs(minutes * 60) };
    let age = o.status.start_time.map_or(patience, |start| between(start, o.now));
    if age >= patience {
        return outlook::lost(o, why);
    }
    let (phase, reason) = match o.status.phase {
        Some(ScanPhase::Running) => (ScanPhase::Running, Reason::Running),
        _ => (ScanPhase::Queued, Reason::Queued),
    };
    let wait = match &o.facts.started {
        Some(_) => SHORTEST,
        None if age < SETTLED_AFTER => LOOK_AGAIN,
        None => LONGEST,
    };
    too_long(o, id, &o.status).unwrap_or_else(|| {
        Outlook::new(phase, reason, format!("{why} yet, or not any more; looking again"))
            .again_in(wait)
            .settle(o)
    })
}

fn verdict(
    o: &Observed,
    id: &ScanId,
    state: &ScanState,
    why: Option<&str>,
    status: ScanStatus,
    wait: Duration,
) -> Plan {
    if !state.is_terminal()
        && let Some(plan) = too_long(o, id, &status)
    {
        return plan;
    }
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
        let ran = between(status.start_time?, o.now);
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

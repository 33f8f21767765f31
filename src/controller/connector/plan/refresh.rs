//! The status of a connector with what was seen of it. What the API does not tell stays as it was told before.

use connectors_api::wire::{ConnectorDetail, TestOutcome};
use jiff::Timestamp;

use super::super::desired::{Desired, SentDiffers};
use super::super::observed::Observed;
use super::steady::differing;
use crate::controller::conditions::whole_seconds;
use crate::crd::{ConnectionTest, ConnectorStatus, SCAN_HISTORY_LIMIT, ScanHistoryEntry};
use crate::remote::{Fault, FaultKind, Observation};

/// Longest message of a failed test that is kept, in characters.
const MESSAGE_LIMIT: usize = 400;

/// Whether a list shows something that only a read tells all of.
pub(super) fn shows_a_change(status: &ConnectorStatus, seen: &Observation) -> bool {
    status.state.as_deref() != Some(seen.state.as_str())
        || status.risk_score != shown_risk(seen)
        || seen.findings_count.is_some_and(|findings| status.findings_count != Some(clamped(findings)))
        || seen.last_scan.is_some_and(|last| status.last_scan_time != Some(whole_seconds(last)))
}

/// The status with what the API shows of a connector, whoever it belongs to.
pub(super) fn shown(o: &Observed, seen: &Observation) -> ConnectorStatus {
    let mut status = o.status.clone();
    status.provider = Some(seen.provider.as_str().to_owned());
    status.state = Some(seen.state.as_str().to_owned());
    status.risk_score = shown_risk(seen);
    if let Some(findings) = seen.findings_count {
        status.findings_count = Some(clamped(findings));
    }
    if let Some(last) = seen.last_scan {
        status.last_scan_time = Some(whole_seconds(last));
    }
    if let Some(Ok(read)) = &o.facts.read {
        status.scan_history = history(read);
    }
    status
}

/// The status with what was seen and done.
pub(super) fn refreshed(o: &Observed, desired: &Desired, seen: &Observation) -> ConnectorStatus {
    let mut status = shown(o, seen);
    if o.scanned {
        status.scanned = Some(true);
    }
    if let Ok(request) = &o.request {
        let shown = differing(o, desired, seen).is_none();
        let same = match SentDiffers::between(status.sent.as_ref(), &request.sent) {
            Some(SentDiffers::No) => true,
            Some(_) => o.object.acknowledged.as_ref() == Some(&request.sent),
            // A hash that is not there is taken again, unless what can be read says that it would be another one.
            None => shown || o.object.acknowledged.as_ref() == Some(&request.sent),
        };
        if same {
            status.sent = Some(request.sent.clone());
            // What differs later was changed by somebody, and is not the API's way to write what it was given.
            status.shown_as_sent = status.shown_as_sent.or(shown.then_some(true));
        }
    }
    if let Ok(workspace) = &o.workspace {
        status.identity = Some(workspace.identity.clone());
    }
    let before = o.status.connection_test.as_ref();
    if let Some(Ok(outcome)) = &o.facts.tested {
        status.connection_test = Some(tested(o.now, before, status.sent.clone(), outcome));
    }
    if let Some(Err(fault)) = &o.facts.tested
        && ran_and_failed(fault)
    {
        status.connection_test = Some(tested(o.now, before, status.sent.clone(), &failed_test(fault)));
    }
    // One test answers a request, whatever comes of it.
    if status.connection_test != o.status.connection_test && o.object.requested_at.is_some() {
        status.last_handled_reconcile_at = o.object.request();
    }
    status
}

/// Some services answer a failed test with a refusal.
pub(super) fn ran_and_failed(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Refused | FaultKind::Conflict)
}

/// The outcome of a test that was answered by a refusal.
pub(super) fn failed_test(fault: &Fault) -> TestOutcome {
    TestOutcome {
        connected: false,
        buckets_accessible: Vec::new(),
        sample_objects: 0,
        latency_ms: 0,
        cause: None,
        message: Some(fault.message.clone()),
    }
}

/// A test as the status keeps it, after the one `before` it.
pub(super) fn tested(
    now: Timestamp,
    before: Option<&ConnectionTest>,
    sent: Option<String>,
    outcome: &TestOutcome,
) -> ConnectionTest {
    let TestOutcome { connected, buckets_accessible, sample_objects, latency_ms, cause, message } = outcome;
    let failures = if *connected { 0 } else { before.map_or(0, |test| test.failures).saturating_add(1) };
    let said = [cause.as_deref(), message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let message = (!connected && !said.is_empty()).then(|| said.chars().take(MESSAGE_LIMIT).collect());
    ConnectionTest {
        time: whole_seconds(now),
        connected: *connected,
        buckets_accessible: buckets_accessible.iter().take(100).cloned().collect(),
        sample_objects: Some(clamped(*sample_objects)),
        latency_milliseconds: Some(clamped(*latency_ms)),
        message,
        failures,
        sent,
    }
}

fn history(read: &ConnectorDetail) -> Vec<ScanHistoryEntry> {
    let mut entries = read.scan_history.iter().collect::<Vec<_>>();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.started_at));
    entries
        .into_iter()
        .take(SCAN_HISTORY_LIMIT)
        .map(|entry| ScanHistoryEntry {
            scan_id: entry.scan_id.to_string(),
            state: entry.status.as_str().to_owned(),
            start_time: entry.started_at.map(whole_seconds),
            completion_time: entry.completed_at.map(whole_seconds),
            files_processed: Some(clamped(entry.files_processed)),
            findings_count: Some(clamped(entry.findings_count)),
        })
        .collect()
}

/// Before the first scan a score of 0 and none are the same.
fn shown_risk(seen: &Observation) -> Option<i32> {
    let score = seen.risk_score.map(|score| i32::try_from(score).unwrap_or(i32::MAX));
    score.filter(|score| *score > 0 || seen.last_scan.is_some())
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

//! A connector that exists: keep its record, test it, compare it with the spec, and say how it is.

use std::time::Duration;

use connectors_api::wire::{
    ConfigMatch, ConnectorDetail, ConnectorId, ConnectorState, TestOutcome, readable_config_matches,
};
use jiff::{SignedDuration, Timestamp};

use super::super::desired::Desired;
use super::super::observed::Observed;
use super::create::without_connector;
use super::outlook::Outlook;
use super::{Effect, Note, Plan, replace};
use crate::controller::conditions::{Truth, whole_seconds};
use crate::controller::{Blocked, Reason};
use crate::crd::{ConnectionTest, ConnectorStatus, SCAN_HISTORY_LIMIT, ScanHistoryEntry};
use crate::remote::{Fault, FaultKind, Observation, Sight};

/// The wait after the first failed test; doubled with each further one.
const FIRST_RETEST: Duration = Duration::from_mins(1);
/// The longest wait between two failed tests.
const LAST_RETEST: Duration = Duration::from_hours(1);
/// Longest message of a failed test that is kept, in characters.
const MESSAGE_LIMIT: usize = 400;

pub(super) fn plan(o: &Observed, desired: &Desired, id: &ConnectorId) -> Plan {
    if o.status.replacement.is_some() {
        return replace::go_on(o, desired, id);
    }
    if let Some(plan) = bookkeeping(o, id) {
        return plan;
    }
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        Err(blocked) => return Outlook::blocked(blocked).settle(o),
    };
    if o.status.identity.as_ref().is_some_and(|identity| *identity != workspace.identity) && !was_read(o) {
        return identity_changed(o, &workspace.identity);
    }
    if let Some(plan) = gone(o, id) {
        return plan;
    }
    if let Some(plan) = fresh_look(o, id, workspace.trouble.as_ref()) {
        return plan;
    }
    if o.status.connection_test.is_none() && o.facts.tested.is_none() && !desired.suspend {
        return Plan::act(o, Effect::Test(id.clone()), being_tested());
    }
    let Sight::Seen(seen) = &o.sight else {
        // Nobody looked since the operator started; what was known before holds for as long as any truth does.
        return unread(o, workspace.trouble.as_ref());
    };
    if let Some(plan) = replace::begin(o, desired, id, seen) {
        return plan;
    }
    if let Some(open) = &o.claim {
        let effect = Effect::CloseClaim { nonce: open.claim.nonce.clone(), why: "nothing is to be replaced" };
        return Plan::act(o, effect, being_tested());
    }
    let status = refreshed(o, seen);
    if let Some(plan) = test(o, desired, id, &status) {
        return plan;
    }
    say(o, desired, seen, status)
}

fn being_tested() -> Outlook {
    Outlook::waiting(Reason::ConnectionTestPending, "the connection is being tested")
}

/// Closes the claim that led here, and keeps copy and finalizer in place.
fn bookkeeping(o: &Observed, id: &ConnectorId) -> Option<Plan> {
    if !o.object.finalizer {
        return Some(Plan::act(o, Effect::AddFinalizer, being_tested()));
    }
    let copy = copy(o, id);
    if o.object.copy.as_ref() != Some(&copy) {
        return Some(Plan::act(o, Effect::Annotate { value: copy }, being_tested()));
    }
    let open = o.claim.as_ref()?;
    // What this pass opened for a replacement, and did not use yet, is still needed.
    let mine = o.facts.claimed.as_ref().is_some_and(|(nonce, _)| *nonce == open.claim.nonce);
    if mine && o.facts.created.is_none() {
        return None;
    }
    let effect = Effect::CloseClaim { nonce: open.claim.nonce.clone(), why: "its outcome is recorded" };
    Some(Plan::act(o, effect, being_tested()))
}

/// What the annotation keeps for a backup: enough to find the connector again, and to tell a copy from the original.
fn copy(o: &Observed, id: &ConnectorId) -> String {
    serde_json::json!({
        "id": id.as_str(),
        "origin": o.status.origin,
        "identity": o.status.identity,
        "object": format!("{}/{}", o.object.namespace, o.object.name),
        "uid": o.object.uid,
    })
    .to_string()
}

/// Whether this pass read the connector with today's credential: then it is the same workspace, whatever the key is called.
fn was_read(o: &Observed) -> bool {
    matches!(o.facts.read, Some(Ok(_))) || matches!(o.sight, Sight::Seen(_))
}

fn identity_changed(o: &Observed, identity: &str) -> Plan {
    let message = format!(
        "the workspace's key or endpoint is another one now ({}…), and the connector was not read with it: put the old key \
         back, or wait until the new one shows the connector",
        &identity[..identity.len().min(12)]
    );
    Outlook::waiting(Reason::IdentityChanged, message).again_in(LAST_RETEST).settle(o)
}

/// A connector that a list lacks, and a direct read too, under the identity that made it.
fn gone(o: &Observed, id: &ConnectorId) -> Option<Plan> {
    let same_identity = match (&o.workspace, &o.status.identity) {
        (Ok(workspace), Some(identity)) => workspace.identity == *identity,
        _ => false,
    };
    let Some(Err(Fault { kind: FaultKind::NotFound, .. })) = &o.facts.read else { return None };
    if !same_identity {
        let identity = o.workspace.as_ref().map(|workspace| workspace.identity.clone()).unwrap_or_default();
        return Some(identity_changed(o, &identity));
    }
    if o.desired.as_ref().is_ok_and(|desired| desired.suspend) {
        let message = format!("{id} is not at the API any more; it is not made again: spec.suspend is set");
        return Some(Outlook::resting(Reason::RemoteMissing, message).settle(o));
    }
    let message =
        format!("{id} was deleted at the API, with its scan history and findings; it is made again");
    let outlook = Outlook::waiting(Reason::RemoteMissing, message).with(without_connector(&o.status));
    let Plan { status, .. } = outlook.settle(o);
    Some(Plan {
        effect: Some(Effect::Record {
            status: Box::new(status.clone()),
            note: Note::LostAtTheApi(id.to_string()),
        }),
        status,
        requeue: None,
    })
}

/// Reads the connector when the list shows a change, or does not show it, or a test may have changed it.
fn fresh_look(o: &Observed, id: &ConnectorId, trouble: Option<&Blocked>) -> Option<Plan> {
    match &o.facts.read {
        Some(Ok(_)) => None,
        Some(Err(fault)) => Some(Outlook::fault("cannot read the connector", fault).settle(o)),
        None => {
            // A first test comes before the first read, which then shows what the test changed.
            let suspended = o.desired.as_ref().is_ok_and(|desired| desired.suspend);
            let test_is_next = o.status.connection_test.is_none() && o.facts.tested.is_none() && !suspended;
            let wanted = match &o.sight {
                Sight::Missing => true,
                Sight::Seen(seen) => shows_a_change(&o.status, seen) || o.facts.tested.is_some(),
                Sight::Unread => {
                    o.facts.tested.is_some()
                        || (trouble.is_none() && (o.uptime > o.freshness || !says_how_it_is(&o.status)))
                }
            };
            (wanted && !test_is_next).then(|| Plan::act(o, Effect::Read(id.clone()), being_tested()))
        }
    }
}

fn says_how_it_is(status: &ConnectorStatus) -> bool {
    status.connection_test.is_some()
}

fn shows_a_change(status: &ConnectorStatus, seen: &Observation) -> bool {
    status.state.as_deref() != Some(seen.state.as_str())
        || status.risk_score != shown_risk(seen)
        || seen.findings_count.is_some_and(|findings| status.findings_count != Some(clamped(findings)))
        || seen.last_scan.is_some_and(|last| status.last_scan_time != Some(whole_seconds(last)))
}

fn unread(o: &Observed, trouble: Option<&Blocked>) -> Plan {
    if says_how_it_is(&o.status) && o.uptime <= o.freshness {
        return Plan {
            effect: None,
            status: o.status.clone(),
            requeue: Some(o.freshness - o.uptime + Duration::from_secs(1)),
        };
    }
    not_read_recently(o, trouble)
}

fn not_read_recently(o: &Observed, trouble: Option<&Blocked>) -> Plan {
    let cause = trouble.map_or("the API's list was not read".to_owned(), |trouble| trouble.message.clone());
    let message =
        format!("nothing was heard of the connector for {}: {cause}", crate::duration::format(o.freshness));
    Outlook::unknown(Reason::NotReadRecently, message).again_in(o.freshness).settle(o)
}

/// The status with what was seen.
fn refreshed(o: &Observed, seen: &Observation) -> ConnectorStatus {
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
    if o.scanned {
        status.scanned = Some(true);
    }
    status.next_create_time = None;
    // A hash that is not there is taken again; it is never a difference.
    if let Ok(request) = &o.request
        && (status.sent.is_none() || o.object.acknowledged.as_ref() == Some(&request.sent))
    {
        status.sent = Some(request.sent.clone());
    }
    if let Ok(workspace) = &o.workspace {
        status.identity = Some(workspace.identity.clone());
    }
    if let Some(Ok(outcome)) = &o.facts.tested {
        status.connection_test = Some(tested(o, outcome));
    }
    if let Some(Err(fault)) = &o.facts.tested
        && ran_and_failed(fault)
    {
        let outcome = TestOutcome {
            connected: false,
            buckets_accessible: Vec::new(),
            sample_objects: 0,
            latency_ms: 0,
            cause: None,
            message: Some(fault.message.clone()),
        };
        status.connection_test = Some(tested(o, &outcome));
    }
    status
}

/// Some services answer a failed test with a refusal.
fn ran_and_failed(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Refused | FaultKind::Conflict)
}

fn tested(o: &Observed, outcome: &TestOutcome) -> ConnectionTest {
    let TestOutcome { connected, buckets_accessible, sample_objects, latency_ms, cause, message } = outcome;
    let failures = if *connected {
        0
    } else {
        o.status.connection_test.as_ref().map_or(0, |test| test.failures).saturating_add(1)
    };
    let said = [cause.as_deref(), message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let message = (!connected && !said.is_empty()).then(|| said.chars().take(MESSAGE_LIMIT).collect());
    ConnectionTest {
        time: whole_seconds(o.now),
        connected: *connected,
        buckets_accessible: buckets_accessible.iter().take(100).cloned().collect(),
        sample_objects: Some(clamped(*sample_objects)),
        latency_milliseconds: Some(clamped(*latency_ms)),
        message,
        failures,
        sent: o.status.sent.clone(),
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

/// The connection test, where one is due.
fn test(o: &Observed, desired: &Desired, id: &ConnectorId, status: &ConnectorStatus) -> Option<Plan> {
    if let Some(Err(fault)) = &o.facts.tested
        && !ran_and_failed(fault)
    {
        let outlook = Outlook::fault("cannot run the connection test", fault).with(status.clone());
        return Some(outlook.settle(o));
    }
    if o.facts.tested.is_some() || desired.suspend {
        return None;
    }
    let due = match &status.connection_test {
        None => true,
        Some(_)
            if o.object.requested_at != o.status.last_handled_reconcile_at
                && o.object.requested_at.is_some() =>
        {
            true
        }
        Some(test) if test.sent != status.sent => true,
        Some(test) => next_test(desired, test).is_some_and(|next| next <= o.now),
    };
    due.then(|| Plan::act(o, Effect::Test(id.clone()), being_tested().with(status.clone())))
}

/// When the next test is due by itself.
fn next_test(desired: &Desired, test: &ConnectionTest) -> Option<Timestamp> {
    let wait = if test.connected {
        Duration::from_secs(desired.test_interval_seconds.and_then(|seconds| u64::try_from(seconds).ok())?)
    } else {
        let doublings = test.failures.saturating_sub(1).min(10);
        (FIRST_RETEST * 2_u32.saturating_pow(doublings)).min(LAST_RETEST)
    };
    test.time.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}

/// The verdict on a connector of which everything is known.
fn say(o: &Observed, desired: &Desired, seen: &Observation, status: ConnectorStatus) -> Plan {
    if seen.age() > o.freshness {
        let trouble = o.workspace.as_ref().ok().and_then(|workspace| workspace.trouble.as_ref());
        return not_read_recently(o, trouble);
    }
    let next = status
        .connection_test
        .as_ref()
        .filter(|_| !desired.suspend)
        .and_then(|test| next_test(desired, test));
    let wait = next.map(|at| {
        Duration::try_from(at.duration_since(o.now)).unwrap_or_default().max(Duration::from_secs(1))
    });
    let outlook = match &status.connection_test {
        None => Outlook::resting(Reason::Suspended, "no connection test has run: spec.suspend is set"),
        Some(test) if !test.connected => {
            let why = test.message.as_deref().unwrap_or("the API does not say why");
            // The time of the next test moves with each failure only.
            let at = next
                .map_or_else(String::new, |at| format!("; the next test is due at {}", whole_seconds(at)));
            Outlook::waiting(Reason::ConnectionTestFailed, format!("the connection test failed: {why}{at}"))
        }
        Some(test) => match &seen.state {
            ConnectorState::Error => Outlook::waiting(
                Reason::RemoteError,
                "the API says that the connector is in error; look at the provider's credentials and permissions",
            ),
            ConnectorState::Disconnected => Outlook::waiting(
                Reason::RemoteDisconnected,
                "somebody disconnected the connector at the API; connect it again there",
            ),
            _ => Outlook::ready(format!(
                "connected: {} objects in {} seen at the last test",
                test.sample_objects.unwrap_or(0),
                count(test.buckets_accessible.len(), "bucket")
            )),
        },
    };
    let outlook = match replace::difference(o, desired, seen) {
        Some(replace::Difference::Spec(fields)) => Outlook::stalled(
            Reason::ReplacementRequired,
            format!(
                "the spec differs from the connector at the API in {fields}, and the API cannot change a connector: revert the \
                 spec, or set spec.replacePolicy to Recreate to consent to losing its scan history and findings"
            ),
        )
        .synced(Truth::False, Reason::ReplacementRequired, format!("the connector at the API differs in {fields}")),
        Some(replace::Difference::Credentials(digest)) => outlook.synced(
            Truth::False,
            Reason::CredentialsOutdated,
            format!(
                "a Secret changed after it was sent, and the API cannot be told: update it in the API's dashboard and set the \
                 annotation slim.io/credentials-acknowledged to {digest}, or set spec.replacePolicy to Recreate"
            ),
        ),
        None => match &o.request {
            Ok(_) => outlook.synced(Truth::True, Reason::Synced, "the connector at the API is as the spec says, as far as it can be read"),
            Err(blocked) => outlook.synced(Truth::Unknown, blocked.reason, blocked.message.clone()),
        },
    };
    let outlook = outlook.with(status);
    // While the API cannot be read, what was read before grows old: that is said when it is too old.
    let troubled = o.workspace.as_ref().is_ok_and(|workspace| workspace.trouble.is_some());
    let outlook = if troubled {
        outlook.again_in(o.freshness.saturating_sub(seen.age()) + Duration::from_secs(1))
    } else {
        outlook
    };
    match wait {
        Some(wait) => outlook.again_in(wait).settle(o),
        None => outlook.settle(o),
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The keys in which the connector at the API differs from the spec.
pub(super) fn differing(o: &Observed, desired: &Desired, seen: &Observation) -> Option<String> {
    let request = o.request.as_ref().ok()?;
    let mut keys = Vec::new();
    if seen.name != request.create.name {
        keys.push("name".to_owned());
    }
    if seen.provider != desired.source.provider() {
        keys.push("provider".to_owned());
    } else if let ConfigMatch::Differs { keys: differing } =
        readable_config_matches(&request.readable, &seen.config)
    {
        keys.extend(differing);
    }
    (!keys.is_empty()).then(|| keys.join(", "))
}

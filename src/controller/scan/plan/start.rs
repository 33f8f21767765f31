//! Starting a scan under a claim, and finding out what became of a start whose answer was lost.

use std::time::Duration;

use connectors_api::wire::{ConnectorDetail, ScanHistoryEntry, ScanId};

use super::super::observed::{Observed, Target};
use super::outlook::{Outlook, between};
use super::{Effect, Plan};
use crate::controller::Reason;
use crate::controller::conditions::whole_seconds;
use crate::controller::ledger::{CLOCK_DIFFERENCE, Denied, LEASE, SETTLED_AFTER};
use crate::crd::{Claim, ClaimKind, ScanPhase, ScanStatus};
use crate::remote::{Fault, FaultKind};

/// The wait while another scan runs, or an answer is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The longest wait for a connector: it wakes its Scans when something changed, and once too early is once too few.
const WAITING: Duration = Duration::from_mins(1);
/// The wait after somebody else wrote the workspace.
const SOON: Duration = Duration::from_secs(2);

pub(super) fn plan(o: &Observed) -> Plan {
    if let Some(ran) = &o.object.ran {
        let message = format!(
            "this Scan ran before it was restored from a copy ({ran}) and is not run again; make a new Scan"
        );
        return Outlook::failed(Reason::RestoredFromCopy, message).settle(o);
    }
    let opened_here = |nonce: &str| o.facts.claimed.as_ref().is_some_and(|(mine, _)| mine == nonce);
    match &o.claim {
        Some((claim, known_for)) if !opened_here(&claim.nonce) => after_lost_answer(o, claim, *known_for),
        claim => begin(o, claim.as_ref().map(|(claim, _)| claim)),
    }
}

fn begin(o: &Observed, claim: Option<&Claim>) -> Plan {
    if let Some(started) = &o.facts.started {
        return match started {
            Ok(started) => record(o, &started.scan_id, started.status.as_str()),
            Err(fault) => after_fault(o, claim, fault),
        };
    }
    let target = match &o.connector {
        Ok(target) => target,
        Err(blocked) => return wait(o, Outlook::blocked(blocked)),
    };
    let detail = match &o.facts.connector {
        None => {
            let outlook =
                Outlook::pending(Reason::Starting, "looking whether the connector is being scanned already");
            return Plan::act(o, Effect::ReadConnector(target.id.clone()), outlook);
        }
        Some(Err(fault)) => return wait(o, Outlook::fault(o, "cannot read the connector", fault)),
        Some(Ok(detail)) => detail,
    };
    if let Some(running) =
        detail.scan_history.iter().find(|entry| !entry.status.is_terminal() && entry.status.is_known())
    {
        let message = format!("the connector is being scanned already ({})", running.scan_id);
        return wait(o, Outlook::pending(Reason::ScanAlreadyRunning, message).again_in(LOOK_AGAIN));
    }
    match (claim, &o.facts.claimed, &o.facts.denied) {
        (_, _, Some(Denied::SubjectClaimed { by })) => {
            let message = format!("waits for Scan {by}, which is being started on the same connector");
            wait(o, Outlook::pending(Reason::ScanAlreadyRunning, message).again_in(SOON))
        }
        (_, _, Some(_)) => {
            wait(o, Outlook::pending(Reason::Starting, "waits for its turn in the workspace").again_in(SOON))
        }
        (Some(claim), Some((_, age)), None) if *age >= LEASE => {
            let renewed = Claim { claimed_at: o.now, ..claim.clone() };
            Plan::act(o, Effect::Claim(Box::new(renewed)), starting())
        }
        (Some(claim), Some(_), None) if !o.facts.bound => {
            Plan::act(o, Effect::Bind(claim.nonce.clone()), starting())
        }
        (Some(_), Some(_), None) => Plan::act(o, Effect::Start(target.id.clone()), starting()),
        (_, None, None) => {
            let claim = new_claim(o, target, detail);
            Plan::act(o, Effect::Claim(Box::new(claim)), starting())
        }
        (None, Some(_), None) => starting().again_in(SOON).settle(o),
    }
}

fn starting() -> Outlook {
    Outlook::pending(Reason::Starting, "being started")
}

fn new_claim(o: &Observed, target: &Target, detail: &ConnectorDetail) -> Claim {
    Claim {
        kind: ClaimKind::Scan,
        namespace: o.object.namespace.clone(),
        name: o.object.name.clone(),
        uid: o.object.uid.clone(),
        member: None,
        nonce: String::new(),
        claimed_at: o.now,
        identity: target.identity.clone(),
        subject: target.id.to_string(),
        provider: None,
        config: None,
        known_ids: detail.scan_history.iter().map(|entry| entry.scan_id.to_string()).collect(),
    }
}

/// Waits, but no longer than the Scan may.
fn wait(o: &Observed, outlook: Outlook) -> Plan {
    // Whoever woke it may have been quicker than the cache: a look costs nobody anything.
    let outlook = outlook.again_in(WAITING);
    let Some(deadline) = o.spec.starting_deadline_seconds else { return outlook.settle(o) };
    let deadline = Duration::from_secs(u64::try_from(deadline).unwrap_or(0));
    let waited = o.object.created.map_or(Duration::ZERO, |created| between(created, o.now));
    if waited < deadline {
        return outlook.again_in((deadline - waited).max(Duration::from_secs(1))).settle(o);
    }
    let why =
        outlook.settle(o).status.conditions.into_iter().next().map(|ready| ready.message).unwrap_or_default();
    let message = format!(
        "could not begin within spec.startingDeadlineSeconds ({}): {why}; make a new Scan",
        deadline.as_secs()
    );
    Outlook::failed(Reason::StartingDeadlineExceeded, message).settle(o)
}

/// The id goes into the status before anything else happens.
fn record(o: &Observed, id: &ScanId, state: &str) -> Plan {
    let target = || o.connector.as_ref().ok().map(|target| target.id.to_string());
    let connector = o.claim.as_ref().map(|(claim, _)| claim.subject.clone()).or_else(target);
    let begun = o.claim.as_ref().map_or(o.now, |(claim, _)| claim.claimed_at);
    let status = ScanStatus {
        scan_id: Some(id.to_string()),
        connector_id: connector,
        state: Some(state.to_owned()),
        start_time: Some(whole_seconds(begun)),
        ..o.status.clone()
    };
    let outlook =
        Outlook::new(ScanPhase::Queued, Reason::Queued, format!("{id} was started and waits for workers"));
    let Plan { status, .. } = outlook.with(status).settle(o);
    Plan { effect: Some(Effect::Record(Box::new(status.clone()))), status, requeue: None }
}

fn after_fault(o: &Observed, claim: Option<&Claim>, fault: &Fault) -> Plan {
    if !fault.had_no_effect() {
        let message = format!("{}; looking for it in the connector's history", fault.message);
        return Outlook::pending(Reason::StartOutcomeUnknown, message).again_in(SOON).settle(o);
    }
    if let Some(claim) = claim {
        let outlook = Outlook::pending(Reason::Starting, fault.message.clone());
        return Plan::act(o, Effect::CloseClaim(claim.nonce.clone()), outlook);
    }
    match fault.kind {
        FaultKind::Conflict => {
            let message = format!("the connector cannot be scanned at the moment: {}", fault.message);
            wait(o, Outlook::pending(Reason::ScanAlreadyRunning, message).again_in(LOOK_AGAIN))
        }
        FaultKind::Refused | FaultKind::NotFound => {
            let message = format!("{}; correct what it says in a new Scan", fault.message);
            Outlook::failed(Reason::RefusedByApi, message).settle(o)
        }
        _ => wait(o, Outlook::fault(o, "cannot start the scan", fault)),
    }
}

/// A claim found open: a POST may have been sent under it. It is never sent again.
fn after_lost_answer(o: &Observed, claim: &Claim, known_for: Duration) -> Plan {
    let detail = match (&o.facts.connector, connectors_api::wire::ConnectorId::parse(claim.subject.clone())) {
        (None, Ok(id)) => {
            let outlook = Outlook::pending(
                Reason::StartOutcomeUnknown,
                "the answer to a start was lost; looking for it",
            );
            return Plan::act(o, Effect::ReadConnector(id), outlook);
        }
        (Some(Ok(detail)), _) => Some(detail),
        (Some(Err(fault)), _) if fault.kind != FaultKind::NotFound => {
            return Outlook::fault(o, "cannot look for a start whose answer was lost", fault).settle(o);
        }
        _ => None,
    };
    let not_before =
        claim.claimed_at.as_second() - 1 - i64::try_from(CLOCK_DIFFERENCE.as_secs()).unwrap_or(0);
    let mut found = detail
        .into_iter()
        .flat_map(|detail| &detail.scan_history)
        .filter(|entry| entry.started_at.is_none_or(|started| started.as_second() >= not_before))
        .filter(|entry| !claim.known_ids.iter().any(|known| known == entry.scan_id.as_str()))
        .collect::<Vec<&ScanHistoryEntry>>();
    found.sort_by(|a, b| a.scan_id.cmp(&b.scan_id));
    match found.as_slice() {
        [one] => record(o, &one.scan_id, one.status.as_str()),
        [] if known_for < SETTLED_AFTER => {
            let message =
                "the answer to a start was lost, and the scan is not in the connector's history yet";
            Outlook::pending(Reason::StartOutcomeUnknown, message).again_in(LOOK_AGAIN).settle(o)
        }
        [] => {
            let message = "the answer to a start was lost, and no trace of the scan was found; it was not started again, since it may \
                           still run: look at the API, and make a new Scan if it does not";
            Outlook::failed(Reason::StartOutcomeUnknown, message).settle(o)
        }
        several => {
            let ids = several.iter().map(|entry| entry.scan_id.to_string()).collect::<Vec<_>>().join(", ");
            let message = format!("the answer to a start was lost, and several scans could be it: {ids}");
            Outlook::failed(Reason::StartOutcomeAmbiguous, message).settle(o)
        }
    }
}

//! Replacing a connector by deleting it and making it anew. Each phase stands in the status before its effect; name and
//! slot are claimed before anything is deleted.

use connectors_api::wire::ConnectorId;

use super::super::desired::Desired;
use super::super::observed::{Observed, Request, WorkspaceView};
use super::create::{claim, look, says_what_is_sent, without_connector};
use super::outlook::Outlook;
use super::steady::{differing, is_of_another_identity, known_by_todays_key};
use super::{Effect, Note, Plan};
use crate::controller::Reason;
use crate::controller::conditions::Truth;
use crate::controller::ledger::Denied;
use crate::crd::{ConnectorStatus, DeletionPolicy, Origin, ReplacePolicy, Replacement, ReplacementPhase};
use crate::remote::{FaultKind, Observation};

/// How the connector at the API is not what the spec says.
pub(super) enum Difference {
    /// In what can be read: these keys.
    Spec(String),
    /// In a secret that was sent, of which only the digest is known; today's digest.
    Credentials(String),
}

/// What differs. A secret only where nothing else does.
pub(super) fn difference(o: &Observed, desired: &Desired, seen: &Observation) -> Option<Difference> {
    if let Some(keys) = differing(o, desired, seen) {
        return Some(Difference::Spec(keys));
    }
    let request = o.request.as_ref().ok()?;
    let acknowledged = o.object.acknowledged.as_ref() == Some(&request.sent);
    let outdated = o.status.sent.as_ref().is_some_and(|sent| *sent != request.sent) && !acknowledged;
    outdated.then(|| Difference::Credentials(request.sent.clone()))
}

/// Begins a replacement where the spec asks for one and it is free or consented to.
pub(super) fn begin(o: &Observed, desired: &Desired, id: &ConnectorId, seen: &Observation) -> Option<Plan> {
    difference(o, desired, seen)?;
    let (Ok(request), Ok(workspace)) = (&o.request, &o.workspace) else { return None };
    // What was given already would be given again, and shown in the same way: that has no end.
    if desired.suspend || workspace.closed.is_some() || o.status.sent.as_ref() == Some(&request.sent) {
        return None;
    }
    if desired.replace != ReplacePolicy::Recreate {
        if !loses_nothing(o, desired, seen) {
            return None;
        }
        // No list tells of a scan that somebody else started and that still runs.
        match &o.facts.read {
            None => {
                let outlook = replacing("looking whether the connector was ever scanned");
                return Some(Plan::act(o, Effect::Read(id.clone()), outlook));
            }
            Some(Ok(detail)) if detail.scan_history.is_empty() => {}
            Some(_) => return None,
        }
    }
    if let Some(plan) = look(o, request, desired, Some(id.as_str())) {
        return Some(plan);
    }
    Some(match (&o.claim, &o.facts.denied) {
        (_, Some(denied)) => not_now(o, denied),
        (None, None) => claim_for(o, request, workspace),
        (Some(_), None) => {
            let replacement =
                Replacement { old_id: id.to_string(), new_id: None, phase: ReplacementPhase::Deleting };
            let status = ConnectorStatus { replacement: Some(replacement), ..o.status.clone() };
            record(o, status, Note::ReplacementBegun(id.to_string()))
        }
    })
}

/// Whether nobody would miss the old connector: we made it, deletion is what its object asks for, and it was never scanned.
fn loses_nothing(o: &Observed, desired: &Desired, seen: &Observation) -> bool {
    o.status.origin == Some(Origin::Created)
        && desired.deletion.is_none_or(|policy| policy == DeletionPolicy::Delete)
        && !o.scanned
        && o.status.scanned != Some(true)
        && o.status.scan_history.is_empty()
        && o.status.last_scan_time.is_none()
        && seen.last_scan.is_none()
        && seen.findings_count.unwrap_or(0) == 0
}

/// Goes on with a replacement whose old connector is being deleted.
pub(super) fn go_on(o: &Observed, desired: &Desired, id: &ConnectorId) -> Plan {
    if desired.suspend {
        return replacing("the replacement rests: spec.suspend is set").settle(o);
    }
    let (request, workspace) = match (&o.request, &o.workspace) {
        (Ok(request), Ok(workspace)) => (request, workspace),
        (Err(blocked), _) | (_, Err(blocked)) => return Outlook::blocked(blocked).settle(o),
    };
    if is_of_another_identity(o, workspace) {
        let message =
            "the workspace's key or endpoint changed in the middle of a replacement: put the old key back";
        return Outlook::waiting(Reason::IdentityChanged, message).settle(o);
    }
    if let Some(plan) = known_by_todays_key(o, workspace) {
        return plan;
    }
    if o.claim.is_none() {
        return match &o.facts.denied {
            Some(denied) => not_now(o, denied),
            None => look(o, request, desired, Some(id.as_str()))
                .unwrap_or_else(|| claim_for(o, request, workspace)),
        };
    }
    // Nothing was sent under it yet, and what is sent later would not be found by it.
    if let Some(open) = o.claim.as_ref().filter(|open| !says_what_is_sent(&open.claim, request, workspace)) {
        let effect =
            Effect::CloseClaim { nonce: open.claim.nonce.clone(), why: "spec, Secret or key changed" };
        return Plan::act(o, effect, replacing("claims name and slot anew"));
    }
    match (&o.facts.deleted, &o.facts.gone) {
        (None, _) => {
            Plan::act(o, Effect::Delete(id.clone()), replacing("the old connector is being deleted"))
        }
        (Some(Err(fault)), _) if fault.kind != FaultKind::NotFound => {
            Outlook::fault("cannot delete the connector that is being replaced", fault).settle(o)
        }
        (Some(_), None) => {
            Plan::act(o, Effect::ConfirmGone(id.clone()), replacing("the old connector is being deleted"))
        }
        (Some(_), Some(Err(fault))) => {
            Outlook::fault("cannot see whether the old connector is gone", fault).settle(o)
        }
        (Some(_), Some(Ok(false))) => replacing("the API still shows the old connector")
            .again_in(std::time::Duration::from_secs(5))
            .settle(o),
        (Some(_), Some(Ok(true))) => {
            let replacement =
                Replacement { old_id: id.to_string(), new_id: None, phase: ReplacementPhase::Creating };
            let status = ConnectorStatus { replacement: Some(replacement), ..without_connector(&o.status) };
            record(o, status, Note::OldOneGone(id.to_string()))
        }
    }
}

fn replacing(message: &str) -> Outlook {
    Outlook::waiting(Reason::Replacing, message).synced(Truth::False, Reason::Replacing, message)
}

fn claim_for(o: &Observed, request: &Request, workspace: &WorkspaceView) -> Plan {
    Plan::act(
        o,
        Effect::Claim(Box::new(claim(o, request, workspace))),
        replacing("claims name and slot for the new connector"),
    )
}

fn not_now(o: &Observed, denied: &Denied) -> Plan {
    let (message, wait) = match denied {
        Denied::NoRequest(fault) => {
            return Outlook::fault("cannot replace the connector yet", fault).settle(o);
        }
        Denied::NoSlot { free_at } => (
            format!(
                "a replacement waits for the workspace's creates of this hour; the next one is free at {free_at}"
            ),
            std::time::Duration::try_from(free_at.duration_since(o.now)).unwrap_or_default(),
        ),
        _ => ("a replacement waits for its turn in the workspace".to_owned(), std::time::Duration::ZERO),
    };
    replacing(&message).again_in(wait.max(std::time::Duration::from_secs(2))).settle(o)
}

fn record(o: &Observed, status: ConnectorStatus, note: Note) -> Plan {
    let Plan { status, .. } = replacing("the connector is being replaced").with(status).settle(o);
    Plan { effect: Some(Effect::Record { status: Box::new(status.clone()), note }), status, requeue: None }
}

//! How a connector differs from its spec, and replacing it by deleting it and making it anew. Each phase stands in the
//! status before its effect; name and slot are claimed before anything is deleted.

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::super::desired::{Desired, SentDiffers};
use super::super::observed::{Observed, Request, WorkspaceView};
use super::create::{claim, look, says_what_is_sent, without_connector};
use super::create_first::{self, failed_before};
use super::outlook::Outlook;
use super::steady::{differing, is_of_another_identity, known_by_todays_key};
use super::{Effect, Note, Plan};
use crate::controller::conditions::Truth;
use crate::controller::ledger::Denied;
use crate::controller::{Blocked, Reason};
use crate::crd::{ConnectorStatus, DeletionPolicy, Origin, ReplacePolicy, Replacement, ReplacementPhase};
use crate::remote::{FaultKind, Observation};

/// The wait while the API still shows what it was told to delete.
const STILL_THERE: Duration = Duration::from_secs(5);
/// The wait for a person who says whose a connector is.
const CONTESTED: Duration = Duration::from_mins(1);

/// How the connector at the API is not what the spec says.
pub(super) enum Difference {
    /// In what can be read: these keys.
    Spec(String),
    /// In these keys, which were as the spec says, and which nobody changed in the spec.
    Drift(String),
    /// In these keys, which the API never showed as it was given them.
    Echo(String),
    /// In what the spec says and the API does not show, of which only the digest is known; today's digest.
    Unshown(String),
    /// In a secret that was sent, of which only the digest is known; today's digest.
    Credentials(String),
}

/// What differs. A secret only where nothing else does.
pub(super) fn difference(o: &Observed, desired: &Desired, seen: &Observation) -> Option<Difference> {
    if let Some(keys) = differing(o, desired, seen) {
        let request = o.request.as_ref().ok();
        let sent = request.and_then(|it| SentDiffers::between(o.status.sent.as_ref(), &it.sent));
        return Some(match (sent, o.status.shown_as_sent == Some(true)) {
            (Some(SentDiffers::No | SentDiffers::Secret), true) => Difference::Drift(keys),
            (Some(SentDiffers::No), false) => Difference::Echo(keys),
            _ => Difference::Spec(keys),
        });
    }
    let request = o.request.as_ref().ok()?;
    if o.object.acknowledged.as_ref() == Some(&request.sent) {
        return None;
    }
    match SentDiffers::between(o.status.sent.as_ref(), &request.sent)? {
        SentDiffers::No => None,
        SentDiffers::Secret => Some(Difference::Credentials(request.sent.clone())),
        SentDiffers::Spec => Some(Difference::Unshown(request.sent.clone())),
    }
}

/// Begins a replacement where the spec asks for one and it is free or consented to.
pub(super) fn begin(o: &Observed, desired: &Desired, id: &ConnectorId, seen: &Observation) -> Option<Plan> {
    let difference = difference(o, desired, seen)?;
    let (Ok(request), Ok(workspace)) = (&o.request, &o.workspace) else { return None };
    // What the API shows in its own way would be shown so again: that has no end.
    let vain = matches!(difference, Difference::Echo(_)) || failed_before(o, request).is_some();
    if desired.suspend || workspace.closed.is_some() || vain {
        return None;
    }
    if let Some(Err(fault)) = &o.facts.created {
        return Some(Outlook::fault("cannot create the new connector", fault).settle(o));
    }
    let consented = desired.replace != ReplacePolicy::Never;
    if !consented && !loses_nothing(o, desired, seen) {
        return None;
    }
    // No list tells of a scan that somebody else started and that still runs, and what a list says that somebody changed is
    // looked at again.
    if !consented || matches!(difference, Difference::Drift(_)) {
        match &o.facts.read {
            None => {
                let outlook = replacing("looking at the connector before it is replaced");
                return Some(Plan::act(o, Effect::Read(id.clone()), outlook));
            }
            Some(Ok(detail)) if consented || detail.scan_history.is_empty() => {}
            Some(_) => return None,
        }
    }
    if let Some(plan) = look(o, request, desired, Some(id.as_str())) {
        return Some(plan);
    }
    Some(match (&o.claim, &o.facts.denied) {
        (_, Some(denied)) => not_now(o, denied),
        (None, None) => claim_for(o, request, workspace),
        (Some(_), None) if desired.replace == ReplacePolicy::CreateFirst => {
            create_first::begin(o, id, request)
        }
        (Some(_), None) => {
            let replacement = Replacement {
                old_id: id.to_string(),
                new_id: None,
                phase: ReplacementPhase::Deleting,
                sent: None,
                connection_test: None,
            };
            let status = ConnectorStatus {
                replacement: Some(Box::new(replacement)),
                failed_replacement: None,
                ..o.status.clone()
            };
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
    remove(o, id, "the old connector is being deleted", || {
        let replacement = Replacement {
            old_id: id.to_string(),
            new_id: None,
            phase: ReplacementPhase::Creating,
            sent: None,
            connection_test: None,
        };
        let status =
            ConnectorStatus { replacement: Some(Box::new(replacement)), ..without_connector(&o.status) };
        record(o, status, Note::OldOneGone(id.to_string()))
    })
}

/// Deletes one of a replacement's connectors, and goes on when it is confirmed gone.
pub(super) fn remove(o: &Observed, id: &ConnectorId, what: &str, then: impl FnOnce() -> Plan) -> Plan {
    if let Some(blocked) = contested(o, id) {
        return Outlook::blocked(&blocked).settle(o);
    }
    match (&o.facts.deleted, &o.facts.gone) {
        (None, _) => Plan::act(o, Effect::Delete(id.clone()), replacing(what)),
        (Some(Err(fault)), _) if fault.kind != FaultKind::NotFound => {
            Outlook::fault(&format!("a connector is being replaced, and {id} cannot be deleted"), fault)
                .settle(o)
        }
        (Some(_), None) => Plan::act(o, Effect::ConfirmGone(id.clone()), replacing(what)),
        (Some(_), Some(Err(fault))) => Outlook::fault(
            &format!("a connector is being replaced, and nobody can see whether {id} is gone"),
            fault,
        )
        .settle(o),
        (Some(_), Some(Ok(false))) => {
            replacing(&format!("{what}; the API still shows {id}")).again_in(STILL_THERE).settle(o)
        }
        (Some(_), Some(Ok(true))) => then(),
    }
}

/// What another object's status names as its own is not deleted, whatever this one's says.
pub(super) fn contested(o: &Observed, id: &ConnectorId) -> Option<Blocked> {
    if !o.contested.contains(id.as_str()) {
        return None;
    }
    let message = format!(
        "{id} is in the status of another Connector of this cluster, too, and is not deleted: correct the status of the one that \
         it does not belong to"
    );
    let blocked = Blocked::new(Reason::AlreadyClaimed, message);
    Some(Blocked { retry: Some(CONTESTED), ..blocked })
}

pub(super) fn replacing(message: &str) -> Outlook {
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
            Duration::try_from(free_at.duration_since(o.now)).unwrap_or_default(),
        ),
        _ => ("a replacement waits for its turn in the workspace".to_owned(), Duration::ZERO),
    };
    replacing(&message).again_in(wait.max(Duration::from_secs(2))).settle(o)
}

fn record(o: &Observed, status: ConnectorStatus, note: Note) -> Plan {
    let Plan { status, .. } = replacing("the connector is being replaced").with(status).settle(o);
    Plan { effect: Some(Effect::Record { status: Box::new(status.clone()), note }), status, requeue: None }
}

//! Replacing a connector by one that is made and tested beside it. Each phase stands in the status before its effect, the
//! switch and the roll-back before the DELETE that they permit, so that at every instant it is recorded which ids are ours.

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::super::backup::BackupRecord;
use super::super::observed::{Observed, Request};
use super::create::{after_lost_answer, says_what_is_sent, without_connector};
use super::outlook::Outlook;
use super::refresh::{failed_test, ran_and_failed, tested};
use super::replace::{remove, replacing};
use super::steady::{is_of_another_identity, known_by_todays_key, next_retest};
use super::{Effect, Note, Plan, recover};
use crate::controller::Reason;
use crate::controller::conditions::{CONNECTED, whole_seconds};
use crate::controller::ledger::LEASE;
use crate::crd::{
    Claim, ConnectorStatus, FailedReplacement, Origin, ReplacePolicy, Replacement, ReplacementPhase,
};
use crate::remote::{Fault, FaultKind};

/// Failed tests of the new connector, 1, 2 and 4 minutes apart, after which the old one is kept.
const TESTS: u32 = 4;
/// The wait after something came in between.
const SOON: Duration = Duration::from_secs(2);

/// The replacement that is under way, where the new connector is made first.
pub(super) fn under_way(status: &ConnectorStatus) -> Option<&Replacement> {
    let of_this_kind = |it: &&Replacement| match it.phase {
        ReplacementPhase::Deleting | ReplacementPhase::Creating => false,
        ReplacementPhase::CreatingFirst
        | ReplacementPhase::Testing
        | ReplacementPhase::Switched
        | ReplacementPhase::RollingBack => true,
    };
    status.replacement.as_deref().filter(of_this_kind)
}

/// Whether the last attempt failed, and nothing changed since: neither spec nor Secret, and nobody asked again.
pub(super) fn failed_before<'a>(o: &'a Observed, request: &Request) -> Option<&'a FailedReplacement> {
    o.status.failed_replacement.as_deref().filter(|failed| {
        failed.generation == o.object.generation
            && failed.sent.as_ref() == Some(&request.sent)
            && failed.requested_at == o.object.request()
            && o.desired.as_ref().is_ok_and(|desired| desired.replace == ReplacePolicy::CreateFirst)
    })
}

/// The first phase, with name and slot claimed.
pub(super) fn begin(o: &Observed, id: &ConnectorId, request: &Request) -> Plan {
    let replacement = Replacement {
        old_id: id.to_string(),
        new_id: None,
        phase: ReplacementPhase::CreatingFirst,
        sent: Some(request.sent.clone()),
        connection_test: None,
    };
    turn(o, "a new connector is being created", Some(replacement), Note::CreateFirstBegun(id.to_string()))
}

/// Goes on with a replacement, whatever the spec says by now: only `suspend` pauses it.
pub(super) fn go_on(o: &Observed, id: &ConnectorId, replacement: &Replacement) -> Plan {
    let parse = |id: &str| ConnectorId::parse(id).ok();
    let new = replacement.new_id.as_deref().and_then(parse);
    match (replacement.phase, new, parse(&replacement.old_id)) {
        (ReplacementPhase::CreatingFirst, ..) => creating(o, replacement),
        (ReplacementPhase::Testing, Some(new), _) => {
            between(o).unwrap_or_else(|| testing(o, replacement, id, &new))
        }
        (ReplacementPhase::Switched, Some(new), Some(old)) if new == *id => {
            between(o).unwrap_or_else(|| switched(o, &new, &old))
        }
        (ReplacementPhase::RollingBack, Some(new), _) if new != *id => between(o).unwrap_or_else(|| {
            remove(o, &new, "the new connector is not kept, and is being deleted", || {
                turn(o, "the old connector stays", None, Note::Seen)
            })
        }),
        // No operator wrote that; nothing can be deleted on the strength of it.
        _ => turn(o, "the record of a replacement made no sense, and was dropped", None, Note::Seen),
    }
}

/// The id of the new connector, which goes into the status before anything else happens.
pub(super) fn known(o: &Observed, new: &ConnectorId) -> Plan {
    let replacement = o.status.replacement.as_deref().map(|replacement| Replacement {
        new_id: Some(new.to_string()),
        phase: ReplacementPhase::Testing,
        ..replacement.clone()
    });
    turn(o, "the new connector is being tested", replacement, Note::SuccessorKnown(new.to_string()))
}

/// One POST under one claim; if it had no effect, nothing is under way any more, and the next pass decides anew.
fn creating(o: &Observed, replacement: &Replacement) -> Plan {
    match &o.facts.created {
        Some(Ok(created)) => return known(o, &created.id),
        Some(Err(fault)) if !fault.had_no_effect() => {
            let message = format!("{}; looking for it in the list", fault.message);
            return Outlook::waiting(Reason::CreateOutcomeUnknown, message).again_in(SOON).settle(o);
        }
        Some(Err(fault)) => {
            return match &o.claim {
                Some(open) => {
                    let nonce = open.claim.nonce.clone();
                    let effect = Effect::CloseClaim { nonce, why: "the create had no effect" };
                    Plan::act(o, effect, replacing("the new connector was not created"))
                }
                None => not_created(o, fault),
            };
        }
        None => {}
    }
    if recover::is_due(o) {
        return after_lost_answer(o);
    }
    let Some(open) = &o.claim else {
        return turn(o, "nothing was made, and it is decided anew", None, Note::Seen);
    };
    let suspended = o.desired.as_ref().is_ok_and(|desired| desired.suspend);
    let as_recorded = match (&o.request, &o.workspace) {
        (Ok(request), Ok(workspace)) => {
            says_what_is_sent(&open.claim, request, workspace)
                && replacement.sent.as_ref() == Some(&request.sent)
        }
        _ => false,
    };
    if suspended || !as_recorded {
        let nonce = open.claim.nonce.clone();
        let why = "the spec, the Secret or the workspace changed before anything was sent";
        return Plan::act(o, Effect::CloseClaim { nonce, why }, replacing("decides anew"));
    }
    if o.facts.denied.is_some() {
        return replacing("waits for its turn in the workspace").again_in(SOON).settle(o);
    }
    let young = o.facts.claimed.as_ref().is_some_and(|(_, age)| *age < LEASE);
    let effect = if !young {
        Effect::Claim(Box::new(Claim { claimed_at: o.now, ..open.claim.clone() }))
    } else if o.facts.bound {
        Effect::Create
    } else {
        Effect::Bind { nonce: open.claim.nonce.clone() }
    };
    Plan::act(o, effect, replacing("a new connector is being created"))
}

fn not_created(o: &Observed, fault: &Fault) -> Plan {
    let advice = match fault.kind {
        FaultKind::Conflict => {
            "the API takes no second connector of that name: set spec.replacePolicy to Recreate, or change spec.displayName too"
        }
        FaultKind::Refused | FaultKind::NotFound => "correct the spec",
        _ => {
            let status = ConnectorStatus { replacement: None, ..o.status.clone() };
            return Outlook::fault("cannot create the new connector", fault).with(status).settle(o);
        }
    };
    let what = format!("the new connector was not created: {}; the old one is kept; {advice}", fault.message);
    roll_back(o, None, &what, true)
}

fn testing(o: &Observed, replacement: &Replacement, old: &ConnectorId, new: &ConnectorId) -> Plan {
    if let Some(open) = &o.claim {
        let effect =
            Effect::CloseClaim { nonce: open.claim.nonce.clone(), why: "the new connector is known" };
        return Plan::act(o, effect, replacing("the new connector is being tested"));
    }
    if let Ok(request) = &o.request
        && replacement.sent.as_ref() != Some(&request.sent)
    {
        let what = format!(
            "the spec or the Secret changed while {new} was being tested: {new} is deleted, and {old} stays until the new spec \
             is decided on"
        );
        return roll_back(o, Some(replacement), &what, false);
    }
    let outcome = match &o.facts.tested {
        None => None,
        Some(Ok(outcome)) => Some(outcome.clone()),
        // What the API does not show has the same time to appear as what does not connect.
        Some(Err(fault)) if ran_and_failed(fault) || fault.kind == FaultKind::NotFound => {
            Some(failed_test(fault))
        }
        Some(Err(fault)) => {
            return Outlook::fault("cannot test the new connector", fault).settle(o);
        }
    };
    if let Some(outcome) = outcome {
        let test = tested(o.now, replacement.connection_test.as_ref(), replacement.sent.clone(), &outcome);
        let replacement = Replacement { connection_test: Some(test), ..replacement.clone() };
        // One test answers a request, whatever comes of it.
        let handled = o.object.request().or_else(|| o.status.last_handled_reconcile_at.clone());
        let status = ConnectorStatus {
            replacement: Some(Box::new(replacement)),
            last_handled_reconcile_at: handled,
            ..o.status.clone()
        };
        return record(o, "the new connector was tested", status, Note::Seen);
    }
    let being_tested = format!("{new} is being tested; {old} stays until it connects");
    let Some(test) = &replacement.connection_test else {
        return Plan::act(o, Effect::Test(new.clone()), replacing(&being_tested));
    };
    if test.connected {
        return switch(o, replacement, old, new);
    }
    let why = test.message.as_deref().unwrap_or("the API does not say why");
    if test.failures >= TESTS {
        let what = format!(
            "the new connector {new} did not connect in {TESTS} tests: {why}; it is deleted, and {old} is kept; correct the \
             spec, the Secret or the permissions, or ask again with the annotation slim.io/reconcile-requested-at"
        );
        return roll_back(o, Some(replacement), &what, true);
    }
    let asked = o.object.requested_at.is_some() && o.object.request() != o.status.last_handled_reconcile_at;
    match next_retest(test).filter(|next| *next > o.now && !asked) {
        None => Plan::act(o, Effect::Test(new.clone()), replacing(&being_tested)),
        Some(next) => {
            let wait = Duration::try_from(next.duration_since(o.now)).unwrap_or_default().max(SOON);
            let message = format!(
                "the new connector {new} does not connect yet: {why}; the next test is due at {}; {old} stays until then",
                whole_seconds(next)
            );
            replacing(&message).again_in(wait).settle(o)
        }
    }
}

/// From here on the new one is the object's connector, and the old one may be deleted.
fn switch(o: &Observed, replacement: &Replacement, old: &ConnectorId, new: &ConnectorId) -> Plan {
    let status = ConnectorStatus {
        connector_id: Some(new.to_string()),
        origin: Some(Origin::Created),
        identity: o.status.identity.clone(),
        sent: replacement.sent.clone(),
        connection_test: replacement.connection_test.clone(),
        replacement: Some(Box::new(Replacement { phase: ReplacementPhase::Switched, ..replacement.clone() })),
        ..without_connector(&o.status)
    };
    let note = Note::Switched { old: old.to_string(), new: new.to_string() };
    let mut plan = record(o, "the old connector is being deleted", status, note);
    // `Connected` speaks of another connector now: how long that one is known counts from here.
    if let Some(Effect::Record { status, .. }) = &mut plan.effect {
        for connected in status.conditions.iter_mut().filter(|it| it.type_ == CONNECTED) {
            connected.last_transition_time.0 = whole_seconds(o.now);
        }
        plan.status = (**status).clone();
    }
    plan
}

fn switched(o: &Observed, new: &ConnectorId, old: &ConnectorId) -> Plan {
    // A backup that is taken now has to find the new one.
    if let Ok(workspace) = &o.workspace {
        let copy = BackupRecord::of(&o.object, &o.status, new, &workspace.sealer).text();
        if o.object.copy.as_ref() != Some(&copy) {
            let outlook = replacing("the old connector is about to be deleted");
            return Plan::act(o, Effect::Annotate { value: Some(copy) }, outlook);
        }
    }
    remove(o, old, "the new connector is in place, and the old one is being deleted", || {
        turn(o, "the replacement is complete", None, Note::Seen)
    })
}

/// What pauses a replacement between its phases.
fn between(o: &Observed) -> Option<Plan> {
    if o.desired.as_ref().is_ok_and(|desired| desired.suspend) {
        return Some(replacing("the replacement rests: spec.suspend is set").settle(o));
    }
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        Err(blocked) => return Some(Outlook::blocked(blocked).settle(o)),
    };
    if is_of_another_identity(o, workspace) {
        let message =
            "the workspace's key or endpoint changed in the middle of a replacement: put the old key back";
        return Some(Outlook::waiting(Reason::IdentityChanged, message).settle(o));
    }
    known_by_todays_key(o, workspace)
}

fn roll_back(o: &Observed, made: Option<&Replacement>, what: &str, failed: bool) -> Plan {
    let rolling_back =
        |made: &Replacement| Replacement { phase: ReplacementPhase::RollingBack, ..made.clone() };
    let replacement = made.map(|made| Box::new(rolling_back(made)));
    let sent = o.status.replacement.as_ref().and_then(|replacement| replacement.sent.clone());
    let failure = failed.then(|| {
        Box::new(FailedReplacement {
            generation: o.object.generation,
            sent,
            requested_at: o.object.request(),
            message: what.chars().take(800).collect(),
        })
    });
    let status = ConnectorStatus { replacement, failed_replacement: failure, ..o.status.clone() };
    let id = made.and_then(|made| made.new_id.clone());
    record(o, what, status, Note::RolledBack { id, message: what.to_owned(), failed })
}

fn turn(o: &Observed, message: &str, replacement: Option<Replacement>, note: Note) -> Plan {
    let replacement = replacement.map(Box::new);
    record(o, message, ConnectorStatus { replacement, ..o.status.clone() }, note)
}

fn record(o: &Observed, message: &str, status: ConnectorStatus, note: Note) -> Plan {
    let Plan { status, .. } = replacing(message).with(status).settle(o);
    Plan { effect: Some(Effect::Record { status: Box::new(status.clone()), note }), status, requeue: None }
}

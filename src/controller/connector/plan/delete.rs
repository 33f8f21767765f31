//! Letting go of a connector. The finalizer leaves when the connector is confirmed absent, or is to stay, or nobody is to be
//! asked; where nothing is at the API, there is nothing to wait for.

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::super::observed::Observed;
use super::outlook::Outlook;
use super::recover::{self, Recovery};
use super::replace::contested;
use super::steady::{given_up, is_of_another_identity, known_by_todays_key};
use super::{Effect, Note, Plan, create_first, known_id};
use crate::controller::{Blocked, Reason};
use crate::crd::{ABANDON_ANNOTATION, ConnectorStatus, DeletionPolicy, Origin};
use crate::remote::FaultKind;

/// The wait while the API still shows what it was told to delete.
const STILL_THERE: Duration = Duration::from_secs(5);
/// The wait for something that a person has to do at the API or to the workspace.
const LOOK_AGAIN: Duration = Duration::from_mins(5);

pub(super) fn plan(o: &Observed) -> Plan {
    if !o.object.finalizer {
        return Plan { effect: None, status: o.status.clone(), requeue: None };
    }
    let id = match known_id(o) {
        Ok(id) => id,
        Err(blocked) if !o.object.abandon => return held(o, &blocked),
        Err(_) => None,
    };
    if o.object.abandon {
        return release(o, Note::Abandoned(all_ids(o)), "the object was abandoned");
    }
    let policy = match (o.object.deletion, o.status.origin) {
        // What is only to be read is not deleted either, however far it was let go.
        _ if o.object.observe => DeletionPolicy::Retain,
        (Some(policy), _) => policy,
        (None, Some(Origin::Adopted)) => DeletionPolicy::Retain,
        (None, Some(Origin::Created) | None) => DeletionPolicy::Delete,
    };
    if policy == DeletionPolicy::Retain {
        let note = all_ids(o).map_or(Note::NothingThere, Note::Retained);
        return release(o, note, "the connector stays at the API");
    }
    if let Some(plan) = given_up(o, None) {
        return plan;
    }
    let Some(id) = id else { return nothing_known(o) };
    // What a lost answer may have made beside it is found out first.
    if o.claim.is_some() && create_first::under_way(&o.status).is_some_and(|it| it.new_id.is_none()) {
        return nothing_known(o);
    }
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        Err(blocked) => return held(o, blocked),
    };
    if workspace.gave_up(o.status.identity.as_ref()) {
        return release(o, Note::Retained(id.to_string()), "its key was given up");
    }
    if is_of_another_identity(o, workspace) {
        let message = "the workspace's key or endpoint is not the one that the connector was made with: put the old key back, or acknowledge \
                       the new one as the workspace's condition says";
        return held(o, &Blocked::new(Reason::IdentityChanged, message));
    }
    if let Some(plan) = known_by_todays_key(o, workspace) {
        return plan;
    }
    // A replacement's other connector goes first: the status names it for as long as it may be there.
    let other = o.status.other_id().map(ConnectorId::parse).transpose();
    let (id, last) = match other {
        Ok(Some(other)) => (other, false),
        Ok(None) => (id, true),
        Err(_) => {
            return held(o, &Blocked::new(Reason::InvalidSpec, "status.replacement does not name an id"));
        }
    };
    if let Some(blocked) = contested(o, &id) {
        return held(o, &blocked);
    }
    let deleting = || Outlook::waiting(Reason::Deleting, format!("{id} is being deleted at the API"));
    match (&o.facts.deleted, &o.facts.gone) {
        (None, _) => Plan::act(o, Effect::Delete(id.clone()), deleting()),
        (Some(Err(fault)), _) if fault.kind != FaultKind::NotFound && fault.had_no_effect() => {
            Outlook::fault(&format!("cannot delete {id} at the API ({})", way_out()), fault).settle(o)
        }
        (Some(_), None) => Plan::act(o, Effect::ConfirmGone(id.clone()), deleting()),
        (Some(_), Some(Err(fault))) => {
            Outlook::fault(&format!("cannot see whether {id} is gone ({})", way_out()), fault).settle(o)
        }
        (Some(_), Some(Ok(false))) => deleting().again_in(STILL_THERE).settle(o),
        (Some(_), Some(Ok(true))) if last => {
            release(o, Note::Deleted(id.to_string()), "the connector is gone")
        }
        (Some(_), Some(Ok(true))) => {
            let status = ConnectorStatus { replacement: None, ..o.status.clone() };
            let Plan { status, .. } = deleting().with(status).settle(o);
            let effect =
                Effect::Record { status: Box::new(status.clone()), note: Note::Deleted(id.to_string()) };
            Plan { effect: Some(effect), status, requeue: None }
        }
    }
}

/// No id: either nothing was ever sent, or a create's answer was lost.
fn nothing_known(o: &Observed) -> Plan {
    let Some(open) = &o.claim else {
        return Plan::act(
            o,
            Effect::Release { note: Note::NothingThere },
            Outlook::waiting(Reason::Deleting, ""),
        );
    };
    if !recover::is_due(o) && o.facts.created.is_none() {
        let effect =
            Effect::CloseClaim { nonce: open.claim.nonce.clone(), why: "deleted before anything was sent" };
        return Plan::act(o, effect, Outlook::waiting(Reason::Deleting, "deleted before it was created"));
    }
    if let Err(blocked) = &o.workspace {
        return held(o, blocked);
    }
    let looking =
        || Outlook::waiting(Reason::Deleting, "the answer to a create was lost; looking for what it made");
    match recover::decide(o) {
        Recovery::Look => Plan::act(o, Effect::List, looking()),
        Recovery::Unread(fault) => {
            Outlook::fault("cannot look for a create whose answer was lost", &fault).settle(o)
        }
        Recovery::Wait(wait) => looking().again_in(wait).settle(o),
        Recovery::OtherIdentity => {
            let blocked = Blocked::new(Reason::IdentityChanged, recover::OTHER_IDENTITY);
            held(o, &Blocked { retry: Some(LOOK_AGAIN), ..blocked })
        }
        Recovery::Found(id) => recover::record(o, &id),
        Recovery::Several(ids) => {
            let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!(
                "the answer to a create was lost, and several connectors could be it ({list}): delete what is not needed at the \
                 API, then {}",
                way_out()
            );
            Outlook::stalled(Reason::CreateOutcomeAmbiguous, message).again_in(LOOK_AGAIN).settle(o)
        }
        Recovery::Nothing(nonce) => Plan::act(o, Effect::GiveUpClaim { nonce }, looking()),
    }
}

/// Closes what is open, then lets the object go.
fn release(o: &Observed, note: Note, why: &'static str) -> Plan {
    let outlook = Outlook::waiting(Reason::Deleting, why);
    match &o.claim {
        Some(open) => Plan::act(o, Effect::CloseClaim { nonce: open.claim.nonce.clone(), why }, outlook),
        None => Plan::act(o, Effect::Release { note }, outlook),
    }
}

/// Something stands between the object and its end.
fn held(o: &Observed, blocked: &Blocked) -> Plan {
    let message = format!("cannot be deleted yet: {}; {}", blocked.message, way_out());
    let blocked = Blocked { message, ..blocked.clone() };
    Outlook::blocked(&blocked).settle(o)
}

/// Every id that the object has, for messages.
fn all_ids(o: &Observed) -> Option<String> {
    let known = o.status.connector_id.as_deref()?;
    Some(o.status.other_id().map_or_else(|| known.to_owned(), |other| format!("{known} and {other}")))
}

fn way_out() -> String {
    format!("to let go without asking the API, set the annotation {ABANDON_ANNOTATION}: \"true\"")
}

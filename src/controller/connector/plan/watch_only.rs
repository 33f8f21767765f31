//! A connector that is only read: nothing is written at the API, nothing is claimed, and the object has no finalizer. What was
//! begun while it was managed is finished first.

use std::time::Duration;

use connectors_api::wire::{ConnectorId, ConnectorState};

use super::super::observed::{Observed, Watched};
use super::outlook::Outlook;
use super::refresh::{shown, shows_a_change};
use super::steady::{close_claim, differing, not_read_recently};
use super::{Effect, Note, Plan, adopt, create, replace};
use crate::controller::conditions::Truth;
use crate::controller::{Blocked, Reason};
use crate::crd::ConnectorStatus;
use crate::remote::{FaultKind, Observation, Sight};

/// The wait for the outcome of a create, and for an API that contradicts itself.
const SOON: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_mins(1);

pub(super) fn plan(o: &Observed, watched: &Watched, own: Option<&ConnectorId>) -> Plan {
    finish(o, own)
        .or_else(|| own.map(|own| let_go(o, watched, own)))
        .or_else(|| o.object.finalizer.then(|| Plan::act(o, Effect::DropFinalizer, observing(&watched.id))))
        .unwrap_or_else(|| look(o, watched))
}

fn observing(id: &ConnectorId) -> Outlook {
    Outlook::waiting(Reason::NotReadRecently, format!("{id} is being read"))
}

/// What was begun while the connector was managed.
fn finish(o: &Observed, own: Option<&ConnectorId>) -> Option<Plan> {
    if o.status.replacement.is_some() {
        return Some(match (&o.desired, own) {
            (Ok(desired), Some(own)) => replace::go_on(o, desired, own),
            (Ok(desired), None) => create::plan(o, desired),
            (Err(_), _) => Outlook::stalled(
                Reason::InvalidSpec,
                "a replacement is under way: leave the provider's fields in the spec until it has ended",
            )
            .settle(o),
        });
    }
    if own.is_some() {
        return close_claim(o);
    }
    if o.facts.created.is_some() {
        // What came of it is found by its claim.
        return Some(
            Outlook::waiting(Reason::CreateOutcomeUnknown, "a create was sent; looking for it in the list")
                .again_in(SOON)
                .settle(o),
        );
    }
    let nonce = o.claim.as_ref()?.claim.nonce.clone();
    let effect = Effect::CloseClaim { nonce, why: "the connector is only observed" };
    Some(Plan::act(o, effect, Outlook::waiting(Reason::Creating, "nothing is created any more")))
}

/// Puts down that the connector is not this object's any more. It stays at the API.
fn let_go(o: &Observed, watched: &Watched, own: &ConnectorId) -> Plan {
    if *own != watched.id {
        let message = format!(
            "this object has {own}, and spec.connectorId names {}: name {own}, or set spec.managementPolicy back to Manage",
            watched.id
        );
        return Outlook::stalled(Reason::InvalidSpec, message).settle(o);
    }
    let status = ConnectorStatus {
        connector_id: None,
        adopting: None,
        origin: None,
        identity: None,
        sent: None,
        shown_as_sent: None,
        connection_test: None,
        ..o.status.clone()
    };
    let Plan { status, .. } = observing(own).with(status).settle(o);
    let note = Note::OnlyObserved(own.to_string());
    Plan { effect: Some(Effect::Record { status: Box::new(status.clone()), note }), status, requeue: None }
}

fn look(o: &Observed, watched: &Watched) -> Plan {
    let id = &watched.id;
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        Err(blocked) => return Outlook::blocked(blocked).settle(o),
    };
    if let Some(blocked) = adopt::not_allowed(o, workspace, id) {
        return Outlook::blocked(&blocked).settle(o);
    }
    match &o.facts.read {
        Some(Err(fault)) if fault.kind == FaultKind::NotFound => {
            let message = format!("the API has no connector {id}, which spec.connectorId names");
            return match o.sight {
                Sight::Seen(_) => {
                    let message = format!("the API lists {id} and does not let it be read");
                    Outlook::waiting(Reason::RemoteMissing, message).again_in(LOOK_AGAIN).settle(o)
                }
                Sight::Missing | Sight::Unread => Outlook::stalled(Reason::RemoteMissing, message).settle(o),
            };
        }
        Some(Err(fault)) => return Outlook::fault("cannot read the connector", fault).settle(o),
        Some(Ok(_)) => {}
        None => {
            let asked =
                o.object.requested_at.is_some() && o.object.request() != o.status.last_handled_reconcile_at;
            let wanted = match &o.sight {
                Sight::Seen(seen) => asked || shows_a_change(&o.status, seen),
                Sight::Missing => true,
                Sight::Unread => workspace.trouble.is_none(),
            };
            if wanted {
                return Plan::act(o, Effect::Read(id.clone()), observing(id));
            }
        }
    }
    match &o.sight {
        Sight::Seen(seen) => say(o, seen, workspace.trouble.as_ref()),
        Sight::Missing | Sight::Unread => not_read_recently(o, workspace.trouble.as_ref()),
    }
}

/// The verdict, by what the API says alone.
fn say(o: &Observed, seen: &Observation, trouble: Option<&Blocked>) -> Plan {
    let age = o.clock.saturating_duration_since(seen.read_at);
    if age > o.freshness {
        return not_read_recently(o, trouble);
    }
    let outlook = match &seen.state {
        ConnectorState::Error => {
            Outlook::waiting(Reason::RemoteError, "the API says that the connector is in error")
        }
        ConnectorState::Disconnected => Outlook::waiting(
            Reason::RemoteDisconnected,
            "somebody disconnected the connector at the API; connect it again there",
        ),
        ConnectorState::PendingTest => Outlook::waiting(
            Reason::ConnectionTestPending,
            "the API says that nobody tested the connection yet; what is only observed is not tested from here",
        ),
        other => Outlook::ready(format!("observed: the API says {}", other.as_str())),
    };
    let differs = o.desired.as_ref().ok().and_then(|desired| differing(o, desired, seen));
    let outlook = match (&o.desired, differs) {
        (Ok(_), Some(keys)) => outlook.synced(
            Truth::False,
            Reason::ObservedDiffers,
            format!("the connector at the API differs from the spec in {keys}, and is only observed"),
        ),
        (Ok(_), None) => outlook.synced(
            Truth::True,
            Reason::Synced,
            "the connector at the API is as the spec says, as far as it can be read",
        ),
        (Err(_), _) => outlook.synced(
            Truth::True,
            Reason::Synced,
            "only observed; the spec says nothing to compare it with",
        ),
    };
    let outlook = outlook.with(ConnectorStatus { adopting: None, ..shown(o, seen) });
    match trouble {
        Some(_) => outlook.again_in(o.freshness.saturating_sub(age) + Duration::from_secs(1)).settle(o),
        None => outlook.settle(o),
    }
}

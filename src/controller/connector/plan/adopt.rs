//! Taking a connector that exists. Nobody else in the cluster may have its id, and two who want it at the same time do not
//! both get it.
//!
//! The wish is written into the status first, and only then the API server is asked who else has the id or wishes for it. Of
//! two who wish, the one who wrote later sees the other. Nobody takes what another one wishes for: the younger object gives
//! its wish up, the older one waits for that.

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::super::backup::BackupRecord;
use super::super::desired::Desired;
use super::super::observed::{Observed, WorkspaceView};
use super::create::without_connector;
use super::outlook::Outlook;
use super::steady::differs;
use super::{Effect, Note, Plan};
use crate::controller::{Blocked, Reason};
use crate::crd::{ConnectorStatus, Origin};
use crate::remote::{FaultKind, Item};

/// The wait for somebody else who has the id, and for a workspace that does not allow it.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// The wait for somebody else who gives up a wish or ends a create.
const SOON: Duration = Duration::from_secs(2);

/// What names the connector to take.
enum Wish {
    /// `spec.connectorId`.
    Spec,
    /// The annotation of this very object, from before it lost its status.
    Backup(BackupRecord),
}

/// A connector that exists, as far as its taking needs it.
struct Found<'a> {
    id: &'a ConnectorId,
    name: &'a str,
    provider: &'a str,
    state: &'a str,
}

/// The next step of an adoption. None: nothing names a connector to take.
pub(super) fn plan(o: &Observed, desired: &Desired) -> Option<Plan> {
    if o.status.replacement.is_some() || o.facts.created.is_some() {
        return None;
    }
    let (id, wish) = match &desired.connector_id {
        Some(id) => (id.clone(), Wish::Spec),
        None => {
            let record = BackupRecord::parse(&o.object).filter(|record| record.belongs_to(&o.object))?;
            (record.id.clone(), Wish::Backup(record))
        }
    };
    let id = ConnectorId::parse(id).ok()?;
    Some(match &o.workspace {
        Ok(workspace) => match &workspace.closed {
            Some(closed) => Outlook::blocked(closed).settle(o),
            None => named(o, desired, workspace, &id, &wish),
        },
        Err(blocked) => Outlook::blocked(blocked).settle(o),
    })
}

/// Takes the one connector that a list shows to be what the spec asks for.
pub(super) fn matching(o: &Observed, workspace: &WorkspaceView, item: &Item) -> Plan {
    if let Some(blocked) = not_allowed(o, workspace, &item.id) {
        return Outlook::blocked(&blocked).settle(o);
    }
    let (provider, state) = (item.provider.as_str(), item.state.as_str());
    take(o, workspace, &Found { id: &item.id, name: &item.name, provider, state })
}

/// The object that a copied annotation belongs to.
pub(super) fn foreign_copy(o: &Observed) -> Option<String> {
    let record = BackupRecord::parse(&o.object)?;
    (!record.belongs_to(&o.object)).then(|| record.object.chars().take(320).collect())
}

/// How this very object came to the connector, by a record that the operator sealed with today's key.
pub(super) fn proven(o: &Observed, workspace: &WorkspaceView, id: &ConnectorId) -> Option<Origin> {
    let record = BackupRecord::parse(&o.object)?;
    let sound = record.id == id.as_str() && record.belongs_to(&o.object) && workspace.sealer.made(&record);
    record.origin.filter(|_| sound)
}

/// Why the connector may be neither adopted nor observed from here.
pub(super) fn not_allowed(o: &Observed, workspace: &WorkspaceView, id: &ConnectorId) -> Option<Blocked> {
    if workspace.allows_adoption || proven(o, workspace, id).is_some() {
        return None;
    }
    let message = format!(
        "{} does not allow to adopt or observe a connector that was not created from here ({id}): set its \
         spec.allowAdoption, or remove what names the connector (spec.connectorId, spec.adoptionPolicy, or the \
         annotation slim.io/connector)",
        workspace.title
    );
    Some(Blocked { retry: Some(LOOK_AGAIN), ..Blocked::new(Reason::AdoptionNotAllowed, message) })
}

fn named(o: &Observed, desired: &Desired, workspace: &WorkspaceView, id: &ConnectorId, wish: &Wish) -> Plan {
    if let Some(blocked) = not_allowed(o, workspace, id) {
        return Outlook::blocked(&blocked).settle(o);
    }
    if o.taken.contains(id.as_str()) {
        return claimed(id, "another Connector of this cluster").settle(o);
    }
    let detail = match &o.facts.read {
        None => return Plan::act(o, Effect::Read(id.clone()), adopting(id)),
        Some(Err(fault)) if fault.kind == FaultKind::NotFound => return missing(o, workspace, id, wish),
        Some(Err(fault)) => return Outlook::fault("cannot read the connector to adopt", fault).settle(o),
        Some(Ok(detail)) => detail,
    };
    if let Some(keys) = differs(o, desired, &detail.name, &detail.provider, &detail.config) {
        let message = format!(
            "{id} was not adopted: it differs from the spec in {keys}; correct the spec, or name another connector"
        );
        return Outlook::stalled(Reason::AdoptionMismatch, message).settle(o);
    }
    let (provider, state) = (detail.provider.as_str(), detail.status.as_str());
    take(o, workspace, &Found { id, name: &detail.name, provider, state })
}

/// The API does not know the connector.
fn missing(o: &Observed, workspace: &WorkspaceView, id: &ConnectorId, wish: &Wish) -> Plan {
    let record = match wish {
        Wish::Spec => {
            let message = format!(
                "the API has no connector {id}, which spec.connectorId names: correct it, or remove it to have one created"
            );
            return Outlook::stalled(Reason::RemoteMissing, message).settle(o);
        }
        Wish::Backup(record) => record,
    };
    if record.identity.as_ref().is_some_and(|identity| !workspace.knows(identity)) {
        let message = format!(
            "the API has no connector {id}, and this object had it under another key or endpoint: put the old key back, or remove \
             the annotation slim.io/connector to have one created"
        );
        return Outlook::waiting(Reason::IdentityChanged, message).again_in(LOOK_AGAIN).settle(o);
    }
    let unsure =
        |message: String| Outlook::waiting(Reason::RemoteMissing, message).again_in(LOOK_AGAIN).settle(o);
    match &o.facts.listing {
        None => Plan::act(o, Effect::List, adopting(id)),
        Some(Err(fault)) => Outlook::fault("cannot read the list of connectors", fault).settle(o),
        Some(Ok(listing)) if listing.alarm.is_some() => {
            unsure(format!("{id} is not shown, and the API's list is too short to be believed"))
        }
        Some(Ok(listing)) if listing.shows(id) => {
            unsure(format!("the API lists {id} and does not let it be read"))
        }
        // The record is of no use any more.
        Some(Ok(_)) => {
            let message = format!("{id} is not at the API any more; a new one is created");
            Plan::act(o, Effect::Annotate { value: None }, Outlook::waiting(Reason::Creating, message))
        }
    }
}

/// Wish, look around, finalizer, id: each only when the one before it is acknowledged.
fn take(o: &Observed, workspace: &WorkspaceView, found: &Found<'_>) -> Plan {
    let Found { id, name, provider, state } = found;
    if let Some(open) = &o.claim {
        let nonce = open.claim.nonce.clone();
        return Plan::act(o, Effect::CloseClaim { nonce, why: "nothing is created" }, adopting(id));
    }
    let wishing = ConnectorStatus { adopting: Some(id.to_string()), ..o.status.clone() };
    let going_on = |outlook: Outlook| outlook.with(wishing.clone());
    if o.status.adopting.as_deref() != Some(id.as_str()) {
        return record(going_on(adopting(id)).settle(o), Note::Seen);
    }
    let Some(survey) = &o.facts.survey else {
        let effect = Effect::Survey { id: (*id).clone(), name: (*name).to_owned() };
        return Plan::act(o, effect, going_on(adopting(id)));
    };
    if let Some(holder) = &survey.holder {
        return claimed(id, &format!("Connector {holder}")).settle(o);
    }
    if let Some(older) = &survey.older {
        return claimed(id, &format!("Connector {older}, which is older and adopts it,")).settle(o);
    }
    let others = [
        survey.younger.as_ref().map(|who| format!("{who} wants it too and is younger")),
        survey.creating.as_ref().map(|who| format!("a create of {who} is under way that may have made it")),
    ];
    if let Some(why) = others.into_iter().flatten().next() {
        let outlook = Outlook::waiting(Reason::Adopting, format!("{id} is to be adopted, but {why}"));
        return going_on(outlook).again_in(SOON).settle(o);
    }
    if !o.object.finalizer {
        return Plan::act(o, Effect::AddFinalizer, going_on(adopting(id)));
    }
    let proven = proven(o, workspace, id);
    let status = ConnectorStatus {
        connector_id: Some(id.to_string()),
        origin: Some(proven.unwrap_or(Origin::Adopted)),
        identity: Some(workspace.identity.clone()),
        provider: Some((*provider).to_owned()),
        state: Some((*state).to_owned()),
        ..without_connector(&o.status)
    };
    let outlook = Outlook::waiting(Reason::ConnectionTestPending, "adopted; the connection is being tested")
        .with(status);
    let note = if proven.is_some() { Note::Restored } else { Note::Adopted };
    record(outlook.settle(o), note(id.to_string()))
}

fn record(plan: Plan, note: Note) -> Plan {
    let Plan { status, .. } = plan;
    Plan { effect: Some(Effect::Record { status: Box::new(status.clone()), note }), status, requeue: None }
}

fn adopting(id: &ConnectorId) -> Outlook {
    Outlook::waiting(Reason::Adopting, format!("{id} is being adopted"))
}

fn claimed(id: &ConnectorId, who: &str) -> Outlook {
    let message = format!("{who} has {id}: a connector belongs to one object at a time");
    Outlook::waiting(Reason::AlreadyClaimed, message).again_in(LOOK_AGAIN)
}

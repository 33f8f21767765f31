//! What to do next for a Connector. Pure and total: the same observation gives the same plan, and a plan has at most one
//! effect, so that every instant at which the operator can die lies between two plans.

mod adopt;
mod create;
mod create_first;
mod delete;
mod outlook;
mod recover;
mod refresh;
mod replace;
mod steady;
mod watch_only;

#[cfg(test)]
mod tests;

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::observed::Observed;
use crate::controller::{Blocked, Reason};
use crate::crd::{Claim, ConnectorStatus};
use outlook::Outlook;
pub(in crate::controller) use recover::candidates;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The one effect that is next. None: the object is as it should be, or has to wait.
    pub effect: Option<Effect>,
    /// The status to write when there is no effect.
    pub status: ConnectorStatus,
    /// When to look again. None: when something changes.
    pub requeue: Option<Duration>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Write this status, and go on only when the write is acknowledged.
    Record {
        /// The status.
        status: Box<ConnectorStatus>,
        /// What it records, for the log and the event.
        note: Note,
    },
    /// Put our finalizer on the object.
    AddFinalizer,
    /// Keep a copy of the id in the annotation, or take it away.
    Annotate {
        /// The annotation's value.
        value: Option<String>,
    },
    /// Take our finalizer off an object that goes on, and whose connector is not its own any more.
    DropFinalizer,
    /// Find out on the API server who else has an id, or is about to.
    Survey {
        /// The id.
        id: ConnectorId,
        /// The connector's name at the API.
        name: String,
    },
    /// Read the whole list.
    List,
    /// Open a claim in the workspace's status, with a slot of the hour.
    Claim(Box<Claim>),
    /// Write the claim's nonce into the object's status: nothing is sent under it before.
    Bind {
        /// The nonce.
        nonce: String,
    },
    /// Close a claim.
    CloseClaim {
        /// Which.
        nonce: String,
        /// Why.
        why: &'static str,
    },
    /// Close a claim of whose create no trace was found, and remember it.
    GiveUpClaim {
        /// Which.
        nonce: String,
    },
    /// POST the connector, under the claim that this pass opened.
    Create,
    /// Test the connection.
    Test(ConnectorId),
    /// Read the connector.
    Read(ConnectorId),
    /// DELETE the connector.
    Delete(ConnectorId),
    /// Find out whether it is gone.
    ConfirmGone(ConnectorId),
    /// Take our finalizer off the object.
    Release {
        /// What is said about it.
        note: Note,
    },
}

impl Effect {
    /// How metrics call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Record { .. } => "record",
            Self::AddFinalizer => "add_finalizer",
            Self::Annotate { .. } => "annotate",
            Self::List => "list",
            Self::Claim(_) => "claim",
            Self::Bind { .. } => "bind",
            Self::CloseClaim { .. } => "close_claim",
            Self::GiveUpClaim { .. } => "give_up_claim",
            Self::DropFinalizer => "drop_finalizer",
            Self::Survey { .. } => "survey",
            Self::Create => "create",
            Self::Test(_) => "test",
            Self::Read(_) => "read",
            Self::Delete(_) => "delete",
            Self::ConfirmGone(_) => "confirm_gone",
            Self::Release { .. } => "release",
        }
    }
}

/// Something worth an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Note {
    /// Nothing that an event need tell.
    Seen,
    /// The connector was created.
    Created(String),
    /// The connector whose create's answer was lost was found.
    Recovered(String),
    /// The connector was there already, and belongs to this object now.
    Adopted(String),
    /// The connector that a backup tells of belongs to this object again.
    Restored(String),
    /// The annotation is that of another object.
    CopyIgnored(String),
    /// The connector stays at the API, and is only read from now on.
    OnlyObserved(String),
    /// A replacement began.
    ReplacementBegun(String),
    /// A replacement's old connector is gone.
    OldOneGone(String),
    /// A replacement that makes the new connector first began.
    CreateFirstBegun(String),
    /// The new connector of a replacement is there, beside the old one.
    SuccessorKnown(String),
    /// The new connector takes the place of the old one.
    Switched {
        /// The one that goes.
        old: String,
        /// The one that comes.
        new: String,
    },
    /// The new connector is not kept, or was not to be had, and the old one stays.
    RolledBack {
        /// The one that is not kept, where there is one.
        id: Option<String>,
        /// What happened.
        message: String,
        /// Whether that is a failure, and not somebody's wish.
        failed: bool,
    },
    /// The connector is not at the API any more, with its history and findings.
    LostAtTheApi(String),
    /// The connector was deleted at the API.
    Deleted(String),
    /// The connector stays at the API.
    Retained(String),
    /// The connector was made with a key that was given up, and stays at the API.
    GivenUp(String),
    /// The object was let go without asking the API.
    Abandoned(Option<String>),
    /// There was nothing at the API.
    NothingThere,
}

/// The next step for what was observed.
pub(super) fn plan(o: &Observed) -> Plan {
    let mut plan = if o.object.deleting { delete::plan(o) } else { live(o) };
    if let Some(left) = recover::unsettled(o) {
        plan.requeue = Some(plan.requeue.map_or(left, |wait| wait.min(left)));
    }
    match plan.effect {
        // `Ready` is there from the first touch, before anything is done that may take time.
        Some(_) if o.status.conditions.is_empty() && !o.object.deleting => {
            let note = adopt::foreign_copy(o).map_or(Note::Seen, Note::CopyIgnored);
            Plan { effect: Some(Effect::Record { status: Box::new(plan.status.clone()), note }), ..plan }
        }
        _ => plan,
    }
}

fn live(o: &Observed) -> Plan {
    let stalled = |blocked: &Blocked| Outlook::stalled(blocked.reason, &blocked.message).settle(o);
    let id = match known_id(o) {
        Ok(id) => id,
        Err(blocked) => return stalled(&blocked),
    };
    if let Some(plan) = steady::given_up(o, id.as_ref()) {
        return plan;
    }
    // What may be under way is found out whatever the spec says by now.
    if id.is_none() && recover::is_due(o) {
        return create::after_lost_answer(o);
    }
    if let (Some(id), Some(replacement)) = (&id, create_first::under_way(&o.status)) {
        return create_first::go_on(o, id, replacement);
    }
    if let Some(watched) = &o.observing {
        return watch_only::plan(o, watched, id.as_ref());
    }
    match (&o.desired, id) {
        (Ok(desired), None) => adopt::plan(o, desired).unwrap_or_else(|| create::plan(o, desired)),
        (Ok(desired), Some(id)) => steady::plan(o, desired, &id),
        (Err(blocked), Some(_)) if o.status.replacement.is_none() => {
            steady::close_claim(o).unwrap_or_else(|| stalled(blocked))
        }
        (Err(blocked), _) => stalled(blocked),
    }
}

/// The id in the status. One that no API could have given is never sent.
fn known_id(o: &Observed) -> Result<Option<ConnectorId>, Blocked> {
    match &o.status.connector_id {
        None => Ok(None),
        Some(text) => ConnectorId::parse(text.clone()).map(Some).map_err(|error| {
            Blocked::new(
                Reason::InvalidSpec,
                format!(
                    "status.connectorId is not an id ({error}); restore the status, or make the object anew"
                ),
            )
        }),
    }
}

impl Plan {
    /// An effect, with the status that stands if it is the first thing ever done.
    fn act(o: &Observed, effect: Effect, outlook: Outlook) -> Self {
        Self { effect: Some(effect), ..outlook.settle(o) }
    }
}

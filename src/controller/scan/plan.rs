//! What to do next for a Scan. Pure and total, one effect at a time. A Scan starts at most one remote scan, whatever
//! happens; what cannot be known ends as `Failed` and is never sent again.

mod follow;
mod outlook;
mod start;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::SignedDuration;

use connectors_api::wire::{ConnectorId, ScanId};

use super::observed::Observed;
use crate::crd::{Claim, ScanStatus};
use outlook::Outlook;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The one effect that is next.
    pub effect: Option<Effect>,
    /// The status to write when there is no effect.
    pub status: ScanStatus,
    /// When to look again. None: when something changes.
    pub requeue: Option<Duration>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Write this status, and go on only when the write is acknowledged.
    Record(Box<ScanStatus>),
    /// Keep UID and id in the annotation, so that a restored copy does not run again.
    Annotate(String),
    /// Read the connector with its history.
    ReadConnector(ConnectorId),
    /// Open a claim in the workspace's status.
    Claim(Box<Claim>),
    /// Write the claim's nonce, and where it is kept, into the object's status: nothing is sent under it before.
    Bind(String),
    /// Close a claim.
    CloseClaim(String),
    /// POST the scan, under the claim that this pass opened.
    Start(ConnectorId),
    /// Read the scan.
    ReadScan(ScanId),
    /// Delete the object.
    Expire,
}

/// The longest wait for the end of an object's time: the wall clock may be set meanwhile.
const EXPIRY_LOOK: Duration = Duration::from_hours(1);

/// The next step for what was observed.
pub(super) fn plan(o: &Observed) -> Plan {
    let done = o.status.phase.is_some_and(|phase| phase.is_terminal());
    if done || o.object.deleting {
        // A terminal phase is final. What may be open is closed, so that the connector's next scan need not wait for it.
        return match &o.claim {
            Some((claim, _)) if o.status.scan_id.is_some() || done => {
                Plan { effect: Some(Effect::CloseClaim(claim.nonce.clone())), ..Plan::at_rest(o) }
            }
            _ if done && !o.object.deleting => expiry(o),
            _ => Plan::at_rest(o),
        };
    }
    let plan = match o.status.scan_id.as_deref().map(ScanId::parse) {
        None => start::plan(o),
        Some(Ok(id)) => follow::plan(o, &id),
        Some(Err(error)) => outlook::lost(o, &format!("status.scanId is not an id ({error})")),
    };
    // Nobody looks again at what is over, so that a claim is closed now: the verdict first, and then, in the same pass, it.
    let over = plan.status.phase.is_some_and(|phase| phase.is_terminal()) && o.claim.is_some();
    match plan.effect {
        None if plan.status.phase.is_some_and(|phase| phase.is_terminal()) && !over => {
            let left = lifetime(o, &plan.status).map(|left| left.clamp(Duration::from_secs(1), EXPIRY_LOOK));
            Plan { requeue: left, ..plan }
        }
        None if over => Plan { effect: Some(Effect::Record(Box::new(plan.status.clone()))), ..plan },
        // `Ready` is there from the first touch, before anything is done that may take time.
        Some(_) if o.status.conditions.is_empty() => {
            Plan { effect: Some(Effect::Record(Box::new(plan.status.clone()))), ..plan }
        }
        _ => plan,
    }
}

/// Waits until the object's time after its end is over.
fn expiry(o: &Observed) -> Plan {
    let rest = Plan::at_rest(o);
    match lifetime(o, &o.status) {
        None => rest,
        Some(Duration::ZERO) => Plan { effect: Some(Effect::Expire), ..rest },
        Some(left) => Plan { requeue: Some(left.min(EXPIRY_LOOK)), ..rest },
    }
}

/// How long an object that is over still stays; none: for ever.
fn lifetime(o: &Observed, status: &ScanStatus) -> Option<Duration> {
    let after_its_end = SignedDuration::from_secs(o.spec.ttl_seconds_after_finished?);
    let left = after_its_end - o.now.duration_since(status.completion_time?);
    Some(Duration::try_from(left).unwrap_or_default())
}

impl Plan {
    fn at_rest(o: &Observed) -> Self {
        Self { effect: None, status: o.status.clone(), requeue: None }
    }

    /// An effect, with the status that stands if it is the first thing ever done.
    fn act(o: &Observed, effect: Effect, outlook: Outlook) -> Self {
        Self { effect: Some(effect), ..outlook.settle(o) }
    }
}

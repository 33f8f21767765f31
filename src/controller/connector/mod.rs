//! Connector: observe, plan, act, one effect at a time, until the plan comes to rest.

mod act;
mod backup;
mod desired;
mod observe;
mod observed;
mod plan;
mod survey;
#[cfg(test)]
pub(super) mod wrong;

use std::time::Duration;

use crate::controller::{Context, Error, Leadership, ObjectKey};
use crate::crd::Connector;
use observed::Observed;
use plan::{Effect, Note, Plan};

pub(super) use desired::digest;
pub(super) use observe::taken;
use observe::{Pass, Seen};
pub(super) use plan::candidates;

/// Most effects of one pass. A create with its record, claim, test and read takes eleven.
const STEPS: usize = 32;

/// The wait for a seat, or for a list that another one reads, in case that nobody wakes it.
const WOKEN_AT_LAST: Duration = Duration::from_secs(30);

/// Brings one Connector a pass nearer to its spec, and says when to look again.
///
/// # Errors
/// When Kubernetes does not answer or take a write, or another replica leads.
pub(super) async fn reconcile(cached: &Connector, ctx: &Context) -> Result<Option<Duration>, Error> {
    reconcile_with(&Own, cached, ctx).await
}

/// The pieces that decide and act. Tests put wrong ones in their place, to see that they are caught.
trait Pieces {
    fn plan(&self, observed: &Observed) -> Plan {
        plan::plan(observed)
    }

    async fn act(
        &self,
        connector: Connector,
        effect: Effect,
        seen: &Seen,
        pass: &mut Pass,
        ctx: &Context,
    ) -> Result<Option<Connector>, Error> {
        act::act(connector, effect, seen, pass, ctx).await
    }
}

/// Our own.
struct Own;

impl Pieces for Own {}

async fn reconcile_with(
    pieces: &impl Pieces,
    cached: &Connector,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    let mut pass = Pass::default();
    let outcome = Box::pin(go_through(pieces, cached, &mut pass, ctx)).await;
    if let Some(credential) = pass.shares {
        ctx.looks.done(&credential, cached.metadata.uid.as_deref().unwrap_or_default());
    }
    outcome
}

async fn go_through(
    pieces: &impl Pieces,
    cached: &Connector,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    if !ctx.leadership.leads() {
        return Ok(Some(Leadership::LOOK_AGAIN));
    }
    let mut connector = cached.clone();
    let mut fresh = false;
    let mut _seat = None;
    for _ in 0..STEPS {
        let mut seen = observe::observe(&connector, pass, fresh, ctx).await?;
        let plan = pieces.plan(&seen.observed);
        pass.facts = std::mem::take(&mut seen.observed.facts);
        let quiet = plan.effect.is_none() && plan.status == seen.observed.status;
        if quiet {
            return Ok(plan.requeue);
        }
        if !fresh && !plan.effect.as_ref().is_some_and(|effect| follows_from_caches(effect, &seen)) {
            // While the API is slow, its connectors leave places to those of others.
            if let Some(remote) = &seen.remote {
                let who = ObjectKey::of(&connector.metadata);
                let urgency = observe::urgency(&seen.observed);
                let wake = |key: &ObjectKey| ctx.caches.connectors.wake(key);
                _seat = ctx.connector_seats.enter(remote.credential(), urgency, who, wake);
                if _seat.is_none() {
                    pass.shares = None;
                    return Ok(Some(WOKEN_AT_LAST));
                }
            }
            // Something follows from what the caches say: decide it again on what the API server says.
            let Some(there) = act::read_back(&connector, ctx).await? else { return Ok(None) };
            (connector, fresh) = (there, true);
            continue;
        }
        let Some(effect) = plan.effect else {
            if !ctx.leadership.leads() {
                return Err(Error::NotLeading);
            }
            let written = act::write_status(connector, plan.status, ctx).await?;
            ctx.wake_scans(
                written.metadata.namespace.as_deref().unwrap_or_default(),
                written.metadata.name.as_deref().unwrap_or_default(),
            );
            return Ok(plan.requeue);
        };
        let looked = effect == Effect::List;
        match pieces.act(connector, effect, &seen, pass, ctx).await? {
            Some(next) => connector = next,
            None => return Ok(None),
        }
        if looked && pass.facts.listing.is_none() {
            // Another one reads the list.
            pass.shares = None;
            return Ok(Some(WOKEN_AT_LAST));
        }
    }
    Err(Error::Restless(STEPS))
}

/// Whether an effect may follow from what the caches say, and needs no seat: the look before a create, which changes nothing,
/// and the first status, which is written only over the very version that was looked at and tells of nothing but that.
fn follows_from_caches(effect: &Effect, seen: &Seen) -> bool {
    match effect {
        Effect::List => act::looks_before_a_create(&seen.observed),
        Effect::Record { note: Note::Seen, .. } => seen.observed.status.conditions.is_empty(),
        _ => false,
    }
}

//! Scan: observe, plan, act, one effect at a time, until the plan comes to rest.

mod act;
mod observe;
mod observed;
mod plan;

use std::time::Duration;

use crate::controller::bulkhead::Urgency;
use crate::controller::{Context, Error, Leadership, ObjectKey};
use crate::crd::Scan;
use observe::Pass;

/// Most effects of one pass. A start with its record and first read takes eight.
const STEPS: usize = 24;

/// The wait for a seat, in case that nobody wakes it.
const SEATED_AT_LAST: Duration = Duration::from_secs(30);

/// Brings one Scan a pass nearer to its end, and says when to look again.
///
/// # Errors
/// When Kubernetes does not answer or take a write, or another replica leads.
pub(super) async fn reconcile(cached: &Scan, ctx: &Context) -> Result<Option<Duration>, Error> {
    if !ctx.leadership.leads() {
        return Ok(Some(Leadership::LOOK_AGAIN));
    }
    let mut scan = cached.clone();
    let mut pass = Pass::default();
    let mut fresh = false;
    let mut _seat = None;
    for _ in 0..STEPS {
        let mut seen = observe::observe(&scan, &mut pass, fresh, ctx).await?;
        let plan = plan::plan(&seen.observed);
        pass.facts = std::mem::take(&mut seen.observed.facts);
        if plan.effect.is_none() && plan.status == seen.observed.status {
            return Ok(plan.requeue);
        }
        if !fresh {
            // While the API is slow, its scans leave places to those of others.
            if let Some(remote) = &seen.remote {
                let urgency = if scan.status.is_none() { Urgency::New } else { Urgency::Ordinary };
                let wake = |key: &ObjectKey| ctx.caches.scans.wake(key);
                let who = ObjectKey::of(&scan.metadata);
                _seat = ctx.scan_seats.enter(remote.credential(), urgency, who, wake);
                if _seat.is_none() {
                    return Ok(Some(SEATED_AT_LAST));
                }
            }
            let Some(there) = act::read_back(&scan, ctx).await? else { return Ok(None) };
            (scan, fresh) = (there, true);
            continue;
        }
        let Some(effect) = plan.effect else {
            if !ctx.leadership.leads() {
                return Err(Error::NotLeading);
            }
            let ended = plan.status.phase.is_some_and(|phase| phase.is_terminal());
            act::write_status(scan, plan.status, ctx).await?;
            if let Some(key) = seen.key.filter(|_| ended) {
                // Risk, findings and history of the connector are read again now, and not at the next poll.
                ctx.wake_workspace(&key);
            }
            return Ok(plan.requeue);
        };
        match act::act(scan, effect, &seen, &mut pass, ctx).await? {
            Some(next) => scan = next,
            None => return Ok(None),
        }
    }
    Err(Error::Restless(STEPS))
}

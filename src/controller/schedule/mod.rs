//! ScanSchedule: observe, plan, act, one effect at a time, until the plan comes to rest.

mod act;
mod names;
mod observe;
mod observed;
mod plan;
mod timing;

use std::time::Duration;

use crate::controller::{Context, Error, Leadership};
use crate::crd::ScanSchedule;
use observed::{Around, Facts};

/// Most effects of one pass. A run that is missed, one that begins, a batch with deletions before and after it take seven.
const STEPS: usize = 16;

/// The wait while the caches are being filled.
const FILLING: Duration = Duration::from_secs(1);

/// Brings one schedule up to its time, and says when to look again.
///
/// # Errors
/// When Kubernetes does not answer or take a write, or another replica leads.
pub(super) async fn reconcile(cached: &ScanSchedule, ctx: &Context) -> Result<Option<Duration>, Error> {
    if !ctx.leadership.leads() {
        return Ok(Some(Leadership::LOOK_AGAIN));
    }
    let mut schedule = cached.clone();
    let mut facts = Facts::default();
    let mut fresh = false;
    // Connectors and Scans may be many, so that they are gone through once a pass, and again for a spec that was read anew.
    let Some(mut around) = Around::of(&schedule, ctx) else { return Ok(Some(FILLING)) };
    for _ in 0..STEPS {
        let observed = observe::observe(&schedule, around, facts);
        let plan = plan::plan(&observed);
        let unchanged = plan.status == observed.status;
        (facts, around) = (observed.facts, observed.around);
        if plan.effect.is_none() && unchanged {
            return Ok(plan.requeue);
        }
        if !fresh {
            let Some(there) = act::read_back(&schedule, ctx).await? else { return Ok(None) };
            (schedule, fresh) = (there, true);
            let Some(seen) = Around::of(&schedule, ctx) else { return Ok(Some(FILLING)) };
            around = seen;
            continue;
        }
        let Some(effect) = plan.effect else {
            act::write_status(schedule, plan.status, ctx).await?;
            return Ok(plan.requeue);
        };
        schedule = act::act(schedule, effect, &mut facts, ctx).await?;
    }
    Err(Error::Restless(STEPS))
}

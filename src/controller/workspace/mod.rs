//! Workspace and ClusterWorkspace: one poller a credential, and the record of what is under way at its API.

mod object;
mod observe;
mod plan;

use std::time::Duration;

use crate::controller::conditions::{READY, find};
use crate::controller::{Context, Error, Leadership, Link};
use crate::crd::WorkspaceKey;

pub(super) use object::AnyWorkspace;

/// A replica that does not lead reads the Secret once in so many looks.
const KEEP_EVERY: u32 = 5;

/// Looks at a workspace, says how it is, and wakes the connectors that look different from before.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(super) async fn reconcile(workspace: AnyWorkspace, ctx: &Context) -> Result<Option<Duration>, Error> {
    let key = workspace.key();
    let before = ctx.registry.get(&key);
    if !ctx.leadership.leads() {
        // A replica in waiting asks the API for nothing, and is ready to take over.
        observe::keep_client(&workspace, ctx).await?;
        return Ok(Some(Leadership::LOOK_AGAIN * KEEP_EVERY));
    }
    let seen = observe::observe(&workspace, ctx).await?;
    let plan = plan::plan(&seen.observed);
    // Whether connectors find the workspace in another condition than before, and not only some of its connectors changed.
    let turned = before.is_none_or(|before| {
        before.blocked != seen.entry.blocked
            || before.trouble.is_some() != seen.entry.trouble.is_some()
            || before.identity != seen.entry.identity
    });
    let creates_left = ctx.claim_writer(&key).review(&workspace, ctx);
    if let Some(remote) = &seen.entry.remote {
        ctx.metrics.watch(key.to_string(), remote, creates_left);
    }
    if seen.observed.outcome.is_ok() {
        ctx.metrics.snapshot(&key, seen.observed.now);
    }
    ctx.registry.put(key.clone(), seen.entry);
    if plan.status != seen.observed.status {
        write(&workspace, plan.status, &seen.observed.orphans, ctx).await?;
    }
    // Where nobody tells of changed Secrets, each poll looks for them.
    if turned || !ctx.settings.watch_secrets {
        ctx.wake_connectors(&Link::Workspace(key));
    } else {
        for id in seen.changed {
            ctx.wake_connectors(&Link::Remote(id.clone()));
            ctx.wake_connectors(&Link::Wanted(id));
        }
    }
    Ok(plan.requeue)
}

/// Forgets a workspace that is gone, and has its connectors say so.
pub(crate) fn forget(key: &WorkspaceKey, ctx: &Context) {
    ctx.registry.remove(key);
    ctx.metrics.forget(&key.to_string());
    ctx.metrics.no_snapshot(key);
    ctx.wake_connectors(&Link::Workspace(key.clone()));
}

/// Writes what is said, and leaves to the claims what belongs to the claims: they are written by others all the time.
async fn write(
    workspace: &AnyWorkspace,
    said: crate::crd::WorkspaceStatus,
    orphans: &[String],
    ctx: &Context,
) -> Result<(), Error> {
    let key = workspace.key();
    let writer = ctx.claim_writer(&key);
    let _alone = writer.lock().await;
    let Some(fresh) = AnyWorkspace::read(&ctx.client, &key).await? else { return Ok(()) };
    if fresh.meta().uid != workspace.meta().uid {
        return Ok(());
    }
    let mut status = fresh.status();
    let old_ready = find(&status.conditions, READY).map(|ready| (ready.status.clone(), ready.reason.clone()));
    status.claims.retain(|claim| !orphans.contains(&claim.nonce));
    let crate::crd::WorkspaceStatus {
        observed_generation,
        conditions,
        connectors,
        identity,
        creates: _,
        claims: _,
        last_handled_reconcile_at,
    } = said;
    (status.observed_generation, status.conditions) = (observed_generation, conditions);
    (status.connectors, status.identity) = (connectors, identity);
    status.last_handled_reconcile_at = last_handled_reconcile_at;
    if status == fresh.status() {
        return Ok(());
    }
    let new_ready = find(&status.conditions, READY).cloned();
    let reference = fresh.reference();
    fresh.write_status(&ctx.client, status).await?;
    if let Some(ready) = new_ready
        && old_ready != Some((ready.status.clone(), ready.reason.clone()))
    {
        ctx.say_ready(&reference, &ready).await;
    }
    Ok(())
}

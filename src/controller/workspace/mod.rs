//! Workspace and ClusterWorkspace: one poller a credential, and the record of what is under way at its API.

mod identity;
mod keeper;
mod needs;
mod object;
mod observe;
mod orphans;
mod plan;
mod twins;

use std::time::Duration;

use crate::controller::conditions::{DUPLICATED, READY, find};
use crate::controller::{Context, Error, Leadership, Link, Reason, ledger};
use crate::crd::{Connector, WorkspaceKey, WorkspaceStatus};

pub(super) use identity::short;
pub(super) use needs::needs;
pub(super) use object::AnyWorkspace;
use orphans::Orphan;

/// A replica that does not lead reads the Secret once in so many looks.
const KEEP_EVERY: u32 = 5;
/// Longest list of ids in one event.
const IDS_LIMIT: usize = 10;
/// How soon a workspace is looked at again that is on its way to another keeper.
const MOVING: Duration = Duration::from_secs(2);

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
    if end(&workspace, ctx).await? {
        return Ok(None);
    }
    let mut seen = observe::observe(&workspace, ctx).await?;
    seen.entry.moving = match keeper::settle(&workspace, &seen.entry, ctx).await {
        Ok(moving) => moving,
        Err(error) => {
            // The list that told of them does not tell of them again.
            wake(key, false, seen.changed, ctx);
            return Err(error);
        }
    };
    let plan = plan::plan(&seen.observed);
    // Whether connectors find the workspace in another condition than before, and not only some of its connectors changed.
    let turned = before.as_ref().is_none_or(|before| {
        before.blocked != seen.entry.blocked
            || before.trouble.is_some() != seen.entry.trouble.is_some()
            || before.identity != seen.entry.identity
            || before.closed != seen.entry.closed
            || before.former != seen.entry.former
            || before.retired != seen.entry.retired
    });
    // Others with the same key may have to find their keeper anew.
    let credential = seen.entry.remote.as_ref().map(|remote| remote.credential().to_owned());
    let regroup = before.is_none_or(|before| {
        before.deleting != seen.entry.deleting
            || before.remote.map(|remote| remote.credential().to_owned()) != credential
    });
    let given_up = seen.observed.verdict.as_ref().map_or_else(Vec::new, |verdict| verdict.given_up.clone());
    let entry = seen.entry.clone();
    let creates_left = ctx.claim_writer(&key).review(&workspace, ctx);
    if let Some(remote) = &entry.remote {
        ctx.metrics.watch(key.to_string(), remote, creates_left);
    }
    if let Ok(listed) = &seen.observed.outcome {
        ctx.metrics.snapshot(&key, seen.observed.now, listed.alarm.is_some());
    }
    if given_up.is_empty() {
        ctx.registry.put(key.clone(), seen.entry);
    }
    let told = async {
        if plan.status != seen.observed.status {
            write(&workspace, plan.status, &seen.orphans, ctx).await?;
        }
        if !given_up.is_empty() {
            // Only what is recorded may be acted on.
            ctx.registry.put(key.clone(), entry.clone());
            say_given_up(&workspace, &given_up, ctx).await;
        }
        hold_or_release(&workspace, !seen.observed.needed_by.is_empty(), ctx).await
    }
    .await;
    // Whether or not it could be written: what was put down is no news the next time, so whom it concerns is told now.
    wake(key, turned, seen.changed, ctx);
    if regroup {
        for other in ctx.registry.all().into_iter().filter(|other| other.id != entry.id) {
            if other.remote.is_some_and(|remote| Some(remote.credential()) == credential.as_deref()) {
                ctx.wake_workspace(&other.id.key());
            }
        }
    }
    let requeue = if entry.moving { plan.requeue.map(|wait| wait.min(MOVING)) } else { plan.requeue };
    told.map(|()| requeue)
}

/// Wakes the connectors that a look at their workspace concerns.
fn wake(key: WorkspaceKey, turned: bool, changed: Vec<String>, ctx: &Context) {
    // Where nobody tells of changed Secrets, each poll looks for them.
    if turned || !ctx.settings.watch_secrets {
        ctx.wake_connectors(&Link::Workspace(key));
    } else {
        for id in changed {
            ctx.wake_connectors(&Link::Remote(id.clone()));
            ctx.wake_connectors(&Link::Wanted(id));
        }
    }
}

/// Forgets a workspace that is gone, and has its connectors say so.
pub(crate) fn forget(key: &WorkspaceKey, ctx: &Context) {
    ctx.registry.remove(key);
    ctx.metrics.forget(&key.to_string());
    ctx.metrics.no_snapshot(key);
    ctx.wake_connectors(&Link::Workspace(key.clone()));
}

/// Has workspaces that are being deleted look whether anybody needs them still, now that a connector is gone.
pub(crate) fn connector_is_gone(ctx: &Context) {
    for entry in ctx.registry.all().into_iter().filter(|entry| entry.deleting) {
        let key = entry.id.key();
        if !needs::any(&key, ctx) {
            ctx.wake_workspace(&key);
        }
    }
}

fn belongs(connector: &Connector, key: &WorkspaceKey) -> bool {
    let namespace = connector.metadata.namespace.as_deref().unwrap_or_default();
    connector.spec.workspace_ref.key(namespace) == *key
}

/// Lets a workspace go that is being deleted and that nobody needs. Whether that is done.
async fn end(workspace: &AnyWorkspace, ctx: &Context) -> Result<bool, Error> {
    if !workspace.is_deleting() {
        return Ok(false);
    }
    if !workspace.is_held() {
        return Ok(true);
    }
    let key = workspace.key();
    if needs::any(&key, ctx) || needs::listed(workspace, ctx).await?.iter().any(needs) {
        return Ok(false);
    }
    let me = workspace.id();
    let Some(fresh) = ctx.read_workspace(&key).await?.filter(|it| it.id() == me) else {
        return Ok(true);
    };
    let status = fresh.status();
    if !status.claims.is_empty() || !status.members.is_empty() {
        return Ok(false);
    }
    if !ctx.leadership.leads() {
        return Err(Error::NotLeading);
    }
    if let Some(id) = &status.keeper
        && let Some(keeper) = ctx.read_workspace(&id.key()).await?.filter(|it| it.id() == *id)
    {
        if keeper.status().claims.iter().any(|claim| claim.member.as_ref() == Some(&me.uid)) {
            return Ok(false);
        }
        if keeper.status().members.contains(&me) {
            keeper::leave(keeper, &me, ctx).await?;
        }
    }
    fresh.release(&ctx.client).await?;
    tracing::info!(workspace = %key, "let go: nobody needs it any more");
    Ok(true)
}

/// Our finalizer is there while somebody needs the workspace, and else it is not.
async fn hold_or_release(workspace: &AnyWorkspace, needed: bool, ctx: &Context) -> Result<(), Error> {
    if workspace.is_deleting() {
        return Ok(());
    }
    let status = workspace.status();
    let wanted = needed || !status.claims.is_empty() || !status.members.is_empty();
    if wanted == workspace.is_held() {
        return Ok(());
    }
    let me = workspace.id();
    let writer = ctx.claim_writer(&me.key());
    let _alone = writer.lock().await;
    let Some(fresh) = ctx.read_workspace(&me.key()).await?.filter(|it| it.id() == me) else {
        return Ok(());
    };
    let status = fresh.status();
    if wanted {
        fresh.hold(&ctx.client).await?;
    } else if fresh.is_held() && !fresh.is_deleting() && status.claims.is_empty() && status.members.is_empty()
    {
        fresh.release(&ctx.client).await?;
    }
    Ok(())
}

async fn say_given_up(workspace: &AnyWorkspace, ids: &[String], ctx: &Context) {
    let shown = ids.iter().take(IDS_LIMIT).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = ids.len().saturating_sub(IDS_LIMIT);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let note = format!(
        "the acknowledged key stands for another API workspace: {shown}{rest} stay where they are and are managed no more; their \
         objects get new ones"
    );
    tracing::warn!(workspace = %workspace.key(), ids = ids.join(","), "given up by an acknowledgement");
    ctx.say(&workspace.reference(), true, Reason::IdentityChanged, "Acknowledge", note).await;
}

/// Writes what is said, and leaves to the claims what belongs to the claims: they are written by others all the time.
async fn write(
    workspace: &AnyWorkspace,
    said: WorkspaceStatus,
    orphans: &[Orphan],
    ctx: &Context,
) -> Result<(), Error> {
    let key = workspace.key();
    let writer = ctx.claim_writer(&key);
    let _alone = writer.lock().await;
    let Some(fresh) = ctx.read_workspace(&key).await? else { return Ok(()) };
    if fresh.meta().uid != workspace.meta().uid {
        return Ok(());
    }
    let mut status = fresh.status();
    let duplicated = |status: &WorkspaceStatus| {
        find(&status.conditions, DUPLICATED).map(|condition| condition.message.clone())
    };
    let told = duplicated(&status);
    let old_ready = find(&status.conditions, READY).map(|ready| (ready.status.clone(), ready.reason.clone()));
    for orphan in orphans {
        ledger::end(&mut status, &orphan.nonce, orphan.claimed_at, orphan.ending)
            .map_err(|_| Error::Conflict { what: "the workspace" })?;
    }
    let WorkspaceStatus {
        observed_generation,
        conditions,
        connectors,
        identity,
        creates: _,
        claims: _,
        lost_creates,
        keeper: _,
        members: _,
        former_identities,
        retired_identities,
        identity_acknowledged,
        waiting,
        last_handled_reconcile_at,
    } = said;
    // Others were given up for lost meanwhile.
    let seen = workspace.status().lost_creates;
    status.lost_creates.retain(|lost| !seen.contains(lost) || lost_creates.contains(lost));
    (status.observed_generation, status.conditions) = (observed_generation, conditions);
    (status.connectors, status.identity) = (connectors, identity);
    (status.former_identities, status.retired_identities) = (former_identities, retired_identities);
    (status.identity_acknowledged, status.waiting) = (identity_acknowledged, waiting);
    status.last_handled_reconcile_at = last_handled_reconcile_at;
    if status == fresh.status() {
        return Ok(());
    }
    let twins = duplicated(&status).filter(|now| told.as_ref() != Some(now));
    let new_ready = find(&status.conditions, READY).cloned();
    let reference = fresh.reference();
    fresh.write_status(&ctx.client, status).await?;
    for orphan in orphans {
        ctx.claims_seen.lock().retain(|(seen, _), _| *seen != orphan.nonce);
        tracing::warn!(workspace = %key, "{}", orphan.report);
        ctx.say(&reference, true, Reason::ClaimOrphaned, "Reconcile", orphan.report.clone()).await;
    }
    if let Some(twins) = twins {
        tracing::warn!(workspace = %key, "{twins}");
        ctx.say(&reference, true, Reason::LateTwin, "Reconcile", twins).await;
    }
    if let Some(ready) = new_ready
        && old_ready != Some((ready.status.clone(), ready.reason.clone()))
    {
        ctx.say_ready(&reference, &ready).await;
    }
    Ok(())
}

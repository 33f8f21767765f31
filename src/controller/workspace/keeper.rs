//! Workspaces with one key have one keeper of their creates and claims: the oldest, then by UID. A workspace moves from one
//! keeper to another only while none of its claims is open, and each step of a move is one guarded write: membership stands
//! in the same object as the claims, so that a claim and a move cannot both come through.

use std::collections::BTreeMap;

use super::AnyWorkspace;
use crate::controller::registry::Entry;
use crate::controller::{Context, Error};
use crate::crd::{CreateBucket, WorkspaceId, WorkspaceStatus};

/// Most steps of one look. A move from one keeper to another takes four.
const STEPS: usize = 6;

/// The next step of a workspace on the way to its keeper.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// It is where it belongs.
    Stay,
    /// Open claims, or members, have to go first.
    Wait,
    /// Name the keeper in the workspace's own status: from now on nothing is claimed there.
    Name(WorkspaceId),
    /// Become a member of the keeper that is named: from now on it may be claimed there.
    Join,
    /// Stop being a member: from now on nothing is claimed there.
    Leave,
    /// Name no keeper: from now on it is claimed at home.
    Return,
}

/// Who should keep the claims of `me`. Nobody is left whose key is not known yet: after a restart all are looked at in turn.
fn chosen(me: &Entry, current: Option<&WorkspaceId>, all: &[Entry]) -> WorkspaceId {
    if let Some(current) = current
        && !all.iter().any(|entry| entry.id == *current)
    {
        return current.clone();
    }
    let credential = |entry: &Entry| entry.remote.as_ref().map(|remote| remote.credential().to_owned());
    let Some(mine) = credential(me) else { return current.unwrap_or(&me.id).clone() };
    let group = all.iter().filter(|entry| !entry.deleting && credential(entry).as_ref() == Some(&mine));
    let oldest = group.min_by_key(|entry| (entry.created, entry.id.uid.clone()));
    oldest.map_or_else(|| me.id.clone(), |entry| entry.id.clone())
}

fn step(
    me: &WorkspaceId,
    mine: &WorkspaceStatus,
    keeper: Option<&WorkspaceStatus>,
    chosen: &WorkspaceId,
) -> Step {
    let Some(current) = &mine.keeper else {
        return if chosen == me {
            Step::Stay
        } else if mine.members.is_empty() && mine.claims.is_empty() {
            Step::Name(chosen.clone())
        } else {
            Step::Wait
        };
    };
    // It is held while it has members, so one that is gone was forced to go, with its claims.
    let Some(keeper) = keeper else { return Step::Return };
    let claims = keeper.claims.iter().any(|claim| claim.member.as_ref() == Some(&me.uid));
    match (keeper.members.contains(me), current == chosen) {
        (true, true) => Step::Stay,
        (true, false) if claims => Step::Wait,
        (true, false) => Step::Leave,
        (false, true) if keeper.keeper.is_none() => Step::Join,
        (false, true) => Step::Wait,
        (false, false) => Step::Return,
    }
}

/// Brings a workspace to its keeper, as far as it goes at the moment. Whether it is still on its way.
///
/// # Errors
/// When Kubernetes does not answer or take a write.
pub(super) async fn settle(workspace: &AnyWorkspace, entry: &Entry, ctx: &Context) -> Result<bool, Error> {
    if workspace.is_deleting() {
        return Ok(false);
    }
    let me = workspace.id();
    let mut all = ctx.registry.all();
    all.retain(|other| other.id.key() != me.key());
    all.push(entry.clone());
    let status = workspace.status();
    let named = status.keeper.as_ref().map(WorkspaceId::key);
    let cached = named.and_then(|key| ctx.cached_workspace(&key)).filter(|it| Some(it.id()) == status.keeper);
    let wanted = chosen(entry, status.keeper.as_ref(), &all);
    if step(&me, &status, cached.map(|it| it.status()).as_ref(), &wanted) == Step::Stay {
        return Ok(false);
    }
    for _ in 0..STEPS {
        let Some(fresh) = ctx.read_workspace(&me.key()).await?.filter(|it| it.id() == me) else {
            return Ok(false);
        };
        let mut mine = fresh.status();
        let keeper = match &mine.keeper {
            None => None,
            Some(id) => ctx.read_workspace(&id.key()).await?.filter(|it| it.id() == *id),
        };
        let wanted = chosen(entry, mine.keeper.as_ref(), &all);
        let next = step(&me, &mine, keeper.as_ref().map(AnyWorkspace::status).as_ref(), &wanted);
        if !ctx.leadership.leads() {
            return Err(Error::NotLeading);
        }
        match (next, keeper) {
            (Step::Stay, _) => return Ok(false),
            (Step::Name(keeper), _) => {
                tracing::info!(workspace = %me.key(), keeper = %keeper.key(), "its creates and claims are kept there");
                mine.keeper = Some(keeper);
                fresh.write_status(&ctx.client, mine).await?;
            }
            (Step::Join, Some(keeper)) => {
                let Some(keeper) = keeper.hold(&ctx.client).await? else { return Ok(true) };
                let mut theirs = keeper.status();
                theirs.members.push(me.clone());
                theirs.creates = merged(&theirs.creates, &mine.creates);
                keeper.write_status(&ctx.client, theirs).await?;
            }
            (Step::Leave, Some(keeper)) => leave(keeper, &me, ctx).await?,
            (Step::Return, keeper) => {
                mine.keeper = None;
                // What was created under the same key counts wherever it is counted next.
                if let Some(keeper) = keeper {
                    mine.creates = keeper.status().creates;
                }
                fresh.write_status(&ctx.client, mine).await?;
            }
            (Step::Wait | Step::Join | Step::Leave, _) => return Ok(true),
        }
    }
    Ok(true)
}

/// Takes a workspace out of its keeper's members.
pub(super) async fn leave(keeper: AnyWorkspace, me: &WorkspaceId, ctx: &Context) -> Result<(), Error> {
    let mut theirs = keeper.status();
    theirs.members.retain(|member| member != me);
    let key = keeper.key();
    keeper.write_status(&ctx.client, theirs).await?;
    ctx.wake_workspace(&key);
    Ok(())
}

/// The creates of both, by minute.
fn merged(a: &[CreateBucket], b: &[CreateBucket]) -> Vec<CreateBucket> {
    let mut all = BTreeMap::new();
    for bucket in a.iter().chain(b) {
        let count = all.entry(bucket.minute).or_insert(0_u32);
        *count = count.saturating_add(bucket.count);
    }
    let all = all.into_iter().map(|(minute, count)| CreateBucket { minute, count }).collect::<Vec<_>>();
    // The schema's limit; the oldest ones leave the hour first.
    all[all.len().saturating_sub(61)..].to_vec()
}

#[cfg(test)]
mod tests;

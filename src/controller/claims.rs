//! Writes claims into the status of the workspace that keeps them, guarded by its resourceVersion. One writer at a time in
//! this process, which writes for all that wait at once; other replicas are held off by the guard.
//!
//! Two replicas may both think that they lead, and one may close what the other is about to send under, so
//!
//! * whoever opened a claim, or renewed it, first writes its nonce into the status of the object that it is for, under that
//!   object's resourceVersion, and only then sends. Whoever decides something else for the object meanwhile (to adopt, to
//!   fail, to rest) writes the same object: one of the two is refused and looks again;
//! * whoever did not open a claim closes it where the object's status shows that its outcome is put down (it has the nonce,
//!   and an id), or after W, counted from where the claim was first seen as it was last written; it is sent within the lease,
//!   which is shorter;
//! * a claim is closed as it was seen: one that was renewed since stays;
//! * a claim that somebody closed is not renewed: whoever held it begins anew, with another nonce.
//!
//! Left out are `Retain`, `abandon` and an acknowledged identity: they let go of what may be under way, with an event.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::Instant;

use super::ledger::{self, Denied, Ending, Slots};
use super::turns::{self, Turns, Wish};
use super::workspace::AnyWorkspace;
use super::{Context, Error, Kept};
use crate::crd::{Claim, ClaimKind, WorkspaceId, WorkspaceKey, WorkspaceStatus};

/// How often one write is begun anew that somebody else came before.
const ATTEMPTS: usize = 4;
/// Most changes in one write.
const BATCH: usize = 128;

/// The one in this process who writes a workspace's claims.
#[derive(Default)]
pub struct ClaimWriter {
    waiting: Mutex<Vec<Asked>>,
    /// The workspace as it was last written: the guard tells when it is another one by now.
    written: tokio::sync::Mutex<Option<Arc<AnyWorkspace>>>,
    turns: Mutex<Turns>,
}

/// A claim that was opened.
pub(super) struct Opened {
    /// The workspace with it.
    pub workspace: Kept,
    /// Its nonce.
    pub nonce: String,
    /// Not later than when it was written.
    pub since: Instant,
}

struct Asked {
    change: Change,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

enum Change {
    /// For an object that uses the workspace of that id.
    Open(Box<Claim>, Wish, WorkspaceId),
    /// A claim that is there.
    Renew(Box<Claim>, WorkspaceId),
    /// The one of that nonce, as it was written then.
    Close(String, Timestamp, Ending),
}

enum Reply {
    /// The workspace with the claim, and a moment not later than when it was written.
    Opened(Arc<AnyWorkspace>, Instant),
    Denied(Denied),
    /// The workspace without the claim; none if it is gone.
    Closed(Option<Arc<AnyWorkspace>>),
}

/// Opens a claim for an object that was made at `created`, or renews one that has a nonce, and gives the workspace as it is
/// then.
///
/// # Errors
/// When Kubernetes does not answer. That there is no claim to be had is a [`Denied`].
pub(super) async fn open(
    mut claim: Claim,
    created: Option<Timestamp>,
    key: &WorkspaceKey,
    ctx: &Context,
) -> Result<Result<Opened, Denied>, Error> {
    let renewal = !claim.nonce.is_empty();
    if !renewal {
        claim.nonce = crate::chance::nonce();
    }
    let wish = Wish {
        namespace: claim.namespace.clone(),
        created: created.unwrap_or(claim.claimed_at),
        uid: claim.uid.clone(),
    };
    let nonce = claim.nonce.clone();
    let Some(kept) = Kept::cached(key, ctx).filter(|_| !ctx.registry.is_moving(key)) else {
        return Ok(Err(Denied::Conflict));
    };
    let id = kept.workspace.id();
    if !kept.keeps_itself() {
        claim.member = Some(id.uid.clone());
        // A keeper is held by its members; what they need themselves is held with each.
        if !kept.workspace.is_held() && !hold(&id, ctx).await? {
            return Ok(Err(Denied::Conflict));
        }
    }
    let holder = kept.holder_key();
    let claim = Box::new(claim);
    let change = if renewal { Change::Renew(claim, id) } else { Change::Open(claim, wish, id) };
    match ctx.claim_writer(&holder).submit(change, &holder, ctx).await? {
        Reply::Opened(written, since) => {
            Ok(Ok(Opened { workspace: kept.with_holder(written), nonce, since }))
        }
        Reply::Denied(denied) => Ok(Err(denied)),
        Reply::Closed(_) => Ok(Err(Denied::Conflict)),
    }
}

/// Closes a claim as it was written at `claimed_at`, and gives the workspace as it is then; none if it is gone.
///
/// # Errors
/// [`Error::Conflict`] when it was renewed since, and when Kubernetes does not answer or take the write.
pub(super) async fn close(
    nonce: &str,
    claimed_at: Timestamp,
    ending: Ending,
    key: &WorkspaceKey,
    ctx: &Context,
) -> Result<Option<Kept>, Error> {
    let Some(kept) = Kept::known(key, ctx).await? else { return Ok(None) };
    let holder = kept.holder_key();
    let change = Change::Close(nonce.to_owned(), claimed_at, ending);
    match ctx.claim_writer(&holder).submit(change, &holder, ctx).await? {
        Reply::Closed(written) => {
            ctx.claims_seen.lock().retain(|(seen, _), _| seen != nonce);
            Ok(written.map(|written| kept.with_holder(written)))
        }
        Reply::Opened(..) | Reply::Denied(_) => Err(Error::Conflict { what: "the workspace" }),
    }
}

/// Puts our finalizer on a workspace. Whether it could be.
async fn hold(id: &WorkspaceId, ctx: &Context) -> Result<bool, Error> {
    match ctx.read_workspace(&id.key()).await?.filter(|it| it.id() == *id) {
        None => Ok(false),
        Some(fresh) => Ok(fresh.hold(&ctx.client).await?.is_some()),
    }
}

/// What a claim and its outcome need stays until they need it no more. None: it cannot be held any more.
async fn held(
    base: Arc<AnyWorkspace>,
    changes: &[Change],
    ctx: &Context,
) -> Result<Option<Arc<AnyWorkspace>>, Error> {
    let opens = changes.iter().any(|change| !matches!(change, Change::Close(..)));
    if !opens || base.is_held() {
        return Ok(Some(base));
    }
    Ok(AnyWorkspace::clone(&base).hold(&ctx.client).await?.map(Arc::new))
}

/// Whether a claim of an object of that workspace is looked for in `base`. Membership stands in the same object as the
/// claims, so that the guard of the write covers both.
fn keeps_for(base: &AnyWorkspace, id: &WorkspaceId) -> bool {
    let status = base.record();
    if base.id() == *id {
        return status.is_none_or(|status| status.keeper.is_none());
    }
    status.is_some_and(|status| status.keeper.is_none() && status.members.contains(id))
}

impl ClaimWriter {
    /// Keeps this process's other writes of the same status apart from those of the claims.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Arc<AnyWorkspace>>> {
        self.written.lock().await
    }

    /// When that object's turn to create comes, as far as it has to wait for one.
    pub(super) fn turn(&self, uid: &str) -> Option<Timestamp> {
        self.turns.lock().of(uid)
    }

    /// Looks again whose turn it is, wakes those that were told another time, and says how many creates are left.
    pub(super) fn review(&self, workspace: &AnyWorkspace, ctx: &Context) -> u32 {
        let status = workspace.status();
        let limit = workspace.access().rate_limits.creates_per_hour;
        let slots = Slots::new(&status.creates, limit, crate::clock::now());
        let wishes = turns::wishes(workspace, &status.claims, ctx);
        let mut turns = self.turns.lock();
        if !wishes.is_empty() || !turns.is_empty() {
            turns.review(wishes, &HashSet::new(), &slots, Instant::now());
            turns::wake(workspace, &turns, ctx);
        }
        slots.free()
    }

    async fn submit(&self, change: Change, key: &WorkspaceKey, ctx: &Context) -> Result<Reply, Error> {
        let (reply, mut answer) = oneshot::channel();
        self.waiting.lock().push(Asked { change, reply });
        let mut written = self.written.lock().await;
        loop {
            // Whoever wrote before may have done this one too.
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(Error::Conflict { what: "the workspace" });
                }
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let batch = {
                let mut waiting = self.waiting.lock();
                let most = waiting.len().min(BATCH);
                waiting.drain(..most).collect::<Vec<_>>()
            };
            self.write(batch, &mut written, key, ctx).await;
        }
    }

    /// One guarded write for all of `batch`, and a reply to each.
    async fn write(
        &self,
        batch: Vec<Asked>,
        written: &mut Option<Arc<AnyWorkspace>>,
        key: &WorkspaceKey,
        ctx: &Context,
    ) {
        let (changes, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|asked| (asked.change, asked.reply)).unzip();
        let outcome = self.commit(&changes, written, key, ctx).await;
        if outcome.is_err() {
            *written = None;
        }
        match outcome {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Whoever went away meanwhile finds the claim open.
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(error) => {
                let mut error = Some(error);
                for reply in replies {
                    let error = error.take().unwrap_or(Error::Conflict { what: "the workspace" });
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    async fn commit(
        &self,
        changes: &[Change],
        written: &mut Option<Arc<AnyWorkspace>>,
        key: &WorkspaceKey,
        ctx: &Context,
    ) -> Result<Vec<Reply>, Error> {
        for _ in 0..ATTEMPTS {
            let remembered = written.is_some();
            let base = match written.take() {
                Some(base) => base,
                None => match ctx.read_workspace(key).await? {
                    Some(base) => Arc::new(base),
                    None => return Ok(changes.iter().map(Change::without_a_workspace).collect()),
                },
            };
            if !ctx.leadership.leads() {
                return Err(Error::NotLeading);
            }
            let base = match held(base, changes, ctx).await {
                Ok(Some(base)) => base,
                Ok(None) => return Ok(changes.iter().map(Change::without_a_workspace).collect()),
                Err(Error::Conflict { .. }) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let since = Instant::now();
            let mut status = base.status();
            let denied = self.apply(changes, &base, &mut status, ctx);
            if remembered && (denied.iter().any(Option::is_some) || status == base.status()) {
                // No write would tell that its claims, its limits, or its members, are others by now.
                continue;
            }
            let after = if status == base.status() {
                base
            } else {
                match AnyWorkspace::clone(&base).write_status(&ctx.client, status).await {
                    Ok(after) => Arc::new(after),
                    // What was written last is not what is there: read it.
                    Err(Error::Conflict { .. }) => continue,
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                }
            };
            *written = Some(Arc::clone(&after));
            let answers = changes.iter().zip(denied);
            return Ok(answers.map(|(change, denied)| change.answer(denied, &after, since)).collect());
        }
        // The workspace is there, so none of it was done: whoever asked must not take it for closed.
        Err(Error::Conflict { what: "the workspace" })
    }

    /// Carries the changes out on `status`: first what is closed, then what is opened, in the order of the turns.
    fn apply(
        &self,
        changes: &[Change],
        base: &AnyWorkspace,
        status: &mut WorkspaceStatus,
        ctx: &Context,
    ) -> Vec<Option<Denied>> {
        let now = crate::clock::now();
        let closed = changes.iter().map(|change| match change {
            Change::Close(nonce, claimed_at, ending) => {
                ledger::end(status, nonce, *claimed_at, *ending).err()
            }
            Change::Open(..) | Change::Renew(..) => None,
        });
        let closed = closed.collect::<Vec<_>>();
        let limit = base.access().rate_limits.creates_per_hour;
        let asking = changes
            .iter()
            .filter_map(|change| match change {
                Change::Open(claim, wish, _) if claim.kind == ClaimKind::Connector => Some(wish.clone()),
                _ => None,
            })
            .collect::<Vec<_>>();
        let mut turns = self.turns.lock();
        if !asking.is_empty() {
            let slots = Slots::new(&status.creates, limit, now);
            if slots.free() as usize >= asking.len() + turns::most(base, ctx) {
                turns.all_may();
            } else {
                let ids = asking.iter().map(|wish| wish.uid.clone()).collect::<HashSet<_>>();
                let mut wishes = turns::wishes(base, &status.claims, ctx);
                wishes.retain(|wish| !ids.contains(&wish.uid));
                wishes.extend(asking);
                turns.review(wishes, &ids, &slots, Instant::now());
            }
        }
        changes
            .iter()
            .zip(closed)
            .map(|(change, closed)| {
                let (claim, id, renewal) = match change {
                    Change::Open(claim, _, id) => (claim, id, false),
                    Change::Renew(claim, id) => (claim, id, true),
                    Change::Close(..) => return closed,
                };
                if !keeps_for(base, id) {
                    return Some(Denied::Conflict);
                }
                if renewal && !status.claims.iter().any(|open| open.nonce == claim.nonce) {
                    return Some(Denied::Conflict);
                }
                if claim.kind == ClaimKind::Connector
                    && !renewal
                    && let Some(free_at) = turns.of(&claim.uid)
                {
                    return Some(Denied::NoSlot { free_at });
                }
                // The lease begins with this write, and not with the wait for it.
                let claim = Claim { claimed_at: now, ..Claim::clone(claim) };
                let opened = ledger::open(status, claim, limit, now);
                if opened.is_ok() {
                    turns.took(&change.uid());
                }
                opened.err()
            })
            .collect()
    }
}

impl Change {
    fn uid(&self) -> String {
        match self {
            Self::Open(claim, ..) | Self::Renew(claim, ..) => claim.uid.clone(),
            Self::Close(..) => String::new(),
        }
    }

    fn answer(&self, denied: Option<Denied>, workspace: &Arc<AnyWorkspace>, since: Instant) -> Reply {
        match (self, denied) {
            (_, Some(denied)) => Reply::Denied(denied),
            (Self::Open(..) | Self::Renew(..), None) => Reply::Opened(Arc::clone(workspace), since),
            (Self::Close(..), None) => Reply::Closed(Some(Arc::clone(workspace))),
        }
    }

    fn without_a_workspace(&self) -> Reply {
        match self {
            Self::Open(..) | Self::Renew(..) => Reply::Denied(Denied::Conflict),
            Self::Close(..) => Reply::Closed(None),
        }
    }
}

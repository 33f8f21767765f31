//! Writes claims into a workspace's status, guarded by its resourceVersion. One writer at a time in this process; other
//! replicas are held off by the guard.

use super::ledger::{self, Denied};
use super::workspace::AnyWorkspace;
use super::{Context, Error};
use crate::crd::{Claim, WorkspaceKey};

/// Opens a claim, and gives the workspace as it is then with the claim's nonce.
///
/// # Errors
/// When Kubernetes does not answer. That there is no claim to be had is a [`Denied`].
pub(super) async fn open(
    mut claim: Claim,
    key: &WorkspaceKey,
    ctx: &Context,
) -> Result<Result<(AnyWorkspace, String), Denied>, Error> {
    if claim.nonce.is_empty() {
        claim.nonce = crate::chance::nonce();
    }
    let nonce = claim.nonce.clone();
    let writer = ctx.claim_writer(key);
    let _alone = writer.lock().await;
    let Some(workspace) = AnyWorkspace::read(&ctx.client, key).await? else {
        return Ok(Err(Denied::Conflict));
    };
    let limit = workspace.access().rate_limits.creates_per_hour;
    let mut status = workspace.status();
    if let Err(denied) = ledger::open(&mut status, claim, limit, crate::clock::now()) {
        return Ok(Err(denied));
    }
    match workspace.write_status(&ctx.client, status).await {
        Ok(written) => Ok(Ok((written, nonce))),
        Err(Error::Conflict { .. }) => Ok(Err(Denied::Conflict)),
        Err(error) => Err(error),
    }
}

/// Closes a claim, and gives the workspace as it is then; none if it is gone.
///
/// # Errors
/// When Kubernetes does not answer or take the write.
pub(super) async fn close(
    nonce: &str,
    key: &WorkspaceKey,
    ctx: &Context,
) -> Result<Option<AnyWorkspace>, Error> {
    let writer = ctx.claim_writer(key);
    let _alone = writer.lock().await;
    ctx.claims_seen.lock().remove(nonce);
    let Some(workspace) = AnyWorkspace::read(&ctx.client, key).await? else { return Ok(None) };
    let mut status = workspace.status();
    if !ledger::close(&mut status, nonce) {
        return Ok(Some(workspace));
    }
    workspace.write_status(&ctx.client, status).await.map(Some)
}

//! Claims whose owner is gone: its finalizer was forced off, or its Scan deleted. What such a create made is looked for and
//! reported; it is never deleted, and the claim is closed.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{AnyWorkspace, observe};
use crate::controller::ledger::{Ending, SETTLED_AFTER};
use crate::controller::registry::Entry;
use crate::controller::{Context, Error, connector};
use crate::crd::{Claim, ClaimKind, Connector, Scan};
use crate::remote::{Listing, Remote};

/// How long the claim of a Scan's start may have no owner before it is closed.
const SCAN_ORPHANED_AFTER: Duration = Duration::from_mins(10);

/// A claim whose owner is gone, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Orphan {
    /// Which.
    pub nonce: String,
    /// When it was written as it was seen.
    pub claimed_at: Timestamp,
    /// Whether its create left a trace.
    pub ending: Ending,
    /// What is said about it.
    pub report: String,
}

/// Those whose outcome cannot change any more.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(super) async fn find(
    workspace: &AnyWorkspace,
    entry: &Entry,
    remote: &Remote,
    listing: &Listing,
    ctx: &Context,
) -> Result<Vec<Orphan>, Error> {
    let mut orphans = Vec::new();
    let status = workspace.status();
    for claim in &status.claims {
        let known_for = ctx.known_for(claim);
        let settled = match claim.kind {
            // What counts is how long it was known when the list was begun.
            ClaimKind::Connector => known_for.saturating_sub(listing.begun.elapsed()) > SETTLED_AFTER,
            ClaimKind::Scan => known_for > SCAN_ORPHANED_AFTER,
        };
        if !settled || is_cached(claim, ctx) || is_there(claim, ctx).await? {
            continue;
        }
        let owner = format!("{}/{}", claim.namespace, claim.name);
        let mut ending = Ending::Settled;
        let report = match claim.kind {
            ClaimKind::Scan => {
                format!("a scan of {} may have been started for Scan {owner}, which is gone", claim.subject)
            }
            ClaimKind::Connector if entry.retired.contains(&claim.identity) => {
                format!("a create for Connector {owner}, which is gone, was given up with the former key")
            }
            // Found out as soon as the key, or the list, can be trusted.
            ClaimKind::Connector if listing.alarm.is_some() || !reaches(claim, workspace, entry, remote) => {
                continue;
            }
            ClaimKind::Connector => {
                let found = connector::candidates(
                    claim,
                    listing,
                    &connector::taken(
                        listing.named(&claim.subject).map(|item| item.id.as_str()),
                        &claim.uid,
                        ctx,
                    ),
                );
                let ids = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                if ids.is_empty() {
                    ending = Ending::Lost;
                    format!("a create for Connector {owner}, which is gone, had no effect")
                } else {
                    format!(
                        "{ids} was created for Connector {owner}, which is gone, and belongs to nobody here: delete it at the API \
                         if it is not needed"
                    )
                }
            }
        };
        orphans.push(Orphan { nonce: claim.nonce.clone(), claimed_at: claim.claimed_at, ending, report });
    }
    Ok(orphans)
}

/// Whether today's key reaches the API workspace that the claim was made in.
pub(super) fn reaches(claim: &Claim, workspace: &AnyWorkspace, entry: &Entry, remote: &Remote) -> bool {
    let known = |digest: &String| entry.identity.as_ref() == Some(digest) || entry.former.contains(digest);
    match &claim.member {
        None => known(&claim.identity),
        // A member has the same key, and a digest of its own.
        Some(uid) => {
            workspace.status().members.iter().any(|member| {
                member.uid == *uid && observe::identity(&member.key(), remote) == claim.identity
            })
        }
    }
}

fn is_cached(claim: &Claim, ctx: &Context) -> bool {
    match claim.kind {
        ClaimKind::Connector => ctx.index.lives::<Connector>(&claim.uid),
        ClaimKind::Scan => ctx.index.lives::<Scan>(&claim.uid),
    }
}

async fn is_there(claim: &Claim, ctx: &Context) -> Result<bool, Error> {
    match claim.kind {
        ClaimKind::Connector => is_object::<Connector>(claim, ctx).await,
        ClaimKind::Scan => is_object::<Scan>(claim, ctx).await,
    }
}

async fn is_object<K>(claim: &Claim, ctx: &Context) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(ctx.client.clone(), &claim.namespace);
    let found =
        api.get_metadata_opt(&claim.name).await.map_err(Error::kubernetes("look for a claim's owner"))?;
    Ok(found.is_some_and(|it| it.metadata.uid.as_ref() == Some(&claim.uid)))
}

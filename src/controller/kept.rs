//! Where the claims of a workspace stand: with itself, or with the one of the same key that keeps them for all. The only
//! place where anybody looks for them.

use std::sync::Arc;

use super::workspace::AnyWorkspace;
use super::{Context, Error, ledger};
use crate::crd::{Claim, ClaimKind, WorkspaceId, WorkspaceKey, WorkspaceStatus};

/// A workspace, and the one that keeps its claims.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// The workspace itself.
    pub workspace: Arc<AnyWorkspace>,
    /// The other one that it names as its keeper; none where it keeps them itself, or the other one is gone.
    keeper: Option<Arc<AnyWorkspace>>,
}

impl Kept {
    /// Reads both from the API server; none if the workspace is not there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn read(key: &WorkspaceKey, ctx: &Context) -> Result<Option<Self>, Error> {
        let Some(workspace) = ctx.read_workspace(key).await? else { return Ok(None) };
        let named = workspace.record().and_then(|status| status.keeper.clone());
        let keeper = match named {
            None => None,
            Some(id) => ctx.read_workspace(&id.key()).await?.filter(|it| it.id() == id),
        };
        Ok(Some(Self { workspace: Arc::new(workspace), keeper: keeper.map(Arc::new) }))
    }

    /// Both as the caches have them.
    pub(super) fn cached(key: &WorkspaceKey, ctx: &Context) -> Option<Self> {
        let workspace = ctx.cached_workspace(key)?;
        let named = workspace.record().and_then(|status| status.keeper.clone());
        let keeper = named.and_then(|id| ctx.cached_workspace(&id.key()).filter(|it| it.id() == id));
        Some(Self { workspace: Arc::new(workspace), keeper: keeper.map(Arc::new) })
    }

    /// Both as the caches have them, or from the API server where those lack them.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn known(key: &WorkspaceKey, ctx: &Context) -> Result<Option<Self>, Error> {
        match Self::cached(key, ctx) {
            Some(kept) => Ok(Some(kept)),
            None => Self::read(key, ctx).await,
        }
    }

    /// The workspace, other than `named`, for which an object has a claim open. Its spec named another one when the claim was
    /// opened: what the schema refuses, but for an object whose status was lost, and a Connector that was made anew under
    /// its Scan.
    ///
    /// `recorded`: the one that the object's status tells of. As the API server has them where `fresh` is set.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn elsewhere(
        kind: ClaimKind,
        uid: &str,
        named: Option<&WorkspaceKey>,
        recorded: Option<WorkspaceKey>,
        fresh: bool,
        ctx: &Context,
    ) -> Result<Option<Self>, Error> {
        let other = |key: &WorkspaceKey| Some(key) != named;
        // All workspaces are looked through, so only where something may follow.
        let claiming = || if fresh { claiming(kind, uid, ctx).filter(other) } else { None };
        let Some(key) = recorded.filter(other).or_else(claiming) else { return Ok(None) };
        let kept = if fresh { Self::read(&key, ctx).await? } else { Self::cached(&key, ctx) };
        Ok(kept.filter(|kept| kept.claim(kind, uid).is_some()))
    }

    /// The claim that an object has open.
    pub(super) fn claim(&self, kind: ClaimKind, uid: &str) -> Option<Claim> {
        ledger::of(self.ledger()?, kind, uid).cloned()
    }

    /// The claims that the workspace's own connectors and Scans have open.
    pub(super) fn own_claims(&self) -> Vec<Claim> {
        let member = self.keeper.as_ref().map(|_| self.workspace.id().uid);
        let claims = self.ledger().map_or_else(Vec::new, |status| status.claims.clone());
        claims.into_iter().filter(|claim| claim.member == member).collect()
    }

    /// The status that the claims stand in.
    pub(super) fn ledger(&self) -> Option<&WorkspaceStatus> {
        self.keeper.as_ref().unwrap_or(&self.workspace).record()
    }

    /// Whether no other one keeps them.
    pub(super) fn keeps_itself(&self) -> bool {
        self.workspace.record().is_none_or(|status| status.keeper.is_none())
    }

    /// Which object the claims stand in.
    pub(super) fn holder_key(&self) -> WorkspaceKey {
        let keeper = self.workspace.record().and_then(|status| status.keeper.as_ref());
        keeper.map_or_else(|| self.workspace.key(), WorkspaceId::key)
    }

    /// With another version of the object that the claims stand in.
    pub(super) fn with_holder(self, holder: Arc<AnyWorkspace>) -> Self {
        if holder.key() == self.workspace.key() {
            Self { workspace: holder, keeper: None }
        } else {
            Self { keeper: Some(holder), ..self }
        }
    }
}

/// The workspace for which an object has a claim open, as the caches have it.
fn claiming(kind: ClaimKind, uid: &str, ctx: &Context) -> Option<WorkspaceKey> {
    let of = |holder: &AnyWorkspace| {
        let status = holder.record()?;
        match &ledger::of(status, kind, uid)?.member {
            None => Some(holder.key()),
            Some(member) => status.members.iter().find(|it| it.uid == *member).map(WorkspaceId::key),
        }
    };
    let namespaced = ctx.caches.workspaces.everywhere().filter_map(|it| it.0.ok().map(AnyWorkspace::from));
    let cluster = ctx.caches.cluster_workspaces.everywhere();
    let cluster = cluster.filter_map(|it| it.0.ok().map(AnyWorkspace::from));
    namespaced.chain(cluster).find_map(|it| of(&it))
}

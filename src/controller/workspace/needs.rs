//! Who still needs a workspace: connectors that something at the API may belong to. As long as there are any, the workspace
//! is held, so that they can be deleted there.

use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{AnyWorkspace, belongs};
use crate::controller::{Context, Error, Guarded, Link};
use crate::crd::{Connector, FINALIZER, ManagementPolicy, WorkspaceKey};

/// Objects a page, where they are read from the API server.
const PAGE: u32 = 500;

/// The connectors of a workspace, as the caches have them.
pub(super) fn cached(key: &WorkspaceKey, ctx: &Context) -> Vec<Guarded<Connector>> {
    let referring = ctx.index.referring::<Connector>(&Link::Workspace(key.clone()));
    referring.iter().filter_map(|connector| ctx.caches.connectors.get(connector)).collect()
}

/// Whether any of them needs it, as far as the caches know.
pub(super) fn any(key: &WorkspaceKey, ctx: &Context) -> bool {
    ctx.index.refers::<Connector>(&Link::Needed(key.clone()))
}

/// The connectors of a workspace, as the API server has them.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn listed(workspace: &AnyWorkspace, ctx: &Context) -> Result<Vec<Connector>, Error> {
    let key = workspace.key();
    let api = match &key.namespace {
        Some(namespace) => Api::<Connector>::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(Error::kubernetes("list the connectors"))?;
        found.extend(page.items.into_iter().filter(|connector| belongs(connector, &key)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

/// Whether a connector needs its workspace for its own end.
pub(in crate::controller) fn needs(connector: &Connector) -> bool {
    let managed = connector.spec.management_policy == ManagementPolicy::Manage;
    let known = connector.status.as_ref().is_some_and(|status| status.connector_id.is_some());
    connector.finalizers().iter().any(|finalizer| finalizer == FINALIZER) || managed && known
}

/// The connectors that need a workspace, by namespace and name, as the caches have them. Names matter only for a workspace that
/// is being deleted; for others one is enough.
pub(super) fn by(workspace: &AnyWorkspace, ctx: &Context) -> Vec<String> {
    let most = if workspace.is_deleting() { usize::MAX } else { 1 };
    let needing = ctx.index.referring::<Connector>(&Link::Needed(workspace.key()));
    let mut names =
        needing.iter().take(most).map(|key| format!("{}/{}", key.namespace, key.name)).collect::<Vec<_>>();
    names.sort();
    names
}

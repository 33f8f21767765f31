//! Reads everything that a workspace depends on: its Secret, and the list of connectors at the API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connectors_api::wire::ConnectorId;
use connectors_api::{Client, Endpoint};
use secrecy::{ExposeSecret, SecretString};

use super::AnyWorkspace;
use super::identity::{self as identities, Bound, Evidence, Verdict};
use super::needs;
use super::orphans::{self, Orphan};
use super::plan::{Listed, Observed};
use super::twins;
use crate::controller::connector::digest;
use crate::controller::registry::Entry;
use crate::controller::{Blocked, Context, Error, Kept, Link, Reason, secret};
use crate::crd::{
    Connector, IDENTITY_ACKNOWLEDGED_ANNOTATION, ManagementPolicy, RECONCILE_ANNOTATION, WorkspaceKey,
};
use crate::remote::{Asker, Budget, Fault, FaultKind, Listing, Remote};

/// The wait after a list that brought nothing.
const RETRY: Duration = Duration::from_secs(15);
/// The wait after 401 and 403; a changed Secret is noticed at once.
const SLOW_PROBE: Duration = Duration::from_mins(5);
/// How many connectors are asked for by id in one look, while the list is too short to be believed.
const ASKED_BY_ID: usize = 4;

/// What was found out, and the connectors that look different from before.
pub(super) struct Seen {
    /// For the plan.
    pub observed: Observed,
    /// Claims whose owner is gone, and what became of them.
    pub orphans: Vec<Orphan>,
    /// What the workspace stands for from now on.
    pub entry: Entry,
    /// Ids of connectors to wake.
    pub changed: Vec<String>,
}

/// Looks at a workspace.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(super) async fn observe(workspace: &AnyWorkspace, ctx: &Context) -> Result<Seen, Error> {
    let key = workspace.key();
    let meta = workspace.meta();
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let blank = Entry::blank(workspace);
    let (mut list, mut no_place) = (None, false);
    let before = ctx.registry.get(&key);
    let wished = crate::duration::parse(&workspace.access().poll_interval).unwrap_or(Duration::from_mins(1));
    let mut changed = Vec::new();
    let (outcome, entry) = match connect(workspace, ctx).await? {
        Err(blocked) => {
            // The last client that worked still serves deletions, unless the endpoint itself is the matter.
            let before = before
                .filter(|_| !matches!(blocked.reason, Reason::EndpointNotPermitted | Reason::InvalidSpec));
            let (remote, identity) = before.map_or((None, None), |entry| (entry.remote, entry.identity));
            let entry =
                Entry { remote, identity, blocked: Some(blocked.clone()), poll_interval: wished, ..blank };
            (Err(blocked), entry)
        }
        Ok(remote) => {
            let identity = identity(&key, &remote);
            let status = workspace.status();
            if status.identity.as_ref() == Some(&identity) && !remote.has_looked() {
                // After a restart, what is recorded stands for what was seen before.
                let counted = status.connectors.and_then(|count| usize::try_from(count).ok());
                remote.expect(counted.unwrap_or_default(), ids_under(&key, &identity, ctx));
            }
            let listing = remote.poll().await;
            let poll_interval = remote.poll_interval(wished);
            let mut entry =
                Entry { remote: Some(Arc::clone(&remote)), identity: Some(identity), poll_interval, ..blank };
            match listing {
                Ok(listing) => {
                    if listing.alarm.is_some() {
                        changed.extend(ask_by_id(&remote).await.iter().map(ToString::to_string));
                    }
                    changed.extend(listing.changed.iter().map(ToString::to_string));
                    let refused = refused_routes(workspace, ctx, &remote);
                    entry.trouble.clone_from(&refused);
                    let listed = Listed {
                        refused,
                        connectors: listing.count(),
                        alarm: listing.alarm,
                        next: poll_interval,
                    };
                    list = Some(listing);
                    (Ok(listed), entry)
                }
                Err(fault) => {
                    no_place = fault.kind == FaultKind::NoPlace;
                    let blocked = fault_of(workspace, ctx, &fault);
                    if matches!(blocked.reason, Reason::Unauthorized | Reason::Forbidden) {
                        entry.blocked = Some(blocked.clone());
                    } else {
                        entry.trouble = Some(blocked.clone());
                    }
                    (Err(blocked), entry)
                }
            }
        }
    };
    let mut entry = entry;
    let verdict = match entry.identity.clone() {
        None => None,
        Some(today) => Some(
            judge(workspace, &today, list.as_ref(), annotation(IDENTITY_ACKNOWLEDGED_ANNOTATION), ctx)
                .await?,
        ),
    };
    if let Some(verdict) = &verdict {
        (entry.former, entry.retired) = (verdict.known.clone(), verdict.retired.clone());
        entry.changed = verdict.changed.is_some();
    }
    let needed_by = needs::by(workspace, ctx);
    entry.closed = if workspace.is_deleting() {
        let message =
            format!("{key} is being deleted, and takes nothing new: name another one in spec.workspaceRef");
        Some(Blocked::new(Reason::WorkspaceDeleting, message))
    } else {
        verdict.as_ref().and_then(|verdict| verdict.changed.as_ref()).map(|changed| {
            let today = entry.identity.as_deref().unwrap_or_default();
            Blocked::new(
                Reason::IdentityChanged,
                super::plan::identity_message(&key.to_string(), today, changed),
            )
        })
    };
    let orphans = match (&entry.remote, &list) {
        (Some(remote), Some(listing)) => orphans::find(workspace, &entry, remote, listing, ctx).await?,
        _ => Vec::new(),
    };
    let lookout = match (&entry.remote, &list) {
        (Some(remote), Some(listing)) if listing.alarm.is_none() => {
            Some(twins::look_out(workspace, &entry, remote, listing, ctx))
        }
        _ => None,
    };
    let observed = Observed {
        title: key.to_string(),
        today: entry.identity.clone(),
        deleting: workspace.is_deleting(),
        needed_by,
        verdict,
        waiting: waiting(&key, ctx),
        generation: meta.generation.unwrap_or_default(),
        status: workspace.status(),
        requested_at: annotation(RECONCILE_ANNOTATION),
        outcome,
        no_place,
        orphans: orphans.iter().map(|orphan| orphan.nonce.clone()).collect(),
        lookout,
        now: crate::clock::now(),
    };
    Ok(Seen { observed, orphans, entry, changed })
}

/// Keeps the client of the last usable credential, for deletions after a change of leader.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(crate) async fn keep_client(workspace: &AnyWorkspace, ctx: &Context) -> Result<(), Error> {
    let key = workspace.key();
    if let Ok(remote) = connect(workspace, ctx).await? {
        let identity = Some(identity(&key, &remote));
        let waiting = Blocked::new(Reason::WorkspaceNotReady, "another replica leads");
        ctx.registry.put(
            key,
            Entry {
                id: workspace.id(),
                created: jiff::Timestamp::UNIX_EPOCH,
                deleting: workspace.is_deleting(),
                moving: true,
                remote: Some(remote),
                identity,
                former: Vec::new(),
                retired: Vec::new(),
                changed: true,
                closed: None,
                blocked: Some(waiting),
                trouble: None,
                poll_interval: Duration::from_mins(1),
            },
        );
    }
    Ok(())
}

/// The salt is what the object is called, so that the digest survives a restore and tells nothing of other objects.
pub(super) fn identity(key: &WorkspaceKey, remote: &Remote) -> String {
    digest(&["slimio identity v1", &key.to_string(), remote.credential()])
}

/// The namespace that a workspace's Secret is in.
fn secret_namespace(workspace: &AnyWorkspace, ctx: &Context) -> String {
    workspace.key().namespace.unwrap_or_else(|| ctx.settings.namespace.clone())
}

async fn connect(workspace: &AnyWorkspace, ctx: &Context) -> Result<Result<Arc<Remote>, Blocked>, Error> {
    let access = workspace.access();
    let endpoint = match Endpoint::parse(&access.endpoint) {
        Ok(endpoint) => endpoint,
        Err(error) => return Ok(Err(Blocked::new(Reason::InvalidSpec, format!("spec.endpoint: {error}")))),
    };
    if !ctx.settings.permitted.allow(&endpoint) {
        let message = format!(
            "the operator's configuration does not permit {}, and nothing was sent there; it permits {} (--permitted-endpoint)",
            endpoint.origin(),
            ctx.settings.permitted
        );
        return Ok(Err(Blocked::new(Reason::EndpointNotPermitted, message)));
    }
    let namespace = secret_namespace(workspace, ctx);
    let key = match secret::read(&ctx.client, &namespace, &access.auth.api_key.secret_ref).await? {
        Ok(read) => read.value,
        Err(blocked) => return Ok(Err(blocked)),
    };
    Ok(remote(workspace, ctx, endpoint, key))
}

fn remote(
    workspace: &AnyWorkspace,
    ctx: &Context,
    endpoint: Endpoint,
    key: SecretString,
) -> Result<Arc<Remote>, Blocked> {
    let access = workspace.access();
    let credential = digest(&["slimio credential v1", endpoint.as_str(), key.expose_secret()]);
    let limits = format!("{:?}", access.rate_limits);
    let shared =
        digest(&["slimio remote v1", &credential, access.ca_bundle.as_deref().unwrap_or_default(), &limits]);
    ctx.registry.share(&shared, || {
        let mut builder =
            Client::builder(endpoint, key).user_agent(concat!("slimio-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(bundle) = &access.ca_bundle {
            builder = builder.ca_bundle(bundle.clone());
        }
        #[cfg(test)]
        let built = match &ctx.in_process {
            Some(service) => builder.build_in_process(Arc::clone(service)),
            None => builder.build(),
        };
        #[cfg(not(test))]
        let built = builder.build();
        let client = built.map_err(|error| {
            Blocked::new(Reason::InvalidSpec, format!("no client can be made from this workspace: {error}"))
        })?;
        Ok(Remote::new(client, Budget::new(access.rate_limits), credential, Arc::clone(&ctx.metrics)))
    })
}

fn fault_of(workspace: &AnyWorkspace, ctx: &Context, fault: &Fault) -> Blocked {
    let reference = &workspace.access().auth.api_key.secret_ref;
    let secret =
        format!("Secret {}/{} (key {})", secret_namespace(workspace, ctx), reference.name, reference.key);
    let (reason, message, wait) = match fault.kind {
        FaultKind::Unauthorized => (
            Reason::Unauthorized,
            format!("the API does not accept the key in {secret}: {}; put a valid one there", fault.message),
            SLOW_PROBE,
        ),
        FaultKind::Forbidden => (
            Reason::Forbidden,
            format!("the role of the key in {secret} does not suffice to list connectors: {}", fault.message),
            SLOW_PROBE,
        ),
        FaultKind::NoPlace | FaultKind::RateLimited => (Reason::RateLimited, fault.message.clone(), RETRY),
        _ => (
            Reason::ApiUnavailable,
            format!("the API at {} cannot be read: {}", workspace.access().endpoint, fault.message),
            RETRY,
        ),
    };
    Blocked { reason, message, retry: Some(fault.retry_after.unwrap_or(wait).max(Duration::from_secs(1))) }
}

/// What the API refuses to the key beside the list, which it does not refuse.
fn refused_routes(workspace: &AnyWorkspace, ctx: &Context, remote: &Remote) -> Option<Blocked> {
    let (_, routes) = remote.circuits().open();
    if routes.is_empty() {
        return None;
    }
    let reference = &workspace.access().auth.api_key.secret_ref;
    let message = format!(
        "the role of the key in Secret {}/{} (key {}) does not suffice for: {}; put the key of a role that may there",
        secret_namespace(workspace, ctx),
        reference.name,
        reference.key,
        routes.join(", ")
    );
    Some(Blocked::new(Reason::Forbidden, message))
}

/// What the ids and open claims of a workspace say of today's key.
async fn judge(
    workspace: &AnyWorkspace,
    today: &str,
    listing: Option<&Listing>,
    acknowledgement: Option<String>,
    ctx: &Context,
) -> Result<Verdict, Error> {
    let key = workspace.key();
    let status = workspace.status();
    // What was made a moment ago, and the cache does not show yet, speaks too where another key is about to be taken.
    let fresh = status.identity.as_deref().is_some_and(|recorded| recorded != today);
    let bound = if fresh {
        needs::listed(workspace, ctx).await?.iter().filter_map(bound).collect()
    } else {
        bound_in_cache(&key, ctx)
    };
    let kept = if fresh { Kept::read(&key, ctx).await? } else { Kept::cached(&key, ctx) };
    let claims = kept.map_or_else(Vec::new, |kept| kept.own_claims()).into_iter();
    // Most looks have nothing to look up.
    let doubtful = bound.iter().any(|bound| bound.identity != today);
    let listed = listing.map(|listing| {
        let ids = listing.items().map(|item| item.id.as_str());
        if doubtful { ids.collect() } else { BTreeSet::new() }
    });
    Ok(identities::judge(&Evidence {
        today,
        status: &status,
        bound: &bound,
        claims: &claims.map(|claim| claim.identity).collect::<Vec<_>>(),
        listed: listed.as_ref(),
        acknowledgement: acknowledgement.as_deref(),
    }))
}

fn bound(connector: &Connector) -> Option<Bound> {
    let status = connector.status.as_ref()?;
    let managed = connector.spec.management_policy == ManagementPolicy::Manage;
    Some(Bound { id: status.connector_id.clone()?, identity: status.identity.clone()?, managed })
}

fn bound_in_cache(key: &WorkspaceKey, ctx: &Context) -> Vec<Bound> {
    let cached = needs::cached(key, ctx);
    cached.iter().filter_map(|connector| bound(connector.0.as_ref().ok()?)).collect()
}

/// The ids of a workspace's connectors that today's key made or showed.
fn ids_under(key: &WorkspaceKey, identity: &str, ctx: &Context) -> Vec<ConnectorId> {
    let made = bound_in_cache(key, ctx).into_iter().filter(|bound| bound.identity == identity);
    made.filter_map(|bound| ConnectorId::parse(bound.id).ok()).collect()
}

/// Asks by id for some of the connectors that a list lacks that is too short to be believed. Those that are really gone.
async fn ask_by_id(remote: &Remote) -> Vec<ConnectorId> {
    let mut gone = Vec::new();
    let asker = Asker { object: "poll".to_owned(), ..Asker::default() };
    let caller = remote.for_object(asker);
    for id in remote.doubted(ASKED_BY_ID) {
        match caller.read(&id).await {
            Ok(_) => {}
            Err(fault) if fault.kind == FaultKind::NotFound => {
                remote.confirm_absent(&id);
                gone.push(id);
            }
            Err(_) => break,
        }
    }
    gone
}

/// How many connectors wait for the hourly limit.
fn waiting(key: &WorkspaceKey, ctx: &Context) -> i64 {
    i64::try_from(ctx.index.count_of::<Connector>(&Link::Told(key.clone()))).unwrap_or(i64::MAX)
}

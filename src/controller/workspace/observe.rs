//! Reads everything that a workspace depends on: its Secret, and the list of connectors at the API.

use std::sync::Arc;
use std::time::Duration;

use connectors_api::{Client, Endpoint};
use secrecy::{ExposeSecret, SecretString};

use super::AnyWorkspace;
use super::plan::{Listed, Observed};
use crate::controller::connector::digest;
use crate::controller::registry::Entry;
use crate::controller::{Blocked, Context, Error, Reason, secret};
use crate::crd::{ClaimKind, Connector, RECONCILE_ANNOTATION, Scan, WorkspaceKey};
use crate::remote::{Budget, Fault, FaultKind, Remote};

/// The wait after a list that brought nothing.
const RETRY: Duration = Duration::from_secs(15);
/// The wait after 401 and 403; a changed Secret is noticed at once.
const SLOW_PROBE: Duration = Duration::from_mins(5);
/// How long an open claim may have no owner before it is closed.
const ORPHANED_AFTER: Duration = Duration::from_mins(10);

/// What was found out, and the connectors that look different from before.
pub(super) struct Seen {
    /// For the plan.
    pub observed: Observed,
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
    let before = ctx.registry.get(&key);
    let wished = crate::duration::parse(&workspace.access().poll_interval).unwrap_or(Duration::from_mins(1));
    let mut changed = Vec::new();
    let (outcome, entry) = match connect(workspace, ctx).await? {
        Err(blocked) => {
            // The last client that worked still serves deletions, unless the endpoint itself is the matter.
            let before = before
                .filter(|_| !matches!(blocked.reason, Reason::EndpointNotPermitted | Reason::InvalidSpec));
            let (remote, identity) = before.map_or((None, None), |entry| (entry.remote, entry.identity));
            let entry = Entry {
                remote,
                identity,
                blocked: Some(blocked.clone()),
                trouble: None,
                poll_interval: wished,
            };
            (Err(blocked), entry)
        }
        Ok(remote) => {
            let listing = remote.poll().await;
            let poll_interval = remote.poll_interval(wished);
            let identity = identity(&key, &remote);
            let mut entry = Entry {
                remote: Some(Arc::clone(&remote)),
                identity: Some(identity.clone()),
                blocked: None,
                trouble: None,
                poll_interval,
            };
            match listing {
                Ok(listing) => {
                    changed.extend(listing.changed.iter().map(ToString::to_string));
                    let refused = refused_routes(workspace, ctx, &remote);
                    entry.trouble.clone_from(&refused);
                    let listed = Listed {
                        identity,
                        refused,
                        connectors: listing.items.len(),
                        alarm: listing.alarm,
                        next: poll_interval,
                    };
                    (Ok(listed), entry)
                }
                Err(fault) => {
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
    let meta = workspace.meta();
    let observed = Observed {
        generation: meta.generation.unwrap_or_default(),
        status: workspace.status(),
        requested_at: meta.annotations.as_ref().and_then(|all| all.get(RECONCILE_ANNOTATION)).cloned(),
        outcome,
        orphans: orphans(workspace, ctx),
        now: crate::clock::now(),
    };
    Ok(Seen { observed, entry, changed })
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
        let poll_interval = Duration::from_mins(1);
        ctx.registry.put(
            key,
            Entry { remote: Some(remote), identity, blocked: Some(waiting), trouble: None, poll_interval },
        );
    }
    Ok(())
}

/// The salt is what the object is called, so that the digest survives a restore and tells nothing of other objects.
fn identity(key: &WorkspaceKey, remote: &Remote) -> String {
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

/// Claims whose owner is gone: its finalizer was forced off, or its Scan deleted. What they made may be at the API.
fn orphans(workspace: &AnyWorkspace, ctx: &Context) -> Vec<String> {
    let lives = |kind, uid: &str| match kind {
        ClaimKind::Connector => ctx.index.lives::<Connector>(uid),
        ClaimKind::Scan => ctx.index.lives::<Scan>(uid),
    };
    let claims = workspace.status().claims;
    let gone = claims
        .iter()
        .filter(|claim| !lives(claim.kind, &claim.uid) && ctx.known_for(&claim.nonce) > ORPHANED_AFTER);
    gone.map(|claim| claim.nonce.clone()).collect()
}

//! Reads everything that a Connector's plan is made from.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connectors_api::wire::ConnectorId;
use kube::ResourceExt;
use kube::core::SelectorExt;
use secrecy::SecretString;
use tokio::time::Instant;

use super::backup::{BackupRecord, Sealer};
use super::desired::{Desired, InvalidSpec, sent_digest};
use super::observed::{Facts, Object, Observed, OpenClaim, Request, Watched, WorkspaceView};
use crate::controller::bulkhead::Urgency;
use crate::controller::registry::Entry;
use crate::controller::workspace::AnyWorkspace;
use crate::controller::{Blocked, Context, Error, Kept, Link, ObjectKey, Reason, secret};
use crate::crd::{
    ABANDON_ANNOTATION, CONNECTOR_ANNOTATION, CREDENTIALS_ACKNOWLEDGED_ANNOTATION, ClaimKind, Connector,
    FINALIZER, ManagementPolicy, RECONCILE_ANNOTATION, Scan, WorkspaceKey,
};
use crate::remote::{Asker, Remote, Reservation, Sight, Standing};

/// Polls that may fail before what was read is not a truth any more.
const POLLS: u32 = 3;
/// A truth may always be this old.
const FRESH_FOR: Duration = Duration::from_mins(5);

/// What one pass of the reconcile keeps between its steps.
#[derive(Default)]
pub(super) struct Pass {
    /// What was found out and done.
    pub facts: Facts,
    /// The claim that this pass opened.
    pub claimed: Option<(String, Instant)>,
    /// The workspace as it was last read from, or written to, the API server in this pass.
    pub workspace: Option<Kept>,
    /// The create that is counted, and not sent yet.
    pub reserved: Option<Reservation>,
    /// The credential whose look this pass shares with others: decided when the pass ends.
    pub shares: Option<String>,
    /// The identity of the key that the facts were found out with.
    pub identity: Option<String>,
    /// What is worth saying of the last effect.
    pub said: Option<String>,
    /// The Secret's value.
    secret: Option<Result<secret::Read, Blocked>>,
}

/// What a plan is made from, and what the effects need.
pub(super) struct Seen {
    /// For the plan.
    pub observed: Observed,
    /// The workspace's key.
    pub key: WorkspaceKey,
    /// The API to ask.
    pub remote: Option<Arc<Remote>>,
}

/// How urgent it is to do something for the object.
pub(super) fn urgency(o: &Observed) -> Urgency {
    match asker(o).standing {
        Standing::Leaving | Standing::Edited => Urgency::Asked,
        _ if o.status.connector_id.is_none() => Urgency::New,
        _ => Urgency::Ordinary,
    }
}

/// Who asks, and with what right, when something is asked for the object.
pub(super) fn asker(o: &Observed) -> Asker {
    let test = o.status.connection_test.as_ref();
    let request = o.object.requested_at.is_some() && o.object.request() != o.status.last_handled_reconcile_at;
    let edited = o.status.observed_generation.is_some_and(|seen| seen >= 0 && seen != o.object.generation);
    let standing = if o.object.deleting {
        Standing::Leaving
    } else if request || edited || o.status.replacement.is_some() {
        Standing::Edited
    } else if test.is_none() {
        Standing::Settling
    } else if test.is_some_and(|test| test.connected && test.sent == o.status.sent) {
        Standing::Idle
    } else {
        Standing::Ordinary
    };
    Asker { namespace: o.object.namespace.clone(), object: o.object.uid.clone(), standing }
}

/// Looks at everything. `fresh`: from the API server where something may follow from it, and not from the caches.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(super) async fn observe(
    connector: &Connector,
    pass: &mut Pass,
    fresh: bool,
    ctx: &Context,
) -> Result<Seen, Error> {
    let object = object(connector);
    let status = connector.status.clone().unwrap_or_default();
    let named = connector.spec.workspace_ref.key(&object.namespace);
    let (desired, observing) = desired(&object, connector);

    // An open claim matters where there is no id yet, or one is about to go.
    let claims_matter = status.connector_id.is_none()
        || status.replacement.is_some()
        || object.deleting
        || pass.claimed.is_some();
    if pass.claimed.is_none() && pass.workspace.as_ref().is_some_and(|kept| kept.workspace.key() != named) {
        // The spec names another one since.
        pass.workspace = None;
    }
    let mut kept = pass.workspace.clone();
    // A claim is opened after the finalizer is there. All workspaces are looked through, so only where something may follow.
    if kept.is_none() && claims_matter && fresh && object.finalizer {
        let uid = &object.uid;
        kept = Kept::elsewhere(ClaimKind::Connector, uid, Some(&named), None, fresh, ctx).await?;
    }
    if kept.is_none() {
        let cached = Kept::cached(&named, ctx);
        // A cache that is still being filled lacks what is there.
        if fresh && (claims_matter || cached.is_none()) {
            kept = Kept::read(&named, ctx).await?;
            pass.workspace.clone_from(&kept);
        }
        kept = kept.or(cached);
    }
    let key = kept.as_ref().map_or_else(|| named.clone(), |kept| kept.workspace.key());
    let holder = kept.as_ref().map_or_else(|| key.clone(), Kept::holder_key);
    let there = kept.as_ref().map(|kept| kept.workspace.as_ref());
    let entry = ctx.registry.get(&key);
    let claim = kept.as_ref().and_then(|kept| {
        let claim = kept.claim(ClaimKind::Connector, &object.uid)?;
        Some(OpenClaim { known_for: ctx.known_for(&claim), claim })
    });
    let (workspace, remote) = usable(&object, &key, there, entry.as_ref(), ctx).await?;
    if let Ok(WorkspaceView { identity, .. }) = &workspace
        && pass.identity.replace(identity.clone()).is_some_and(|before| before != *identity)
    {
        pass.facts.turn_to_another_key();
    }

    let interval = entry.as_ref().map_or(Duration::from_mins(1), |entry| entry.poll_interval);
    let request = match (&desired, there) {
        (Ok(desired), Some(workspace)) => {
            request(&object, desired, workspace, pass, Look { fresh, poll: interval, ctx }).await?
        }
        (Err(blocked), _) => Err(blocked.clone()),
        (_, None) => Err(Blocked::new(Reason::WorkspaceNotFound, format!("{key} is not there"))),
    };
    let own = status.connector_id.clone().and_then(|id| ConnectorId::parse(id).ok());
    let sight = match (&remote, own.as_ref().or(observing.as_ref().map(|watched| &watched.id))) {
        (Some(remote), Some(id)) => remote.sight(id),
        _ => Sight::Unread,
    };
    // Only what bears its name, or that of its claim, can be its own.
    let names = [
        request.as_ref().ok().map(|request| request.create.name.as_str()),
        claim.as_ref().map(|open| open.claim.subject.as_str()),
    ];
    let listing = pass.facts.listing.as_ref().and_then(|listing| listing.as_ref().ok());
    let listed = names.iter().flatten().flat_map(|name| listing.into_iter().flat_map(|it| it.named(name)));
    let wanted = connector.spec.connector_id.clone().or_else(|| Some(BackupRecord::parse(&object)?.id));
    let wanted = wanted.filter(|_| status.connector_id.is_none());
    let taken = taken(listed.map(|item| item.id.as_str()).chain(wanted.as_deref()), &object.uid, ctx);
    let another =
        |id: &&str| ctx.index.another_refers::<Connector>(&Link::Remote((*id).to_owned()), &object.uid);
    let contested = status.ids().filter(another).map(str::to_owned).collect();
    let scanned = status.connector_id.as_ref().is_some_and(|id| scanned(id, kept.as_ref(), ctx));
    let uid = object.uid.clone();
    let mut facts = std::mem::take(&mut pass.facts);
    facts.claimed = pass.claimed.as_ref().map(|(nonce, since)| (nonce.clone(), since.elapsed()));
    let observed = Observed {
        object,
        status,
        desired,
        workspace,
        observing,
        request,
        sight,
        claim,
        elsewhere: Some(named).filter(|named| *named != key),
        taken,
        contested,
        turn: ctx.claim_writer(&holder).turn(&uid),
        scanned,
        freshness: FRESH_FOR.max(interval * POLLS),
        uptime: ctx.started.elapsed(),
        now: crate::clock::now(),
        clock: Instant::now(),
        facts,
    };
    Ok(Seen { observed, key, remote })
}

fn object(connector: &Connector) -> Object {
    let annotation = |name: &str| connector.annotations().get(name).cloned();
    Object {
        namespace: connector.namespace().unwrap_or_default(),
        name: connector.name_any(),
        uid: connector.uid().unwrap_or_default(),
        generation: connector.metadata.generation.unwrap_or_default(),
        deleting: connector.metadata.deletion_timestamp.is_some(),
        finalizer: connector.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        abandon: annotation(ABANDON_ANNOTATION).as_deref() == Some("true"),
        requested_at: annotation(RECONCILE_ANNOTATION),
        acknowledged: annotation(CREDENTIALS_ACKNOWLEDGED_ANNOTATION),
        copy: annotation(CONNECTOR_ANNOTATION),
        deletion: connector.spec.deletion_policy,
        observe: connector.spec.management_policy == ManagementPolicy::Observe,
    }
}

/// The spec, and the connector that it only wants to be read.
fn desired(object: &Object, connector: &Connector) -> (Result<Desired, Blocked>, Option<Watched>) {
    let parsed = match Desired::parse(&object.namespace, &object.name, &connector.spec) {
        Ok(parsed) => parsed,
        Err(InvalidSpec(message)) => return (Err(Blocked::new(Reason::InvalidSpec, message)), None),
    };
    let id = connector.spec.connector_id.clone().filter(|_| object.observe);
    let observing = id
        .and_then(|id| ConnectorId::parse(id).ok())
        .map(|id| Watched { id, max_risk_score: connector.spec.max_risk_score });
    let nothing = || Blocked::new(Reason::InvalidSpec, "the spec says nothing of a provider".to_owned());
    (parsed.ok_or_else(nothing), observing)
}

/// The workspace, as far as it can be used: for deletions also when its Secret is gone.
async fn usable(
    object: &Object,
    key: &WorkspaceKey,
    there: Option<&AnyWorkspace>,
    entry: Option<&Entry>,
    ctx: &Context,
) -> Result<(Result<WorkspaceView, Blocked>, Option<Arc<Remote>>), Error> {
    if !ctx.reaches(key) {
        let message = format!(
            "{key} cannot be used, since the operator is held to namespaces: name a Workspace of this namespace in spec.workspaceRef"
        );
        return Ok((Err(Blocked::new(Reason::NotAvailableInNamespacedMode, message)), None));
    }
    let Some(there) = there else {
        let message = format!("{key} is not there: create it, or name another one in spec.workspaceRef");
        return Ok((Err(Blocked::new(Reason::WorkspaceNotFound, message)), None));
    };
    let Some(entry) = entry else {
        return Ok((Err(Blocked::new(Reason::WorkspaceNotReady, format!("{key} is being looked at"))), None));
    };
    let refused = if object.deleting || allowed(there, &object.namespace, ctx).await? {
        None
    } else {
        let message = format!(
            "{key} does not allow namespace {}: add it to its spec.allowedNamespaces",
            object.namespace
        );
        Some(Blocked::new(Reason::NamespaceNotAllowed, message))
    };
    let mut blocked = entry.blocked.as_ref().map(|blocked| Blocked {
        reason: blocked.reason,
        message: format!("{key} cannot be used: {}", blocked.message),
        retry: None,
    });
    if object.deleting
        && let Some(blocked) = blocked.as_mut().filter(|blocked| blocked.reason == Reason::SecretNotFound)
        && key.namespace.as_ref() == Some(&object.namespace)
        && is_being_deleted(&object.namespace, ctx).await?
    {
        // It cannot be put back, so nobody is told to.
        blocked.message = format!(
            "{key} cannot be used: {} is gone with its namespace, which is being deleted",
            secret_title(there, ctx)
        );
    }
    let view = match (&entry.remote, &entry.identity, blocked) {
        (Some(remote), Some(identity), trouble) if trouble.is_none() || object.deleting => {
            Ok(WorkspaceView {
                title: key.to_string(),
                secret: secret_title(there, ctx),
                identity: identity.clone(),
                former: entry.former.clone(),
                retired: entry.retired.clone(),
                changed: entry.changed,
                closed: refused.clone().or_else(|| entry.closed.clone()),
                refused,
                trouble: trouble.or_else(|| entry.trouble.clone()),
                allows_adoption: there.allows_adoption(),
                sealer: Sealer::new(remote.credential()),
            })
        }
        (_, _, blocked) => Err(refused
            .or(blocked)
            .unwrap_or_else(|| Blocked::new(Reason::WorkspaceNotReady, format!("{key} is being looked at")))),
    };
    Ok((view, entry.remote.clone()))
}

/// Whether a namespace is being deleted, as far as the operator may know it.
async fn is_being_deleted(namespace: &str, ctx: &Context) -> Result<bool, Error> {
    if ctx.settings.namespaces.is_some() {
        return Ok(false);
    }
    let api = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(ctx.client.clone());
    match api.get_metadata_opt(namespace).await {
        Ok(found) => Ok(found.is_some_and(|found| found.metadata.deletion_timestamp.is_some())),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(error) => Err(Error::kubernetes("see whether the namespace is being deleted")(error)),
    }
}

/// How a person finds the Secret with the workspace's key.
fn secret_title(workspace: &AnyWorkspace, ctx: &Context) -> String {
    let reference = &workspace.access().auth.api_key.secret_ref;
    let namespace = workspace.key().namespace.unwrap_or_else(|| ctx.settings.namespace.clone());
    format!("Secret {namespace}/{} (key {})", reference.name, reference.key)
}

/// Whether a namespace may use a workspace. Labels of the namespace are read only where a selector asks for some.
async fn allowed(workspace: &AnyWorkspace, namespace: &str, ctx: &Context) -> Result<bool, Error> {
    let Some(allowed) = workspace.allowed() else { return Ok(true) };
    if allowed.names.iter().any(|name| name == namespace) {
        return Ok(true);
    }
    let Some(selector) = allowed.selector else { return Ok(false) };
    let selector = match kube::core::Selector::try_from(selector) {
        Ok(selector) => selector,
        Err(_) => return Ok(false),
    };
    if selector.selects_all() {
        return Ok(true);
    }
    let api = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(ctx.client.clone());
    let found =
        api.get_metadata_opt(namespace).await.map_err(Error::kubernetes("read the namespace's labels"))?;
    Ok(found.is_some_and(|found| selector.matches(&found.metadata.labels.unwrap_or_default())))
}

/// How a look is taken.
struct Look<'a> {
    fresh: bool,
    poll: Duration,
    ctx: &'a Context,
}

/// What would be sent. The Secret is read where something may follow; a quiet look leaves its value out, and goes by the
/// digest that is remembered.
async fn request(
    object: &Object,
    desired: &Desired,
    workspace: &AnyWorkspace,
    pass: &mut Pass,
    look: Look<'_>,
) -> Result<Result<Request, Blocked>, Error> {
    let name = match &workspace.access().name_suffix {
        Some(suffix) => format!("{}{suffix}", desired.name),
        None => desired.name.clone(),
    };
    let salt = format!("{}/{}", object.namespace, object.name);
    let whole = |value: Option<&SecretString>, sent: Option<String>| {
        let create = desired.request(name.clone(), value).ok_or_else(|| {
            Blocked::new(Reason::SecretNotFound, "the spec names a Secret that was not read".to_owned())
        })?;
        let sent = sent.unwrap_or_else(|| sent_digest(&salt, desired, &create));
        Ok(Request { readable: desired.readable_config(&create), sent, create })
    };
    let Some(reference) = desired.source.secret_ref() else { return Ok(whole(None, None)) };
    let Look { fresh, poll, ctx } = look;
    let key = ObjectKey { namespace: object.namespace.clone(), name: object.name.clone() };
    let subject =
        secret::Subject { uid: object.uid.clone(), generation: object.generation, name: name.clone() };
    if !fresh && let Some(sent) = ctx.digests.get(&key, &subject, poll) {
        return Ok(whole(Some(&SecretString::default()), Some(sent)));
    }
    if pass.secret.is_none() {
        pass.secret = Some(secret::read(&ctx.client, &object.namespace, reference).await?);
    }
    let read = match pass.secret.as_ref() {
        Some(Ok(read)) => read,
        Some(Err(blocked)) => return Ok(Err(blocked.clone())),
        None => return Ok(whole(None, None)),
    };
    let request = whole(Some(&read.value), None);
    if let Ok(request) = &request {
        let secret = ObjectKey { namespace: key.namespace.clone(), name: reference.name.clone() };
        ctx.digests.put(key, subject, secret, read.version.clone(), request.sent.clone());
    }
    Ok(request)
}

/// Those of `ids` that belong to other objects of this cluster.
pub(in crate::controller) fn taken<'a>(
    ids: impl Iterator<Item = &'a str>,
    uid: &str,
    ctx: &Context,
) -> BTreeSet<String> {
    let put_down = ctx.owned.lock();
    let another = |id: &str| {
        put_down.get(id).is_some_and(|owner| owner != uid)
            || ctx.index.another_refers::<Connector>(&Link::Remote(id.to_owned()), uid)
    };
    ids.filter(|id| another(id)).map(str::to_owned).collect()
}

/// Whether a Scan of ours was ever claimed or started on that connector.
fn scanned(id: &str, workspace: Option<&Kept>, ctx: &Context) -> bool {
    let claimed = workspace.is_some_and(|workspace| {
        let mut claims = workspace.ledger().into_iter().flat_map(|status| &status.claims);
        claims.any(|claim| claim.kind == ClaimKind::Scan && claim.subject == id)
    });
    claimed || ctx.index.refers::<Scan>(&Link::Scanned(id.to_owned()))
}

//! Reads everything that a Scan's plan is made from.

use std::sync::Arc;

use connectors_api::wire::{ConnectorId, ScanOptions, ScanType, StartScan};
use kube::ResourceExt;
use tokio::time::Instant;

use super::observed::{Facts, Object, Observed, Target};
use crate::controller::conditions::{CONNECTED, is_true};
use crate::controller::registry::Entry;
use crate::controller::{Blocked, Context, Error, Kept, ObjectKey, Reason};
use crate::crd::{self, ClaimKind, Connector, SCAN_ANNOTATION, Scan, WorkspaceId, WorkspaceKey};
use crate::remote::Remote;

/// What one pass of the reconcile keeps between its steps.
#[derive(Default)]
pub(super) struct Pass {
    /// What was found out and done.
    pub facts: Facts,
    /// What is worth saying of the last effect.
    pub said: Option<String>,
    /// The claim that this pass opened.
    pub claimed: Option<(String, Instant)>,
    /// The workspace as it was last read from, or written to, the API server in this pass.
    pub workspace: Option<Kept>,
}

/// What a plan is made from, and what the effects need.
pub(super) struct Seen {
    /// For the plan.
    pub observed: Observed,
    /// The workspace's key, where the connector is there.
    pub key: Option<WorkspaceKey>,
    /// The API to ask.
    pub remote: Option<Arc<Remote>>,
}

/// Looks at everything. `fresh`: from the API server where something may follow from it, and not from the caches.
///
/// # Errors
/// When the Kubernetes API does not answer.
pub(super) async fn observe(scan: &Scan, pass: &mut Pass, fresh: bool, ctx: &Context) -> Result<Seen, Error> {
    let object = Object {
        namespace: scan.namespace().unwrap_or_default(),
        name: scan.name_any(),
        uid: scan.uid().unwrap_or_default(),
        generation: scan.metadata.generation.unwrap_or_default(),
        created: scan.metadata.creation_timestamp.as_ref().map(|time| time.0),
        deleting: scan.metadata.deletion_timestamp.is_some(),
        ran: scan.annotations().get(SCAN_ANNOTATION).cloned(),
    };
    let status = scan.status.clone().unwrap_or_default();
    let name = &scan.spec.connector_ref.name;
    let done = status.phase.is_some_and(|phase| phase.is_terminal());
    let connector = if fresh && status.scan_id.is_none() && !done {
        let api = kube::Api::<Connector>::namespaced(ctx.client.clone(), &object.namespace);
        api.get_opt(name).await.map_err(Error::kubernetes("read the connector"))?
    } else {
        let key = ObjectKey { namespace: object.namespace.clone(), name: name.clone() };
        let found = ctx.caches.connectors.get(&key);
        found.and_then(|found| found.0.as_ref().ok().cloned())
    };
    let named = connector.as_ref().map(|connector| connector.spec.workspace_ref.key(&object.namespace));
    let recorded = status.workspace.as_ref().map(WorkspaceId::key);
    let mut there = pass.workspace.clone();
    let mut key = there.as_ref().map(|kept| kept.workspace.key());
    if there.is_none() {
        // What was begun in a workspace is followed there, whatever became of the Connector.
        let begun = if status.scan_id.is_some() {
            recorded.clone().filter(|_| recorded != named)
        } else {
            let uid = &object.uid;
            there = Kept::elsewhere(ClaimKind::Scan, uid, named.as_ref(), recorded, fresh, ctx).await?;
            there.as_ref().map(|kept| kept.workspace.key())
        };
        key = begun.or_else(|| named.clone());
        if let (Some(key), None) = (&key, &there) {
            there = if fresh && status.scan_id.is_none() {
                Kept::read(key, ctx).await?
            } else {
                Kept::cached(key, ctx)
            };
        }
        if fresh {
            pass.workspace.clone_from(&there);
        }
    }
    let entry = key.as_ref().and_then(|key| ctx.registry.get(key));
    let claim = there.and_then(|kept| {
        let claim = kept.claim(ClaimKind::Scan, &object.uid)?;
        let known_for = ctx.known_for(&claim);
        Some((claim, known_for))
    });
    let remote = entry.as_ref().and_then(|entry| entry.remote.clone());
    let target = match &connector {
        None => Err(Blocked::new(
            Reason::ConnectorNotFound,
            format!(
                "Connector {}/{name} is not there: create it, or name another one in a new Scan",
                object.namespace
            ),
        )),
        Some(_) if key != named => Err(Blocked::new(
            Reason::ConnectorNotReady,
            format!(
                "Connector {}/{name} names another workspace than the Scan was begun in",
                object.namespace
            ),
        )),
        Some(connector) => scannable(connector, entry.as_ref()),
    };
    let mut facts = std::mem::take(&mut pass.facts);
    facts.claimed = pass.claimed.as_ref().map(|(nonce, since)| (nonce.clone(), since.elapsed()));
    let observed = Observed {
        request: request(&scan.spec),
        spec: scan.spec.clone(),
        object,
        status,
        connector: target,
        claim,
        now: crate::clock::now(),
        facts,
    };
    Ok(Seen { observed, key, remote })
}

/// A Scan waits for its connector's id and connection, not for its `Ready`.
fn scannable(connector: &Connector, entry: Option<&Entry>) -> Result<Target, Blocked> {
    let title = format!("Connector {}/{}", connector.namespace().unwrap_or_default(), connector.name_any());
    let status = connector.status.clone().unwrap_or_default();
    let not_ready = |why: String| Blocked::new(Reason::ConnectorNotReady, format!("{title} {why}"));
    if connector.metadata.deletion_timestamp.is_some() {
        return Err(not_ready("is being deleted".to_owned()));
    }
    if connector.spec.management_policy == crd::ManagementPolicy::Observe {
        return Err(Blocked::new(
            Reason::ConnectorObserved,
            format!("{title} is only observed: set its spec.managementPolicy to Manage to scan it"),
        ));
    }
    if status.replacement.is_some() {
        return Err(not_ready("is being replaced".to_owned()));
    }
    if connector.spec.suspend {
        return Err(not_ready("is suspended: unset its spec.suspend".to_owned()));
    }
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let said = ready.map(|ready| format!(": {}", ready.message)).unwrap_or_default();
    let Some(id) = status.connector_id.as_ref().and_then(|id| ConnectorId::parse(id.clone()).ok()) else {
        return Err(not_ready(format!("does not exist at the API yet{said}")));
    };
    if !is_true(&status.conditions, CONNECTED) {
        return Err(not_ready(format!("is not connected{said}")));
    }
    if let Some(blocked) = entry.and_then(|entry| entry.blocked.clone()) {
        return Err(blocked);
    }
    let identity = entry.and_then(|entry| entry.identity.clone());
    let identity = identity.ok_or_else(|| not_ready("waits for its workspace".to_owned()))?;
    let known = |made: &String| *made == identity || entry.is_some_and(|entry| entry.former.contains(made));
    if status.identity.as_ref().is_some_and(|made| !known(made)) {
        return Err(not_ready("was made with another key or endpoint than the workspace has now".to_owned()));
    }
    Ok(Target { id, identity })
}

fn request(spec: &crd::ScanSpec) -> StartScan {
    let scan_type = match spec.scan_type {
        crd::ScanType::Full => ScanType::Full,
        crd::ScanType::Incremental => ScanType::Incremental,
    };
    let crd::ScanOptions { max_files, max_workers, file_types, prefixes, llm_assist, timeout_minutes } =
        spec.options.clone().unwrap_or_default();
    let options = ScanOptions {
        max_files: max_files.and_then(|n| u64::try_from(n).ok()),
        max_workers: max_workers.and_then(|n| u32::try_from(n).ok()),
        file_types,
        prefixes,
        llm_assist,
        timeout_minutes: timeout_minutes.and_then(|n| u32::try_from(n).ok()),
    };
    StartScan { scan_type, options }
}

//! Carries out one effect of a Scan's plan. Every write carries the resourceVersion that it was decided on.

use kube::api::Patch;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::observe::{Pass, Seen};
use super::plan::Effect;
use crate::controller::conditions::{READY, find};
use crate::controller::ledger::Denied;
use crate::controller::{Context, Error};
use crate::controller::{claims, writes};
use crate::crd::{SCAN_ANNOTATION, Scan, ScanStatus};
use crate::remote::{Asker, Caller, Fault, Standing};

/// Carries out `effect`, and gives the object as it is then; none if it is gone.
///
/// # Errors
/// When this replica does not lead, or Kubernetes does not take a write. What the API says is a fact.
pub(super) async fn act(
    scan: Scan,
    effect: Effect,
    seen: &Seen,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Option<Scan>, Error> {
    if !ctx.leadership.leads() {
        return Err(Error::NotLeading);
    }
    ctx.metrics.effect("Scan", effect.name());
    match effect {
        Effect::Record(status) => return write_status(scan, *status, ctx).await.map(Some),
        Effect::Annotate(value) => {
            let metadata = json!({
                "resourceVersion": scan.metadata.resource_version,
                "annotations": { SCAN_ANNOTATION: value },
            });
            let params = writes::patch();
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            let patched = api(&scan, ctx).patch(&scan.name_any(), &params, &patch).await;
            return patched.map(Some).map_err(Error::kubernetes("annotate the scan"));
        }
        Effect::ReadConnector(id) => {
            pass.facts.connector = Some(ask(seen, ctx, async |caller| caller.read(&id).await).await);
        }
        Effect::Claim(claim) => {
            let opened = match &seen.key {
                Some(key) => claims::open(*claim, None, key, ctx).await?,
                None => Err(Denied::Conflict),
            };
            match opened {
                Ok(opened) => {
                    ctx.metrics.claim("made");
                    pass.claimed = Some((opened.nonce, opened.since));
                    pass.workspace = Some(opened.workspace);
                }
                Err(denied) => pass.facts.denied = Some(denied),
            }
            // Somebody else may have had the claim, and put down an id, between our look and our write.
            return read_back(&scan, ctx).await;
        }
        Effect::CloseClaim(nonce) => {
            if let Some(key) = &seen.key {
                pass.workspace = claims::close(&nonce, key, ctx).await?;
            }
            pass.claimed = None;
        }
        Effect::Start(id) => {
            let request = &seen.observed.request;
            let started = ask(seen, ctx, async |caller| caller.start_scan(&id, request).await).await;
            match &started {
                Ok(started) => {
                    tracing::info!(object = %title(&scan), %id, scan = %started.scan_id, "scan started")
                }
                Err(fault) => {
                    tracing::warn!(object = %title(&scan), %id, error = fault.message, "scan not started")
                }
            }
            pass.facts.started = Some(started);
        }
        Effect::ReadScan(id) => {
            pass.facts.scan = Some(ask(seen, ctx, async |caller| caller.scan(&id).await).await);
        }
    }
    Ok(Some(scan))
}

/// Writes the status, guarded by the resourceVersion, and says so where `Ready` turned.
///
/// # Errors
/// [`Error::Conflict`] when somebody else wrote the object since it was read, and whatever else goes wrong.
pub(super) async fn write_status(mut scan: Scan, status: ScanStatus, ctx: &Context) -> Result<Scan, Error> {
    let old = scan.status.as_ref().and_then(|status| find(&status.conditions, READY)).cloned();
    let new = find(&status.conditions, READY).cloned();
    scan.status = Some(status);
    let params = writes::post();
    let written = api(&scan, ctx)
        .replace_status(&scan.name_any(), &params, &scan)
        .await
        .map_err(Error::kubernetes("write the scan's status"))?;
    if let Some(new) = new
        && old.is_none_or(|old| old.status != new.status || old.reason != new.reason)
    {
        tracing::info!(object = %title(&written), ready = new.status, reason = new.reason, "{}", new.message);
        ctx.say_ready(&written.object_ref(&()), &new).await;
    }
    Ok(written)
}

/// The object as the API server has it; none if it is gone, or another one has its name.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn read_back(scan: &Scan, ctx: &Context) -> Result<Option<Scan>, Error> {
    let found = api(scan, ctx).get_opt(&scan.name_any()).await.map_err(Error::kubernetes("read the scan"))?;
    Ok(found.filter(|found| found.metadata.uid == scan.metadata.uid))
}

/// Asks the API on behalf of the Scan. Where that shows that the credential is refused, the workspace says so, once.
async fn ask<T>(
    seen: &Seen,
    ctx: &Context,
    request: impl AsyncFnOnce(Caller<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Some(remote) = &seen.remote else { return Err(Fault::nobody_to_ask()) };
    let object = &seen.observed.object;
    let asker = Asker {
        namespace: object.namespace.clone(),
        object: object.uid.clone(),
        standing: Standing::Ordinary,
    };
    let answer = request(remote.for_object(asker)).await;
    if remote.circuits().turned()
        && let Some(key) = &seen.key
    {
        ctx.wake_workspace(key);
    }
    answer
}

fn api(scan: &Scan, ctx: &Context) -> Api<Scan> {
    Api::namespaced(ctx.client.clone(), &scan.namespace().unwrap_or_default())
}

fn title(scan: &Scan) -> String {
    format!("{}/{}", scan.namespace().unwrap_or_default(), scan.name_any())
}

impl Effect {
    /// How metrics call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Annotate(_) => "annotate",
            Self::ReadConnector(_) => "read_connector",
            Self::Claim(_) => "claim",
            Self::CloseClaim(_) => "close_claim",
            Self::Start(_) => "start",
            Self::ReadScan(_) => "read_scan",
        }
    }
}

//! Carries out one effect of a Scan's plan. Every write carries the resourceVersion that it was decided on.

use kube::api::{DeleteParams, Patch, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::observe::{Pass, Seen};
use super::plan::Effect;
use crate::controller::effects::{self, Subject};
use crate::controller::ledger::{Denied, Ending};
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
    let (name, reads) = (effect.name(), matches!(effect, Effect::ReadConnector(_) | Effect::ReadScan(_)));
    ctx.metrics.effect("Scan", name);
    let subject = Subject::new("Scan", &scan.metadata);
    let work = async {
        let kept = Box::pin(carry_out(scan, effect, seen, pass, ctx)).await?;
        Ok((kept, pass.said.take()))
    };
    subject.log(name, reads, work).await
}

async fn carry_out(
    scan: Scan,
    effect: Effect,
    seen: &Seen,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Option<Scan>, Error> {
    match effect {
        Effect::Record(status) => {
            let (written, turned) = put_status(scan, *status, ctx).await?;
            pass.said = turned;
            return Ok(Some(written));
        }
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
                // Not read back: the claims are those of before.
                Err(denied) => {
                    pass.facts.denied = Some(denied);
                    return Ok(Some(scan));
                }
            }
            pass.facts.bound = false;
        }
        Effect::Bind(nonce) => {
            let workspace = pass.workspace.as_ref().map(|kept| kept.workspace.id());
            let status = scan.status.clone().unwrap_or_default();
            let status = ScanStatus { claim: Some(nonce), workspace, ..status };
            match put_status(scan.clone(), status, ctx).await {
                Ok((bound, _)) => {
                    pass.facts.bound = true;
                    return Ok(Some(bound));
                }
                // Whatever somebody else wrote is heeded before anything is sent.
                Err(Error::Conflict { .. }) => return read_back(&scan, ctx).await,
                Err(error) => return Err(error),
            }
        }
        Effect::CloseClaim(nonce) => {
            let open = seen.observed.claim.as_ref().filter(|(claim, _)| claim.nonce == nonce);
            if let (Some(key), Some((claim, _))) = (&seen.key, open) {
                pass.workspace = claims::close(&nonce, claim.claimed_at, Ending::Settled, key, ctx).await?;
            }
            pass.claimed = None;
        }
        Effect::Start(id) => {
            let request = &seen.observed.request;
            let started = ask(seen, ctx, async |caller| caller.start_scan(&id, request).await).await;
            pass.said = Some(match &started {
                Ok(started) => format!("scan {} of {id} started", started.scan_id),
                Err(fault) => format!("no scan of {id} started: {}", fault.message),
            });
            pass.facts.started = Some(started);
        }
        Effect::Expire => {
            let only = Preconditions { uid: scan.uid(), resource_version: scan.resource_version() };
            let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            pass.said = Some("deleted, as spec.ttlSecondsAfterFinished says".to_owned());
            return match api(&scan, ctx).delete(&scan.name_any(), &params).await {
                Ok(_) => Ok(None),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(Error::kubernetes("delete the scan")(error)),
            };
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
pub(super) async fn write_status(scan: Scan, status: ScanStatus, ctx: &Context) -> Result<Scan, Error> {
    Subject::new("Scan", &scan.metadata).log("status", false, put_status(scan, status, ctx)).await
}

/// As [`write_status`], and gives how `Ready` turned.
async fn put_status(
    mut scan: Scan,
    status: ScanStatus,
    ctx: &Context,
) -> Result<(Scan, Option<String>), Error> {
    let old = scan.status.take().unwrap_or_default();
    let turned = effects::turned(&old.conditions, &status.conditions).cloned();
    scan.status = Some(status);
    let params = writes::post();
    let written = api(&scan, ctx)
        .replace_status(&scan.name_any(), &params, &scan)
        .await
        .map_err(Error::kubernetes("write the scan's status"))?;
    if let Some(ready) = &turned {
        ctx.say_ready(&written.object_ref(&()), ready).await;
    }
    Ok((written, turned.as_ref().map(effects::words)))
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

impl Effect {
    /// How metrics call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Annotate(_) => "annotate",
            Self::ReadConnector(_) => "read_connector",
            Self::Claim(_) => "claim",
            Self::Bind(_) => "bind",
            Self::CloseClaim(_) => "close_claim",
            Self::Start(_) => "start",
            Self::ReadScan(_) => "read_scan",
            Self::Expire => "expire",
        }
    }
}

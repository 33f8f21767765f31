//! Carries out one effect. Every write to Kubernetes carries the resourceVersion that it was decided on; every POST
//! stands under a claim; what comes back is put down as a fact, and nothing is decided here.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::Patch;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::observe::{Pass, Seen, asker};
use super::observed::Observed;
use super::plan::{Effect, Note};
use super::survey;
use crate::controller::effects::{self, Subject};
use crate::controller::ledger::{Denied, Ending};
use crate::controller::looks::Looker;
use crate::controller::{Context, Error, ObjectKey, Reason};
use crate::controller::{claims, writes};
use crate::crd::{CONNECTOR_ANNOTATION, Connector, ConnectorStatus, FINALIZER};
use crate::remote::{Caller, Fault, FaultKind};

/// Reasons that the workspace gives for all of its connectors.
const OF_THE_WORKSPACE: [Reason; 5] = [
    Reason::ApiUnavailable,
    Reason::Forbidden,
    Reason::RateLimited,
    Reason::Unauthorized,
    Reason::WorkspaceNotReady,
];

/// Carries out `effect` on the object as it was read back, and gives the object as it is then; none if it is gone.
///
/// # Errors
/// When this replica does not lead, or Kubernetes does not take a write. What the API says is a fact.
pub(super) async fn act(
    connector: Connector,
    effect: Effect,
    seen: &Seen,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Option<Connector>, Error> {
    if !ctx.leadership.leads() {
        return Err(Error::NotLeading);
    }
    let (name, reads) = (effect.name(), matches!(effect, Effect::List | Effect::Read(_)));
    ctx.metrics.effect("Connector", name);
    let subject = Subject::new("Connector", &connector.metadata);
    let work = async {
        // On the heap: all effects' futures in one are large.
        let kept = Box::pin(carry_out(connector, effect, seen, pass, ctx)).await?;
        Ok((kept, pass.said.take()))
    };
    subject.log(name, reads, work).await
}

async fn carry_out(
    connector: Connector,
    effect: Effect,
    seen: &Seen,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Option<Connector>, Error> {
    let about = connector.object_ref(&());
    let kept = match effect {
        Effect::Record { status, note } => record(connector, *status, &note, pass, ctx).await?,
        Effect::AddFinalizer => {
            let mut finalizers = connector.metadata.finalizers.clone().unwrap_or_default();
            finalizers.push(FINALIZER.to_owned());
            patch_meta(&connector, json!({ "finalizers": finalizers }), "add the finalizer", ctx).await?
        }
        Effect::DropFinalizer => {
            let left =
                connector.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect::<Vec<_>>();
            patch_meta(&connector, json!({ "finalizers": left }), "remove the finalizer", ctx).await?
        }
        Effect::Survey { id, name } => {
            pass.facts.survey = Some(survey::survey(&connector, &id, &name, ctx).await?);
            connector
        }
        Effect::Annotate { value } => {
            patch_meta(&connector, json!({ "annotations": { CONNECTOR_ANNOTATION: value } }), "annotate", ctx)
                .await?
        }
        Effect::List => {
            let list = async || ask(seen, ctx, async |caller| caller.list().await).await;
            pass.facts.listing = match &seen.remote {
                Some(remote) if looks_before_a_create(&seen.observed) => {
                    let (credential, key) = (remote.credential(), ObjectKey::of(&connector.metadata));
                    let uid = seen.observed.object.uid.as_str();
                    pass.shares = Some(credential.to_owned());
                    let wake = |key: &ObjectKey| ctx.caches.connectors.wake(key);
                    // On the heap: a list's pages would make every reconcile large.
                    Box::pin(ctx.looks.look(Looker { credential, uid, key }, list, wake)).await
                }
                _ => Some(Box::pin(list()).await),
            };
            connector
        }
        Effect::Claim(claim) => {
            if pass.reserved.is_none() {
                match ask(seen, ctx, async |caller| caller.reserve_create().await).await {
                    Ok(reserved) => pass.reserved = Some(reserved),
                    Err(fault) => {
                        pass.facts.denied = Some(Denied::NoRequest(fault));
                        return Ok(Some(connector));
                    }
                }
            }
            let created = connector.metadata.creation_timestamp.as_ref().map(|time| time.0);
            pass.facts.bound = false;
            match claims::open(*claim, created, &seen.key, ctx).await? {
                Ok(opened) => {
                    ctx.metrics.claim("made");
                    pass.claimed = Some((opened.nonce, opened.since));
                    pass.workspace = Some(opened.workspace);
                }
                // Not read back: the claims are those of before, and an object that is newer than they are would seem to
                // have none where somebody else's create is under way.
                Err(denied) => {
                    pass.facts.denied = Some(denied);
                    return Ok(Some(connector));
                }
            }
            connector
        }
        Effect::Bind { nonce } => {
            let status = connector.status.clone().unwrap_or_default();
            let status = ConnectorStatus { claim: Some(nonce), ..status };
            match put_status(connector.clone(), status, ctx).await {
                Ok((bound, _)) => {
                    pass.facts.bound = true;
                    bound
                }
                // Whatever somebody else wrote is heeded before anything is sent.
                Err(Error::Conflict { .. }) => return read_back(&connector, ctx).await,
                Err(error) => return Err(error),
            }
        }
        Effect::CloseClaim { nonce, why } => {
            close(&nonce, Ending::Settled, seen, pass, ctx).await?;
            pass.said = Some(format!("claim closed: {why}"));
            connector
        }
        Effect::GiveUpClaim { nonce } => {
            close(&nonce, Ending::Lost, seen, pass, ctx).await?;
            pass.said = Some("claim closed: no trace of the create was found".to_owned());
            connector
        }
        Effect::Create => {
            let reserved = pass.reserved.take();
            let created = match &seen.observed.request {
                Ok(request) => {
                    ask(seen, ctx, async |caller| caller.create(reserved, &request.create).await).await
                }
                Err(_) => Err(Fault::nobody_to_ask()),
            };
            if let Err(fault) = &created {
                pass.said = Some(format!("create failed: {}", fault.message));
            }
            pass.facts.created = Some(created);
            connector
        }
        Effect::Test(id) => {
            let made_with = seen.observed.request.as_ref().ok().map(|request| &request.create.config);
            let tested = ask(seen, ctx, async |caller| caller.test(&id, made_with).await).await;
            pass.said = Some(match &tested {
                Ok(test) => format!("{id} tested: connected={}", test.connected),
                Err(fault) => format!("{id} not tested: {}", fault.message),
            });
            pass.facts.tested = Some(tested);
            connector
        }
        Effect::Read(id) => {
            pass.facts.read = Some(ask(seen, ctx, async |caller| caller.read(&id).await).await);
            connector
        }
        Effect::Delete(id) => {
            let deleted = ask(seen, ctx, async |caller| caller.delete(&id).await).await;
            pass.said = Some(match &deleted {
                Ok(()) => format!("{id} deleted at the API"),
                Err(fault) => format!("{id} not deleted: {}", fault.message),
            });
            pass.facts.deleted = Some(deleted);
            connector
        }
        Effect::ConfirmGone(id) => {
            let read = ask(seen, ctx, async |caller| caller.read(&id).await).await;
            pass.facts.gone = Some(match read {
                Ok(_) => Ok(false),
                Err(fault) if fault.kind == FaultKind::NotFound => {
                    if let Some(remote) = &seen.remote {
                        remote.forget(&id);
                    }
                    ctx.owned.lock().remove(id.as_str());
                    Ok(true)
                }
                Err(fault) => Err(fault),
            });
            connector
        }
        Effect::Release { note } => {
            let left =
                connector.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect::<Vec<_>>();
            let patched =
                patch_meta(&connector, json!({ "finalizers": left }), "remove the finalizer", ctx).await;
            // What is let go is nobody's here any more.
            for id in connector.status.iter().flat_map(ConnectorStatus::ids) {
                ctx.owned.lock().remove(id);
            }
            pass.said = say(&about, &note, ctx).await;
            return patched.map(|_| None);
        }
    };
    Ok(Some(kept))
}

/// Closes the claim that was seen open, if it has that nonce.
async fn close(
    nonce: &str,
    ending: Ending,
    seen: &Seen,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<(), Error> {
    let open = seen.observed.claim.as_ref().filter(|open| open.claim.nonce == nonce);
    if let Some(open) = open {
        pass.workspace = claims::close(nonce, open.claim.claimed_at, ending, &seen.key, ctx).await?;
    }
    pass.claimed = None;
    Ok(())
}

/// Puts a status down, says what it records, and forgets what does not hold under it.
async fn record(
    connector: Connector,
    status: ConnectorStatus,
    note: &Note,
    pass: &mut Pass,
    ctx: &Context,
) -> Result<Connector, Error> {
    let before = connector.status.clone().unwrap_or_default();
    for id in status.ids() {
        ctx.owned.lock().insert(id.to_owned(), connector.uid().unwrap_or_default());
    }
    let (connector, turned) = put_status(connector, status, ctx).await?;
    pass.said = say(&connector.object_ref(&()), note, ctx).await.or(turned);
    if matches!(note, Note::Recovered(_)) {
        ctx.metrics.claim("recovered");
    }
    let after = connector.status.clone().unwrap_or_default();
    pass.facts.after_record(&before, &after);
    if after.replacement.is_some() {
        // What follows stands under a claim, which somebody else may have closed meanwhile.
        pass.workspace = None;
    }
    for gone in before.ids().filter(|id| after.ids().all(|kept| kept != *id)) {
        ctx.owned.lock().remove(gone);
    }
    Ok(connector)
}

/// Writes the status, guarded by the resourceVersion, and says so where `Ready` turned.
///
/// # Errors
/// [`Error::Conflict`] when somebody else wrote the object since it was read, and whatever else goes wrong.
pub(super) async fn write_status(
    connector: Connector,
    status: ConnectorStatus,
    ctx: &Context,
) -> Result<Connector, Error> {
    Subject::new("Connector", &connector.metadata)
        .log("status", false, put_status(connector, status, ctx))
        .await
}

/// As [`write_status`], and gives how `Ready` turned.
async fn put_status(
    mut connector: Connector,
    status: ConnectorStatus,
    ctx: &Context,
) -> Result<(Connector, Option<String>), Error> {
    let old = connector.status.take().unwrap_or_default();
    let turned = effects::turned(&old.conditions, &status.conditions).cloned();
    connector.status = Some(status);
    let params = writes::post();
    let written = api(&connector, ctx)
        .replace_status(&connector.name_any(), &params, &connector)
        .await
        .map_err(Error::kubernetes("write the connector's status"))?;
    // What is the workspace's matter is said there, once, and not by a thousand connectors.
    if let Some(ready) = &turned
        && !OF_THE_WORKSPACE.iter().any(|reason| reason.as_str() == ready.reason)
    {
        ctx.say_ready(&written.object_ref(&()), ready).await;
    }
    Ok((written, turned.as_ref().map(effects::words)))
}

/// The object as the API server has it; none if it is gone, or another one has its name.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn read_back(connector: &Connector, ctx: &Context) -> Result<Option<Connector>, Error> {
    let found = api(connector, ctx)
        .get_opt(&connector.name_any())
        .await
        .map_err(Error::kubernetes("read the connector"))?;
    Ok(found.filter(|found| found.metadata.uid == connector.metadata.uid))
}

/// Whether a list is read only to see that nothing stands in the way of a create: one that was begun for another create serves,
/// too.
pub(super) fn looks_before_a_create(o: &Observed) -> bool {
    o.claim.is_none() && o.status.connector_id.is_none() && o.status.replacement.is_none()
}

/// Asks the API on behalf of the object. Where that shows that the credential is refused, the workspace says so, once.
async fn ask<T>(
    seen: &Seen,
    ctx: &Context,
    request: impl AsyncFnOnce(Caller<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Some(remote) = &seen.remote else { return Err(Fault::nobody_to_ask()) };
    let answer = request(remote.for_object(asker(&seen.observed))).await;
    if remote.circuits().turned() {
        ctx.wake_workspace(&seen.key);
    }
    answer
}

fn api(connector: &Connector, ctx: &Context) -> Api<Connector> {
    Api::namespaced(ctx.client.clone(), &connector.namespace().unwrap_or_default())
}

/// A merge patch of the metadata, guarded by the resourceVersion.
async fn patch_meta(
    connector: &Connector,
    mut metadata: serde_json::Value,
    what: &'static str,
    ctx: &Context,
) -> Result<Connector, Error> {
    metadata["resourceVersion"] = json!(connector.metadata.resource_version);
    let params = writes::patch();
    api(connector, ctx)
        .patch(&connector.name_any(), &params, &Patch::Merge(json!({ "metadata": metadata })))
        .await
        .map_err(Error::kubernetes(what))
}

/// Says what is worth an event, and gives it. Of events that are alike but for their text only the first one's is kept, so that
/// each names the connector at the API that it is about.
async fn say(about: &ObjectReference, note: &Note, ctx: &Context) -> Option<String> {
    if matches!(note, Note::Seen) {
        return None;
    }
    let (reason, text) = note.words();
    let warning = matches!(
        note,
        Note::LostAtTheApi(_)
            | Note::CopyIgnored(_)
            | Note::GivenUp(_)
            | Note::RolledBack { failed: true, .. }
    );
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.as_str().to_owned(),
        note: Some(text.clone()),
        action: note.action().to_owned(),
        secondary: note.id().map(|id| ObjectReference {
            kind: Some("RemoteConnector".to_owned()),
            name: Some(id.to_owned()),
            ..ObjectReference::default()
        }),
    };
    ctx.publish(&event, about).await;
    Some(text)
}

impl Note {
    /// What is done, in a word.
    fn action(&self) -> &'static str {
        match self {
            Self::Seen => "Look",
            Self::Created(_) | Self::SuccessorKnown(_) => "Create",
            Self::Recovered(_) => "Recover",
            Self::Adopted(_) => "Adopt",
            Self::Restored(_) => "Restore",
            Self::CopyIgnored(_) => "Ignore",
            Self::OnlyObserved(_) => "Observe",
            Self::ReplacementBegun(_) | Self::CreateFirstBegun(_) => "Replace",
            Self::OldOneGone(_) | Self::Deleted(_) => "Delete",
            Self::Switched { .. } => "Switch",
            Self::RolledBack { .. } => "RollBack",
            Self::LostAtTheApi(_) => "Forget",
            Self::Retained(_) | Self::GivenUp(_) | Self::Abandoned(_) | Self::NothingThere => "LetGo",
        }
    }

    /// The connector at the API that it is about.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Created(id)
            | Self::Recovered(id)
            | Self::Adopted(id)
            | Self::Restored(id)
            | Self::OnlyObserved(id)
            | Self::ReplacementBegun(id)
            | Self::OldOneGone(id)
            | Self::CreateFirstBegun(id)
            | Self::SuccessorKnown(id)
            | Self::Switched { new: id, .. }
            | Self::LostAtTheApi(id)
            | Self::Deleted(id)
            | Self::GivenUp(id) => Some(id),
            Self::RolledBack { id, .. } => id.as_deref(),
            Self::Seen
            | Self::CopyIgnored(_)
            | Self::Retained(_)
            | Self::Abandoned(_)
            | Self::NothingThere => None,
        }
    }

    fn words(&self) -> (Reason, String) {
        match self {
            Self::Seen => (Reason::Creating, "seen".to_owned()),
            Self::Created(id) => (Reason::Creating, format!("created {id} at the API")),
            Self::Recovered(id) => (Reason::Creating, format!("found {id}, whose create's answer was lost")),
            Self::Adopted(id) => (Reason::Adopting, format!("adopted {id}, which was at the API already")),
            Self::Restored(id) => {
                (Reason::Adopting, format!("took {id} again, as the backup of this object says"))
            }
            Self::CopyIgnored(object) => (
                Reason::CopyIgnored,
                format!("the annotation {CONNECTOR_ANNOTATION} is that of {object}, and is ignored"),
            ),
            Self::OnlyObserved(id) => (
                Reason::Adopting,
                format!("let go of {id}, which stays at the API and is only read from now on"),
            ),
            Self::ReplacementBegun(id) => {
                (Reason::Replacing, format!("{id} is being replaced: it is deleted, then made anew"))
            }
            Self::OldOneGone(id) => {
                (Reason::Replacing, format!("{id} is gone; its successor is being created"))
            }
            Self::CreateFirstBegun(id) => (
                Reason::Replacing,
                format!("{id} is being replaced: a new one is made and tested, then the old one is deleted"),
            ),
            Self::SuccessorKnown(id) => {
                (Reason::Replacing, format!("created {id} at the API; it is being tested"))
            }
            Self::Switched { old, new } => {
                (Reason::Replacing, format!("{new} connects and takes the place of {old}, which is deleted"))
            }
            Self::RolledBack { message, failed, .. } => {
                let reason = if *failed { Reason::ReplacementFailed } else { Reason::Replacing };
                (reason, message.clone())
            }
            Self::LostAtTheApi(id) => (
                Reason::RemoteMissing,
                format!(
                    "{id} was deleted at the API by somebody else, and its scan history and findings with it"
                ),
            ),
            Self::Deleted(id) => (Reason::Deleting, format!("deleted {id} at the API")),
            Self::Retained(id) => (Reason::Deleting, format!("let go of {id}, which stays at the API")),
            Self::GivenUp(id) => (
                Reason::IdentityChanged,
                format!(
                    "let go of {id}, which stays in the API workspace of the former key; it is made anew with today's key"
                ),
            ),
            Self::Abandoned(Some(id)) => {
                (Reason::Deleting, format!("let go of {id} without asking the API, where it may still be"))
            }
            Self::Abandoned(None) => (Reason::Deleting, "let go without asking the API".to_owned()),
            Self::NothingThere => (Reason::Deleting, "there was nothing at the API to delete".to_owned()),
        }
    }
}

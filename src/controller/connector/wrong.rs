//! Wrong variants of the pieces that decide and act: each is a mistake that operators are known to make. The simulation has
//! to catch every one of them; one that it does not catch shows a hole in the simulation.

use std::time::Duration;

use kube::ResourceExt;

use super::observe::{Pass, Seen};
use super::observed::Observed;
use super::plan::{self, Effect, Note, Plan};
use super::{Own, Pieces, act, reconcile_with};
use crate::controller::{Context, Error};
use crate::crd::{Connector, FINALIZER};
use crate::remote::FaultKind;

/// Which pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Variant {
    /// Our own.
    Right,
    /// The id is kept in memory and not written.
    IdOnlyInMemory,
    /// The POST is sent without a claim.
    NoClaim,
    /// The claim's nonce is not written into the object's status before the POST.
    Unbound,
    /// The finalizer is not written before the POST.
    FinalizerAfterPost,
    /// The finalizer goes when the DELETE was sent.
    ReleasedWhenDeleteSent,
    /// A DELETE that failed is taken for done.
    FailedDeleteIsDone,
    /// A POST whose answer was lost is sent again.
    PostRetried,
    /// A POST whose answer was lost is taken for one that had no effect.
    LostIsFailed,
}

/// A pass with the pieces of that variant.
pub(in crate::controller) async fn reconcile(
    variant: Variant,
    cached: &Connector,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    match variant {
        Variant::Right => reconcile_with(&Own, cached, ctx).await,
        wrong => reconcile_with(&Wrong(wrong), cached, ctx).await,
    }
}

struct Wrong(Variant);

impl Pieces for Wrong {
    fn plan(&self, observed: &Observed) -> Plan {
        let plan = plan::plan(observed);
        let effect = match (self.0, plan.effect) {
            (Variant::NoClaim, Some(Effect::Claim(_))) => Some(Effect::Create),
            (Variant::ReleasedWhenDeleteSent, Some(Effect::ConfirmGone(id))) if observed.object.deleting => {
                Some(Effect::Release { note: Note::Deleted(id.to_string()) })
            }
            (_, effect) => effect,
        };
        Plan { effect, ..plan }
    }

    async fn act(
        &self,
        mut connector: Connector,
        effect: Effect,
        seen: &Seen,
        pass: &mut Pass,
        ctx: &Context,
    ) -> Result<Option<Connector>, Error> {
        let known = connector.status.as_ref().is_some_and(|status| status.connector_id.is_some());
        match (self.0, &effect) {
            (Variant::IdOnlyInMemory, Effect::Record { status, .. })
                if !known && status.connector_id.is_some() =>
            {
                connector.status = Some(status.as_ref().clone());
                return Ok(Some(connector));
            }
            (Variant::Unbound, Effect::Bind { .. }) => {
                pass.facts.bound = true;
                return Ok(Some(connector));
            }
            (Variant::FinalizerAfterPost, Effect::AddFinalizer) if !known => {
                connector.finalizers_mut().push(FINALIZER.to_owned());
                return Ok(Some(connector));
            }
            _ => {}
        }
        let creates = effect == Effect::Create;
        let after = act::act(connector, effect.clone(), seen, pass, ctx).await?;
        let lost = matches!(&pass.facts.created, Some(Err(fault)) if fault.kind == FaultKind::OutcomeUnknown);
        match self.0 {
            Variant::PostRetried if creates && lost => {
                let Some(again) = after else { return Ok(None) };
                return act::act(again, effect, seen, pass, ctx).await;
            }
            Variant::LostIsFailed if creates && lost => {
                if let Some(Err(fault)) = &mut pass.facts.created {
                    fault.kind = FaultKind::NoAnswer;
                }
            }
            Variant::FailedDeleteIsDone if matches!(effect, Effect::Delete(_)) => {
                pass.facts.deleted = Some(Ok(()));
                pass.facts.gone = Some(Ok(true));
            }
            _ => {}
        }
        Ok(after)
    }
}

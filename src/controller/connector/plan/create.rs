//! Creating a connector: look, finalizer, claim, its nonce in the object's status, POST, id. In that order, and each step only
//! when the one before it is acknowledged.

use std::time::Duration;

use connectors_api::wire::{ConfigMatch, ConnectorId, readable_config_matches};

use super::super::desired::Desired;
use super::super::observed::{Observed, Request, WorkspaceView};
use super::outlook::Outlook;
use super::recover::{self, Recovery};
use super::{Effect, Note, Plan, adopt};
use crate::controller::Reason;
use crate::controller::conditions::{STALLED, find, whole_seconds};
use crate::controller::ledger::{Denied, LEASE};
use crate::crd::{Claim, ClaimKind, ConnectorStatus, Origin};
use crate::remote::{Fault, FaultKind, Item, Listing};

/// How often the list is read again for a connector that stands in the way.
const LOOK_AGAIN: Duration = Duration::from_mins(5);
/// The wait after somebody else wrote the workspace, or holds the name.
const SOON: Duration = Duration::from_secs(2);

pub(super) fn plan(o: &Observed, desired: &Desired) -> Plan {
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        // After a restart the workspace is looked at first: the turn that was told stands meanwhile.
        Err(blocked)
            if blocked.reason == Reason::WorkspaceNotReady && o.status.next_create_time.is_some() =>
        {
            return Plan { effect: None, status: o.status.clone(), requeue: None };
        }
        Err(blocked) => return Outlook::blocked(blocked).settle(o),
    };
    let request = match &o.request {
        Ok(request) => request,
        Err(blocked) => return Outlook::blocked(blocked).settle(o),
    };
    if let Some(created) = &o.facts.created {
        return match created {
            Ok(created) => record(o, request, workspace, &created.id, created.status.as_str()),
            Err(fault) => after_fault(o, request, fault),
        };
    }
    let begun = o.claim.is_some() || o.status.replacement.is_some();
    if let Some(closed) = workspace.closed.as_ref().filter(|_| !begun) {
        return Outlook::blocked(closed).settle(o);
    }
    if desired.suspend && o.claim.is_none() {
        return Outlook::resting(Reason::Suspended, "not created: spec.suspend is set").settle(o);
    }
    if let Some(plan) = still_stalled(o, request) {
        return plan;
    }
    // Looking makes sense when the turn has come.
    if let Some(free_at) = o.turn.filter(|turn| *turn > o.now && o.claim.is_none()) {
        return wait_for(o, &Denied::NoSlot { free_at });
    }
    // The old connector of a replacement may still stand in a list that was begun before it went.
    let old = o.status.replacement.as_ref().map(|replacement| replacement.old_id.as_str());
    if desired.adopt_matching
        && let Some(Ok(listing)) = &o.facts.listing
        && listing.alarm.is_none()
        && let [item] = there_already(o, listing, request, desired, old).as_slice()
    {
        return adopt::matching(o, workspace, item);
    }
    if let Some(plan) = look(o, request, desired, old) {
        return plan;
    }
    if !o.object.finalizer {
        return Plan::act(o, Effect::AddFinalizer, creating(workspace));
    }
    match (&o.claim, &o.facts.claimed, &o.facts.denied) {
        // Whoever has to find the connector again looks for what the claim says, so nothing else is sent under it.
        (Some(open), Some(_), _)
            if o.elsewhere.is_some() || !says_what_is_sent(&open.claim, request, workspace) =>
        {
            let nonce = open.claim.nonce.clone();
            let why = "the spec, the Secret or the workspace changed before anything was sent";
            Plan::act(o, Effect::CloseClaim { nonce, why }, creating(workspace))
        }
        (_, _, Some(denied)) => wait_for(o, denied),
        // The pass took so long that the lease is over; nothing was sent under it, so it is opened anew.
        (Some(open), Some((_, age)), None) if *age >= LEASE => {
            let renewed = Claim { claimed_at: o.now, ..open.claim.clone() };
            Plan::act(o, Effect::Claim(Box::new(renewed)), creating(workspace))
        }
        (Some(open), Some(_), None) if !o.facts.bound => {
            Plan::act(o, Effect::Bind { nonce: open.claim.nonce.clone() }, creating(workspace))
        }
        (Some(_), Some(_), None) => Plan::act(o, Effect::Create, creating(workspace)),
        (_, None, None) => {
            Plan::act(o, Effect::Claim(Box::new(claim(o, request, workspace))), creating(workspace))
        }
        // The claim was closed by somebody else in the middle of the pass: begin again.
        (None, Some(_), None) => creating(workspace).again_in(SOON).settle(o),
    }
}

/// Looks for a connector of the same name, provider and config that nobody here owns. None: there is none.
pub(super) fn look(o: &Observed, request: &Request, desired: &Desired, own: Option<&str>) -> Option<Plan> {
    let listing = match &o.facts.listing {
        None => {
            let outlook = Outlook::waiting(Reason::Creating, "looking whether it is at the API already");
            return Some(Plan::act(o, Effect::List, outlook));
        }
        Some(Err(fault)) => {
            return Some(Outlook::fault("cannot read the list of connectors", fault).settle(o));
        }
        Some(Ok(listing)) => listing,
    };
    if let Some(alarm) = listing.alarm {
        let message = format!(
            "the API lists {} connectors where there were {}: nothing is created on the strength of that; check the API",
            alarm.now, alarm.before
        );
        return Some(Outlook::waiting(Reason::ApiUnavailable, message).again_in(LOOK_AGAIN).settle(o));
    }
    let there = there_already(o, listing, request, desired, own);
    if there.is_empty() {
        return None;
    }
    let ids = there.iter().map(|item| item.id.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!(
        "the API has a connector named {:?} with the same provider and config already ({ids}), and none was created: set \
         spec.connectorId to adopt it{}, delete it there, or give this one another spec.displayName",
        request.create.name,
        if there.len() == 1 { " (or spec.adoptionPolicy to Matching)" } else { "" },
    );
    Some(Outlook::stalled(Reason::AlreadyExists, message).again_in(LOOK_AGAIN).settle(o))
}

/// The connectors of the same name, provider and config that nobody here owns, by id.
fn there_already<'a>(
    o: &Observed,
    listing: &'a Listing,
    request: &'a Request,
    desired: &Desired,
    own: Option<&str>,
) -> Vec<&'a Item> {
    let mut there = listing
        .named(&request.create.name)
        .filter(|item| own != Some(item.id.as_str()) && !o.taken.contains(item.id.as_str()))
        .filter(|item| {
            same(item, &request.create.name, desired.source.provider().as_str(), &request.readable)
        })
        .collect::<Vec<_>>();
    there.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    there
}

/// Whether an item has that name, provider and config, as far as they can be read.
pub(super) fn same(
    item: &Item,
    name: &str,
    provider: &str,
    readable: &serde_json::Map<String, serde_json::Value>,
) -> bool {
    *item.name == *name
        && item.provider.as_str() == provider
        && readable_config_matches(readable, &item.config()) == ConfigMatch::Matches
}

/// A claim for what is about to be sent.
pub(super) fn claim(o: &Observed, request: &Request, workspace: &WorkspaceView) -> Claim {
    let known_ids = match &o.facts.listing {
        Some(Ok(listing)) => listing.named(&request.create.name).map(|item| item.id.to_string()).collect(),
        _ => Vec::new(),
    };
    Claim {
        kind: ClaimKind::Connector,
        namespace: o.object.namespace.clone(),
        name: o.object.name.clone(),
        uid: o.object.uid.clone(),
        member: None,
        nonce: String::new(),
        claimed_at: o.now,
        identity: workspace.identity.clone(),
        subject: request.create.name.clone(),
        provider: Some(request.create.config.provider().as_str().to_owned()),
        config: config_text(request),
        known_ids,
    }
}

/// Whether whoever finds the claim open would look for what is about to be sent.
pub(super) fn says_what_is_sent(claim: &Claim, request: &Request, workspace: &WorkspaceView) -> bool {
    claim.subject == request.create.name
        && claim.provider.as_deref() == Some(request.create.config.provider().as_str())
        && claim.config == config_text(request)
        && claim.identity == workspace.identity
}

fn config_text(request: &Request) -> Option<String> {
    serde_json::to_string(&request.readable).ok()
}

fn creating(workspace: &WorkspaceView) -> Outlook {
    Outlook::waiting(Reason::Creating, format!("being created at the API of {}", workspace.title))
}

/// The id goes into the status before anything else happens.
fn record(o: &Observed, request: &Request, workspace: &WorkspaceView, id: &ConnectorId, state: &str) -> Plan {
    let status = ConnectorStatus {
        connector_id: Some(id.to_string()),
        origin: Some(Origin::Created),
        claim: o.claim.as_ref().map(|open| open.claim.nonce.clone()),
        // The key may be another one by now than the one that it was sent with.
        identity: Some(o.claim.as_ref().map_or(&workspace.identity, |open| &open.claim.identity).clone()),
        sent: Some(request.sent.clone()),
        provider: Some(request.create.config.provider().as_str().to_owned()),
        state: Some(state.to_owned()),
        ..without_connector(&o.status)
    };
    let outlook = Outlook::waiting(Reason::ConnectionTestPending, "created; the connection is being tested")
        .with(status);
    let Plan { status, .. } = outlook.settle(o);
    Plan {
        effect: Some(Effect::Record {
            status: Box::new(status.clone()),
            note: Note::Created(id.to_string()),
        }),
        status,
        requeue: None,
    }
}

/// A status without anything that belongs to one remote connector.
pub(super) fn without_connector(status: &ConnectorStatus) -> ConnectorStatus {
    ConnectorStatus {
        observed_generation: status.observed_generation,
        conditions: status.conditions.clone(),
        last_handled_reconcile_at: status.last_handled_reconcile_at.clone(),
        ..ConnectorStatus::default()
    }
}

fn after_fault(o: &Observed, request: &Request, fault: &Fault) -> Plan {
    if !fault.had_no_effect() {
        // The claim stays open: it is what the connector is found again by.
        let message = format!("{}; looking for it in the list", fault.message);
        return Outlook::waiting(Reason::CreateOutcomeUnknown, message).again_in(SOON).settle(o);
    }
    if let Some(open) = &o.claim {
        let nonce = open.claim.nonce.clone();
        let effect = Effect::CloseClaim { nonce, why: "the create had no effect" };
        return Plan::act(o, effect, Outlook::waiting(Reason::Creating, fault.message.clone()));
    }
    let refused = |reason, advice: &str| {
        let status = ConnectorStatus { sent: Some(request.sent.clone()), ..o.status.clone() };
        Outlook::stalled(reason, format!("{}; {advice}", fault.message)).with(status).settle(o)
    };
    match fault.kind {
        FaultKind::Conflict => refused(
            Reason::NameConflict,
            "give the connector another spec.displayName, or delete the one that has the name",
        ),
        FaultKind::Refused | FaultKind::NotFound => refused(Reason::RefusedByApi, "correct the spec"),
        _ => Outlook::fault("cannot create the connector", fault).settle(o),
    }
}

/// A refusal holds until the spec, the Secret or a request changes something.
fn still_stalled(o: &Observed, request: &Request) -> Option<Plan> {
    let stalled = find(&o.status.conditions, STALLED)?;
    let lasting =
        [Reason::NameConflict, Reason::RefusedByApi].iter().any(|reason| reason.as_str() == stalled.reason);
    let unchanged = stalled.observed_generation == Some(o.object.generation)
        && o.status.sent.as_ref() == Some(&request.sent)
        && o.object.request() == o.status.last_handled_reconcile_at;
    (lasting && unchanged).then(|| Plan { effect: None, status: o.status.clone(), requeue: None })
}

fn wait_for(o: &Observed, denied: &Denied) -> Plan {
    let outlook = match denied {
        Denied::SubjectClaimed { by } => Outlook::waiting(
            Reason::Creating,
            format!("waits for {by}, which is being created under the same name at the API"),
        )
        .again_in(SOON),
        Denied::AlreadyOpen | Denied::Conflict => {
            Outlook::waiting(Reason::Creating, "waits for its turn in the workspace").again_in(SOON)
        }
        Denied::TooManyOpen => {
            Outlook::waiting(Reason::Creating, "waits until other creates in the workspace have ended")
                .again_in(SOON * 5)
        }
        Denied::NoRequest(fault) => Outlook::fault("cannot create the connector yet", fault),
        Denied::NoSlot { free_at } => {
            let wait = Duration::try_from(free_at.duration_since(o.now)).unwrap_or(SOON).max(SOON);
            let at = whole_seconds(*free_at);
            // The time is written again only when it shifts by more than a minute.
            let told = o
                .status
                .next_create_time
                .filter(|old| (old.as_second() - at.as_second()).abs() <= 60)
                .unwrap_or(at);
            let message = format!(
                "the workspace's creates of this hour are used up (spec.rateLimits.createsPerHour); the next one is free at {told}"
            );
            let status = ConnectorStatus { next_create_time: Some(told), ..o.status.clone() };
            Outlook::waiting(Reason::WaitingForQuota, message).with(status).again_in(wait)
        }
    };
    outlook.settle(o)
}

/// A claim found open: a POST may have been sent under it, and its answer is lost.
pub(super) fn after_lost_answer(o: &Observed) -> Plan {
    if let Err(blocked) = &o.workspace {
        return Outlook::blocked(blocked).settle(o);
    }
    if let (Some(named), Ok(workspace)) = (&o.elsewhere, &o.workspace)
        && let Recovery::Found(_) | Recovery::Several(_) = recover::decide(o)
    {
        let message = format!(
            "a create was begun in {} and had an effect before spec.workspaceRef named {named}: name {0} again, or delete this \
             object",
            workspace.title
        );
        return Outlook::stalled(Reason::CreateOutcomeUnknown, message).again_in(LOOK_AGAIN).settle(o);
    }
    let observed = o.observing.as_ref().map(|watched| watched.id.as_str());
    let wanted = observed.or(o.desired.as_ref().ok().and_then(|desired| desired.connector_id.as_deref()));
    match recover::decide(o) {
        Recovery::Look => {
            let outlook = Outlook::waiting(
                Reason::CreateOutcomeUnknown,
                "the answer to a create was lost; looking for it",
            );
            Plan::act(o, Effect::List, outlook)
        }
        Recovery::Unread(fault) => {
            Outlook::fault("cannot look for a create whose answer was lost", &fault).settle(o)
        }
        Recovery::Wait(wait) => {
            let message = "the answer to a create was lost and the connector is not listed yet; it is created again when it \
                           cannot appear any more";
            Outlook::waiting(Reason::CreateOutcomeUnknown, message).again_in(wait).settle(o)
        }
        Recovery::OtherIdentity => {
            Outlook::waiting(Reason::IdentityChanged, recover::OTHER_IDENTITY).again_in(LOOK_AGAIN).settle(o)
        }
        Recovery::Found(id) => recover::record(o, &id),
        Recovery::Several(ids) => match ids.iter().find(|id| Some(id.as_str()) == wanted) {
            Some(id) => recover::record(o, id),
            None => {
                let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let pick = if o.status.connector_id.is_none() {
                    "set spec.connectorId to the right one, or "
                } else {
                    ""
                };
                let message = format!(
                    "the answer to a create was lost, and several connectors could be it ({list}): {pick}delete the others at \
                     the API"
                );
                Outlook::stalled(Reason::CreateOutcomeAmbiguous, message).again_in(LOOK_AGAIN).settle(o)
            }
        },
        Recovery::Nothing(nonce) => {
            let outlook = Outlook::waiting(
                Reason::Creating,
                "the create whose answer was lost had no effect; creating again",
            );
            Plan::act(o, Effect::GiveUpClaim { nonce }, outlook)
        }
    }
}

//! Finding out what became of a create whose answer was lost, from the claim alone: the spec may be another one by now.

use std::collections::BTreeSet;
use std::time::Duration;

use connectors_api::wire::ConnectorId;
use serde_json::{Map, Value};

use super::super::observed::Observed;
use super::create::{same, without_connector};
use super::outlook::Outlook;
use super::{Effect, Note, Plan, create_first};
use crate::controller::Reason;
use crate::controller::ledger::{CLOCK_DIFFERENCE, SETTLED_AFTER};
use crate::crd::{Claim, ConnectorStatus, Origin};
use crate::remote::{Fault, Listing};

/// The wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Why a create whose answer was lost cannot be resolved with today's key.
pub(super) const OTHER_IDENTITY: &str = "the answer to a create was lost, the workspace's key or endpoint is another one now, and its list does not show the \
     connector: put the old key back, or acknowledge the new one as the workspace's condition says";

/// What is known of a create under an open claim.
pub(super) enum Recovery {
    /// The list has to be read.
    Look,
    /// The list could not be read.
    Unread(Fault),
    /// Nothing is listed, and it may still appear.
    Wait(Duration),
    /// Nothing is listed, and the claim was made under another identity: this may be another workspace's list.
    OtherIdentity,
    /// This is it.
    Found(ConnectorId),
    /// Any of these could be it.
    Several(Vec<ConnectorId>),
    /// Nothing is listed, and nothing can appear any more.
    Nothing(String),
}

/// Whether a claim is open that this pass did not open: a POST may have been sent under it, and its answer is lost.
pub(super) fn is_due(o: &Observed) -> bool {
    let mine = o.facts.claimed.as_ref().map(|(nonce, _)| nonce);
    o.claim.as_ref().is_some_and(|open| mine != Some(&open.claim.nonce))
}

/// How long a claim has to stay open that neither this pass opened nor led to the connector that is known: another replica
/// may be about to send under it. None: there is none such.
pub(super) fn unsettled(o: &Observed) -> Option<Duration> {
    let open = o.claim.as_ref().filter(|_| is_due(o) && o.status.connector_id.is_some())?;
    let led_here = o.status.claim.as_ref() == Some(&open.claim.nonce);
    let left = SETTLED_AFTER.saturating_sub(open.known_for);
    Some(left).filter(|left| !led_here && !left.is_zero())
}

/// What a list shows that a claim's create can have made, leaving out what belongs to others.
pub(in crate::controller) fn candidates(
    claim: &Claim,
    listing: &Listing,
    taken: &BTreeSet<String>,
) -> Vec<ConnectorId> {
    let config = config_of(claim);
    let provider = claim.provider.as_deref().unwrap_or_default();
    // The API's times have whole seconds, and its clock may be off.
    let not_before =
        claim.claimed_at.as_second() - 1 - i64::try_from(CLOCK_DIFFERENCE.as_secs()).unwrap_or(0);
    let mut found = listing
        .named(&claim.subject)
        .filter(|item| same(item, &claim.subject, provider, &config))
        .filter(|item| item.created_at.is_none_or(|created| created.as_second() >= not_before))
        .filter(|item| !claim.known_ids.iter().any(|known| known == item.id.as_str()))
        .filter(|item| !taken.contains(item.id.as_str()))
        .map(|item| item.id.clone())
        .collect::<Vec<_>>();
    found.sort();
    found
}

/// What the open claim and this pass's list say. Without an open claim there is nothing to look for.
pub(super) fn decide(o: &Observed) -> Recovery {
    let Some(open) = &o.claim else { return Recovery::Look };
    let listing = match &o.facts.listing {
        None => return Recovery::Look,
        Some(Err(fault)) => return Recovery::Unread(fault.clone()),
        Some(Ok(listing)) => listing,
    };
    let mut found = candidates(&open.claim, listing, &o.taken);
    found.retain(|id| o.status.ids().all(|own| own != id.as_str()));
    match found.as_slice() {
        [one] => Recovery::Found(one.clone()),
        [] if listing.alarm.is_some() => Recovery::Wait(LOOK_AGAIN),
        [] if o.workspace.as_ref().is_ok_and(|it| !it.knows(&open.claim.identity)) => Recovery::OtherIdentity,
        // What counts is how long the claim was known when the list was begun, not when it was read to its end.
        [] => match SETTLED_AFTER
            .checked_sub(open.known_for.saturating_sub(o.clock.saturating_duration_since(listing.begun)))
        {
            Some(left) if !left.is_zero() => Recovery::Wait(left.clamp(Duration::from_secs(1), LOOK_AGAIN)),
            _ => Recovery::Nothing(open.claim.nonce.clone()),
        },
        _ => Recovery::Several(found),
    }
}

/// Takes the connector that was found. What it was given is not known by its hash any more: that is taken again.
pub(super) fn record(o: &Observed, id: &ConnectorId) -> Plan {
    if create_first::under_way(&o.status).is_some() {
        return create_first::known(o, id);
    }
    let claim = o.claim.as_ref().map(|open| &open.claim);
    let status = ConnectorStatus {
        connector_id: Some(id.to_string()),
        origin: Some(Origin::Created),
        claim: claim.map(|claim| claim.nonce.clone()),
        identity: claim.map(|claim| claim.identity.clone()),
        provider: claim.and_then(|claim| claim.provider.clone()),
        ..without_connector(&o.status)
    };
    let outlook =
        Outlook::waiting(Reason::ConnectionTestPending, "found the connector whose create's answer was lost");
    let Plan { status, .. } = outlook.with(status).settle(o);
    Plan {
        effect: Some(Effect::Record {
            status: Box::new(status.clone()),
            note: Note::Recovered(id.to_string()),
        }),
        status,
        requeue: None,
    }
}

fn config_of(claim: &Claim) -> Map<String, Value> {
    claim.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

//! A connector that exists: keep its record, test it, compare it with the spec, and say how it is.

use std::time::Duration;

use connectors_api::wire::{ConfigMatch, ConnectorId, ConnectorState, Provider, readable_config_matches};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::super::backup::BackupRecord;
use super::super::desired::Desired;
use super::super::observed::{Observed, WorkspaceView};
use super::create::without_connector;
use super::outlook::Outlook;
use super::refresh::{ran_and_failed, refreshed, shows_a_change};
use super::replace::Difference;
use super::{Effect, Note, Plan, create_first, recover, replace};
use crate::controller::conditions::{CONNECTED, Truth, find, whole_seconds};
use crate::controller::ledger::SETTLED_AFTER;
use crate::controller::workspace::short;
use crate::controller::{Blocked, Reason};
use crate::crd::{
    ConnectionTest, ConnectorStatus, FailedReplacement, IDENTITY_ACKNOWLEDGED_ANNOTATION, Origin,
    ReplacePolicy,
};
use crate::remote::{Fault, FaultKind, Observation, Sight};

/// The wait after the first failed test; doubled with each further one.
const FIRST_RETEST: Duration = Duration::from_mins(1);
/// The longest wait between two failed tests.
const LAST_RETEST: Duration = Duration::from_hours(1);

pub(super) fn plan(o: &Observed, desired: &Desired, id: &ConnectorId) -> Plan {
    if o.status.replacement.is_some() {
        return replace::go_on(o, desired, id);
    }
    if let Some(plan) = bookkeeping(o, id) {
        return plan;
    }
    let workspace = match &o.workspace {
        Ok(workspace) => workspace,
        // After a restart the workspace is looked at first: what was known before holds for as long as any truth does.
        Err(blocked) if blocked.reason == Reason::WorkspaceNotReady && says_how_it_is(&o.status) => {
            return unread(o, Some(blocked));
        }
        Err(blocked) => return Outlook::blocked(blocked).settle(o),
    };
    if let Some(refused) = &workspace.refused {
        return Outlook::blocked(refused).settle(o);
    }
    if is_of_another_identity(o, workspace) {
        return identity_changed(o, workspace);
    }
    if let Some(plan) = gone(o, workspace, id) {
        return plan;
    }
    // Before the first test, which says nothing about the connector that the spec asks for.
    if let Sight::Seen(seen) = &o.sight
        && let Some(plan) = replace::begin(o, desired, id, seen)
    {
        return plan;
    }
    if let Some(plan) = fresh_look(o, id, workspace.trouble.as_ref()) {
        return plan;
    }
    if o.status.connection_test.is_none() && o.facts.tested.is_none() && !desired.suspend {
        return Plan::act(o, Effect::Test(id.clone()), being_tested());
    }
    let Sight::Seen(seen) = &o.sight else {
        // Nobody looked since the operator started; what was known before holds for as long as any truth does.
        return unread(o, workspace.trouble.as_ref());
    };
    // Nothing is to be replaced after all.
    if let Some(plan) = close_claim(o) {
        return plan;
    }
    let status = refreshed(o, desired, seen);
    if let Some(Err(fault)) = &o.facts.tested
        && fault.kind == FaultKind::NoPlace
        && status.connection_test.is_some()
    {
        // A test that waits for its turn takes nothing from what the last one said.
        let plan = say(o, desired, seen, status);
        return Plan { requeue: fault.retry_after.or(plan.requeue), ..plan };
    }
    if let Some(plan) = test(o, desired, id, &status) {
        return plan;
    }
    say(o, desired, seen, status)
}

fn being_tested() -> Outlook {
    Outlook::waiting(Reason::ConnectionTestPending, "the connection is being tested")
}

/// Closes the claim that led here, and keeps copy and finalizer in place.
fn bookkeeping(o: &Observed, id: &ConnectorId) -> Option<Plan> {
    if !o.object.finalizer {
        return Some(Plan::act(o, Effect::AddFinalizer, being_tested()));
    }
    // The seal is today's key's, so it waits until that key is known to show the connector.
    if let Ok(workspace) = &o.workspace
        && o.status.identity.as_ref() == Some(&workspace.identity)
    {
        let copy = BackupRecord::of(&o.object, &o.status, id, &workspace.sealer).text();
        if o.object.copy.as_ref() != Some(&copy) {
            return Some(Plan::act(o, Effect::Annotate { value: Some(copy) }, being_tested()));
        }
    }
    // What this pass opened for a replacement, and did not use yet, is still needed.
    let unused = !recover::is_due(o) && o.facts.created.is_none();
    if unused { None } else { close_claim(o) }
}

/// Closes the claim of an object whose connector is known: there is nothing that it could still be needed for.
pub(super) fn close_claim(o: &Observed) -> Option<Plan> {
    let nonce = o.claim.as_ref().filter(|_| recover::unsettled(o).is_none())?.claim.nonce.clone();
    Some(Plan::act(o, Effect::CloseClaim { nonce, why: "the connector is known" }, being_tested()))
}

/// Lets go of what was made with a key that a person gave up by an acknowledgement.
pub(super) fn given_up(o: &Observed, id: Option<&ConnectorId>) -> Option<Plan> {
    let workspace = o.workspace.as_ref().ok()?;
    if let Some(open) = o.claim.as_ref().filter(|open| workspace.gave_up(Some(&open.claim.identity))) {
        let why = "it was made with a key that was given up";
        let effect = Effect::CloseClaim { nonce: open.claim.nonce.clone(), why };
        return Some(Plan::act(o, effect, Outlook::waiting(Reason::IdentityChanged, why)));
    }
    let id = id.filter(|_| !o.object.deleting && workspace.gave_up(o.status.identity.as_ref()))?;
    let message = format!("{id} stays in the API workspace of the former key; it is made anew with today's");
    let outlook = Outlook::waiting(Reason::IdentityChanged, message);
    if o.object.copy.is_some() {
        // The record for a backup goes first: what it names would be taken again.
        return Some(Plan::act(o, Effect::Annotate { value: None }, outlook));
    }
    let outlook = outlook.with(without_connector(&o.status));
    let Plan { status, .. } = outlook.settle(o);
    let effect = Effect::Record { status: Box::new(status.clone()), note: Note::GivenUp(id.to_string()) };
    Some(Plan { effect: Some(effect), status, requeue: None })
}

/// Whether the connector was made with another key or endpoint than today's, and nothing shows that today's reaches the same
/// API workspace: one that shows the connector does, whatever it is called.
pub(super) fn is_of_another_identity(o: &Observed, workspace: &WorkspaceView) -> bool {
    let differs = match &o.status.identity {
        Some(identity) => !workspace.knows(identity),
        None => workspace.changed,
    };
    differs && !matches!(o.facts.read, Some(Ok(_))) && !matches!(o.sight, Sight::Seen(_))
}

/// Puts down that today's key showed the connector, before something is done that makes it disappear.
pub(super) fn known_by_todays_key(o: &Observed, workspace: &WorkspaceView) -> Option<Plan> {
    if o.status.identity.as_ref().is_none_or(|identity| *identity == workspace.identity) {
        return None;
    }
    let status = ConnectorStatus { identity: Some(workspace.identity.clone()), ..o.status.clone() };
    let effect = Effect::Record { status: Box::new(status.clone()), note: Note::Seen };
    Some(Plan { effect: Some(effect), status, requeue: None })
}

fn identity_changed(o: &Observed, workspace: &WorkspaceView) -> Plan {
    let message = format!(
        "the key or endpoint of {title} is another one now ({today}), and does not show the connector: put the old key back; or, if \
         another API workspace is meant, set the annotation {IDENTITY_ACKNOWLEDGED_ANNOTATION}: {today} on {title}",
        title = workspace.title,
        today = short(&workspace.identity)
    );
    Outlook::waiting(Reason::IdentityChanged, message).again_in(LAST_RETEST).settle(o)
}

/// A connector that a direct read and a complete list lack, under the identity that made it, and at a time at which what was
/// made would have to be shown.
fn gone(o: &Observed, workspace: &WorkspaceView, id: &ConnectorId) -> Option<Plan> {
    let Some(Err(Fault { kind: FaultKind::NotFound, .. })) = &o.facts.read else { return None };
    if workspace.changed || o.status.identity.as_ref().is_none_or(|identity| !workspace.knows(identity)) {
        return Some(identity_changed(o, workspace));
    }
    let not_yet = |message: String, wait| {
        Some(Outlook::waiting(Reason::RemoteMissing, message).again_in(wait).settle(o))
    };
    match &o.facts.listing {
        _ if o.sight == Sight::Missing => {}
        None => return Some(Plan::act(o, Effect::List, being_tested())),
        Some(Err(fault)) => {
            return Some(Outlook::fault("cannot read the list of connectors", fault).settle(o));
        }
        Some(Ok(listing)) if listing.alarm.is_some() => {
            return not_yet(
                format!("{id} is not shown, and the API's list is too short to be believed"),
                FIRST_RETEST,
            );
        }
        Some(Ok(listing)) if listing.shows(id) => {
            return not_yet(format!("the API lists {id} and does not let it be read"), FIRST_RETEST);
        }
        Some(Ok(_)) => {}
    }
    // `Connected` turned last when the connector was made, or later.
    let turned = find(&o.status.conditions, CONNECTED).map(|connected| connected.last_transition_time.0);
    // Of a time that is still to come by our clock, nothing is known to have passed.
    let known_for = turned.map(|turned| Duration::try_from(o.now.duration_since(turned)).unwrap_or_default());
    let left = known_for.map_or(Duration::ZERO, |known_for| SETTLED_AFTER.saturating_sub(known_for));
    if !left.is_zero() {
        return not_yet(format!("{id} was made only just, and is not shown by the API yet"), left);
    }
    if o.desired.as_ref().is_ok_and(|desired| desired.suspend) {
        let message = format!("{id} is not at the API any more; it is not made again: spec.suspend is set");
        return Some(Outlook::resting(Reason::RemoteMissing, message).settle(o));
    }
    let what_now = match o.desired.as_ref().map(|desired| desired.connector_id.is_some()) {
        Ok(true) => "spec.connectorId names it",
        _ => "it is made again",
    };
    let message = format!("{id} was deleted at the API, with its scan history and findings; {what_now}");
    let outlook = Outlook::waiting(Reason::RemoteMissing, message).with(without_connector(&o.status));
    let Plan { status, .. } = outlook.settle(o);
    Some(Plan {
        effect: Some(Effect::Record {
            status: Box::new(status.clone()),
            note: Note::LostAtTheApi(id.to_string()),
        }),
        status,
        requeue: None,
    })
}

/// Reads the connector when the list shows a change, or does not show it, or a test may have changed it.
fn fresh_look(o: &Observed, id: &ConnectorId, trouble: Option<&Blocked>) -> Option<Plan> {
    match &o.facts.read {
        Some(Ok(_)) => None,
        Some(Err(fault)) => Some(Outlook::fault("cannot read the connector", fault).settle(o)),
        None => {
            // A first test comes before the first read, which then shows what the test changed.
            let suspended = o.desired.as_ref().is_ok_and(|desired| desired.suspend);
            let test_is_next = o.status.connection_test.is_none() && o.facts.tested.is_none() && !suspended;
            let wanted = match &o.sight {
                Sight::Missing => true,
                Sight::Seen(seen) => shows_a_change(&o.status, seen) || o.facts.tested.is_some(),
                Sight::Unread => {
                    o.facts.tested.is_some()
                        || (trouble.is_none() && (o.uptime > o.freshness || !says_how_it_is(&o.status)))
                }
            };
            (wanted && !test_is_next).then(|| Plan::act(o, Effect::Read(id.clone()), being_tested()))
        }
    }
}

pub(super) fn says_how_it_is(status: &ConnectorStatus) -> bool {
    status.connection_test.is_some()
}

fn unread(o: &Observed, trouble: Option<&Blocked>) -> Plan {
    if says_how_it_is(&o.status) && o.uptime <= o.freshness {
        return Plan {
            effect: None,
            status: o.status.clone(),
            requeue: Some(o.freshness - o.uptime + Duration::from_secs(1)),
        };
    }
    not_read_recently(o, trouble)
}

pub(super) fn not_read_recently(o: &Observed, trouble: Option<&Blocked>) -> Plan {
    let cause = trouble.map_or("the API's list was not read".to_owned(), |trouble| trouble.message.clone());
    let message =
        format!("nothing was heard of the connector for {}: {cause}", crate::duration::format(o.freshness));
    Outlook::unknown(Reason::NotReadRecently, message).again_in(o.freshness).settle(o)
}

/// The connection test, where one is due.
fn test(o: &Observed, desired: &Desired, id: &ConnectorId, status: &ConnectorStatus) -> Option<Plan> {
    if let Some(Err(fault)) = &o.facts.tested
        && !ran_and_failed(fault)
    {
        let outlook = Outlook::fault("cannot run the connection test", fault).with(status.clone());
        return Some(outlook.settle(o));
    }
    if o.facts.tested.is_some() || desired.suspend {
        return None;
    }
    let due = match &status.connection_test {
        None => true,
        Some(_)
            if o.object.requested_at.is_some()
                && o.object.request() != o.status.last_handled_reconcile_at =>
        {
            true
        }
        Some(test) if test.sent != status.sent => true,
        Some(test) => next_test(desired, test).is_some_and(|next| next <= o.now),
    };
    due.then(|| Plan::act(o, Effect::Test(id.clone()), being_tested().with(status.clone())))
}

/// When the next test is due by itself.
fn next_test(desired: &Desired, test: &ConnectionTest) -> Option<Timestamp> {
    if !test.connected {
        return next_retest(test);
    }
    let interval = Duration::from_secs(u64::try_from(desired.test_interval_seconds?).ok()?);
    test.time.checked_add(SignedDuration::try_from(interval).ok()?).ok()
}

/// When a failed test is repeated.
pub(super) fn next_retest(test: &ConnectionTest) -> Option<Timestamp> {
    let doublings = test.failures.saturating_sub(1).min(10);
    let wait = (FIRST_RETEST * 2_u32.saturating_pow(doublings)).min(LAST_RETEST);
    test.time.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}

/// The verdict on a connector of which everything is known.
fn say(o: &Observed, desired: &Desired, seen: &Observation, status: ConnectorStatus) -> Plan {
    let age = o.clock.saturating_duration_since(seen.read_at);
    if age > o.freshness {
        let trouble = o.workspace.as_ref().ok().and_then(|workspace| workspace.trouble.as_ref());
        return not_read_recently(o, trouble);
    }
    let next = status
        .connection_test
        .as_ref()
        .filter(|_| !desired.suspend)
        .and_then(|test| next_test(desired, test));
    let wait = next.map(|at| {
        Duration::try_from(at.duration_since(o.now)).unwrap_or_default().max(Duration::from_secs(1))
    });
    let outlook = match &status.connection_test {
        None => Outlook::resting(Reason::Suspended, "no connection test has run: spec.suspend is set"),
        Some(test) if !test.connected => {
            let why = test.message.as_deref().unwrap_or("the API does not say why");
            // The time of the next test moves with each failure only.
            let at = next
                .map_or_else(String::new, |at| format!("; the next test is due at {}", whole_seconds(at)));
            Outlook::waiting(Reason::ConnectionTestFailed, format!("the connection test failed: {why}{at}"))
        }
        Some(test) => match &seen.state {
            ConnectorState::Error => Outlook::waiting(
                Reason::RemoteError,
                "the API says that the connector is in error; look at the provider's credentials and permissions",
            ),
            ConnectorState::Disconnected => Outlook::waiting(
                Reason::RemoteDisconnected,
                "somebody disconnected the connector at the API; connect it again there",
            ),
            _ => Outlook::ready(format!(
                "connected: {} objects in {} seen at the last test",
                test.sample_objects.unwrap_or(0),
                count(test.buckets_accessible.len(), "bucket")
            )),
        },
    };
    let difference = replace::difference(o, desired, seen);
    let failed = o.request.as_ref().ok().and_then(|request| create_first::failed_before(o, request));
    // A failure is told for as long as it keeps something from being tried.
    let status = match (&difference, failed, &o.request) {
        (Some(_), Some(_), _) | (Some(_), _, Err(_)) => status,
        _ => ConnectorStatus { failed_replacement: None, ..status },
    };
    let outlook = compared(o, desired, outlook, difference, failed);
    let outlook = outlook.with(status);
    // While the API cannot be read, what was read before grows old: that is said when it is too old.
    let troubled = o.workspace.as_ref().is_ok_and(|workspace| workspace.trouble.is_some());
    let outlook = if troubled {
        outlook.again_in(o.freshness.saturating_sub(age) + Duration::from_secs(1))
    } else {
        outlook
    };
    match wait {
        Some(wait) => outlook.again_in(wait).settle(o),
        None => outlook.settle(o),
    }
}

/// The verdict, with what differs.
fn compared(
    o: &Observed,
    desired: &Desired,
    outlook: Outlook,
    difference: Option<Difference>,
    failed: Option<&FailedReplacement>,
) -> Outlook {
    const CONSENT: &str = "set spec.replacePolicy to Recreate or CreateFirst to have the connector made anew, which loses its \
                           scan history and findings";
    let differs_in = |keys: &str| format!("the connector at the API differs in {keys}");
    let (message, reason, why) = match difference {
        None => {
            return match &o.request {
                Ok(_) => outlook.synced(
                    Truth::True,
                    Reason::Synced,
                    "the connector at the API is as the spec says, as far as it can be read",
                ),
                Err(blocked) => outlook.synced(Truth::Unknown, blocked.reason, blocked.message.clone()),
            };
        }
        Some(Difference::Credentials(digest)) => {
            let message = format!(
                "a Secret changed after it was sent, and the API cannot be told: update it in the API's dashboard and set the \
                 annotation slim.io/credentials-acknowledged to {digest}, or {CONSENT}"
            );
            let message = match failed {
                Some(failed) => format!("{}; {message}", failed.message),
                None => message,
            };
            return outlook.synced(Truth::False, Reason::CredentialsOutdated, message);
        }
        Some(Difference::Spec(keys)) => {
            let why = format!(
                "the spec differs from the connector at the API in {keys}, and the API cannot change a connector: revert the \
                 spec, or {CONSENT}"
            );
            (differs_in(&keys), Reason::ReplacementRequired, why)
        }
        Some(Difference::Unshown(digest)) => {
            let message = "the connector at the API was given another spec, in what the API does not show";
            let why = format!(
                "{message}, and cannot be changed: revert the spec, {CONSENT}, or, where somebody changed it in the API's dashboard, \
                 set the annotation slim.io/credentials-acknowledged to {digest}"
            );
            (message.to_owned(), Reason::ReplacementRequired, why)
        }
        Some(Difference::Drift(keys)) => {
            let why = format!("{keys} was changed at the API: change it back there, or {CONSENT}");
            (differs_in(&keys), Reason::Drifted, why)
        }
        Some(Difference::Echo(keys)) => {
            let why = format!(
                "the API shows another {keys} than it was given: change it back there, or delete this object and make it anew, \
                 which loses its scan history and findings"
            );
            (differs_in(&keys), Reason::ReplacementRequired, why)
        }
    };
    let outlook = match (&o.request, failed) {
        (Err(blocked), _) => Outlook::blocked(blocked),
        (Ok(_), Some(failed)) => {
            return Outlook::stalled(Reason::ReplacementFailed, failed.message.clone()).synced(
                Truth::False,
                Reason::ReplacementFailed,
                message,
            );
        }
        (Ok(_), None) if desired.suspend && desired.replace != ReplacePolicy::Never => Outlook::resting(
            Reason::Suspended,
            format!("{message}, and is not replaced while spec.suspend is set"),
        ),
        (Ok(_), None) => Outlook::stalled(reason, why),
    };
    outlook.synced(Truth::False, reason, message)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The keys in which the connector at the API differs from the spec.
pub(super) fn differing(o: &Observed, desired: &Desired, seen: &Observation) -> Option<String> {
    differs(o, desired, &seen.name, &seen.provider, &seen.config)
}

/// The keys in which a connector of that name, provider and config differs from the spec.
pub(super) fn differs(
    o: &Observed,
    desired: &Desired,
    name: &str,
    provider: &Provider,
    config: &Map<String, Value>,
) -> Option<String> {
    let (same_name, readable) = match &o.request {
        Ok(request) => (name == request.create.name, request.readable.clone()),
        // Without the Secret nothing can be sent, but all that is not secret can be compared. The workspace may have a suffix.
        Err(_) => (name.starts_with(&desired.name), desired.readable_without_secret()),
    };
    // What we did not name keeps its name where the spec has none for it, and no suffix is asked of it.
    let named_by_others = o.status.origin != Some(Origin::Created);
    let same_name = same_name || named_by_others && (!desired.named || name == desired.name);
    let mut keys = Vec::new();
    if !same_name {
        keys.push("name".to_owned());
    }
    if *provider != desired.source.provider() {
        keys.push("provider".to_owned());
    } else if let ConfigMatch::Differs { keys: differing } = readable_config_matches(&readable, config) {
        keys.extend(differing);
    }
    (!keys.is_empty()).then(|| keys.join(", "))
}

//! What a workspace says of itself. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::identity::{Changed, Verdict, short};
use super::twins::Lookout;
use crate::controller::conditions::{
    self, DUPLICATED, IDENTITY_CHANGED, READY, RECONCILING, STALLED, Truth, Wanted,
};
use crate::controller::{Blocked, Reason};
use crate::crd::{IDENTITY_ACKNOWLEDGED_ANNOTATION, WorkspaceStatus};
use crate::remote::Alarm;

/// Longest value of the annotation that asks for a fresh look that is kept, in characters; the schema's limit.
const REQUEST_LIMIT: usize = 256;
/// Most names in one message.
const NAMED: usize = 5;

/// What was found out about a workspace.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// How messages name it.
    pub title: String,
    /// Its generation.
    pub generation: i64,
    /// Today's identity, where the key is known.
    pub today: Option<String>,
    /// What today's key shows.
    pub verdict: Option<Verdict>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The connectors that need it.
    pub needed_by: Vec<String>,
    /// Connectors that wait for the hourly limit.
    pub waiting: i64,
    /// Its status as it was read.
    pub status: WorkspaceStatus,
    /// The value of the annotation that asks for a fresh look.
    pub requested_at: Option<String>,
    /// Whether the API can be asked, and what it said to the list.
    pub outcome: Result<Listed, Blocked>,
    /// Nothing was asked, since the budget had no place for it: nothing is known that was not known before.
    pub no_place: bool,
    /// Nonces of claims whose owner is gone for good.
    pub orphans: Vec<String>,
    /// What a list that is believed says of creates that were given up for lost; none if there was no such list.
    pub lookout: Option<Lookout>,
    /// The wall clock.
    pub now: Timestamp,
}

/// An API that answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    /// Connectors in the list.
    pub connectors: usize,
    /// What the API refuses to the key all the same.
    pub refused: Option<Blocked>,
    /// The list was too short to be believed.
    pub alarm: Option<Alarm>,
    /// When the next list is due.
    pub next: Duration,
}

/// What follows.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The status to write where it differs.
    pub status: WorkspaceStatus,
    /// When to look again.
    pub requeue: Option<Duration>,
}

/// The next step for what was observed.
pub(super) fn plan(o: &Observed) -> Plan {
    let mut status = o.status.clone();
    let waits = waits_for_a_place(o);
    status.claims.retain(|claim| !o.orphans.contains(&claim.nonce));
    let say =
        |kind, truth, reason, message: &str| Wanted { kind, truth, reason, message: message.to_owned() };
    let (wanted, requeue) = match (&o.outcome, waits) {
        (Ok(Listed { connectors, refused, alarm, next }), _) => {
            let wanted = match (alarm, refused) {
                (None, Some(Blocked { reason, message, .. })) => vec![
                    say(READY, Truth::False, *reason, message),
                    say(RECONCILING, Truth::True, *reason, message),
                ],
                (None, None) => {
                    status.connectors = Some(i64::try_from(*connectors).unwrap_or(i64::MAX));
                    status.waiting = Some(o.waiting).filter(|waiting| *waiting > 0);
                    vec![say(READY, Truth::True, Reason::Ready, "the API answers and accepts the key")]
                }
                (Some(Alarm { before, now }), _) => {
                    let message = format!(
                        "the API lists {now} connectors where there were {before}; nothing is done on the strength of that, and \
                         missing ones are asked for by id: check the API, and whether the key belongs to another workspace now"
                    );
                    vec![
                        say(READY, Truth::False, Reason::ListTooShort, &message),
                        say(RECONCILING, Truth::True, Reason::ListTooShort, &message),
                    ]
                }
            };
            (wanted, Some(*next))
        }
        (Err(Blocked { retry, .. }), Some(ready)) => {
            (vec![say(READY, Truth::True, Reason::Ready, &ready.message)], *retry)
        }
        (Err(Blocked { reason, message, retry }), None) => {
            let other = if only_an_edit_helps(*reason) { STALLED } else { RECONCILING };
            (
                vec![say(READY, Truth::False, *reason, message), say(other, Truth::True, *reason, message)],
                *retry,
            )
        }
    };
    let mut wanted = verdict_and_end(o, &mut status, wanted);
    wanted.extend(duplicated(o));
    if let Some(lookout) = &o.lookout {
        status.lost_creates.retain(|claim| !lookout.forgotten.contains(&claim.nonce));
    }
    status.conditions = conditions::write(&o.status.conditions, wanted, o.generation, o.now);
    status.observed_generation = Some(o.generation);
    if o.requested_at.is_some() && waits.is_none() {
        // A longer value would make every status invalid.
        status.last_handled_reconcile_at =
            o.requested_at.as_ref().map(|text| text.chars().take(REQUEST_LIMIT).collect());
    }
    Plan { status, requeue }
}

/// `Ready` of a workspace that was ready when the API was asked last, where only a place in the budget is waited for. How old
/// that is by now is said of each connector.
fn waits_for_a_place(o: &Observed) -> Option<&Condition> {
    let unchanged = o.status.observed_generation == Some(o.generation)
        && o.verdict.as_ref().is_none_or(|verdict| verdict.changed.is_none());
    let ready = conditions::find(&o.status.conditions, READY)?;
    Some(ready).filter(|ready| o.no_place && unchanged && ready.status == "True")
}

/// The connectors that nobody asked for twice. What a list showed holds until the next one.
fn duplicated(o: &Observed) -> Option<Wanted> {
    let message = match &o.lookout {
        None => conditions::find(&o.status.conditions, DUPLICATED)?.message.clone(),
        Some(Lookout { twins, .. }) if twins.is_empty() => return None,
        Some(Lookout { twins, .. }) => format!(
            "the API carried out creates that had been given up for lost, and made {}: delete at the API what is not needed; it is \
             never deleted from here",
            named(twins, "connector")
        ),
    };
    Some(Wanted { kind: DUPLICATED, truth: Truth::True, reason: Reason::LateTwin, message })
}

/// What the identity and a deletion add.
fn verdict_and_end(o: &Observed, status: &mut WorkspaceStatus, mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    let not_ready = |reason, message: &str| {
        let say = |kind, truth| Wanted { kind, truth, reason, message: message.to_owned() };
        vec![say(READY, Truth::False), say(RECONCILING, Truth::True)]
    };
    if let (Some(verdict), Some(today)) = (&o.verdict, &o.today) {
        status.identity.clone_from(&verdict.identity);
        status.former_identities.clone_from(&verdict.former);
        status.retired_identities.clone_from(&verdict.retired);
        status.identity_acknowledged.clone_from(&verdict.acknowledged);
        if let Some(changed) = &verdict.changed {
            let message = identity_message(&o.title, today, changed);
            if o.outcome.is_ok() {
                wanted = not_ready(Reason::IdentityChanged, &message);
            }
            wanted.push(Wanted {
                kind: IDENTITY_CHANGED,
                truth: Truth::True,
                reason: Reason::IdentityChanged,
                message,
            });
        }
    }
    if o.deleting {
        let trouble = o.outcome.as_ref().err().map(|blocked| format!("; {}", blocked.message));
        let message = format!("{}{}", needed_message(o), trouble.unwrap_or_default());
        let others = wanted.into_iter().filter(|it| it.kind == IDENTITY_CHANGED);
        wanted = not_ready(Reason::Deleting, &message).into_iter().chain(others).collect();
    }
    wanted
}

fn needed_message(o: &Observed) -> String {
    let mut holders = Vec::new();
    if !o.needed_by.is_empty() {
        holders.push(named(&o.needed_by, "connector"));
    }
    let claims = &o.status.claims;
    if !claims.is_empty() {
        let owners = claims.iter().map(|claim| format!("{}/{}", claim.namespace, claim.name));
        holders.push(named(&owners.collect::<Vec<_>>(), "open claim"));
    }
    if !o.status.members.is_empty() {
        let members = o.status.members.iter().map(|member| member.key().to_string());
        holders.push(named(&members.collect::<Vec<_>>(), "workspace with the same key"));
    }
    if holders.is_empty() {
        return "is being deleted".to_owned();
    }
    format!("is being deleted, and stays until it is needed no more by {}", holders.join(" and "))
}

/// Some of the names, and how many there are.
fn named(names: &[String], what: &str) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {what}{} ({shown}{rest})", names.len(), if names.len() == 1 { "" } else { "s" })
}

/// What is said where today's key does not show what was made with a former one.
pub(super) fn identity_message(title: &str, today: &str, changed: &Changed) -> String {
    let mut missing = Vec::new();
    if !changed.ids.is_empty() {
        missing.push(named(&changed.ids, "connector"));
    }
    if changed.claims > 0 {
        missing.push(format!("what {} open claims may have made", changed.claims));
    }
    let what = format!("it does not show {}", missing.join(" and "));
    let today = short(today);
    format!(
        "the key or endpoint of {title} is another one now ({today}), and {what}: nothing is created or deleted. Put the old \
         key back; or, if another API workspace is meant, set the annotation {IDENTITY_ACKNOWLEDGED_ANNOTATION}: {today} on {title}"
    )
}

fn only_an_edit_helps(reason: Reason) -> bool {
    matches!(reason, Reason::InvalidSpec | Reason::EndpointNotPermitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::conditions::{find, is_true};

    fn observed(outcome: Result<Listed, Blocked>) -> Observed {
        Observed {
            title: "Workspace team/lab".to_owned(),
            today: Some("id".to_owned()),
            verdict: None,
            deleting: false,
            needed_by: Vec::new(),
            waiting: 0,
            generation: 3,
            status: WorkspaceStatus::default(),
            requested_at: None,
            outcome,
            no_place: false,
            orphans: Vec::new(),
            lookout: Some(Lookout::default()),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn listed(alarm: Option<Alarm>) -> Result<Listed, Blocked> {
        Ok(Listed { connectors: 7, refused: None, alarm, next: Duration::from_secs(60) })
    }

    #[test]
    fn a_workspace_that_answers_is_ready_and_at_rest() {
        let first = plan(&observed(listed(None)));
        assert!(is_true(&first.status.conditions, READY));
        assert_eq!((first.status.connectors, first.status.observed_generation), (Some(7), Some(3)));
        let again = plan(&Observed { status: first.status.clone(), ..observed(listed(None)) });
        assert_eq!(again.status, first.status, "nothing to write the second time");
    }

    #[test]
    fn a_list_that_is_suddenly_short_is_said_and_not_taken_over() {
        let before = plan(&observed(listed(None))).status;
        let alarm = Some(Alarm { before: 7, now: 0 });
        let after = plan(&Observed { status: before, ..observed(listed(alarm)) }).status;
        assert!(!is_true(&after.conditions, READY));
        assert_eq!(after.connectors, Some(7));
    }

    #[test]
    fn a_route_that_is_refused_is_said_until_it_is_not() {
        let refused = Blocked::new(Reason::Forbidden, "create");
        let Ok(answered) = listed(None) else { unreachable!() };
        let outcome = Ok(Listed { refused: Some(refused), ..answered });
        let status = plan(&observed(outcome)).status;
        assert_eq!(find(&status.conditions, READY).unwrap().reason, "Forbidden");
        let after = plan(&Observed { status, ..observed(listed(None)) }).status;
        assert!(is_true(&after.conditions, READY));
    }

    #[test]
    fn a_poll_that_finds_no_place_in_the_budget_says_nothing_new_of_a_workspace_that_is_ready() {
        let full =
            || Blocked { retry: Some(Duration::from_secs(40)), ..Blocked::new(Reason::RateLimited, "full") };
        let status = plan(&observed(listed(None))).status;
        let waiting = |status: &WorkspaceStatus| Observed {
            status: status.clone(),
            no_place: true,
            requested_at: Some("now".to_owned()),
            ..observed(Err(full()))
        };
        let after = plan(&waiting(&status));
        assert_eq!(
            (after.status, after.requeue),
            (status.clone(), Some(Duration::from_secs(40))),
            "nor is the request met"
        );
        let reason = |o: &Observed| find(&plan(o).status.conditions, READY).unwrap().reason.clone();
        assert_eq!(
            reason(&Observed { no_place: false, ..waiting(&status) }),
            "RateLimited",
            "the API said so"
        );
        assert_eq!(reason(&Observed { generation: 4, ..waiting(&status) }), "RateLimited", "another spec");
        let never = waiting(&WorkspaceStatus::default());
        assert_eq!(reason(&never), "RateLimited", "it was never ready");
        let deleting = Observed { deleting: true, ..waiting(&status) };
        assert_eq!(reason(&deleting), "Deleting");
    }

    #[test]
    fn a_late_twin_is_told_of_until_a_list_shows_that_it_is_gone_and_the_workspace_stays_ready() {
        let twins = vec!["conn-9 beside that of Connector team/lake, which has conn-3".to_owned()];
        let lookout = Some(Lookout { twins, forgotten: Vec::new() });
        let shown = plan(&Observed { lookout: lookout.clone(), ..observed(listed(None)) }).status;
        assert!(is_true(&shown.conditions, READY));
        let told = find(&shown.conditions, DUPLICATED).unwrap();
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "LateTwin"));
        assert!(told.message.contains(
            "made 1 connector (conn-9 beside that of Connector team/lake, which has conn-3): delete"
        ));
        let again = Observed { status: shown.clone(), lookout, ..observed(listed(None)) };
        assert_eq!(plan(&again).status, shown, "nothing to write the second time");
        let away = Err(Blocked::new(Reason::ApiUnavailable, "away"));
        let unread = plan(&Observed { status: shown.clone(), lookout: None, ..observed(away) }).status;
        assert!(is_true(&unread.conditions, DUPLICATED) && !is_true(&unread.conditions, READY));
        let gone = plan(&Observed { status: unread, ..observed(listed(None)) }).status;
        assert!(find(&gone.conditions, DUPLICATED).is_none());
    }

    #[test]
    fn of_lost_creates_only_those_go_of_which_nothing_is_expected_any_more() {
        let claim = |nonce: &str| -> crate::crd::Claim {
            serde_json::from_value(serde_json::json!({ "kind": "Connector", "namespace": "team", "name": "lake", "uid": "u",
                "nonce": nonce, "claimedAt": "2027-01-15T08:00:00Z", "identity": "i", "subject": "team.lake" }))
            .unwrap()
        };
        let status =
            WorkspaceStatus { lost_creates: vec![claim("a"), claim("b")], ..WorkspaceStatus::default() };
        let lookout = Some(Lookout { twins: Vec::new(), forgotten: vec!["a".to_owned()] });
        let after = plan(&Observed { status, lookout, ..observed(listed(None)) }).status;
        assert_eq!(after.lost_creates, [claim("b")]);
    }

    #[test]
    fn a_forbidden_endpoint_is_stalled_and_a_missing_secret_is_not() {
        let stalled = plan(&observed(Err(Blocked::new(Reason::EndpointNotPermitted, "no"))));
        assert!(is_true(&stalled.status.conditions, STALLED));
        let waiting = plan(&observed(Err(Blocked::new(Reason::SecretNotFound, "no"))));
        assert!(
            is_true(&waiting.status.conditions, RECONCILING)
                && find(&waiting.status.conditions, STALLED).is_none()
        );
    }
}

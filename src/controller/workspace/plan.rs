//! What a workspace says of itself. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::conditions::{self, READY, RECONCILING, STALLED, Truth, Wanted};
use crate::controller::{Blocked, Reason};
use crate::crd::WorkspaceStatus;
use crate::remote::Alarm;

/// What was found out about a workspace.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// Its generation.
    pub generation: i64,
    /// Its status as it was read.
    pub status: WorkspaceStatus,
    /// The value of the annotation that asks for a fresh look.
    pub requested_at: Option<String>,
    /// Whether the API can be asked, and what it said to the list.
    pub outcome: Result<Listed, Blocked>,
    /// Nonces of claims whose owner is gone for good.
    pub orphans: Vec<String>,
    /// The wall clock.
    pub now: Timestamp,
}

/// An API that answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    /// Today's identity.
    pub identity: String,
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
    status.claims.retain(|claim| !o.orphans.contains(&claim.nonce));
    let say =
        |kind, truth, reason, message: &str| Wanted { kind, truth, reason, message: message.to_owned() };
    let (wanted, requeue) = match &o.outcome {
        Ok(Listed { identity, connectors, refused, alarm, next }) => {
            status.identity = Some(identity.clone());
            let wanted = match (alarm, refused) {
                (None, Some(Blocked { reason, message, .. })) => vec![
                    say(READY, Truth::False, *reason, message),
                    say(RECONCILING, Truth::True, *reason, message),
                ],
                (None, None) => {
                    status.connectors = Some(i64::try_from(*connectors).unwrap_or(i64::MAX));
                    vec![say(READY, Truth::True, Reason::Ready, "the API answers and accepts the key")]
                }
                (Some(Alarm { before, now }), _) => {
                    let message = format!(
                        "the API lists {now} connectors where there were {before}; nothing is done on the strength of that: check \
                         the API, and whether the key belongs to another workspace now"
                    );
                    vec![
                        say(READY, Truth::False, Reason::ApiUnavailable, &message),
                        say(RECONCILING, Truth::True, Reason::ApiUnavailable, &message),
                    ]
                }
            };
            (wanted, Some(*next))
        }
        Err(Blocked { reason, message, retry }) => {
            let other = if only_an_edit_helps(*reason) { STALLED } else { RECONCILING };
            (
                vec![say(READY, Truth::False, *reason, message), say(other, Truth::True, *reason, message)],
                *retry,
            )
        }
    };
    status.conditions = conditions::write(&o.status.conditions, wanted, o.generation, o.now);
    status.observed_generation = Some(o.generation);
    if o.requested_at.is_some() {
        status.last_handled_reconcile_at.clone_from(&o.requested_at);
    }
    Plan { status, requeue }
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
            generation: 3,
            status: WorkspaceStatus::default(),
            requested_at: None,
            outcome,
            orphans: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn listed(alarm: Option<Alarm>) -> Result<Listed, Blocked> {
        Ok(Listed {
            identity: "id".to_owned(),
            connectors: 7,
            refused: None,
            alarm,
            next: Duration::from_secs(60),
        })
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

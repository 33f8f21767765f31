//! The one place where conditions are written. `lastTransitionTime` moves only with the status; what is not wanted any
//! more goes; a message is bounded.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Reason;

/// Longest message, in characters. Far below the schema's limit, since events carry messages too and are shorter.
const MESSAGE_LIMIT: usize = 900;

/// A condition's status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Truth {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// A condition as a plan wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    /// The condition's type.
    pub kind: &'static str,
    /// Its status.
    pub truth: Truth,
    /// Why.
    pub reason: Reason,
    /// What happened, and what to do where there is something to do.
    pub message: String,
}

/// Condition type: the object can be used.
pub(super) const READY: &str = "Ready";
/// Condition type: work goes on. Present only while true.
pub(super) const RECONCILING: &str = "Reconciling";
/// Condition type: nothing but an edit of this object helps. Present only while true.
pub(super) const STALLED: &str = "Stalled";
/// Condition type: the remote object is as the spec says.
pub(super) const SYNCED: &str = "Synced";
/// Condition type: the last connection test passed.
pub(super) const CONNECTED: &str = "Connected";
/// Condition type: the risk score is not above `maxRiskScore`.
pub(super) const RISK_ACCEPTABLE: &str = "RiskAcceptable";
/// Condition type of a workspace: today's key did not show yet what was made with a former one. Present only while true.
pub(super) const IDENTITY_CHANGED: &str = "IdentityChanged";
/// Condition type of a workspace: a create that was given up for lost made a connector after all. Present only while true.
pub(super) const DUPLICATED: &str = "Duplicated";
/// Condition type of a Scan, as a Job has it: it ended well.
pub(super) const COMPLETE: &str = "Complete";
/// Condition type of a Scan, as a Job has it: it did not end well.
pub(super) const FAILED: &str = "Failed";

/// What an object's conditions become.
pub(super) fn write(
    existing: &[Condition],
    wanted: Vec<Wanted>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    wanted
        .into_iter()
        .map(|Wanted { kind, truth, reason, message }| {
            let unmoved = existing
                .iter()
                .find(|old| old.type_ == kind && old.status == truth.as_str())
                .map(|old| old.last_transition_time.clone());
            Condition {
                type_: kind.to_owned(),
                status: truth.as_str().to_owned(),
                reason: reason.as_str().to_owned(),
                message: bounded(message),
                observed_generation: Some(generation),
                last_transition_time: unmoved.unwrap_or_else(|| Time(whole_seconds(now))),
            }
        })
        .collect()
}

/// The condition of that type.
pub(super) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of that type is `True`.
pub(super) fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Kubernetes keeps times in whole seconds; finer ones would differ after a round trip.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn bounded(message: String) -> String {
    match message.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(truth: Truth, message: &str) -> Vec<Wanted> {
        vec![Wanted { kind: READY, truth, reason: Reason::Ready, message: message.to_owned() }]
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = write(&[], ready(Truth::False, "a"), 1, at(100));
        let same = write(&first, ready(Truth::False, "b"), 2, at(200));
        assert_eq!(same[0].last_transition_time, first[0].last_transition_time);
        assert_eq!((same[0].message.as_str(), same[0].observed_generation), ("b", Some(2)));
        let moved = write(&same, ready(Truth::True, "b"), 2, at(300));
        assert_eq!(moved[0].last_transition_time, Time(at(300)));
    }

    #[test]
    fn what_is_not_wanted_any_more_goes() {
        let old = write(
            &[],
            vec![Wanted {
                kind: RECONCILING,
                truth: Truth::True,
                reason: Reason::Creating,
                message: String::new(),
            }],
            1,
            Timestamp::UNIX_EPOCH,
        );
        assert!(find(&write(&old, ready(Truth::True, ""), 1, Timestamp::UNIX_EPOCH), RECONCILING).is_none());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let cut = write(&[], ready(Truth::True, &"ä".repeat(5000)), 1, Timestamp::UNIX_EPOCH);
        assert_eq!(cut[0].message.chars().count(), MESSAGE_LIMIT + 1);
    }
}

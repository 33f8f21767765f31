//! Where a Connector stands, and the status that says so. The only place that turns a verdict into conditions.

use std::time::Duration;

use super::super::observed::Observed;
use super::{Effect, Plan};
use crate::controller::conditions::{
    self, CONNECTED, READY, RECONCILING, RISK_ACCEPTABLE, STALLED, SYNCED, Truth, Wanted,
};
use crate::controller::{Blocked, Reason};
use crate::crd::ConnectorStatus;
use crate::remote::{Fault, FaultKind, Sight};

/// The wait after a request that got no answer, when nobody asks for another.
const RETRY: Duration = Duration::from_secs(30);
/// The wait after 401 and 403: only a changed Secret or role helps, and the change of a Secret is noticed at once.
const SLOW_PROBE: Duration = Duration::from_mins(5);

/// Where a Connector stands.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    verdict: Verdict,
    reason: Reason,
    message: String,
    synced: Option<Wanted>,
    status: Option<ConnectorStatus>,
    requeue: Option<Duration>,
    handled: bool,
    /// The workspace's Secret is where to look.
    names_secret: bool,
    /// Nothing was sent, and nothing is known that was not known before.
    nothing_new: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It can be used.
    Ready,
    /// It cannot be used yet, and work goes on.
    Waiting,
    /// It cannot be used, and only an edit helps.
    Stalled,
    /// It cannot be used, and that is as it was asked for.
    Resting,
    /// Nobody can say.
    Unknown,
}

impl Outlook {
    fn new(verdict: Verdict, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            verdict,
            reason,
            message: message.into(),
            synced: None,
            status: None,
            requeue: None,
            handled: false,
            names_secret: false,
            nothing_new: false,
        }
    }

    /// All is well.
    pub(super) fn ready(message: impl Into<String>) -> Self {
        Self::new(Verdict::Ready, Reason::Ready, message).handled()
    }

    /// Not yet.
    pub(super) fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Waiting, reason, message)
    }

    /// Only an edit of this object helps.
    pub(super) fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Stalled, reason, message).handled()
    }

    /// As it was asked for.
    pub(super) fn resting(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Resting, reason, message).handled()
    }

    /// Nobody can say.
    pub(super) fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, reason, message)
    }

    /// Something stands in the way.
    pub(super) fn blocked(blocked: &Blocked) -> Self {
        Self { requeue: blocked.retry, ..Self::waiting(blocked.reason, blocked.message.clone()) }
    }

    /// A request brought nothing; it is tried again.
    pub(super) fn fault(what: &str, fault: &Fault) -> Self {
        let (reason, advice, wait) = match fault.kind {
            FaultKind::Unauthorized => {
                (Reason::Unauthorized, "; put a valid key into the workspace's", SLOW_PROBE)
            }
            FaultKind::Forbidden => (
                Reason::Forbidden,
                "; the key's role does not suffice for this: put the key of a role that may into the workspace's",
                SLOW_PROBE,
            ),
            FaultKind::NoPlace => (Reason::RateLimited, "; it waits for its turn", RETRY),
            FaultKind::RateLimited => (Reason::RateLimited, "", RETRY),
            FaultKind::Refused => (Reason::RefusedByApi, "", SLOW_PROBE),
            _ => (Reason::ApiUnavailable, "", RETRY),
        };
        let wait = fault.retry_after.unwrap_or(wait).max(Duration::from_secs(1));
        let names_secret = matches!(fault.kind, FaultKind::Unauthorized | FaultKind::Forbidden);
        // Where the wait is another one each time, the condition must not move with it.
        let next = match fault.kind {
            FaultKind::NoPlace | FaultKind::Unauthorized | FaultKind::Forbidden => String::new(),
            _ => format!("; next attempt in {}", crate::duration::format(wait)),
        };
        let message = format!("{what}: {}{advice}{next}", fault.message);
        Self {
            requeue: Some(wait),
            names_secret,
            nothing_new: fault.kind == FaultKind::NoPlace,
            ..Self::waiting(reason, message)
        }
    }

    /// The status that the conditions are put on, where it is not the old one.
    pub(super) fn with(self, status: ConnectorStatus) -> Self {
        Self { status: Some(status), ..self }
    }

    /// What `Synced` says.
    pub(super) fn synced(self, truth: Truth, reason: Reason, message: impl Into<String>) -> Self {
        Self { synced: Some(Wanted { kind: SYNCED, truth, reason, message: message.into() }), ..self }
    }

    /// Looks again after that time at the latest.
    pub(super) fn again_in(self, wait: Duration) -> Self {
        Self { requeue: Some(self.requeue.map_or(wait, |other| other.min(wait))), ..self }
    }

    /// A request for a fresh look is answered by this.
    fn handled(self) -> Self {
        Self { handled: true, ..self }
    }

    /// The plan that only says where things stand.
    pub(super) fn settle(self, o: &Observed) -> Plan {
        if self.nothing_new && is_ready_and_seen(o) {
            return Plan { effect: None::<Effect>, status: o.status.clone(), requeue: self.requeue };
        }
        let Self { verdict, reason, mut message, synced, status, requeue, handled, names_secret, .. } = self;
        if names_secret {
            let secret = o.workspace.as_ref().map_or("Secret", |workspace| &workspace.secret);
            message = format!("{message} {secret}");
        }
        // Who does not go on with an adoption lets others have the id.
        let mut status = status.unwrap_or_else(|| ConnectorStatus { adopting: None, ..o.status.clone() });
        // Nothing is under way any more: the workspace may be another one. One that is out of reach may have the claim.
        if status.connector_id.is_none()
            && o.claim.is_none()
            && reason != Reason::NotAvailableInNamespacedMode
        {
            status.claim = None;
        }
        let truth = match verdict {
            Verdict::Ready => Truth::True,
            Verdict::Waiting | Verdict::Stalled | Verdict::Resting => Truth::False,
            Verdict::Unknown => Truth::Unknown,
        };
        let say =
            |kind, truth, reason, message: &str| Wanted { kind, truth, reason, message: message.to_owned() };
        let mut wanted = vec![say(READY, truth, reason, &message)];
        match verdict {
            Verdict::Waiting | Verdict::Unknown => {
                wanted.push(say(RECONCILING, Truth::True, reason, &message))
            }
            Verdict::Stalled => wanted.push(say(STALLED, Truth::True, reason, &message)),
            Verdict::Ready | Verdict::Resting => {}
        }
        wanted.push(synced.unwrap_or_else(|| {
            match (&status.connector_id, conditions::find(&status.conditions, SYNCED)) {
                (Some(_), Some(old)) if old.observed_generation == Some(o.object.generation) => kept(old),
                // Nobody compared this generation of the spec with the connector.
                (Some(_), Some(_)) => say(SYNCED, Truth::Unknown, reason, &message),
                _ => say(SYNCED, Truth::False, reason, &message),
            }
        }));
        wanted.extend(connected(&status));
        wanted.extend(risk(o, &status));
        if handled && o.object.requested_at.is_some() {
            status.last_handled_reconcile_at = o.object.request();
        }
        if reason != Reason::WaitingForQuota {
            status.next_create_time = None;
        }
        status.observed_generation = Some(o.object.generation);
        status.conditions = conditions::write(&o.status.conditions, wanted, o.object.generation, o.now);
        Plan { effect: None::<Effect>, status, requeue }
    }
}

/// Whether the connector is ready as its spec stands now, and was seen recently: waiting for a request takes nothing of that.
fn is_ready_and_seen(o: &Observed) -> bool {
    let seen = match &o.sight {
        Sight::Seen(seen) => o.clock.saturating_duration_since(seen.read_at) <= o.freshness,
        Sight::Missing | Sight::Unread => false,
    };
    seen && o.status.observed_generation == Some(o.object.generation)
        && conditions::is_true(&o.status.conditions, READY)
}

/// `Synced` as it stood: nothing new is known about it.
fn kept(old: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> Wanted {
    let truth = match old.status.as_str() {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    };
    let reason =
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == old.reason).unwrap_or(Reason::Synced);
    Wanted { kind: SYNCED, truth, reason, message: old.message.clone() }
}

fn connected(status: &ConnectorStatus) -> Option<Wanted> {
    status.connector_id.as_ref()?;
    Some(match &status.connection_test {
        None => Wanted {
            kind: CONNECTED,
            truth: Truth::Unknown,
            reason: Reason::ConnectionTestPending,
            message: "no connection test has run yet".to_owned(),
        },
        Some(test) if test.connected => Wanted {
            kind: CONNECTED,
            truth: Truth::True,
            reason: Reason::Connected,
            message: format!(
                "{} objects seen in {}",
                test.sample_objects.unwrap_or(0),
                named(&test.buckets_accessible)
            ),
        },
        Some(test) => Wanted {
            kind: CONNECTED,
            truth: Truth::False,
            reason: Reason::ConnectionTestFailed,
            message: test.message.clone().unwrap_or_else(|| "the API does not say why".to_owned()),
        },
    })
}

fn named(buckets: &[String]) -> String {
    match buckets {
        [] => "no named bucket".to_owned(),
        [one] => format!("bucket {one}"),
        [first, rest @ ..] => format!("bucket {first} and {} more", rest.len()),
    }
}

fn risk(o: &Observed, status: &ConnectorStatus) -> Option<Wanted> {
    let limit = match &o.observing {
        Some(watched) => watched.max_risk_score?,
        None => o.desired.as_ref().ok()?.max_risk_score?,
    };
    let (truth, reason, message) = match status.risk_score {
        None => {
            (Truth::Unknown, Reason::NotScanned, "there is no risk score before the first scan".to_owned())
        }
        Some(score) if score <= limit => (
            Truth::True,
            Reason::RiskAcceptable,
            format!("the risk score {score} is not above spec.maxRiskScore {limit}"),
        ),
        Some(score) => (
            Truth::False,
            Reason::RiskTooHigh,
            format!("the risk score {score} is above spec.maxRiskScore {limit}"),
        ),
    };
    Some(Wanted { kind: RISK_ACCEPTABLE, truth, reason, message })
}

//! Where a Scan stands, and the status that says so: `Complete` and `Failed` as a Job has them, `Ready` and `Stalled` for
//! tools that know neither on custom kinds.

use std::time::Duration;

use jiff::Timestamp;

use super::super::observed::Observed;
use super::Plan;
use crate::controller::conditions::{
    self, COMPLETE, FAILED, READY, RECONCILING, STALLED, Truth, Wanted, whole_seconds,
};
use crate::controller::{Blocked, Reason};
use crate::crd::{ScanPhase, ScanStatus};
use crate::duration;
use crate::remote::{Fault, FaultKind};

/// The wait after a request that brought nothing.
const RETRY: Duration = Duration::from_secs(15);

/// Where a Scan stands.
pub(super) struct Outlook {
    phase: ScanPhase,
    reason: Reason,
    message: String,
    status: Option<ScanStatus>,
    requeue: Option<Duration>,
}

impl Outlook {
    /// In `phase`, because of `reason`.
    pub(super) fn new(phase: ScanPhase, reason: Reason, message: impl Into<String>) -> Self {
        Self { phase, reason, message: message.into(), status: None, requeue: None }
    }

    /// Not started yet.
    pub(super) fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ScanPhase::Pending, reason, message)
    }

    /// Something stands in the way of its start.
    pub(super) fn blocked(blocked: &Blocked) -> Self {
        Self { requeue: blocked.retry, ..Self::pending(blocked.reason, blocked.message.clone()) }
    }

    /// Over, and not well.
    pub(super) fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ScanPhase::Failed, reason, message)
    }

    /// A request brought nothing; it is tried again, and the phase stays.
    pub(super) fn fault(o: &Observed, what: &str, fault: &Fault) -> Self {
        let reason = match fault.kind {
            FaultKind::Unauthorized => Reason::Unauthorized,
            FaultKind::Forbidden => Reason::Forbidden,
            FaultKind::NoPlace | FaultKind::RateLimited => Reason::RateLimited,
            _ => Reason::ApiUnavailable,
        };
        let wait = fault.retry_after.unwrap_or(RETRY).max(Duration::from_secs(1));
        let message = format!("{what}: {}; next attempt in {}", fault.message, duration::format(wait));
        Self::new(o.status.phase.unwrap_or(ScanPhase::Pending), reason, message).again_in(wait)
    }

    /// The status that the conditions are put on, where it is not the old one.
    pub(super) fn with(self, status: ScanStatus) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Looks again after that time at the latest.
    pub(super) fn again_in(self, wait: Duration) -> Self {
        Self { requeue: Some(self.requeue.map_or(wait, |other| other.min(wait))), ..self }
    }

    /// The plan that only says where things stand.
    pub(super) fn settle(self, o: &Observed) -> Plan {
        let Self { phase, reason, message, status, requeue } = self;
        let mut status = status.unwrap_or_else(|| o.status.clone());
        status.phase = Some(phase);
        if phase.is_terminal() {
            let end = whole_seconds(status.completion_time.unwrap_or(o.now));
            status.completion_time = Some(end);
            status.duration = status.start_time.map(|start| duration::format(between(start, end)));
        }
        let say = |kind, truth, reason: Reason| Wanted { kind, truth, reason, message: message.clone() };
        let wanted = match phase {
            ScanPhase::Completed => vec![say(READY, Truth::True, reason), say(COMPLETE, Truth::True, reason)],
            ScanPhase::Failed | ScanPhase::Cancelled => vec![
                say(READY, Truth::False, reason),
                say(STALLED, Truth::True, reason),
                say(FAILED, Truth::True, reason),
            ],
            ScanPhase::Pending | ScanPhase::Queued | ScanPhase::Running => {
                vec![say(READY, Truth::False, reason), say(RECONCILING, Truth::True, reason)]
            }
        };
        status.conditions = conditions::write(&o.status.conditions, wanted, o.object.generation, o.now);
        status.observed_generation = Some(o.object.generation);
        Plan { effect: None, status, requeue: if phase.is_terminal() { None } else { requeue } }
    }
}

/// A scan that nobody can find any more.
pub(super) fn lost(o: &Observed, why: &str) -> Plan {
    Outlook::failed(Reason::ScanLost, format!("{why}; to scan again, make a new Scan")).settle(o)
}

/// From `start` to `end`; nothing where the clocks disagree.
pub(super) fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

//! Where a schedule stands, and the conditions that say so.

use std::time::Duration;

use jiff::Timestamp;

use super::{LONGEST, LOOK_AGAIN, Plan, REFUSED, SHORTEST};
use crate::controller::Reason;
use crate::controller::conditions::{self, READY, RECONCILING, STALLED, Truth, Wanted};
use crate::controller::schedule::observed::Observed;
use crate::controller::schedule::timing::TimingError;
use crate::crd::ScanScheduleStatus;

/// Where a schedule stands.
pub(super) struct Outlook {
    ready: Truth,
    /// Whether only an edit helps.
    stalled: bool,
    reason: Reason,
    message: String,
    requeue: Option<Duration>,
}

impl Outlook {
    /// All is as it should be.
    pub(super) fn scheduled(message: impl Into<String>) -> Self {
        Self::new(Truth::True, false, Reason::Scheduled, message)
    }

    /// Nothing but an edit helps.
    pub(super) fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Truth::False, true, reason, message)
    }

    /// Something else is missing, and may be on its way.
    fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Truth::False, false, reason, message)
    }

    fn new(ready: Truth, stalled: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { ready, stalled, reason, message: message.into(), requeue: None }
    }

    /// Looks again after that time at the latest.
    pub(super) fn again_in(mut self, wait: Option<Duration>) -> Self {
        self.requeue = self.requeue.into_iter().chain(wait).min();
        self
    }

    /// Looks again at that time at the latest.
    pub(super) fn again_at(self, o: &Observed, time: Option<Timestamp>) -> Self {
        let wait = time.map(|time| Duration::try_from(time.duration_since(o.now)).unwrap_or_default());
        self.again_in(wait.map(|wait| wait.clamp(SHORTEST, LONGEST)))
    }

    /// The plan that only says where things stand.
    pub(super) fn settle(self, o: &Observed, mut status: ScanScheduleStatus) -> Plan {
        let Self { ready, stalled, reason, message, requeue } = self;
        let say = |kind, truth| Wanted { kind, truth, reason, message: message.clone() };
        let mut wanted = vec![say(READY, ready)];
        if ready == Truth::False {
            wanted.push(say(if stalled { STALLED } else { RECONCILING }, Truth::True));
        }
        let requeue = if stalled {
            status.next_schedule_time = None;
            None
        } else {
            Some(requeue.unwrap_or(LONGEST))
        };
        status.conditions = conditions::write(&o.status.conditions, wanted, o.object.generation, o.now);
        status.observed_generation = Some(o.object.generation);
        Plan { effect: None, status, requeue }
    }
}

/// Where it stands while nothing is due.
pub(super) fn standing(o: &Observed, status: &ScanScheduleStatus, connectors: &[String]) -> Outlook {
    if let Some(why) = &o.facts.refused {
        let message = format!("Kubernetes refused a Scan: {why}; tried again within a minute");
        return Outlook::waiting(Reason::ScanRefused, message).again_in(Some(REFUSED));
    }
    if let Some(name) = status.run.as_ref().and_then(|run| run.name_taken.as_ref()) {
        let message = format!(
            "Scan {name} is there and does not belong to this schedule; it is left alone, and its connector left out of this run"
        );
        return Outlook::waiting(Reason::ScanNameTaken, message);
    }
    if connectors.is_empty() {
        let namespace = &o.object.namespace;
        let (reason, message) = match &o.spec.connector_ref {
            Some(connector) => (
                Reason::ConnectorNotFound,
                format!(
                    "Connector {namespace}/{} is not there: create it, or name another one",
                    connector.name
                ),
            ),
            None => (
                Reason::NoConnectorMatches,
                format!("spec.connectorSelector matches no Connector in {namespace} that could be scanned"),
            ),
        };
        return Outlook::waiting(reason, message).again_in(Some(LOOK_AGAIN));
    }
    if o.spec.suspend {
        let message = "spec.suspend is true: no run is begun, but on request (slim.io/run-requested-at)";
        return Outlook::new(Truth::True, false, Reason::Suspended, message);
    }
    let zone = o.spec.time_zone.as_deref().unwrap_or("UTC");
    match status.next_schedule_time {
        Some(next) => {
            Outlook::scheduled(format!("the next run is planned for {next} ({} in {zone})", o.spec.schedule))
        }
        None => Outlook::scheduled(format!("no run is to come ({} in {zone})", o.spec.schedule)),
    }
}

/// The reason for a schedule that cannot be read.
pub(super) fn reason(error: &TimingError) -> Reason {
    match error {
        TimingError::Pattern(..) => Reason::InvalidSchedule,
        TimingError::Zone(..) => Reason::TimeZoneUnknown,
        TimingError::Never(_) => Reason::ScheduleNeverDue,
    }
}

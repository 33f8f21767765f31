//! What to do next for a schedule. Pure and total, one effect at a time. A run is put down before its first Scan is made,
//! and Scans are named after the run, so that whoever goes on where another one stopped starts none twice.

mod history;
mod outlook;
mod run;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::observed::{Observed, Turn};
use super::timing::Timing;
use crate::controller::Reason;
use crate::controller::conditions::whole_seconds;
use crate::crd::{ScanPhase, ScanScheduleStatus};
use outlook::Outlook;
use run::Due;

/// Scans that are made, or deleted, in one pass.
const BATCH: usize = 20;
/// The wait before the next batch.
const NEXT_BATCH: Duration = Duration::from_secs(1);
/// The wait after Kubernetes refused a Scan.
const REFUSED: Duration = Duration::from_secs(60);
/// The wait for a connector, in case that nobody says that it is there.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The longest wait: the wall clock may be set while the timer runs.
const LONGEST: Duration = Duration::from_mins(10);
/// The shortest one: a timer may be a little ahead of the wall clock.
const SHORTEST: Duration = Duration::from_millis(100);
/// How far back the wall clock may be set before times that were dealt with come due again.
const SET_BACK: SignedDuration = SignedDuration::from_mins(10);
/// Most names of active Scans in the status.
const NAMED: usize = 50;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The one effect that is next.
    pub effect: Option<Effect>,
    /// The status to write when there is no effect.
    pub status: ScanScheduleStatus,
    /// When to look again. None: when something changes.
    pub requeue: Option<Duration>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Write this status, say this in events, and go on only when the write is acknowledged.
    Record(Box<ScanScheduleStatus>, Option<Said>),
    /// Take these turns, in their order.
    TakeTurns(Vec<Turn>),
    /// Delete these Scans.
    Delete(Vec<Doomed>),
}

/// Something for an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// Why.
    pub reason: Reason,
    /// What happened.
    pub note: String,
}

/// A Scan to delete.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Doomed {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that this was decided on, where it may still change.
    pub version: Option<String>,
}

/// The next step for what was observed.
pub(super) fn plan(o: &Observed) -> Plan {
    if o.object.deleting {
        return Plan { effect: None, status: o.status.clone(), requeue: None };
    }
    let (spec, facts) = (&o.spec, &o.facts);
    let mut status = brought_up_to_date(o);
    let timing = Timing::parse(&spec.schedule, spec.time_zone.as_deref());
    let (timing, connectors) = match (timing, &o.around.connectors) {
        (Ok(timing), Ok(connectors)) => (timing, connectors),
        (Err(error), _) => {
            return Outlook::stalled(outlook::reason(&error), error.to_string()).settle(o, status);
        }
        (_, Err(error)) => {
            let message = format!("spec.connectorSelector cannot be used: {error}");
            return Outlook::stalled(Reason::InvalidSpec, message).settle(o, status);
        }
    };
    status.next_schedule_time = if spec.suspend { None } else { next(o, &timing, &status) };
    if !facts.turns.is_empty() {
        run::taken(&mut status, &facts.turns);
        if run::window(o, &timing, &status, connectors).is_some_and(|window| window.over) {
            run::finish(&mut status);
        }
        return outlook::standing(o, &status, connectors).settle(o, status).recorded(None);
    }
    let mut waits = None;
    match run::due(o, &timing, &status, connectors) {
        Due::Nothing => {}
        Due::Waits(outlook) => waits = Some(outlook),
        Due::Recorded(mut new, said) => {
            new.next_schedule_time = if spec.suspend { None } else { next(o, &timing, &new) };
            return outlook::standing(o, &new, connectors).settle(o, *new).recorded(said);
        }
    }
    let mut wake = status.next_schedule_time;
    let mut soon = None;
    if let Some(window) = run::window(o, &timing, &status, connectors) {
        let starting = window.turns.iter().any(|turn| turn.starts);
        if starting && !facts.took_turns {
            let status = o.status.clone();
            let doomed = history::replaced(o, &window.turns);
            let effect =
                if doomed.is_empty() { Effect::TakeTurns(window.turns) } else { Effect::Delete(doomed) };
            return Plan { effect: Some(effect), status, requeue: None };
        }
        if starting {
            soon = Some(if facts.refused.is_some() { REFUSED } else { NEXT_BATCH });
        } else if !window.turns.is_empty() {
            run::left_out(&mut status, &window.turns);
            soon = Some(SHORTEST);
        } else if window.over {
            run::finish(&mut status);
        }
        wake = wake.into_iter().chain(window.next).min();
    }
    let doomed = history::outlived(o, &status);
    let outlook = waits.unwrap_or_else(|| outlook::standing(o, &status, connectors));
    let plan = outlook.again_at(o, wake).again_in(soon).settle(o, status);
    match doomed {
        doomed if doomed.is_empty() => plan,
        // What they say is written down before they go.
        _ if plan.status != o.status => plan.recorded(None),
        doomed if facts.deleted.len() < BATCH => {
            let doomed = doomed.into_iter().take(BATCH).collect();
            Plan { effect: Some(Effect::Delete(doomed)), ..plan }
        }
        _ => Plan { requeue: Some(NEXT_BATCH), ..plan },
    }
}

impl Plan {
    /// The status of this plan, written before anything else.
    fn recorded(self, said: Option<Said>) -> Self {
        Self { effect: Some(Effect::Record(Box::new(self.status.clone()), said)), ..self }
    }
}

/// The status, with what the Scans, the clock and the spec say by now.
fn brought_up_to_date(o: &Observed) -> ScanScheduleStatus {
    let mut status = o.status.clone();
    let mut active =
        o.around.scans.iter().filter(|scan| scan.active()).map(|scan| scan.name.clone()).collect::<Vec<_>>();
    active.sort();
    status.active_count = Some(i32::try_from(active.len()).unwrap_or(i32::MAX));
    active.truncate(NAMED);
    status.active = active;
    let completed = o.around.scans.iter().filter(|scan| scan.phase == ScanPhase::Completed);
    status.last_successful_time =
        completed.filter_map(|scan| scan.ended).chain(status.last_successful_time).max();
    let schedule = format!("{} {}", o.spec.schedule, o.spec.time_zone.as_deref().unwrap_or("UTC"));
    let now = whole_seconds(o.now);
    match (status.handled_until, &status.schedule) {
        // A request that came with the object may come from a backup.
        (None, _) => {
            status.handled_until = Some(o.object.created.map_or(now, |created| created.min(now)));
            status.last_handled_run_request = o.object.request.clone();
        }
        (Some(_), Some(before)) if *before != schedule => status.handled_until = Some(now),
        (Some(until), _) if until > o.now + SET_BACK => status.handled_until = Some(now),
        _ => {}
    }
    status.schedule = Some(schedule);
    status
}

/// The next planned time that is not dealt with.
fn next(o: &Observed, timing: &Timing, status: &ScanScheduleStatus) -> Option<Timestamp> {
    timing.next(status.handled_until.map_or(o.now, |until| until.max(o.now)))
}

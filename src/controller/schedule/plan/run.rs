//! Runs: which is due, whose turn it is within it, and what is missed. One run at a time: one that begins ends the former, but
//! for one on request, which comes to its end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::outlook::Outlook;
use super::{BATCH, Said};
use crate::controller::Reason;
use crate::controller::conditions::whole_seconds;
use crate::controller::schedule::names;
use crate::controller::schedule::observed::{Observed, Outcome, Owned, Turn};
use crate::controller::schedule::timing::{COUNTED, Timing};
use crate::crd::{ConcurrencyPolicy, ScanRun, ScanScheduleStatus};
use crate::duration;

/// What is due.
pub(super) enum Due {
    /// Nothing that could be begun.
    Nothing,
    /// A run that waits.
    Waits(Outlook),
    /// A run that was begun or missed by this status.
    Recorded(Box<ScanScheduleStatus>, Option<Said>),
}

/// Looks whether a run is to be begun.
pub(super) fn due(o: &Observed, timing: &Timing, status: &ScanScheduleStatus, connectors: &[String]) -> Due {
    if let Some(request) = &o.object.request
        && status.last_handled_run_request.as_ref() != Some(request)
        && !connectors.is_empty()
    {
        let mut new = status.clone();
        new.run = Some(begun(whole_seconds(o.now), Some(request.clone())));
        new.last_handled_run_request = Some(request.clone());
        return Due::Recorded(Box::new(new), None);
    }
    // A request was heard, and is not dropped; its run is over before long.
    let requested = status.run.as_ref().is_some_and(|run| !run.finished && run.request.is_some());
    let (false, Some(handled)) = (o.spec.suspend || requested, status.handled_until) else {
        return Due::Nothing;
    };
    let Some(time) = timing.latest(handled, o.now) else { return Due::Nothing };
    let count = timing.count(handled, time);
    // Those that were missed since the last run was begun.
    let before = status.missed_runs.filter(|_| status.last_schedule_time != Some(handled)).unwrap_or(0);
    let mut new = status.clone();
    new.handled_until = Some(time);
    let deadline = deadline(o);
    if deadline.is_some_and(|deadline| o.now > later(time, deadline)) {
        new.missed_runs = Some(before.saturating_add(number(count)));
        let seconds = o.spec.starting_deadline_seconds.unwrap_or(0);
        let note = format!(
            "the run planned for {time} could not begin within spec.startingDeadlineSeconds ({seconds})"
        );
        return Due::Recorded(Box::new(new), Some(missed(count, note)));
    }
    if connectors.is_empty() {
        return Due::Nothing;
    }
    if o.spec.concurrency_policy == ConcurrencyPolicy::Forbid {
        let busy = |connector: &String| in_the_way(o, connector, "").map(|scan| &scan.name);
        let all = connectors.iter().map(busy).collect::<Option<Vec<_>>>();
        if let Some(first) = all.as_ref().and_then(|all| all.first()) {
            let others = connectors.len() - 1;
            let more = if others == 0 { String::new() } else { format!(" or one of {others} others") };
            let message = format!(
                "the run planned for {time} waits for Scan {first}{more} of an earlier run to end (concurrencyPolicy: Forbid)"
            );
            let until = deadline.map(|deadline| later(time, deadline));
            return Due::Waits(Outlook::scheduled(message).again_at(o, until));
        }
    }
    let earlier = if count > COUNTED { count } else { count - 1 };
    let total = before.saturating_add(number(earlier));
    new.missed_runs = (total > 0).then_some(total);
    new.last_schedule_time = Some(time);
    new.run = Some(begun(time, None));
    let said = (earlier > 0).then(|| missed(count, format!("the run planned for {time} is begun late")));
    Due::Recorded(Box::new(new), said)
}

/// Where a run is at the moment.
pub(super) struct Window {
    /// Whose turn it is, in their order: no more than a batch.
    pub turns: Vec<Turn>,
    /// When the next one's turn comes, or the run is over.
    pub next: Option<Timestamp>,
    /// Whether nobody's turn is still to come.
    pub over: bool,
}

/// Looks at the run that goes on, if one does.
pub(super) fn window(
    o: &Observed,
    timing: &Timing,
    status: &ScanScheduleStatus,
    connectors: &[String],
) -> Option<Window> {
    let run = status.run.as_ref().filter(|run| !run.finished)?;
    if o.spec.suspend && run.request.is_none() {
        return None;
    }
    let spread = o.spec.spread.as_deref().and_then(duration::parse).unwrap_or_default();
    let until_next =
        timing.next(run.time).and_then(|next| Duration::try_from(next.duration_since(run.time)).ok());
    let spread = until_next.map_or(spread, |most| most.min(spread));
    let mut places = connectors
        .iter()
        .map(|connector| (names::place(&o.object.uid, connector), connector))
        .filter(|(place, _)| run.position.as_ref().is_none_or(|position| place > position))
        .map(|(place, connector)| (later(run.time, names::offset(&place, spread)), place, connector))
        .collect::<Vec<_>>();
    places.sort();
    let ready = places.partition_point(|(time, ..)| *time <= o.now);
    let end = later(run.time, spread);
    let next = places.get(ready).map(|(time, ..)| *time).or((o.now < end).then_some(end));
    let over = ready == 0 && next.is_none();
    let turn = |(time, place, connector): (Timestamp, String, &String)| {
        let several = o.spec.connector_selector.is_some().then_some(connector.as_str());
        let name = names::scan_name(&o.object.name, run, several);
        let late = deadline(o).is_some_and(|deadline| o.now > later(time, deadline));
        let busy = o.spec.concurrency_policy == ConcurrencyPolicy::Forbid
            && in_the_way(o, connector, &name).is_some();
        let starts = run.request.is_some() || !(late || busy);
        Turn { connector: connector.clone(), place, name, starts }
    };
    let turns = places.into_iter().take(ready.min(BATCH)).map(turn).collect();
    Some(Window { turns, next, over })
}

/// Puts down what became of turns.
pub(super) fn taken(status: &mut ScanScheduleStatus, turns: &[(Turn, Outcome)]) {
    let Some(run) = &mut status.run else { return };
    for (turn, outcome) in turns {
        run.position = Some(turn.place.clone());
        match outcome {
            Outcome::Made => run.started += 1,
            Outcome::Taken => run.name_taken = run.name_taken.take().or_else(|| Some(turn.name.clone())),
            Outcome::LeftOut => run.skipped += 1,
        }
    }
}

/// Puts down turns in which nothing is to be started.
pub(super) fn left_out(status: &mut ScanScheduleStatus, turns: &[Turn]) {
    taken(status, &turns.iter().map(|turn| (turn.clone(), Outcome::LeftOut)).collect::<Vec<_>>());
}

/// Puts down that the run is over.
pub(super) fn finish(status: &mut ScanScheduleStatus) {
    if let Some(run) = &mut status.run {
        (run.finished, run.position) = (true, None);
    }
}

/// A Scan of the connector that has not ended, but for the one of that name.
fn in_the_way<'a>(o: &'a Observed, connector: &str, name: &str) -> Option<&'a Owned> {
    o.around.scans.iter().find(|scan| scan.connector == connector && scan.active() && scan.name != name)
}

fn begun(time: Timestamp, request: Option<String>) -> ScanRun {
    ScanRun { time, request, started: 0, skipped: 0, position: None, finished: false, name_taken: None }
}

fn missed(count: usize, what: String) -> Said {
    if count > COUNTED {
        let note = format!(
            "{what}; more than {COUNTED} runs came due meanwhile: look at the clock, or set spec.startingDeadlineSeconds"
        );
        return Said { reason: Reason::TooManyMissedRuns, note };
    }
    let earlier = count - 1;
    let note = if earlier == 0 { what } else { format!("{what}; {earlier} before it were missed") };
    Said { reason: Reason::RunMissed, note }
}

fn deadline(o: &Observed) -> Option<Duration> {
    o.spec.starting_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

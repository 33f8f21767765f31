//! Which runs are begun, when, and what each starts.

use std::collections::BTreeSet;

use super::world::World;
use crate::crd::{ConcurrencyPolicy, ScanPhase};

#[test]
fn a_run_is_begun_at_its_time_once() {
    let mut world = World::new("0 2 * * *", "2026-11-24T12:00:00Z");
    assert_eq!(world.status.next_schedule_time.unwrap().to_string(), "2026-11-25T02:00:00Z");
    world.until("2026-11-25T01:59:59Z");
    assert!(world.made.is_empty() && world.writes == 1, "{} writes", world.writes);
    world.until("2026-11-25T12:00:00Z");
    // The number is that of the minute since 1970.
    assert_eq!(world.names(), ["nightly-29926200"]);
    assert_eq!(world.times(), ["2026-11-25T02:00:00Z"]);
    assert_eq!(world.status.last_schedule_time.unwrap().to_string(), "2026-11-25T02:00:00Z");
    assert_eq!((world.status.active_count, world.status.active.len()), (Some(1), 1));
    world.end(ScanPhase::Completed);
    world.until("2026-11-26T12:00:00Z");
    assert_eq!(world.times().len(), 2);
    assert_eq!(world.status.last_successful_time.unwrap().to_string(), "2026-11-25T12:00:00Z");
    assert_eq!(world.reasons(), [""; 0]);
}

#[test]
fn of_missed_runs_the_newest_is_made_up_for_and_the_others_are_counted() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.set_clock("2026-11-24T17:10:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-29925660"], "that of 17:00");
    assert_eq!(world.status.missed_runs, Some(4));
    assert_eq!(world.reasons(), ["RunMissed"]);
    assert!(world.said[0].note.contains("4 before it were missed"), "{}", world.said[0].note);
    world.end(ScanPhase::Completed);
    world.until("2026-11-24T18:10:00Z");
    assert_eq!((world.made.len(), world.status.missed_runs), (2, None));
    world.end(ScanPhase::Completed);
    world.set_clock("2027-11-24T18:10:00Z");
    world.pass();
    assert_eq!((world.made.len(), world.status.missed_runs), (3, Some(101)));
    assert_eq!(world.reasons(), ["RunMissed", "TooManyMissedRuns"]);
}

#[test]
fn nothing_is_made_up_for_from_before_the_object_was_there() {
    let world = World::new("0 * * * *", "2026-11-24T12:00:00Z");
    assert!(world.made.is_empty());
    let mut seen_late = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    seen_late.status = crate::crd::ScanScheduleStatus::default();
    seen_late.set_clock("2026-11-24T13:00:05Z");
    seen_late.pass();
    assert_eq!(seen_late.made.len(), 1, "made before one and first seen after: as with a CronJob");
}

#[test]
fn what_is_later_than_the_deadline_is_missed() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.spec.starting_deadline_seconds = Some(300);
    world.set_clock("2026-11-24T14:05:01Z");
    world.pass();
    assert!(world.made.is_empty());
    assert_eq!((world.status.missed_runs, world.reasons()), (Some(2), vec!["RunMissed"]));
    assert_eq!(world.status.last_schedule_time, None);
    world.set_clock("2026-11-24T16:05:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-29925600"], "that of 16:00, just in time");
    assert_eq!(world.status.missed_runs, Some(3), "13, 14 and 15 o'clock");
    world.end(ScanPhase::Completed);
    world.until("2026-11-24T17:00:00Z");
    assert_eq!((world.made.len(), world.status.missed_runs), (2, None));
}

#[test]
fn forbid_waits_for_the_earlier_scan_and_makes_up_for_one_run() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.until("2026-11-24T13:10:00Z");
    world.begin();
    world.until("2026-11-24T15:20:00Z");
    assert_eq!(world.made.len(), 1);
    let (ready, reason, message) = world.ready();
    assert_eq!((ready, reason), ("True", "Scheduled"));
    assert!(message.contains("waits for Scan nightly-29925420"), "{message}");
    world.end(ScanPhase::Completed);
    world.pass();
    assert_eq!(world.names(), ["nightly-29925420", "nightly-29925540"], "13 and 15 o'clock");
    assert_eq!(world.status.missed_runs, Some(1));
    // With a deadline it waits no longer than that.
    world.spec.starting_deadline_seconds = Some(60);
    world.begin();
    world.until("2026-11-24T16:30:00Z");
    assert_eq!(world.reasons().last(), Some(&"RunMissed"));
    world.end(ScanPhase::Completed);
    world.pass();
    assert_eq!(world.made.len(), 2);
}

#[test]
fn allow_makes_another_scan_and_replace_only_where_the_earlier_one_has_not_begun() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.spec.concurrency_policy = ConcurrencyPolicy::Allow;
    world.until("2026-11-24T14:30:00Z");
    assert_eq!((world.made.len(), world.status.active_count), (2, Some(2)));

    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.spec.concurrency_policy = ConcurrencyPolicy::Replace;
    world.until("2026-11-24T13:30:00Z");
    world.begin();
    world.until("2026-11-24T16:30:00Z");
    assert_eq!(world.made.len(), 4);
    // The first one runs and stays; of those that wait for it, the newest is left.
    assert_eq!(world.deleted, ["nightly-29925480", "nightly-29925540"]);
    assert_eq!(world.status.active, ["nightly-29925420", "nightly-29925600"]);
}

#[test]
fn suspended_nothing_is_begun_and_the_newest_run_is_made_up_for_afterwards() {
    for (deadline, made) in [(None, 1), (Some(60), 0)] {
        let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
        world.spec.suspend = true;
        world.spec.starting_deadline_seconds = deadline;
        world.until("2026-11-24T15:30:00Z");
        assert!(world.made.is_empty());
        assert_eq!((world.ready().0, world.ready().1), ("True", "Suspended"));
        assert_eq!(world.status.next_schedule_time, None);
        world.spec.suspend = false;
        world.pass();
        assert_eq!((world.made.len(), world.ready().1), (made, "Scheduled"));
    }
}

#[test]
fn a_changed_schedule_or_zone_counts_from_its_change() {
    let mut world = World::new("0 2 * * *", "2026-11-24T12:30:00Z");
    world.spec.schedule = "0 12 * * *".to_owned();
    world.pass();
    assert!(world.made.is_empty(), "twelve is over for today");
    assert_eq!(world.status.next_schedule_time.unwrap().to_string(), "2026-11-25T12:00:00Z");
    world.spec.time_zone = Some("America/New_York".to_owned());
    world.until("2026-11-24T23:00:00Z");
    assert_eq!(world.times(), ["2026-11-24T17:00:00Z"]);
}

#[test]
fn a_clock_that_is_set_starts_nothing_twice_and_stops_nothing() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.until("2026-11-24T13:00:30Z");
    world.end(ScanPhase::Completed);
    // Back a little, over the full hour again.
    world.set_clock("2026-11-24T12:55:00Z");
    world.until("2026-11-24T13:30:00Z");
    assert_eq!(world.made.len(), 1);
    // Far ahead, and back: what is due by then is due, and nobody waits until next year.
    world.set_clock("2027-11-24T12:30:00Z");
    world.pass();
    world.end(ScanPhase::Completed);
    world.set_clock("2026-11-24T13:40:00Z");
    world.until("2026-11-24T15:30:00Z");
    assert_eq!(world.times()[2..], ["2026-11-24T14:00:00Z"]);
    world.end(ScanPhase::Completed);
    world.until("2026-11-24T15:50:00Z");
    world.end(ScanPhase::Completed);
    world.until("2026-11-24T16:30:00Z");
    // Back by hours: a run whose Scan is there is not started again.
    world.end(ScanPhase::Completed);
    let made = world.made.len();
    world.set_clock("2026-11-24T15:30:00Z");
    world.until("2026-11-24T16:30:00Z");
    assert_eq!(world.made.len(), made);
    assert_eq!(world.status.run.as_ref().unwrap().started, 1);
}

#[test]
fn a_run_on_request_is_begun_once_for_each_value_whatever_is_suspended_or_in_the_way() {
    let mut world = World::new("0 2 * * *", "2026-11-24T12:30:00Z");
    world.spec.suspend = true;
    world.object.request = Some("please".to_owned());
    for _ in 0..3 {
        world.pass();
    }
    assert_eq!(world.made.len(), 1);
    assert!(world.names()[0].starts_with("nightly-now-"), "{:?}", world.made);
    world.begin();
    world.object.request = Some("again".to_owned());
    world.pass();
    assert_eq!((world.made.len(), world.status.active_count), (2, Some(2)));
    assert_eq!(world.status.last_schedule_time, None, "the schedule did not ask for it");
    let writes = world.writes;
    world.pass();
    assert_eq!((world.made.len(), world.writes), (2, writes));
    // A request that a new object brings along is as old as its manifest.
    let mut copied = World::new("0 2 * * *", "2026-11-24T12:30:00Z");
    copied.status = crate::crd::ScanScheduleStatus::default();
    copied.object.request = Some("please".to_owned());
    copied.until("2026-11-24T12:40:00Z");
    assert!(copied.made.is_empty());
}

#[test]
fn the_scans_of_a_run_are_spread_and_each_connector_keeps_its_place() {
    let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 100, Some("30m"));
    world.until("2026-11-25T01:59:00Z");
    assert!(world.made.is_empty());
    world.until("2026-11-25T02:15:00Z");
    let half = world.made.len();
    assert!((30..=70).contains(&half), "{half}");
    world.until("2026-11-25T02:30:00Z");
    assert_eq!(
        (world.made.len(), world.status.active_count, world.status.active.len()),
        (100, Some(100), 50)
    );
    let run = world.status.run.clone().unwrap();
    assert_eq!((run.started, run.skipped, run.finished, run.position), (100, 0, true, None));
    let connector = |name: &str, world: &World| world.scans[name].connector.clone();
    let order = |world: &World, from: usize| {
        world.made[from..].iter().map(|(name, _)| connector(name, world)).collect::<Vec<_>>()
    };
    let first = order(&world, 0);
    // Two that run are left out.
    world.end(ScanPhase::Completed);
    let busy = world.made[..2].iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    for name in &busy {
        world.scans.get_mut(name).unwrap().phase = ScanPhase::Running;
    }
    world.until("2026-11-26T02:30:00Z");
    assert_eq!(order(&world, 100), first[2..]);
    let run = world.status.run.clone().unwrap();
    assert_eq!((run.started, run.skipped, run.finished), (98, 2, true));
}

#[test]
fn a_run_is_never_spread_beyond_the_next_one() {
    let mut world = World::selecting("*/10 * * * *", "2026-11-24T12:05:00Z", 40, Some("24h"));
    world.until("2026-11-24T12:19:59Z");
    assert_eq!(world.made.len(), 40);
    let connectors = world.scans.values().map(|scan| scan.connector.clone()).collect::<BTreeSet<_>>();
    assert_eq!(connectors.len(), 40);
}

#[test]
fn many_connectors_are_taken_a_batch_at_a_time() {
    let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 1000, None);
    world.until("2026-11-25T02:00:00Z");
    assert_eq!(world.made.len(), 20);
    world.until("2026-11-25T02:00:10Z");
    assert!((200..=240).contains(&world.made.len()), "{}", world.made.len());
    world.until("2026-11-25T02:01:00Z");
    assert_eq!(world.made.len(), 1000);
}

#[test]
fn a_newer_run_ends_one_that_was_interrupted() {
    let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 50, Some("1h"));
    world.until("2026-11-25T02:30:00Z");
    let before = world.made.len();
    assert!((1..50).contains(&before));
    world.end(ScanPhase::Completed);
    world.set_clock("2026-11-28T03:00:00Z");
    world.until("2026-11-28T03:01:00Z");
    assert_eq!(world.made.len(), before + 50, "one run is made up for, and not the rest of the old one");
}

#[test]
fn a_place_that_is_too_late_is_left_out() {
    let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 50, Some("1h"));
    world.spec.starting_deadline_seconds = Some(600);
    world.until("2026-11-25T02:10:00Z");
    let before = world.made.len();
    world.set_clock("2026-11-25T02:50:00Z");
    world.until("2026-11-25T03:00:00Z");
    let run = world.status.run.clone().unwrap();
    assert!(run.finished && run.skipped > 10 && run.started > i32::try_from(before).unwrap(), "{run:?}");
    assert_eq!(run.started + run.skipped, 50);
}

#[test]
fn whoever_dies_between_any_two_steps_no_scan_is_made_twice_or_forgotten() {
    for dies in 1..30 {
        for policy in [ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Replace] {
            let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 45, Some("2s"));
            world.spec.concurrency_policy = policy;
            world.spec.successful_scans_history_limit = 0;
            world.until("2026-11-25T01:59:59Z");
            world.dies_after = Some(dies);
            world.until("2026-11-25T02:10:00Z");
            let run = world.status.run.clone().unwrap();
            assert_eq!((world.made.len(), run.finished, run.skipped), (45, true, 0), "dies after {dies}");
            world.end(ScanPhase::Completed);
            world.dies_after = Some(dies);
            world.until("2026-11-26T02:10:00Z");
            assert_eq!((world.made.len(), world.deleted.len()), (90, 45), "dies after {dies}");
        }
    }
}

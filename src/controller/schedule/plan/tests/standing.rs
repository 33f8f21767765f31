//! What a schedule says of itself, and what it clears away.

use super::world::World;
use crate::controller::conditions::{RECONCILING, STALLED, is_true};
use crate::crd::{ConcurrencyPolicy, ScanPhase};

#[test]
fn a_schedule_that_says_nothing_is_stalled_until_it_is_corrected() {
    for (schedule, zone, reason, says) in [
        ("61 * * * *", None, "InvalidSchedule", "is not a cron schedule"),
        ("0 0 30 2 *", None, "ScheduleNeverDue", "never comes due"),
        (
            "@daily",
            Some("Europe/Atlantis"),
            "TimeZoneUnknown",
            "is not a name of the IANA time zone database",
        ),
    ] {
        let mut world = World::new("@daily", "2026-11-24T12:00:00Z");
        let zone = zone.map(str::to_owned);
        (world.spec.schedule, world.spec.time_zone) = (schedule.to_owned(), zone);
        world.object.generation = 2;
        assert_eq!(world.pass(), None, "nothing but an edit helps");
        let (ready, why, message) = world.ready();
        assert!((ready, why) == ("False", reason) && message.contains(says), "{why}: {message}");
        assert!(is_true(&world.status.conditions, STALLED) && world.status.next_schedule_time.is_none());
        assert_eq!(world.status.observed_generation, Some(2));
        (world.spec.schedule, world.spec.time_zone) = ("@daily".to_owned(), None);
        world.pass();
        assert_eq!((world.ready().0, world.ready().1), ("True", "Scheduled"));
        assert!(!is_true(&world.status.conditions, STALLED));
    }
    let mut world = World::new("@daily", "2026-11-24T12:00:00Z");
    world.connectors = Err("Almost is not an operator".to_owned());
    world.pass();
    assert_eq!((world.ready().0, world.ready().1), ("False", "InvalidSpec"));
}

#[test]
fn a_run_waits_for_a_connector_and_says_so() {
    for (selects, reason) in [(false, "ConnectorNotFound"), (true, "NoConnectorMatches")] {
        let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
        if selects {
            world = World::selecting("0 * * * *", "2026-11-24T12:30:00Z", 0, None);
        }
        world.connectors = Ok(Vec::new());
        world.until("2026-11-24T13:10:00Z");
        assert_eq!((world.ready().0, world.ready().1), ("False", reason));
        assert!(is_true(&world.status.conditions, RECONCILING) && world.made.is_empty());
        world.object.request = Some("please".to_owned());
        world.pass();
        assert!(world.made.is_empty());
        world.connectors = Ok(vec!["lake".to_owned()]);
        world.spec.concurrency_policy = ConcurrencyPolicy::Allow;
        world.until("2026-11-24T13:11:00Z");
        assert_eq!(world.made.len(), 2, "the request, and the run that waited");
        assert_eq!((world.ready().0, world.ready().1), ("True", "Scheduled"));
    }
}

#[test]
fn an_object_of_somebody_else_with_the_name_of_a_scan_is_left_alone() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.foreign.insert("nightly-29925420".to_owned());
    world.until("2026-11-24T13:30:00Z");
    assert!(world.made.is_empty());
    let (ready, reason, message) = world.ready();
    assert_eq!((ready, reason), ("False", "ScanNameTaken"));
    assert!(message.contains("Scan nightly-29925420 is there and does not belong"), "{message}");
    world.until("2026-11-24T14:30:00Z");
    assert_eq!((world.made.len(), world.ready().1), (1, "Scheduled"));
}

#[test]
fn a_scan_that_kubernetes_refuses_is_tried_again_and_said() {
    let mut world = World::selecting("0 * * * *", "2026-11-24T12:30:00Z", 3, None);
    world.refuses = Some("exceeded quota: scans".to_owned());
    world.until("2026-11-24T13:05:00Z");
    let (ready, reason, message) = world.ready();
    assert_eq!((ready, reason), ("False", "ScanRefused"));
    assert!(message.contains("exceeded quota: scans"), "{message}");
    let writes = world.writes;
    world.until("2026-11-24T13:15:00Z");
    assert_eq!(world.writes, writes, "said once");
    world.refuses = None;
    world.until("2026-11-24T13:17:00Z");
    assert_eq!((world.made.len(), world.ready().1), (3, "Scheduled"));
}

#[test]
fn of_those_that_ended_the_newest_stay_for_each_connector_and_each_way_to_end() {
    let mut world = World::selecting("0 * * * *", "2026-11-24T12:30:00Z", 2, None);
    for hour in 13..=23 {
        world.until(&format!("2026-11-24T{hour}:10:00Z"));
        world.end(if hour % 3 == 0 { ScanPhase::Failed } else { ScanPhase::Completed });
        world.until(&format!("2026-11-24T{hour}:20:00Z"));
    }
    let count = |completed: bool| {
        world.scans.values().filter(|scan| (scan.phase == ScanPhase::Completed) == completed).count()
    };
    assert_eq!((count(true), count(false)), (6, 2), "three and one of each of two connectors");
    assert!(world.scans.values().all(|scan| scan.created.unwrap().to_string().as_str() >= "2026-11-24T20"));
    assert_eq!(world.status.last_successful_time.unwrap().to_string(), "2026-11-24T23:10:00Z");
    world.spec.successful_scans_history_limit = 0;
    world.spec.failed_scans_history_limit = 0;
    world.pass();
    assert!(world.scans.is_empty());
    assert_eq!(world.status.last_successful_time.unwrap().to_string(), "2026-11-24T23:10:00Z");
}

#[test]
fn what_ended_is_written_down_before_it_goes() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.spec.successful_scans_history_limit = 0;
    world.until("2026-11-24T13:10:00Z");
    world.end(ScanPhase::Completed);
    world.dies_after = Some(1);
    world.pass();
    assert!(world.status.last_successful_time.is_some() && world.scans.len() == 1);
    world.pass();
    assert!(world.scans.is_empty());
}

#[test]
fn many_scans_are_cleared_away_a_batch_at_a_time() {
    let mut world = World::selecting("0 2 * * *", "2026-11-24T12:00:00Z", 50, None);
    world.until("2026-11-25T02:10:00Z");
    world.end(ScanPhase::Failed);
    world.spec.failed_scans_history_limit = 0;
    world.pass();
    assert_eq!(world.deleted.len(), 20);
    world.until("2026-11-25T02:10:05Z");
    assert_eq!(world.deleted.len(), 50);
}

#[test]
fn a_schedule_that_is_being_deleted_does_nothing() {
    let mut world = World::new("0 * * * *", "2026-11-24T12:30:00Z");
    world.object.deleting = true;
    world.set_clock("2026-11-24T13:10:00Z");
    let writes = world.writes;
    assert_eq!(world.pass(), None);
    assert!(world.made.is_empty() && world.writes == writes);
}

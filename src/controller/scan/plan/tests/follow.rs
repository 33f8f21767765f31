//! Following a scan to its end, whatever the API tells of it and however it tells it.

use std::time::Duration;

use connectors_api::wire::ScanState;
use jiff::SignedDuration;

use super::world::{World, fault};
use crate::controller::ledger::SETTLED_AFTER;
use crate::controller::{Blocked, Reason};
use crate::crd::{ScanOptions, ScanPhase};
use crate::remote::FaultKind;

#[test]
fn every_end_has_its_phase_and_its_conditions() {
    for (ends, phase, reason, words) in [
        (
            ScanState::Completed,
            ScanPhase::Completed,
            "Completed",
            "scan-1 is complete: 200 findings in 100 files",
        ),
        (
            ScanState::Failed,
            ScanPhase::Failed,
            "ScanFailed",
            "failed at the API after 100 files: out of memory; make a",
        ),
        (ScanState::Cancelled, ScanPhase::Cancelled, "Cancelled", "was cancelled at the API after 100 files"),
    ] {
        let mut world = World::running();
        (world.lasts, world.ends) = (Some(60), ends.clone());
        if ends == ScanState::Failed {
            world.scans[0].read.message = Some("out of memory".to_owned());
        }
        world.run(&[]);
        world.assert_said(phase, reason, words);
        assert_eq!(world.status.state.as_deref(), Some(ends.as_str()));
        assert_eq!((world.status.files_processed, world.status.findings_count), (Some(100), Some(200)));
        assert_eq!(world.status.duration.as_deref(), Some("1m"));
        assert_eq!(world.status.completion_time, world.scans[0].read.completed_at);
    }
}

#[test]
fn a_terminal_phase_is_final_whatever_is_said_later() {
    for ends in [ScanState::Completed, ScanState::Failed, ScanState::Cancelled] {
        let mut world = World::running();
        (world.lasts, world.ends) = (Some(10), ends);
        world.run(&[]);
        let status = world.status.clone();
        for later in [ScanState::Running, ScanState::Failed, ScanState::Completed] {
            world.scans[0].read.status = later;
            world.scans[0].read.progress.as_mut().unwrap().findings_count = 1_000_000;
            world.crash();
            assert_eq!(world.one_pass(), None);
            assert_eq!(world.status, status);
        }
        world.scans.clear();
        world.connector = Err(Blocked::new(Reason::ConnectorNotFound, "gone"));
        assert_eq!(world.one_pass(), None);
        assert_eq!(world.status, status);
    }
}

#[test]
fn states_before_the_end_are_shown_and_an_unknown_one_is_not_the_end() {
    for (state, phase, reason) in [
        (ScanState::Created, ScanPhase::Queued, "Queued"),
        (ScanState::Queued, ScanPhase::Queued, "Queued"),
        (ScanState::Running, ScanPhase::Running, "Running"),
        (ScanState::from("reticulating"), ScanPhase::Running, "Running"),
        (ScanState::from(""), ScanPhase::Running, "Running"),
    ] {
        let mut world = World::running();
        world.scans[0].read.status = state.clone();
        assert!(world.one_pass().is_some(), "it looks again");
        world.assert_said(phase, reason, "scan-1");
        assert_eq!(world.status.state.as_deref(), Some(state.as_str()));
    }
}

#[test]
fn progress_is_written_when_it_is_news_and_an_estimate_that_moves_by_seconds_is_none() {
    let mut world = World::running();
    let progress = world.scans[0].read.progress.as_mut().unwrap();
    (progress.files_processed, progress.percent_complete) = (30, 30.9);
    progress.estimated_remaining_seconds = Some(300);
    assert_eq!(world.one_pass(), Some(Duration::from_secs(30)), "a tenth of what remains");
    let shown = world.status.progress.clone().unwrap();
    assert_eq!((shown.percent, shown.files_total, shown.files_processed), (Some(30), Some(100), Some(30)));
    let estimate = shown.estimated_completion_time.unwrap();
    world.log.clear();
    for drift in [0, 5, 7, -7] {
        let remaining = estimate.as_second() - world.now.as_second() + drift;
        world.scans[0].read.progress.as_mut().unwrap().estimated_remaining_seconds =
            u64::try_from(remaining).ok();
        world.one_pass();
    }
    assert!(!world.log.contains(&"status".to_owned()), "{:?}", world.log);
    let remaining = estimate.as_second() - world.now.as_second() + 60;
    world.scans[0].read.progress.as_mut().unwrap().estimated_remaining_seconds =
        u64::try_from(remaining).ok();
    world.one_pass();
    assert!(world.log.contains(&"status".to_owned()));
}

#[test]
fn the_wait_between_two_reads_has_a_least_and_a_most() {
    for (remaining, wait) in [(None, 2), (Some(1), 2), (Some(200), 20), (Some(100_000), 60)] {
        let mut world = World::running();
        world.scans[0].read.progress.as_mut().unwrap().estimated_remaining_seconds = remaining;
        assert_eq!(world.one_pass(), Some(Duration::from_secs(wait)), "{remaining:?}");
    }
}

#[test]
fn a_share_outside_of_its_bounds_is_cut() {
    for (share, percent) in [(-3.0, 0), (250.0, 100), (99.99, 99)] {
        let mut world = World::running();
        world.scans[0].read.progress.as_mut().unwrap().percent_complete = share;
        world.one_pass();
        assert_eq!(world.status.progress.as_ref().unwrap().percent, Some(percent));
    }
}

#[test]
fn a_scan_that_is_not_over_in_time_fails_and_one_that_was_over_in_time_does_not() {
    let mut world = World::running();
    world.spec.active_deadline_seconds = Some(600);
    let wait = world.one_pass().unwrap();
    assert_eq!(wait, Duration::from_secs(2));
    world.pass(590);
    assert!(world.one_pass().unwrap() <= Duration::from_secs(10));
    world.assert_said(ScanPhase::Running, "Running", "scan-1");
    world.pass(20);
    world.one_pass();
    let words = "did not end within spec.activeDeadlineSeconds (600); it may go on at the API";
    world.assert_said(ScanPhase::Failed, "DeadlineExceeded", words);
    assert_eq!(world.status.progress.as_ref().unwrap().files_total, Some(100), "what was known is kept");

    let mut over = World::running();
    over.spec.active_deadline_seconds = Some(600);
    over.lasts = Some(60);
    // The operator was away when it ended.
    over.pass(10_000);
    over.run(&[]);
    over.assert_said(ScanPhase::Completed, "Completed", "scan-1 is complete");

    let mut unread = World::running();
    unread.spec.active_deadline_seconds = Some(600);
    unread.down = Some(FaultKind::Unreachable);
    unread.pass(1000);
    unread.run(&[]);
    unread.assert_said(ScanPhase::Failed, "DeadlineExceeded", "did not end within");
}

#[test]
fn an_api_without_the_route_for_scans_is_followed_by_the_connectors_history() {
    for finished_only in [false, true] {
        let mut world = World::new();
        (world.no_route, world.finished_only, world.lasts) = (true, finished_only, Some(600));
        world.one_pass();
        let phase = world.status.phase.unwrap();
        assert!(
            !phase.is_terminal(),
            "what was read before the start proves nothing: {:?}",
            world.said("Ready")
        );
        world.run(&[]);
        world.assert_said(ScanPhase::Completed, "Completed", "scan-1 is complete: 200 findings in 100 files");
        assert_eq!(world.posts.len(), 1);
    }
}

#[test]
fn a_scan_that_nothing_shows_any_more_is_lost_once_it_would_have_to_be_shown() {
    let mut known = World::running();
    known.scans.clear();
    known.one_pass();
    assert!(!known.status.phase.unwrap().is_terminal(), "it was started only just");
    known.pass(i64::try_from(SETTLED_AFTER.as_secs()).unwrap());
    known.run(&[]);
    known.assert_said(
        ScanPhase::Failed,
        "ScanLost",
        "is not in the connector's history; to scan again, make a new Scan",
    );

    // Where neither route nor history ever showed it, a scan may run as long as the API lets it.
    for (minutes, lasts) in [(None, 120), (Some(10), 10)] {
        let mut unseen = World::new();
        (unseen.no_route, unseen.finished_only, unseen.lasts) = (true, true, None);
        unseen.spec.options =
            minutes.map(|n| ScanOptions { timeout_minutes: Some(n), ..ScanOptions::default() });
        let begun = unseen.now;
        unseen.run(&[]);
        unseen.assert_said(ScanPhase::Failed, "ScanLost", "is not in the connector's history");
        let waited = unseen.status.completion_time.unwrap().duration_since(begun);
        assert!(waited >= SignedDuration::from_mins(lasts), "{waited:?}");
        assert!(waited <= SignedDuration::from_mins(lasts + 5), "{waited:?}");
    }
}

#[test]
fn a_connector_that_is_gone_takes_its_scans_with_it() {
    let mut world = World::running();
    (world.no_route, world.connector_gone) = (true, true);
    world.pass(i64::try_from(SETTLED_AFTER.as_secs()).unwrap());
    world.run(&[]);
    world.assert_said(
        ScanPhase::Failed,
        "ScanLost",
        "the connector that scan-1 ran on is not at the API any more",
    );
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
}

#[test]
fn a_connector_that_cannot_be_used_does_not_stop_the_following_of_what_runs() {
    let mut world = World::running();
    world.connector = Err(Blocked::new(Reason::ConnectorNotReady, "is suspended"));
    world.lasts = Some(60);
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
}

#[test]
fn an_api_that_is_away_is_waited_for_and_the_phase_stays() {
    for (kind, reason) in [
        (FaultKind::Unreachable, "ApiUnavailable"),
        (FaultKind::NoAnswer, "ApiUnavailable"),
        (FaultKind::Unauthorized, "Unauthorized"),
        (FaultKind::RateLimited, "RateLimited"),
    ] {
        let mut world = World::running();
        world.down = Some(kind);
        assert_eq!(world.one_pass(), Some(Duration::from_secs(15)));
        world.assert_said(ScanPhase::Running, reason, &fault(kind).message);
        (world.down, world.lasts) = (None, Some(60));
        world.run(&[]);
        world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
    }
}

#[test]
fn an_id_that_no_api_could_have_given_is_never_sent() {
    let mut world = World::running();
    world.status.scan_id = Some("a b/../c".to_owned());
    world.run(&[]);
    world.assert_said(ScanPhase::Failed, "ScanLost", "status.scanId is not an id");
    assert_eq!(world.log, ["status"]);
}

#[test]
fn a_scan_that_is_over_goes_when_its_time_is() {
    for (ttl, crashes) in [(None, &[][..]), (Some(0), &[]), (Some(7200), &[]), (Some(7200), &[1, 2, 3])] {
        let mut world = World::running();
        (world.lasts, world.spec.ttl_seconds_after_finished) = (Some(60), ttl);
        world.run(crashes);
        assert_eq!((world.status.phase, world.expired), (Some(ScanPhase::Completed), ttl.is_some()));
        let stayed = world.now.duration_since(world.status.completion_time.unwrap()).as_secs();
        assert!(ttl.is_none_or(|ttl| (ttl..ttl + 20).contains(&stayed)), "{ttl:?}: {stayed}");
    }
    let mut never_begun = World::new();
    never_begun.connector = Err(Blocked::new(Reason::ConnectorNotFound, "not there"));
    never_begun.spec.starting_deadline_seconds = Some(60);
    never_begun.spec.ttl_seconds_after_finished = Some(30);
    never_begun.run(&[]);
    assert_eq!((never_begun.status.phase, never_begun.expired), (Some(ScanPhase::Failed), true));

    let mut deleting = World::running();
    (deleting.lasts, deleting.spec.ttl_seconds_after_finished) = (Some(1), Some(10));
    while deleting.status.completion_time.is_none() {
        deleting.one_pass();
        deleting.pass(5);
    }
    deleting.object.deleting = true;
    deleting.pass(60);
    assert_eq!((deleting.one_pass(), deleting.expired), (None, false));
}

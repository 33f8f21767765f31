//! From a Scan that was just applied to one that runs, everything that can stand in the way, and a start whose answer was
//! lost.

use std::time::Duration;

use jiff::SignedDuration;

use super::world::{Answer, Step, World, at};
use crate::controller::ledger::{LEASE, SETTLED_AFTER};
use crate::controller::{Blocked, Reason};
use crate::crd::{Claim, ClaimKind, ScanPhase};
use crate::remote::FaultKind;

/// A world in which a POST was sent, and nobody heard what became of it.
fn lost(answer: Answer) -> World {
    let mut world = World::new();
    world.answers = [answer].into();
    world.one_pass();
    world.assert_said(ScanPhase::Pending, "StartOutcomeUnknown", "looking for it in the connector's history");
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1), "the claim stays open");
    world.log.clear();
    world
}

fn settled() -> SignedDuration {
    SignedDuration::try_from(SETTLED_AFTER).unwrap()
}

#[test]
fn a_start_looks_then_claims_then_posts_and_puts_the_id_down_before_all_else() {
    let mut world = World::new();
    world.one_pass();
    let steps = [
        "record",
        "read connector",
        "claim",
        "bind",
        "start",
        "record",
        "annotate",
        "close",
        "read scan",
        "status",
    ];
    assert_eq!(world.log, steps);
    world.assert_said(ScanPhase::Running, "Running", "scan-1 is running");
    assert_eq!(world.status.scan_id.as_deref(), Some("scan-1"));
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    let copy = serde_json::from_str::<serde_json::Value>(world.object.ran.as_ref().unwrap()).unwrap();
    assert_eq!(copy, serde_json::json!({"uid": "uid-1", "id": "scan-1"}));
    assert_eq!(world.ledger.claims, []);
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1 is complete: 200 findings in 100 files");
}

#[test]
fn ready_is_there_from_the_first_touch_before_anything_is_done() {
    let mut world = World::new();
    assert!(matches!(world.step(&mut super::world::Pass::default()), Step::Acted));
    assert_eq!(world.log, ["record"]);
    world.assert_said(
        ScanPhase::Pending,
        "Starting",
        "looking whether the connector is being scanned already",
    );
}

#[test]
fn a_connector_that_cannot_be_scanned_yet_is_waited_for() {
    for reason in [Reason::ConnectorNotFound, Reason::ConnectorNotReady, Reason::Unauthorized] {
        let mut world = World::new();
        let sound = std::mem::replace(&mut world.connector, Err(Blocked::new(reason, "not yet")));
        let soon = Some(Duration::from_mins(1));
        assert_eq!(world.one_pass(), soon, "whoever wakes it may be quicker than the cache");
        world.assert_said(ScanPhase::Pending, reason.as_str(), "not yet");
        assert_eq!(world.log, ["status"], "nothing was asked of the API");
        world.connector = sound;
        world.run(&[]);
        world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
    }
}

#[test]
fn who_waits_longer_than_the_starting_deadline_fails_without_having_begun() {
    let mut world = World::new();
    world.spec.starting_deadline_seconds = Some(100);
    world.connector = Err(Blocked::new(Reason::ConnectorNotReady, "Connector team/lake is not connected"));
    assert_eq!(world.one_pass(), Some(Duration::from_mins(1)));
    world.pass(99);
    assert_eq!(world.one_pass(), Some(Duration::from_secs(1)));
    world.pass(1);
    assert_eq!(world.one_pass(), None);
    let words = "could not begin within spec.startingDeadlineSeconds (100): Connector team/lake is not connected; make a new Scan";
    world.assert_said(ScanPhase::Failed, "StartingDeadlineExceeded", words);
    assert_eq!(world.posts, Vec::<String>::new());

    let mut at_once = World::new();
    at_once.spec.starting_deadline_seconds = Some(0);
    at_once.run(&[]);
    at_once.assert_said(ScanPhase::Completed, "Completed", "scan-1");
}

#[test]
fn a_connector_that_is_being_scanned_is_waited_for() {
    let mut world = World::new();
    world.put("scan-theirs", false);
    assert_eq!(world.one_pass(), Some(Duration::from_secs(15)));
    world.assert_said(ScanPhase::Pending, "ScanAlreadyRunning", "is being scanned already (scan-theirs)");
    assert_eq!(world.posts, Vec::<String>::new());
    world.scans[0].read.status = connectors_api::wire::ScanState::Completed;
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
}

#[test]
fn a_scan_of_another_object_that_is_being_started_is_waited_for() {
    let mut world = World::new();
    world.ledger.claims.push(Claim {
        kind: ClaimKind::Scan,
        namespace: "team".to_owned(),
        name: "other".to_owned(),
        uid: "uid-2".to_owned(),
        member: None,
        nonce: "nonce-other".to_owned(),
        claimed_at: at(0),
        identity: "identity-1".to_owned(),
        subject: "conn-1".to_owned(),
        provider: None,
        config: None,
        known_ids: Vec::new(),
    });
    assert_eq!(world.one_pass(), Some(Duration::from_secs(2)));
    world.assert_said(ScanPhase::Pending, "ScanAlreadyRunning", "waits for Scan team/other");
    world.ledger.claims.clear();
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
}

#[test]
fn a_claim_that_grew_older_than_its_lease_before_the_post_is_renewed() {
    let mut world = World::new();
    let pass = world.until("start");
    world.pass(i64::try_from(LEASE.as_secs()).unwrap());
    world.log.clear();
    world.finish(pass);
    assert_eq!(world.log[..4], ["claim", "bind", "start", "record"]);
    assert_eq!(world.status.scan_id.as_deref(), Some("scan-1"));
}

#[test]
fn a_claim_that_somebody_closed_in_the_middle_of_the_pass_lets_nothing_be_sent() {
    let mut world = World::new();
    let mut pass = world.until("start");
    world.ledger.claims.clear();
    assert!(!matches!(world.step(&mut pass), Step::Acted));
    assert_eq!(world.posts, Vec::<String>::new());
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
}

#[test]
fn what_the_api_refuses_for_good_fails_and_what_may_pass_is_tried_again() {
    for kind in [FaultKind::Refused, FaultKind::NotFound] {
        let mut world = World::new();
        world.answers = [Answer::Refused(kind)].into();
        world.run(&[]);
        world.assert_said(ScanPhase::Failed, "RefusedByApi", "correct what it says in a new Scan");
        assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 0));
    }
    for (kind, reason, words) in [
        (FaultKind::Conflict, "ScanAlreadyRunning", "cannot be scanned at the moment"),
        (FaultKind::Unauthorized, "Unauthorized", "next attempt in 15s"),
        (FaultKind::Forbidden, "Forbidden", "cannot start the scan"),
        (FaultKind::RateLimited, "RateLimited", "next attempt in 15s"),
        (FaultKind::NoPlace, "RateLimited", "next attempt in 15s"),
        (FaultKind::Unreachable, "ApiUnavailable", "next attempt in 15s"),
    ] {
        let mut world = World::new();
        world.answers = [Answer::Refused(kind)].into();
        assert_eq!(world.one_pass(), Some(Duration::from_secs(15)));
        world.assert_said(ScanPhase::Pending, reason, words);
        assert_eq!(world.ledger.claims, []);
        world.run(&[]);
        world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
        assert_eq!(world.posts.len(), 2, "{kind:?}: the refused one had no effect");
    }
}

#[test]
fn a_scan_whose_starts_answer_was_lost_is_found_in_the_history() {
    for answer in [Answer::StartedUnheard, Answer::StartedLate(90)] {
        let mut world = lost(answer);
        world.run(&[]);
        world.assert_said(ScanPhase::Completed, "Completed", "scan-1");
        assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 0));
        assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    }
}

#[test]
fn a_start_of_which_no_trace_appears_fails_and_is_never_sent_again() {
    let mut world = lost(Answer::Unheard);
    let sent = world.now;
    world.run(&[]);
    world.assert_said(
        ScanPhase::Failed,
        "StartOutcomeUnknown",
        "it was not started again, since it may still run",
    );
    assert!(
        world.status.completion_time.unwrap().duration_since(sent)
            >= settled() - SignedDuration::from_secs(3)
    );
    assert_eq!(world.posts.len(), 1);
    assert_eq!(world.ledger.claims, [], "the connector's next scan need not wait for it");
    // Even if it appears after all.
    world.put("scan-late", true);
    let status = world.status.clone();
    world.crash();
    world.one_pass();
    assert_eq!((world.status, world.posts.len()), (status, 1));
}

#[test]
fn several_scans_that_could_be_it_are_named() {
    let mut world = lost(Answer::StartedUnheard);
    world.put("scan-theirs", false);
    world.run(&[]);
    world.assert_said(
        ScanPhase::Failed,
        "StartOutcomeAmbiguous",
        "several scans could be it: scan-1, scan-theirs",
    );
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 0));
}

#[test]
fn scans_that_were_there_before_or_are_older_than_the_claim_are_not_it() {
    for known in [true, false] {
        let mut world = lost(Answer::Unheard);
        world.put("scan-theirs", false);
        if known {
            world.ledger.claims[0].known_ids.push("scan-theirs".to_owned());
        } else {
            world.scans[0].read.started_at = Some(at(-60));
        }
        world.one_pass();
        world.assert_said(ScanPhase::Pending, "StartOutcomeUnknown", "is not in the connector's history yet");
    }
}

#[test]
fn a_history_that_cannot_be_read_is_waited_for_and_a_connector_that_is_gone_shows_nothing() {
    let mut world = lost(Answer::StartedUnheard);
    world.down = Some(FaultKind::NoAnswer);
    world.one_pass();
    world.assert_said(ScanPhase::Pending, "ApiUnavailable", "cannot look for a start whose answer was lost");
    world.pass(1000);
    world.one_pass();
    assert_eq!(world.ledger.claims.len(), 1);
    world.down = None;
    world.run(&[]);
    world.assert_said(ScanPhase::Completed, "Completed", "scan-1");

    let mut gone = lost(Answer::StartedUnheard);
    gone.connector_gone = true;
    gone.run(&[]);
    gone.assert_said(ScanPhase::Failed, "StartOutcomeUnknown", "no trace of the scan was found");
    assert_eq!(gone.posts.len(), 1);
}

#[test]
fn a_restored_copy_is_not_run_again() {
    let mut world = World::new();
    world.object.ran = Some(r#"{"uid":"uid-0","id":"scan-0"}"#.to_owned());
    world.run(&[]);
    world.assert_said(ScanPhase::Failed, "RestoredFromCopy", "is not run again; make a new Scan");
    assert_eq!((world.posts.len(), world.scans.len()), (0, 0));

    // One that was restored with its status follows the scan that it had, and starts none.
    let mut with_status = World::running();
    with_status.object.uid = "uid-2".to_owned();
    with_status.lasts = Some(30);
    with_status.run(&[]);
    with_status.assert_said(ScanPhase::Completed, "Completed", "scan-1");
    assert!(with_status.object.ran.as_ref().unwrap().contains("uid-2"));
    assert_eq!(with_status.posts.len(), 1);
}

#[test]
fn an_object_that_is_being_deleted_starts_nothing() {
    let mut world = World::new();
    world.object.deleting = true;
    assert_eq!(world.one_pass(), None);
    assert_eq!(world.log, Vec::<String>::new());

    let mut started = World::new();
    let pass = started.until("annotate");
    started.object.deleting = true;
    started.log.clear();
    started.finish(pass);
    assert_eq!(started.log, ["close"], "its outcome is recorded: nobody need wait for it");
}

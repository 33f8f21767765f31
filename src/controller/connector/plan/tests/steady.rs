//! A connector that exists: tests, reads, changes at the API, and how old a truth may be.

use std::time::Duration;

use connectors_api::wire::{ConnectorId, ConnectorState, ScanHistoryEntry, ScanId, ScanState};

use super::api::fault;
use super::fixture::{at, not_connected, said, seconds};
use super::world::World;
use crate::controller::{Blocked, Reason};
use crate::crd::Origin;
use crate::remote::FaultKind;

fn history(n: i64) -> ScanHistoryEntry {
    ScanHistoryEntry {
        scan_id: ScanId::parse(format!("scan-{n}")).unwrap(),
        status: ScanState::Completed,
        started_at: Some(at(n)),
        completed_at: Some(at(n + 1)),
        files_processed: 4,
        findings_count: 1,
    }
}

/// A world whose first test failed, and nothing else.
fn failing() -> World {
    let mut world = World::new();
    world.api.tests = std::iter::repeat_with(|| Ok(not_connected())).take(30).collect();
    world.one_pass();
    world
}

#[test]
fn a_failed_test_is_said_and_repeated_from_a_minute_up_to_an_hour_apart() {
    let mut world = failing();
    let words = "the connection test failed: assume_role_denied: the role does not trust this account; the next test is due at";
    world.assert_said("False", "ConnectionTestFailed", "Reconciling", words);
    assert_eq!(said(&world.status, "Connected").0, "False");
    assert_eq!(said(&world.status, "Synced").0, "True", "that the test fails is another matter");
    let mut waits = Vec::new();
    for failures in 1..=10 {
        assert_eq!(world.status.connection_test.as_ref().unwrap().failures, failures);
        let last = world.status.connection_test.as_ref().unwrap().time;
        world.log.clear();
        let mut wait = 0;
        while world.tests_run() == 0 {
            world.pass(5);
            world.one_pass();
            wait += 5;
            assert!(wait < 4000);
        }
        waits.push(world.status.connection_test.as_ref().unwrap().time.duration_since(last).as_secs());
    }
    for (waited, expected) in waits.iter().zip([60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]) {
        assert!((expected..=expected + 8).contains(waited), "{waits:?}");
    }
    world.api.tests.clear();
    world.pass(3600);
    world.run(&[]);
    assert_eq!(world.status.connection_test.as_ref().unwrap().failures, 0);
    world.assert_one_and_ready();
}

#[test]
fn a_pass_that_is_woken_before_the_next_test_is_due_writes_nothing_and_waits_for_the_rest() {
    let mut world = failing();
    world.pass(20);
    let wait = world.one_pass().unwrap();
    world.log.clear();
    world.pass(10);
    assert_eq!(world.one_pass(), Some(wait - Duration::from_secs(10)));
    assert_eq!(world.log, Vec::<String>::new());
}

#[test]
fn a_test_that_is_answered_by_a_refusal_ran_and_failed_and_one_without_an_answer_did_not_run() {
    for kind in [FaultKind::Refused, FaultKind::Conflict] {
        let mut world = World::new();
        world.api.tests = [Err(fault(kind))].into();
        world.one_pass();
        world.assert_said("False", "ConnectionTestFailed", "Reconciling", "the API said");
        assert_eq!(world.status.connection_test.as_ref().unwrap().failures, 1);
    }
    for (kind, reason) in [
        (FaultKind::OutcomeUnknown, "ApiUnavailable"),
        (FaultKind::Forbidden, "Forbidden"),
        (FaultKind::RateLimited, "RateLimited"),
    ] {
        let mut world = World::new();
        world.api.tests = [Err(fault(kind))].into();
        world.one_pass();
        world.assert_said("False", reason, "Reconciling", "cannot run the connection test");
        assert_eq!(world.status.connection_test, None);
        world.run(&[]);
        world.assert_one_and_ready();
    }
}

#[test]
fn a_request_brings_one_test_whatever_comes_of_it() {
    let mut world = World::ready();
    world.object.requested_at = Some("now".to_owned());
    world.run(&[]);
    assert_eq!(world.tests_run(), 1);
    assert_eq!(world.status.last_handled_reconcile_at.as_deref(), Some("now"));
    world.assert_one_and_ready();

    let mut failing = World::ready();
    failing.api.tests = [Ok(not_connected()), Ok(not_connected())].into();
    failing.object.requested_at = Some("now".to_owned());
    failing.one_pass();
    failing.pass(5);
    failing.one_pass();
    assert_eq!(failing.tests_run(), 1, "an answered request is no reason to test again");

    let mut in_error = World::ready();
    in_error.object.requested_at = Some("now".to_owned());
    in_error.api.pinned = Some(ConnectorState::Disconnected);
    in_error.run(&[]);
    assert_eq!(in_error.tests_run(), 1);
    in_error.assert_said("False", "RemoteDisconnected", "Reconciling", "connect it again there");

    let mut away = World::ready();
    away.api.tests = [Err(fault(FaultKind::NoAnswer))].into();
    away.object.requested_at = Some("now".to_owned());
    away.one_pass();
    assert_eq!(away.status.last_handled_reconcile_at, None, "a test that could not run answers nothing");
    away.run(&[]);
    assert_eq!(away.tests_run(), 2);
    away.assert_one_and_ready();
}

#[test]
fn a_request_of_any_length_is_kept_within_what_a_status_may_hold() {
    let mut world = World::ready();
    world.object.requested_at = Some("x".repeat(5000));
    world.run(&[]);
    assert_eq!(world.tests_run(), 1);
    assert_eq!(world.status.last_handled_reconcile_at.as_ref().map(String::len), Some(256));
}

#[test]
fn tests_are_repeated_by_themselves_only_where_the_spec_says_how_often() {
    let mut world = World::ready();
    world.pass(100_000);
    world.run(&[]);
    assert_eq!(world.tests_run(), 0);
    world.edit(|desired| desired.test_interval_seconds = Some(900));
    world.one_pass();
    assert_eq!(world.tests_run(), 1);
    assert_eq!(world.one_pass(), seconds(900));
    world.pass(880);
    world.one_pass();
    assert_eq!(world.tests_run(), 1);
    world.pass(20);
    world.one_pass();
    assert_eq!(world.tests_run(), 2);
}

#[test]
fn what_the_api_says_of_its_state_decides_unless_it_is_only_waiting_for_its_test() {
    for (state, ready, reason, words) in [
        (ConnectorState::Active, "True", "Ready", "connected"),
        (ConnectorState::PendingTest, "True", "Ready", "connected"),
        (ConnectorState::from("indexing"), "True", "Ready", "connected"),
        (ConnectorState::Error, "False", "RemoteError", "look at the provider's credentials"),
        (ConnectorState::Disconnected, "False", "RemoteDisconnected", "connect it again there"),
    ] {
        let mut world = World::ready();
        world.api.connectors[0].item.status = state.clone();
        world.pass(60);
        world.run(&[]);
        let beside = if ready == "True" { "" } else { "Reconciling" };
        world.assert_said(ready, reason, beside, words);
        assert_eq!(world.status.state.as_deref(), Some(state.as_str()));
        world.api.connectors[0].item.status = ConnectorState::Active;
        world.pass(60);
        world.run(&[]);
        world.assert_one_and_ready();
    }
}

#[test]
fn risk_findings_and_history_follow_the_api_and_one_read_is_enough() {
    let mut world = World::ready();
    assert_eq!((world.status.risk_score, world.status.findings_count), (None, Some(0)));
    let item = &mut world.api.connectors[0].item;
    (item.risk_score, item.findings_count, item.last_scan) = (Some(61), 12, Some(at(400)));
    world.api.connectors[0].history = (0..13).map(history).collect();
    world.pass(60);
    world.run(&[]);
    assert_eq!(world.log, ["read", "status"]);
    assert_eq!((world.status.risk_score, world.status.findings_count), (Some(61), Some(12)));
    assert_eq!(world.status.last_scan_time, Some(at(400)));
    let ids = world.status.scan_history.iter().map(|entry| entry.scan_id.as_str()).collect::<Vec<_>>();
    assert_eq!((ids.len(), ids[0], ids[9]), (10, "scan-12", "scan-3"), "the newest first, and bounded");
}

#[test]
fn a_score_of_nothing_before_the_first_scan_is_no_score() {
    let mut world = World::ready();
    world.api.connectors[0].item.risk_score = Some(0);
    world.pass(60);
    world.run(&[]);
    assert_eq!((world.status.risk_score, world.log.len()), (None, 0));
    world.api.connectors[0].item.last_scan = Some(at(500));
    world.pass(60);
    world.run(&[]);
    assert_eq!(world.status.risk_score, Some(0));
}

#[test]
fn ready_goes_when_nothing_was_heard_for_too_long_and_comes_back_with_the_next_list() {
    let mut world = World::ready();
    world.polls = false;
    let trouble = Blocked::new(Reason::ApiUnavailable, "the API at https://api.example cannot be read");
    world.workspace.as_mut().unwrap().trouble = Some(trouble);
    let wait = world.one_pass().expect("it looks again when the truth is too old");
    assert!(wait <= Duration::from_secs(302), "{wait:?}");
    world.assert_one_and_ready();
    world.pass(wait.as_secs() as i64 + 1);
    world.one_pass();
    let words = "nothing was heard of the connector for 5m: the API at https://api.example cannot be read";
    world.assert_said("Unknown", "NotReadRecently", "Reconciling", words);
    assert_eq!(said(&world.status, "Connected").0, "True", "the test was what it was");
    (world.polls, world.workspace) = (true, Ok(super::fixture::workspace()));
    world.pass(1);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn after_a_restart_the_status_stays_as_it_is_until_the_first_list() {
    let mut world = World::ready();
    world.polls = false;
    world.crash();
    assert_eq!(world.one_pass(), seconds(301));
    assert_eq!(world.log, Vec::<String>::new());
    world.pass(250);
    assert_eq!(world.one_pass(), seconds(51));
    world.assert_one_and_ready();
    // No list came: it is asked for by itself.
    world.pass(60);
    world.one_pass();
    assert_eq!(world.log, ["read"]);
    world.assert_one_and_ready();

    let mut away = World::ready();
    away.polls = false;
    away.crash();
    away.workspace.as_mut().unwrap().trouble = Some(Blocked::new(Reason::ApiUnavailable, "away"));
    away.pass(302);
    away.one_pass();
    away.assert_said("Unknown", "NotReadRecently", "Reconciling", "for 5m: away");
}

#[test]
fn a_workspace_that_is_still_looked_at_after_a_restart_changes_nothing_for_as_long_as_a_truth_holds() {
    let not_looked_at =
        || Blocked::new(Reason::WorkspaceNotReady, "ClusterWorkspace default is being looked at");
    let mut world = World::ready();
    world.crash();
    let sound = std::mem::replace(&mut world.workspace, Err(not_looked_at()));
    assert_eq!(world.one_pass(), seconds(301));
    assert_eq!(world.log, Vec::<String>::new());
    world.pass(301);
    world.one_pass();
    world.assert_said("Unknown", "NotReadRecently", "Reconciling", "is being looked at");
    world.workspace = sound;
    world.pass(1);
    world.run(&[]);
    world.assert_one_and_ready();

    let mut new = World::new();
    new.workspace = Err(not_looked_at());
    new.one_pass();
    new.assert_said("False", "WorkspaceNotReady", "Reconciling", "is being looked at");
}

#[test]
fn a_workspace_that_cannot_be_used_is_said_and_what_was_known_is_kept() {
    let mut world = World::ready();
    let before = world.status.clone();
    let sound = std::mem::replace(
        &mut world.workspace,
        Err(Blocked::new(Reason::WorkspaceNotFound, "ClusterWorkspace default is not there")),
    );
    world.run(&[]);
    world.assert_said("False", "WorkspaceNotFound", "Reconciling", "is not there");
    assert_eq!(
        (world.status.connector_id.clone(), world.status.sent.clone()),
        (before.connector_id, before.sent)
    );
    assert_eq!(said(&world.status, "Synced").0, "True", "nothing new is known about it");
    world.edit(|desired| desired.max_risk_score = Some(5));
    world.one_pass();
    assert_eq!(said(&world.status, "Synced").0, "Unknown", "nobody compared this generation");
    world.workspace = sound;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_suspended_connector_is_read_and_neither_tested_nor_made_again() {
    let mut world = World::ready();
    world.edit(|desired| {
        desired.suspend = true;
        desired.test_interval_seconds = Some(900);
    });
    world.pass(2000);
    world.api.connectors[0].item.findings_count = 5;
    world.api.connectors[0].history.push(history(0));
    world.pass(60);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!((world.status.findings_count, world.tests_run()), (Some(5), 0));
    world.vanish();
    world.pass(60);
    world.run(&[]);
    world.assert_said("False", "RemoteMissing", "", "it is not made again: spec.suspend is set");
    assert_eq!((world.posts.len(), world.status.connector_id.as_deref()), (1, Some("conn-1")));
    world.edit(|desired| (desired.suspend, desired.test_interval_seconds) = (false, None));
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn finalizer_and_copy_that_somebody_took_off_come_back() {
    let mut world = World::ready();
    (world.object.finalizer, world.object.copy) = (false, Some("{}".to_owned()));
    world.run(&[]);
    assert_eq!(world.log, ["finalizer", "annotate"]);
    let mut copy = serde_json::from_str::<serde_json::Value>(world.object.copy.as_ref().unwrap()).unwrap();
    assert_eq!(copy["seal"].take().as_str().map(str::len), Some(32));
    let expected = serde_json::json!({
        "id": "conn-1", "origin": Origin::Created, "identity": "identity-1", "object": "team/lake", "uid": "uid-1",
        "seal": null,
    });
    assert_eq!(copy, expected);
    assert!(ConnectorId::parse("conn-1").is_ok());
}

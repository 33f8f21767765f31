//! What a status says, and that it is written only when it says something new.

use connectors_api::wire::ConnectorState;

use super::api::{Answer, fault};
use super::fixture::{at, not_connected, other_role, request, said};
use super::world::World;
use crate::controller::{Blocked, Reason};
use crate::crd::ReplacePolicy;
use crate::remote::FaultKind;

/// A world in every state that an object can stay in.
fn resting() -> Vec<(&'static str, World)> {
    let mut worlds = vec![("ready", World::ready())];
    let mut add = |what, mut world: World, change: &dyn Fn(&mut World)| {
        change(&mut world);
        worlds.push((what, world));
    };
    let unavailable = || Blocked::new(Reason::ApiUnavailable, "away");
    add("refused", World::new(), &|it| it.api.answers = [Answer::Refused(FaultKind::Refused)].into());
    add("conflict", World::new(), &|it| it.api.answers = [Answer::Refused(FaultKind::Conflict)].into());
    add("exists", World::new(), &|it| {
        let same = request(it.desired.as_ref().unwrap(), "x").create;
        it.api.put("conn-theirs", &same, it.now);
    });
    add("ambiguous", World::new(), &|it| {
        it.api.answers = [Answer::CreatedUnheard].into();
        it.one_pass();
        let same = request(it.desired.as_ref().unwrap(), "x").create;
        it.api.put("conn-theirs", &same, it.now);
    });
    add("invalid", World::new(), &|it| it.desired = Err(Blocked::new(Reason::InvalidSpec, "wrong")));
    add("no secret", World::new(), &|it| it.secret = Err(Blocked::new(Reason::SecretNotFound, "none")));
    add("no workspace", World::ready(), &|it| it.workspace = Err(unavailable()));
    add("away", World::new(), &|it| it.api.down = Some(FaultKind::Unreachable));
    add("suspended", World::new(), &|it| it.edit(|desired| desired.suspend = true));
    add("suspended later", World::ready(), &|it| it.edit(|desired| desired.suspend = true));
    add("other key", World::ready(), &|it| {
        it.rotate("identity-2");
        it.api.empty_lists = true;
    });
    add("error", World::ready(), &|it| it.api.connectors[0].item.status = ConnectorState::Error);
    add("outdated", World::ready(), &|it| {
        it.scanned = true;
        it.secret = Ok("canary-rotated".to_owned());
    });
    add("required", World::ready(), &|it| {
        it.scanned = true;
        it.edit(other_role);
    });
    add("consented", World::ready(), &|it| it.edit(|desired| desired.replace = ReplacePolicy::Recreate));
    add("unheard", World::ready(), &|it| {
        it.polls = false;
        it.workspace.as_mut().unwrap().trouble = Some(unavailable());
        it.pass(1000);
    });
    add("risky", World::ready(), &|it| it.edit(|desired| desired.max_risk_score = Some(10)));
    add("asked", World::ready(), &|it| it.object.requested_at = Some("now".to_owned()));
    add("held", World::deleting(), &|it| it.workspace = Err(unavailable()));
    worlds
}

#[test]
fn at_rest_nothing_is_written_and_nothing_changed_at_the_api() {
    for (what, mut world) in resting() {
        world.run(&[]);
        let (status, ledger) = (world.status.clone(), world.ledger.claims.clone());
        world.log.clear();
        for _ in 0..10 {
            world.pass(61);
            world.one_pass();
        }
        let changes = world.log.iter().filter(|word| !matches!(word.as_str(), "list" | "read"));
        assert_eq!(changes.count(), 0, "{what}: {:?}", world.log);
        assert_eq!((world.status, world.ledger.claims), (status, ledger), "{what}");
    }
}

#[test]
fn a_restart_at_rest_changes_nothing_either() {
    for (what, mut world) in resting() {
        world.run(&[]);
        let status = world.status.clone();
        world.log.clear();
        world.crash();
        world.run(&[]);
        let changes = world.log.iter().filter(|word| !matches!(word.as_str(), "list" | "read"));
        assert_eq!(changes.count(), 0, "{what}: {:?}", world.log);
        assert_eq!(world.status, status, "{what}");
    }
}

#[test]
fn every_verdict_has_a_ready_a_reason_a_message_and_at_most_one_of_reconciling_and_stalled() {
    for (what, mut world) in resting() {
        world.run(&[]);
        let (truth, reason, message) = said(&world.status, "Ready");
        assert!(!truth.is_empty() && !reason.is_empty() && !message.is_empty(), "{what}");
        let beside = ["Reconciling", "Stalled"].map(|kind| said(&world.status, kind).0);
        assert!(beside.contains(&"") && !beside.contains(&"False"), "{what}: {beside:?}");
        assert!(truth != "True" || beside == ["", ""], "{what}: {beside:?}");
        for condition in &world.status.conditions {
            assert!(!condition.message.contains("canary"), "{what}");
            assert!(condition.message.chars().count() <= 901, "{what}");
        }
    }
}

#[test]
fn a_transition_time_moves_only_with_its_status() {
    let mut world = World::ready();
    let before = world.status.conditions.clone();
    world.api.connectors[0].item.findings_count = 4;
    world.pass(60);
    world.run(&[]);
    assert_eq!(world.status.conditions, before);
    world.api.tests = [Ok(not_connected())].into();
    world.object.requested_at = Some("now".to_owned());
    world.one_pass();
    let moved = |kind: &str| {
        let find = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
            conditions.iter().find(|it| it.type_ == kind).unwrap().last_transition_time.clone()
        };
        find(&world.status.conditions) != find(&before)
    };
    assert!(moved("Ready") && moved("Connected") && !moved("Synced"));
}

#[test]
fn the_risk_is_held_against_its_limit_and_does_not_touch_ready() {
    let mut world = World::ready();
    assert_eq!(said(&world.status, "RiskAcceptable").0, "");
    world.edit(|desired| desired.max_risk_score = Some(40));
    world.run(&[]);
    assert_eq!(said(&world.status, "RiskAcceptable").1, "NotScanned");
    for (score, truth, reason, words) in [
        (40, "True", "RiskAcceptable", "the risk score 40 is not above spec.maxRiskScore 40"),
        (41, "False", "RiskTooHigh", "the risk score 41 is above spec.maxRiskScore 40"),
    ] {
        let item = &mut world.api.connectors[0].item;
        (item.risk_score, item.last_scan) = (Some(score), Some(at(100)));
        world.pass(60);
        world.run(&[]);
        assert_eq!(said(&world.status, "RiskAcceptable"), (truth, reason, words));
        world.assert_one_and_ready();
    }
    world.edit(|desired| desired.max_risk_score = None);
    world.run(&[]);
    assert_eq!(said(&world.status, "RiskAcceptable").0, "");
}

#[test]
fn a_message_of_a_failed_test_is_bounded() {
    let mut world = World::new();
    let long = "ü".repeat(3000);
    let outcome = connectors_api::wire::TestOutcome { message: Some(long), ..not_connected() };
    world.api.tests = [Ok(outcome)].into();
    world.one_pass();
    let kept = world.status.connection_test.as_ref().unwrap().message.as_ref().unwrap();
    assert_eq!(kept.chars().count(), 400);
}

#[test]
fn how_long_an_api_asks_to_wait_is_how_long_it_is_left_alone() {
    let mut world = World::ready();
    let patient = crate::remote::Fault {
        retry_after: Some(std::time::Duration::from_secs(77)),
        ..fault(FaultKind::RateLimited)
    };
    world.api.tests = [Err(patient)].into();
    world.object.requested_at = Some("now".to_owned());
    assert_eq!(world.one_pass(), super::fixture::seconds(77));
    world.assert_said("False", "RateLimited", "Reconciling", "next attempt in 1m17s");
}

//! From an object that was just applied to a connector that is ready, and everything that can stand in the way.

use std::time::Duration;

use super::api::Answer;
use super::fixture::{other_role, request, said, seconds};
use super::world::{Step, World};
use crate::controller::ledger::LEASE;
use crate::controller::{Blocked, Reason};
use crate::crd::{Claim, ClaimKind, CreateBucket};
use crate::remote::FaultKind;

/// A way in which something is missing.
type Break = fn(&mut World, Blocked);

/// The claim of another object for that name.
fn foreign_claim(world: &World, uid: &str, subject: &str) -> Claim {
    Claim {
        kind: ClaimKind::Connector,
        namespace: "other".to_owned(),
        name: "theirs".to_owned(),
        uid: uid.to_owned(),
        member: None,
        nonce: format!("nonce-{uid}"),
        claimed_at: world.now,
        identity: "identity-1".to_owned(),
        subject: subject.to_owned(),
        provider: None,
        config: None,
        known_ids: Vec::new(),
    }
}

#[test]
fn a_create_looks_then_takes_finalizer_and_claim_then_posts_and_puts_the_id_down_before_all_else() {
    let mut world = World::new();
    world.one_pass();
    let steps = [
        "record",
        "list",
        "finalizer",
        "claim",
        "bind",
        "create",
        "record",
        "annotate",
        "close",
        "test",
        "read",
        "status",
    ];
    assert_eq!(world.log, steps);
    world.assert_one_and_ready();
    world.assert_said("True", "Ready", "", "7 objects in 1 bucket");
    assert_eq!(said(&world.status, "Synced").0, "True");
    assert_eq!(said(&world.status, "Connected").0, "True");
}

#[test]
fn ready_is_there_from_the_first_touch_before_anything_is_done() {
    let mut world = World::new();
    assert!(matches!(world.step(&mut super::world::Pass::default()), Step::Acted));
    assert_eq!(world.log, ["record"]);
    world.assert_said("False", "Creating", "Reconciling", "looking whether it is at the API already");
    assert_eq!(world.status.observed_generation, Some(1));
    assert_eq!(said(&world.status, "Synced").0, "False");
}

#[test]
fn a_claim_that_grew_older_than_its_lease_before_the_post_is_renewed_and_takes_no_second_slot() {
    let mut world = World::new();
    let pass = world.until("create");
    world.now += jiff::SignedDuration::try_from(LEASE).unwrap();
    world.log.clear();
    world.finish(pass);
    assert_eq!(world.log[..4], ["claim", "bind", "create", "record"]);
    assert_eq!(world.ledger.creates.iter().map(|bucket| bucket.count).sum::<u32>(), 1);
    world.assert_one_and_ready();
}

#[test]
fn what_is_sent_is_what_was_claimed_even_when_the_spec_changes_between_the_two() {
    let mut world = World::new();
    let pass = world.until("create");
    world.edit(other_role);
    world.finish(pass);
    world.run(&[]);
    world.assert_one_and_ready();
    let role = world.api.connectors[0].item.config["role_arn"].as_str().unwrap();
    assert!(role.ends_with("Corrected"), "{role}");
}

#[test]
fn a_claim_that_somebody_closed_in_the_middle_of_the_pass_lets_nothing_be_sent() {
    let mut world = World::new();
    let mut pass = world.until("create");
    world.ledger.claims.clear();
    assert!(matches!(world.step(&mut pass), Step::Wrote(Some(_)) | Step::Quiet(Some(_))));
    assert_eq!(world.posts, []);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_refusal_holds_until_the_spec_the_secret_or_a_request_changes_something() {
    for (kind, reason, advice) in [
        (FaultKind::Conflict, "NameConflict", "give the connector another spec.displayName"),
        (FaultKind::Refused, "RefusedByApi", "correct the spec"),
        (FaultKind::NotFound, "RefusedByApi", "correct the spec"),
    ] {
        let stalled = || {
            let mut world = World::new();
            world.api.answers = [Answer::Refused(kind)].into();
            world.run(&[]);
            world.assert_said("False", reason, "Stalled", advice);
            assert_eq!((world.posts.len(), world.ours().len(), world.ledger.claims.len()), (1, 0, 0));
            world
        };
        let mut edited = stalled();
        edited.edit(other_role);
        let mut rotated = stalled();
        rotated.secret = Ok("canary-rotated".to_owned());
        let mut requested = stalled();
        requested.object.requested_at = Some("2026-01-01T00:00:00Z".to_owned());
        for mut world in [edited, rotated, requested] {
            world.run(&[]);
            assert_eq!(world.posts.len(), 2);
            world.assert_one_and_ready();
        }
    }
}

#[test]
fn what_may_pass_by_itself_is_waited_for_and_tried_again() {
    for (kind, reason, words, wait) in [
        (
            FaultKind::Unauthorized,
            "Unauthorized",
            "put a valid key into the workspace's Secret team/api-key (key apiKey)",
            300,
        ),
        (FaultKind::Forbidden, "Forbidden", "the key's role does not suffice", 300),
        (FaultKind::RateLimited, "RateLimited", "next attempt in 30s", 30),
        (FaultKind::NoPlace, "RateLimited", "it waits for its turn", 30),
        (FaultKind::Unreachable, "ApiUnavailable", "next attempt in 30s", 30),
    ] {
        let mut world = World::new();
        world.api.answers = [Answer::Refused(kind)].into();
        assert_eq!(world.one_pass(), seconds(wait), "{kind:?}");
        world.assert_said("False", reason, "Reconciling", words);
        assert_eq!(world.ledger.claims, [], "a claim never waits");
        world.run(&[]);
        world.assert_one_and_ready();
    }
}

#[test]
fn a_connector_that_stands_in_the_way_is_named_and_left_alone() {
    let mut world = World::new();
    let same = request(world.desired.as_ref().unwrap(), "theirs");
    world.api.put("conn-theirs", &same.create, world.now);
    assert_eq!(world.one_pass(), seconds(300));
    world.assert_said(
        "False",
        "AlreadyExists",
        "Stalled",
        "(conn-theirs), and none was created: set spec.connectorId",
    );
    assert_eq!((world.posts.len(), world.object.finalizer), (0, false), "nothing was begun");
    // What stands in the way may belong to another object of this cluster.
    world.taken.insert("conn-theirs".to_owned());
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn another_name_or_another_config_does_not_stand_in_the_way() {
    let mut world = World::new();
    let mut other = request(world.desired.as_ref().unwrap(), "theirs").create;
    other.name = "team.pond".to_owned();
    world.api.put("conn-a", &other, world.now);
    let mut elsewhere = world.desired.clone().unwrap();
    other_role(&mut elsewhere);
    world.api.put("conn-b", &request(&elsewhere, "theirs").create, world.now);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.posts[0].known_ids, ["conn-b"], "who bore the name already stands in the claim");
}

#[test]
fn nothing_is_created_on_the_strength_of_a_list_that_is_suddenly_short() {
    let mut world = World::new();
    for n in 0..8 {
        let mut other = request(world.desired.as_ref().unwrap(), "x").create;
        other.name = format!("other-{n}");
        world.api.put(&format!("conn-other-{n}"), &other, world.now);
    }
    world.pass(1);
    world.api.empty_lists = true;
    assert_eq!(world.one_pass(), seconds(300));
    world.assert_said("False", "ApiUnavailable", "Reconciling", "lists 0 connectors where there were 8");
    assert_eq!(world.posts, []);
    world.api.empty_lists = false;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn an_api_that_is_away_is_waited_for() {
    let mut world = World::new();
    world.api.down = Some(FaultKind::Unreachable);
    assert_eq!(world.one_pass(), seconds(30));
    world.assert_said("False", "ApiUnavailable", "Reconciling", "cannot read the list of connectors");
    world.api.down = None;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_create_waits_for_the_hour_and_says_when_its_turn_comes() {
    let mut world = World::new();
    world.creates_per_hour = 1;
    let minute = |second: i64| super::fixture::at(second - second.rem_euclid(60));
    world.ledger.creates = vec![CreateBucket { minute: minute(-600), count: 1 }];
    let wait = world.one_pass().unwrap();
    let told = world.status.next_create_time.unwrap();
    assert_eq!(told, minute(3060));
    let expected = Duration::try_from(told.duration_since(world.now)).unwrap();
    assert!(wait.abs_diff(expected) <= Duration::from_secs(2), "{wait:?} {expected:?}");
    let words = format!("(spec.rateLimits.createsPerHour); the next one is free at {told}");
    world.assert_said("False", "WaitingForQuota", "Reconciling", &words);
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (0, 0), "a claim never waits for quota");

    // The turn moves by a minute: nothing is written. By more: it is.
    let shifted = |world: &mut World, by: i64| {
        world.ledger.creates = vec![CreateBucket { minute: minute(-600 + by), count: 1 }];
        world.log.clear();
        world.one_pass();
        world.log.iter().any(|word| word == "status")
    };
    assert!(!shifted(&mut world, 60), "{:?}", world.log);
    assert!(!shifted(&mut world, -60), "{:?}", world.log);
    assert_eq!(world.status.next_create_time, Some(told));
    assert!(shifted(&mut world, 120));
    assert_eq!(world.status.next_create_time, Some(minute(3180)));

    world.pass(i64::try_from(wait.as_secs()).unwrap() + 200);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.status.next_create_time, None, "it is told only while it waits");
}

#[test]
fn a_name_that_another_object_is_creating_under_is_waited_for() {
    let mut world = World::new();
    let theirs = foreign_claim(&world, "uid-2", "team.lake");
    world.ledger.claims.push(theirs);
    assert_eq!(world.one_pass(), seconds(2));
    world.assert_said("False", "Creating", "Reconciling", "waits for other/theirs");
    assert_eq!(world.posts, []);
    world.ledger.claims.clear();
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn too_many_creates_under_way_are_waited_for() {
    let mut world = World::new();
    for n in 0..256 {
        let claim = foreign_claim(&world, &format!("uid-{n}-x"), &format!("name-{n}"));
        world.ledger.claims.push(claim);
    }
    assert_eq!(world.one_pass(), seconds(10));
    world.assert_said("False", "Creating", "Reconciling", "waits until other creates in the workspace");
    assert_eq!(world.posts, []);
}

#[test]
fn whatever_is_missing_is_said_and_nothing_is_sent() {
    let retry = |reason, message: &str| Blocked {
        retry: Some(Duration::from_secs(60)),
        ..Blocked::new(reason, message)
    };
    let no_secret =
        || Blocked::new(Reason::SecretNotFound, "Secret team/s is not there: create it with the key k");
    let bad_value =
        || Blocked::new(Reason::SecretValueInvalid, "the value under k in Secret team/s is empty");
    let no_workspace = || Blocked::new(Reason::WorkspaceNotFound, "ClusterWorkspace default is not there");
    let not_allowed = || Blocked::new(Reason::NamespaceNotAllowed, "does not allow namespace team");
    let forbidden = || retry(Reason::SecretForbidden, "the operator may not read Secret team/s");
    let breaks: [(Break, Blocked, Option<Duration>); 5] = [
        (|world, blocked| world.secret = Err(blocked), no_secret(), None),
        (|world, blocked| world.secret = Err(blocked), bad_value(), None),
        (|world, blocked| world.secret = Err(blocked), forbidden(), seconds(60)),
        (|world, blocked| world.workspace = Err(blocked), no_workspace(), None),
        (|world, blocked| world.workspace = Err(blocked), not_allowed(), None),
    ];
    for (break_it, blocked, requeue) in breaks {
        let mut world = World::new();
        break_it(&mut world, blocked.clone());
        assert_eq!(world.one_pass(), requeue);
        world.assert_said("False", blocked.reason.as_str(), "Reconciling", &blocked.message);
        assert_eq!(world.log, ["status"], "nothing was asked of the API");
        assert!(!world.object.finalizer, "nothing is at the API that deletion would have to wait for");
        let sound = World::new();
        (world.secret, world.workspace) = (sound.secret, sound.workspace);
        world.run(&[]);
        world.assert_one_and_ready();
    }
}

#[test]
fn a_spec_that_is_not_valid_is_stalled_with_what_is_wrong() {
    let mut world = World::new();
    let message = "set exactly one of spec.aws, spec.gcp and spec.azure";
    let sound = std::mem::replace(&mut world.desired, Err(Blocked::new(Reason::InvalidSpec, message)));
    assert_eq!(world.one_pass(), None);
    world.assert_said("False", "InvalidSpec", "Stalled", message);
    assert_eq!(world.log, ["status"]);
    (world.desired, world.object.generation) = (sound, 2);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_suspended_object_is_not_created_and_that_is_as_it_should_be() {
    let mut world = World::new();
    world.edit(|desired| desired.suspend = true);
    assert_eq!(world.one_pass(), None);
    world.assert_said("False", "Suspended", "", "not created: spec.suspend is set");
    assert_eq!((world.posts.len(), world.object.finalizer), (0, false));
    world.edit(|desired| desired.suspend = false);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn an_id_that_no_api_could_have_given_is_never_sent() {
    let mut world = World::new();
    world.status.connector_id = Some("a b/../c".to_owned());
    world.one_pass();
    world.assert_said("False", "InvalidSpec", "Stalled", "status.connectorId is not an id");
    assert_eq!(world.log, ["status"]);
}

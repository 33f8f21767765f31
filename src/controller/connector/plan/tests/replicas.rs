//! What one replica may close, refuse and take back while another one that thinks that it leads may be about to send.

use jiff::SignedDuration;

use super::api::Answer;
use super::fixture::{desired, object, request, workspace};
use super::world::{Pass, Step, World};
use crate::controller::ledger::{LEASE, SETTLED_AFTER};
use crate::crd::{Claim, ClaimKind, WorkspaceKey, WorkspaceKind};

fn settled() -> SignedDuration {
    SignedDuration::try_from(SETTLED_AFTER).unwrap()
}

/// A claim that another replica opened for the object just now.
fn foreign(world: &World) -> Claim {
    let request = request(&desired(), "x");
    Claim {
        kind: ClaimKind::Connector,
        namespace: object().namespace,
        name: object().name,
        uid: object().uid,
        member: None,
        nonce: "of-the-other".to_owned(),
        claimed_at: world.now,
        identity: workspace().identity,
        subject: request.create.name.clone(),
        provider: Some("aws".to_owned()),
        config: serde_json::to_string(&request.readable).ok(),
        known_ids: Vec::new(),
    }
}

#[test]
fn a_claim_that_another_replica_may_still_use_is_left_alone_though_the_connector_is_known() {
    let mut world = World::ready();
    let claim = foreign(&world);
    let begun = world.now;
    world.ledger.claims.push(claim);
    let wait = world.one_pass().unwrap();
    assert!(wait <= SETTLED_AFTER, "{wait:?}");
    assert_eq!((world.ledger.claims.len(), world.log.contains(&"close".to_owned())), (1, false));
    world.assert_said("True", "Ready", "", "");
    world.run(&[]);
    assert_eq!(world.ledger.claims, []);
    assert!(world.now.duration_since(begun) >= settled());
    world.assert_one_and_ready();
}

#[test]
fn the_claim_that_led_to_the_connector_is_closed_at_once_by_whoever_finds_it_open() {
    let mut world = World::new();
    let pass = world.until("close");
    assert_eq!(world.status.claim.as_ref(), Some(&world.ledger.claims[0].nonce));
    drop(pass);
    world.crash();
    world.log.clear();
    world.one_pass();
    assert_eq!((world.log[0].as_str(), world.ledger.claims.len()), ("close", 0), "{:#?}", world.log);
}

#[test]
fn a_claim_that_was_renewed_counts_as_new_to_whoever_waits_for_its_end() {
    let mut world = World::new();
    world.api.answers = [Answer::Unheard].into();
    world.one_pass();
    world.one_pass();
    world.now += settled() - SignedDuration::from_secs(5);
    world.ledger.claims[0].claimed_at = world.now;
    for _ in 0..8 {
        world.pass(10);
        world.one_pass();
        assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1), "{:#?}", world.log);
    }
    world.run(&[]);
    assert_eq!(world.posts.len(), 2);
    world.assert_one_and_ready();
}

#[test]
fn the_nonce_is_in_the_status_while_a_create_may_be_under_way_and_no_longer() {
    let mut world = World::new();
    world.api.answers = [Answer::Unheard].into();
    world.one_pass();
    let nonce = world.ledger.claims[0].nonce.clone();
    assert_eq!(world.status.claim.as_ref(), Some(&nonce));
    world.edit(|desired| desired.suspend = true);
    world.one_pass();
    assert_eq!(world.status.claim.as_ref(), Some(&nonce), "its outcome is not known yet");
    world.run(&[]);
    assert_eq!((world.ledger.claims.len(), world.status.claim.clone()), (0, None));
    world.edit(|desired| desired.suspend = false);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.status.claim.as_ref(), Some(&world.posts[1].nonce), "the one that it was made under");
}

#[test]
fn after_a_renewal_the_nonce_is_written_again_before_anything_is_sent() {
    let mut world = World::new();
    let mut pass = world.until("create");
    world.now += SignedDuration::try_from(LEASE).unwrap();
    assert!(matches!(world.step(&mut pass), Step::Acted));
    world.log.clear();
    world.finish(pass);
    assert_eq!(world.log[..2], ["bind", "create"]);
}

/// A create whose answer was lost, and a spec that names another workspace since.
fn moved(answer: Answer) -> World {
    let mut world = World::new();
    world.api.answers = [answer].into();
    world.one_pass();
    let named = WorkspaceKey {
        kind: WorkspaceKind::Workspace,
        namespace: Some("team".to_owned()),
        name: "other".to_owned(),
    };
    world.status.claim = None;
    world.elsewhere = Some((world.ledger.claims[0].nonce.clone(), named));
    world.log.clear();
    world
}

#[test]
fn a_create_that_was_begun_in_another_workspace_than_the_spec_names_is_found_there_and_nothing_else_is_made()
{
    let mut world = moved(Answer::CreatedUnheard);
    for _ in 0..20 {
        world.one_pass();
        world.pass(60);
    }
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1));
    world.assert_said(
        "False",
        "CreateOutcomeUnknown",
        "Stalled",
        "a create was begun in ClusterWorkspace default and had an effect before spec.workspaceRef named Workspace team/other",
    );
    // The spec names it again.
    world.elsewhere = None;
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.posts.len(), 1);
}

#[test]
fn a_create_that_was_begun_elsewhere_is_deleted_with_its_object_and_forgotten_where_it_had_no_effect() {
    let mut world = moved(Answer::CreatedUnheard);
    world.object.deleting = true;
    world.run(&[]);
    assert!(world.released && world.ours().is_empty(), "{:#?}", world.log);
    assert_eq!(world.ledger.claims, []);

    let mut world = moved(Answer::Unheard);
    let begun = world.now;
    world.run(&[]);
    assert_eq!(world.posts.len(), 2, "in the workspace that the spec names");
    assert!(world.posts[1].claimed_at.duration_since(begun) >= settled() - SignedDuration::from_secs(3));
    world.assert_one_and_ready();
}

#[test]
fn what_changed_between_claim_and_nonce_is_heeded_before_anything_is_sent() {
    let mut world = World::new();
    let mut pass: Pass = world.until("bind");
    world.object.deleting = true;
    world.log.clear();
    for _ in 0..8 {
        if world.released {
            break;
        }
        world.step(&mut pass);
    }
    assert_eq!(world.log, ["close", "release"]);
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (0, 0));
}

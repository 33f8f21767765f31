//! A create whose answer was lost: found, made again when it cannot appear any more, or left to a person who can tell.

use std::time::Duration;

use jiff::SignedDuration;

use super::api::Answer;
use super::fixture::{other_role, request, said};
use super::world::{Pass, Step, World};
use crate::controller::ledger::{CLOCK_DIFFERENCE, SETTLED_AFTER};
use crate::controller::{Blocked, Reason};
use crate::remote::FaultKind;

/// A world in which a POST was sent, and nobody heard what became of it.
fn lost(answer: Answer) -> World {
    let mut world = World::new();
    world.api.answers = [answer].into();
    world.one_pass();
    world.assert_said("False", "CreateOutcomeUnknown", "Reconciling", "looking for it in the list");
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1), "the claim stays open");
    world.log.clear();
    world
}

fn settled() -> SignedDuration {
    SignedDuration::try_from(SETTLED_AFTER).unwrap()
}

#[test]
fn a_connector_whose_creates_answer_was_lost_is_found_and_not_made_again() {
    let mut world = lost(Answer::CreatedUnheard);
    world.run(&[]);
    assert_eq!(world.posts.len(), 1);
    assert_eq!(world.log[..4], ["list", "record", "annotate", "close"]);
    world.assert_one_and_ready();
    assert_eq!(world.ledger.lost_creates, []);
    assert!(world.status.sent.is_some(), "what it was given is taken from today");
}

#[test]
fn one_that_is_listed_only_late_is_waited_for() {
    let mut world = lost(Answer::CreatedLate(100));
    world.one_pass();
    world.assert_said("False", "CreateOutcomeUnknown", "Reconciling", "is not listed yet");
    world.run(&[]);
    assert_eq!(world.posts.len(), 1);
    world.assert_one_and_ready();
}

#[test]
fn one_that_cannot_appear_any_more_is_made_again_and_not_before() {
    let mut world = lost(Answer::Unheard);
    let sent_at = world.now;
    world.run(&[]);
    assert_eq!(world.posts.len(), 2);
    assert!(world.posts[1].claimed_at.duration_since(sent_at) >= settled() - SignedDuration::from_secs(3));
    assert_ne!(world.posts[0].nonce, world.posts[1].nonce);
    world.assert_one_and_ready();
    let lost = world.ledger.lost_creates.iter().map(|claim| &claim.nonce).collect::<Vec<_>>();
    assert_eq!(lost, [&world.posts[0].nonce], "what it may still make is looked out for");
}

#[test]
fn a_list_that_was_begun_before_the_time_was_over_proves_nothing_when_it_ends_after_it() {
    let mut world = lost(Answer::CreatedLate(SETTLED_AFTER.as_secs() as i64));
    // First sight of the claim in this process is the last pass's end.
    let mut pass = Pass::default();
    world.observe(&mut pass);
    world.now += settled() - SignedDuration::from_secs(10);
    // The list is begun ten seconds too early, and takes a minute to read.
    world.log.clear();
    assert!(matches!(world.step(&mut pass), Step::Acted));
    assert_eq!(world.log, ["list"]);
    world.now += SignedDuration::from_secs(60);
    assert!(!matches!(world.step(&mut pass), Step::Acted), "nothing may follow from it: {:?}", world.log);
    world.run(&[]);
    assert_eq!(world.posts.len(), 1);
    world.assert_one_and_ready();
}

#[test]
fn the_time_begins_anew_for_a_process_that_sees_the_claim_for_the_first_time() {
    let mut world = lost(Answer::Unheard);
    world.now += SignedDuration::from_secs(100);
    world.crash();
    let restarted = world.now;
    world.run(&[]);
    assert!(world.posts[1].claimed_at.duration_since(restarted) >= settled());
    world.assert_one_and_ready();
}

#[test]
fn several_that_could_be_it_are_named_and_one_of_them_is_taken_when_the_spec_says_which() {
    let mut world = lost(Answer::CreatedUnheard);
    let twin = request(world.desired.as_ref().unwrap(), "x").create;
    world.api.put("conn-twin", &twin, world.now);
    world.run(&[]);
    world.assert_said(
        "False",
        "CreateOutcomeAmbiguous",
        "Stalled",
        "(conn-1, conn-twin): set spec.connectorId",
    );
    assert_eq!(
        (world.posts.len(), world.ledger.claims.len(), world.status.connector_id.as_ref()),
        (1, 1, None)
    );

    world.edit(|desired| desired.connector_id = Some("conn-other".to_owned()));
    world.one_pass();
    world.assert_said("False", "CreateOutcomeAmbiguous", "Stalled", "conn-1");

    world.edit(|desired| desired.connector_id = Some("conn-1".to_owned()));
    world.run(&[]);
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 0));
    assert_eq!(said(&world.status, "Ready").0, "True");
}

#[test]
fn several_are_one_again_when_the_others_are_deleted() {
    let mut world = lost(Answer::CreatedUnheard);
    let twin = request(world.desired.as_ref().unwrap(), "x").create;
    world.api.put("conn-twin", &twin, world.now);
    world.one_pass();
    world.api.connectors.retain(|it| it.ours);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn what_was_there_before_or_belongs_to_others_or_is_older_than_the_claim_is_not_it() {
    let early = SignedDuration::try_from(CLOCK_DIFFERENCE).unwrap() + SignedDuration::from_secs(5);
    for case in ["known", "taken", "older", "name", "config"] {
        let mut world = lost(Answer::Unheard);
        let mut twin = request(world.desired.as_ref().unwrap(), "x").create;
        let mut made = world.now;
        match case {
            "known" => world.ledger.claims[0].known_ids.push("conn-twin".to_owned()),
            "taken" => drop(world.taken.insert("conn-twin".to_owned())),
            "older" => made = world.ledger.claims[0].claimed_at - early,
            "name" => twin.name = "team.pond".to_owned(),
            _ => {
                let mut other = world.desired.clone().unwrap();
                other_role(&mut other);
                twin = request(&other, "x").create;
            }
        }
        world.api.put("conn-twin", &twin, made);
        world.one_pass();
        world.assert_said("False", "CreateOutcomeUnknown", "Reconciling", "is not listed yet");
        assert_eq!(world.status.connector_id, None, "{case}");
    }
}

#[test]
fn clocks_may_differ_by_the_allowed_time_and_an_api_may_not_say_when() {
    let allowed = SignedDuration::try_from(CLOCK_DIFFERENCE).unwrap();
    for shift in [Some(-allowed), Some(allowed), None] {
        let mut world = lost(Answer::CreatedUnheard);
        let claimed_at = world.ledger.claims[0].claimed_at;
        world.api.connectors[0].item.created_at = shift.map(|shift| claimed_at + shift);
        world.run(&[]);
        assert_eq!(world.posts.len(), 1, "{shift:?}");
        world.assert_one_and_ready();
    }
}

#[test]
fn a_list_that_is_suddenly_short_does_not_let_it_be_made_again() {
    let mut world = lost(Answer::CreatedUnheard);
    for n in 0..8 {
        let mut other = request(world.desired.as_ref().unwrap(), "x").create;
        other.name = format!("other-{n}");
        world.api.put(&format!("conn-other-{n}"), &other, world.now);
    }
    world.pass(1);
    world.api.empty_lists = true;
    for _ in 0..20 {
        let wait = world.one_pass().unwrap_or(Duration::from_secs(15));
        world.pass(wait.as_secs() as i64);
    }
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1));
    world.api.empty_lists = false;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_list_that_cannot_be_read_is_waited_for() {
    let mut world = lost(Answer::CreatedUnheard);
    world.api.down = Some(FaultKind::NoAnswer);
    world.one_pass();
    world.assert_said(
        "False",
        "ApiUnavailable",
        "Reconciling",
        "cannot look for a create whose answer was lost",
    );
    world.pass(600);
    world.one_pass();
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1));
    world.api.down = None;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn it_is_found_by_its_claim_whatever_the_spec_says_by_now() {
    let mut edited = lost(Answer::CreatedUnheard);
    edited.edit(other_role);
    edited.run(&[]);
    edited.assert_one_and_ready();
    assert_eq!(edited.posts.len(), 2, "it was found, and then replaced as the spec says");

    let mut invalid = lost(Answer::CreatedUnheard);
    invalid.desired = Err(Blocked::new(Reason::InvalidSpec, "no provider"));
    invalid.object.generation = 2;
    invalid.run(&[]);
    assert_eq!(invalid.status.connector_id.as_deref(), Some("conn-1"));
    assert_eq!(invalid.ledger.claims, [], "its outcome is recorded");
    invalid.assert_said("False", "InvalidSpec", "Stalled", "no provider");

    let mut suspended = lost(Answer::CreatedUnheard);
    suspended.edit(|desired| desired.suspend = true);
    suspended.run(&[]);
    assert_eq!(suspended.status.connector_id.as_deref(), Some("conn-1"), "what was begun is finished");
    assert_eq!(suspended.ledger.claims, []);

    let mut nothing = lost(Answer::Unheard);
    nothing.edit(|desired| desired.suspend = true);
    nothing.run(&[]);
    nothing.assert_said("False", "Suspended", "", "not created");
    assert_eq!((nothing.posts.len(), nothing.ledger.claims.len()), (1, 0));
}

#[test]
fn nothing_is_made_again_on_the_strength_of_a_list_that_another_key_brought() {
    let mut world = lost(Answer::CreatedUnheard);
    world.rotate("identity-2");
    world.api.empty_lists = true;
    world.run(&[]);
    world.assert_said("False", "IdentityChanged", "Reconciling", "put the old key back");
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 1));
    world.rotate("identity-1");
    world.api.empty_lists = false;
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_new_key_that_shows_the_connector_is_a_key_of_the_same_workspace() {
    let mut world = lost(Answer::CreatedUnheard);
    world.rotate("identity-2");
    world.run(&[]);
    assert_eq!(world.posts.len(), 1);
    world.assert_one_and_ready();
    assert_eq!(world.status.identity.as_deref(), Some("identity-2"));
}

//! Somebody changes the object while something is under way for it. Whatever was sent by then, the last word counts, and one
//! connector is left, which is what that word asks for.

use connectors_api::wire::ConnectorId;

use super::api::Answer;
use super::fixture::{not_connected, other_role, request};
use super::world::World;
use crate::controller::connector::observed::Watched;
use crate::crd::ReplacePolicy;

type Beginning = (&'static str, fn() -> World);
type Change = (&'static str, fn(&mut World));

const ANSWERS: [Answer; 2] = [Answer::Created, Answer::CreatedLate(60)];

/// What is under way.
const BEGINNINGS: [Beginning; 3] = [
    ("create", World::new),
    ("recreate", || {
        let mut world = World::ready();
        world.edit(other_role);
        world
    }),
    ("create first", || {
        let mut world = World::ready();
        world.scanned = true;
        world.edit(|desired| {
            other_role(desired);
            desired.replace = ReplacePolicy::CreateFirst;
        });
        world
    }),
];

/// What somebody does meanwhile.
const CHANGES: [Change; 6] = [
    ("edited", to_the_pond),
    ("renamed", |world| world.edit(|desired| desired.name = "renamed".to_owned())),
    ("rotated", |world| world.secret = Ok("canary-rotated".to_owned())),
    ("asked again", |world| world.object.requested_at = Some("now".to_owned())),
    ("consented otherwise", |world| world.edit(|desired| desired.replace = ReplacePolicy::Recreate)),
    ("suspended for a while", |world| {
        world.edit(|desired| desired.suspend = true);
        world.run(&[]);
        world.edit(|desired| desired.suspend = false);
    }),
];

fn to_the_pond(world: &mut World) {
    world.edit(|desired| desired.scope.buckets = vec!["pond".to_owned()]);
}

/// Calls this with every beginning, after each of its steps, with every answer to its create.
fn in_the_middle(check: impl Fn(&str, World)) {
    for (what, begin) in BEGINNINGS {
        for answer in ANSWERS {
            let make = || {
                let mut world = begin();
                world.api.answers = [answer].into();
                world
            };
            for moment in 1..=make().run(&[]) {
                let mut world = make();
                world.run_until(moment);
                check(&format!("{what}, {answer:?}, after {moment}"), world);
            }
        }
    }
}

fn assert_as_asked(world: &mut World, story: String) {
    world.log.push(story);
    world.run(&[]);
    world.assert_one_and_ready();
    let secret = world.secret.clone().unwrap();
    let asked = request(world.desired.as_ref().unwrap(), &secret);
    let alive = world.api.alive(world.now).next().unwrap().item.clone();
    assert_eq!((alive.name, alive.config), (asked.create.name, asked.readable), "{:#?}", world.log);
    assert_eq!(world.status.sent, Some(asked.sent), "{:#?}", world.log);
}

#[test]
fn the_last_word_counts_whatever_was_sent_by_then() {
    for (word, change) in CHANGES {
        in_the_middle(|story, mut world| {
            change(&mut world);
            assert_as_asked(&mut world, format!("{story}: {word}"));
        });
    }
}

#[test]
fn a_spec_that_is_edited_and_edited_back_is_what_it_was() {
    for pause in [0, 3] {
        in_the_middle(|story, mut world| {
            let first = world.desired.clone();
            to_the_pond(&mut world);
            world.run_until(pause);
            world.desired = first;
            world.object.generation += 1;
            assert_as_asked(&mut world, format!("{story}: edited and {pause} steps later edited back"));
        });
    }
}

#[test]
fn one_that_is_only_observed_from_then_on_is_let_go_when_what_was_begun_has_ended() {
    in_the_middle(|story, mut world| {
        // Whichever is left has to be named; the other name is refused, or waited for in vain.
        for id in ["conn-1", "conn-2"] {
            world.observing = Some(Watched { id: ConnectorId::parse(id).unwrap(), max_risk_score: None });
            world.object.observe = true;
            world.desired.as_mut().unwrap().connector_id = Some(id.to_owned());
            world.object.generation += 1;
            world.run(&[]);
        }
        let alive = world.api.alive(world.now).count();
        assert!(alive <= 1, "{story}: {:#?}", world.log);
        let unclaimed = world.ledger.claims.is_empty() && world.status.replacement.is_none();
        assert!(unclaimed, "{story}: {:#?} {:#?}", world.status, world.log);
    });
}

#[test]
fn a_new_one_that_is_being_tested_is_tested_at_once_where_somebody_asks() {
    let mut world = BEGINNINGS[2].1();
    world.api.tests = [Ok(not_connected()), Ok(not_connected())].into();
    world.one_pass();
    assert_eq!(world.tests_run(), 1);
    world.object.requested_at = Some("again".to_owned());
    world.one_pass();
    assert_eq!(world.tests_run(), 2);
    assert_eq!(world.status.last_handled_reconcile_at.as_deref(), Some("again"));
    world.one_pass();
    assert_eq!(world.tests_run(), 2, "a request serves once");
    world.run(&[]);
    world.assert_one_and_ready();
}

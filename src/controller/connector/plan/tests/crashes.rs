//! A death between any two steps, and twice, with every outcome of the POST and of the DELETE: exactly one connector for the
//! object, or none where it was refused; and nothing left to do afterwards.
//!
//! What must never happen on the way, the world checks at each effect: a POST without finalizer or claim, a second one under
//! a claim or beside a living connector, a claim that is closed before its outcome is put down, a deletion that nobody asked
//! for, an object let go while something of it is at the API.

use super::api::{Answer, Deletion};
use super::fixture::other_role;
use super::world::World;
use crate::crd::ReplacePolicy;
use crate::remote::FaultKind;

pub(super) const ANSWERS: [Answer; 12] = [
    Answer::Created,
    Answer::CreatedUnheard,
    Answer::CreatedLate(5),
    Answer::CreatedLate(110),
    Answer::Unheard,
    Answer::Refused(FaultKind::Refused),
    Answer::Refused(FaultKind::Unauthorized),
    Answer::Refused(FaultKind::Forbidden),
    Answer::Refused(FaultKind::NotFound),
    Answer::Refused(FaultKind::Conflict),
    Answer::Refused(FaultKind::RateLimited),
    Answer::Refused(FaultKind::Unreachable),
];

pub(super) const DELETIONS: [Deletion; 7] = [
    Deletion::Done,
    Deletion::DoneUnheard,
    Deletion::Unheard,
    Deletion::Later(40),
    Deletion::Refused(FaultKind::Conflict),
    Deletion::Refused(FaultKind::RateLimited),
    Deletion::Refused(FaultKind::Unauthorized),
];

/// Runs `make`'s world without a crash, with one after each step, and, where `twice`, with two after each pair of steps, and
/// has each result checked.
pub(super) fn everywhere(what: &str, twice: bool, make: impl Fn() -> World, check: impl Fn(&World)) {
    let mut calm = make();
    let steps = calm.run(&[]);
    rest(&mut calm, what, &check);
    assert!(steps >= 3, "{what}: the story is too short to tell anything: {:#?}", calm.log);
    for first in 1..=steps {
        let mut once = make();
        let longer = once.run(&[first]);
        rest(&mut once, &format!("{what}, dead after step {first}"), &check);
        for second in (first + 1..=longer).filter(|_| twice) {
            let mut again = make();
            again.run(&[first, second]);
            rest(&mut again, &format!("{what}, dead after steps {first} and {second}"), &check);
        }
    }
}

/// The result is as it should be, and ten more looks change nothing.
fn rest(world: &mut World, what: &str, check: &impl Fn(&World)) {
    println!("{what}");
    check(world);
    let (done, status) = (world.log.len(), world.status.clone());
    for _ in 0..10 {
        world.pass(61);
        if !world.released {
            world.one_pass();
        }
    }
    let since = world.log[done..].iter().filter(|word| !matches!(word.as_str(), "list" | "read"));
    assert_eq!(since.count(), 0, "{what}: {:#?}", &world.log[done..]);
    assert_eq!(world.status, status, "{what}");
}

#[test]
fn a_create_ends_with_one_connector_or_none_where_it_was_refused() {
    for answer in ANSWERS {
        let make = || {
            let mut world = World::new();
            world.api.answers = [answer].into();
            world
        };
        everywhere(&format!("create, {answer:?}"), true, make, |world| {
            let final_word = matches!(
                answer,
                Answer::Refused(FaultKind::Refused | FaultKind::NotFound | FaultKind::Conflict)
            );
            if final_word && world.posts.len() == 1 {
                world.assert_said("False", &world.reason(), "Stalled", "");
                assert_eq!((world.ours().len(), world.ledger.claims.len()), (0, 0));
            } else {
                world.assert_one_and_ready();
            }
        });
    }
}

#[test]
fn two_answers_lost_in_a_row_still_end_with_one_connector() {
    for first in [Answer::CreatedUnheard, Answer::CreatedLate(60), Answer::Unheard] {
        for second in [Answer::CreatedUnheard, Answer::CreatedLate(60), Answer::Unheard] {
            let mut world = World::new();
            world.api.answers = [first, second].into();
            world.run(&[]);
            world.assert_one_and_ready();
        }
    }
}

#[test]
fn steps_that_take_long_change_nothing_about_it() {
    for pace in [0, 4, 14] {
        for answer in [Answer::Created, Answer::CreatedUnheard, Answer::Unheard, Answer::CreatedLate(30)] {
            let make = || {
                let mut world = World::new();
                world.pace = pace;
                world.api.answers = [answer].into();
                world
            };
            let what = format!("create, {answer:?}, {pace} s a step");
            everywhere(&what, false, make, World::assert_one_and_ready);
        }
    }
}

#[test]
fn a_deletion_ends_with_nothing_at_the_api() {
    for deletion in DELETIONS {
        let make = || {
            let mut world = World::deleting();
            world.api.deletions = [deletion].into();
            world
        };
        everywhere(&format!("delete, {deletion:?}"), true, make, |world| {
            assert!(world.released && world.ours().is_empty(), "{:#?}", world.log);
            assert_eq!(world.ledger.claims, []);
        });
    }
}

#[test]
fn an_object_that_is_deleted_at_any_moment_of_its_creation_leaves_nothing_behind() {
    for answer in ANSWERS {
        let mut steps = World::new();
        steps.api.answers = [answer].into();
        let longest = steps.run(&[]);
        for moment in 1..=longest {
            let make = || {
                let mut world = World::new();
                world.api.answers = [answer].into();
                world.run_until(moment);
                world.object.deleting = true;
                world
            };
            let mut world = make();
            let length = world.run(&[]);
            for crash in 0..=length {
                let mut world = make();
                world.run(&[crash]);
                let what = format!("{answer:?}, deleted after {moment}, dead after {crash}");
                assert!(world.released || !world.object.finalizer, "{what}: {:#?}", world.log);
                assert_eq!(world.ours(), Vec::<String>::new(), "{what}: {:#?}", world.log);
                assert!(world.ledger.claims.is_empty(), "{what}: {:#?}", world.log);
            }
        }
    }
}

#[test]
fn a_replacement_ends_with_the_new_connector_alone() {
    for answer in ANSWERS {
        for deletion in DELETIONS {
            let make = || {
                let mut world = World::ready();
                world.api.answers = [answer].into();
                world.api.deletions = [deletion].into();
                world.edit(|desired| {
                    other_role(desired);
                    desired.replace = ReplacePolicy::Recreate;
                });
                world
            };
            // Nothing that one request leaves behind matters to the other: each is varied while the other is ordinary, or lost.
            let lost =
                [(Answer::CreatedUnheard, Deletion::DoneUnheard), (Answer::Unheard, Deletion::Unheard)];
            let ordinary = answer == Answer::Created || deletion == Deletion::Done;
            if !ordinary && !lost.contains(&(answer, deletion)) {
                continue;
            }
            let twice =
                lost.contains(&(answer, deletion)) || (answer, deletion) == (Answer::Created, Deletion::Done);
            everywhere(&format!("replace, {answer:?}, {deletion:?}"), twice, make, |world| {
                let final_word = matches!(
                    answer,
                    Answer::Refused(FaultKind::Refused | FaultKind::NotFound | FaultKind::Conflict)
                );
                if final_word && world.posts.len() == 2 {
                    assert_eq!((world.ours().len(), world.ledger.claims.len()), (0, 0));
                } else {
                    world.assert_one_and_ready();
                    let role = world.api.alive(world.now).next().unwrap().item.config["role_arn"].to_string();
                    assert!(role.contains("Corrected"), "{role}");
                }
            });
        }
    }
}

#[test]
fn an_object_that_is_deleted_at_any_moment_of_a_replacement_leaves_nothing_behind() {
    for answer in [Answer::Created, Answer::CreatedUnheard, Answer::Unheard, Answer::CreatedLate(60)] {
        let make = |moment: usize| {
            let mut world = World::ready();
            world.api.answers = [answer].into();
            world.edit(other_role);
            world.run_until(moment);
            world.object.deleting = true;
            world
        };
        for moment in 1..14 {
            let mut world = make(moment);
            world.run(&[]);
            assert!(world.released && world.ours().is_empty(), "{moment}: {:#?}", world.log);
            assert!(world.ledger.claims.is_empty(), "{moment}: {:#?}", world.log);
        }
    }
}

#[test]
fn a_connector_that_vanished_is_made_again_once() {
    let make = || {
        let mut world = World::ready();
        world.vanish();
        world.pass(60);
        world
    };
    everywhere("deleted out of band", true, make, World::assert_one_and_ready);
    for answer in [Answer::CreatedUnheard, Answer::Unheard, Answer::CreatedLate(100)] {
        let make = || {
            let mut world = make();
            world.api.answers = [answer].into();
            world
        };
        everywhere(&format!("deleted out of band, {answer:?}"), true, make, World::assert_one_and_ready);
    }
}

//! A replacement that makes the new connector first: with every answer to its requests, and dead between any two steps, it ends
//! with one connector, which is the new one where that connects, and the old one otherwise.

use super::api::{Answer, Deletion, fault};
use super::crashes::{ANSWERS, DELETIONS, everywhere};
use super::fixture::{not_connected, other_role, request, said};
use super::world::World;
use crate::crd::{ReplacePolicy, ReplacementPhase};
use crate::remote::FaultKind;

/// A scanned connector whose spec was edited, with consent to a replacement that makes the new one first.
fn edited() -> World {
    let mut world = World::ready();
    world.scanned = true;
    world.edit(|desired| {
        other_role(desired);
        desired.replace = ReplacePolicy::CreateFirst;
    });
    world
}

/// The same, whose new connector does not connect.
fn refused_by_the_provider() -> World {
    let mut world = edited();
    world.api.tests = std::iter::repeat_n(Ok(not_connected()), 4).collect();
    world
}

fn role(world: &World) -> String {
    world.api.alive(world.now).next().unwrap().item.config["role_arn"].to_string()
}

fn assert_kept_the_old_one(world: &World, words: &str) {
    assert_eq!(world.ours(), ["conn-1"], "{:#?}", world.log);
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    assert_eq!((&world.status.replacement, world.ledger.claims.len()), (&None, 0));
    world.assert_said("False", "ReplacementFailed", "Stalled", words);
    assert_eq!(said(&world.status, "Synced").1, "ReplacementFailed");
    assert_eq!(said(&world.status, "Connected").0, "True", "the old one still connects");
}

#[test]
fn the_new_one_is_made_and_tested_before_the_old_one_goes() {
    let mut world = edited();
    world.run(&[]);
    let steps = [
        "list", "claim", "record", "bind", "create", "record", "close", "test", "record", "record",
        "annotate", "delete", "confirm", "record", "read", "status",
    ];
    assert_eq!(world.log, steps);
    world.assert_one_and_ready();
    assert_eq!((world.ours(), world.posts.len()), (vec!["conn-2".to_owned()], 2));
    assert_eq!(world.status.scan_history, [], "the old one's history is not the new one's");
}

#[test]
fn each_phase_stands_in_the_status_with_every_id_before_its_effect() {
    let mut world = edited();
    let mut pass = world.until("create");
    let begun = world.status.replacement.clone().unwrap();
    assert_eq!(
        (begun.phase, begun.old_id.as_str(), &begun.new_id),
        (ReplacementPhase::CreatingFirst, "conn-1", &None)
    );
    world.assert_said("False", "Replacing", "Reconciling", "a new connector is being created");
    for (steps, phase, connector) in
        [(2, ReplacementPhase::Testing, "conn-1"), (4, ReplacementPhase::Switched, "conn-2")]
    {
        for _ in 0..steps {
            world.step(&mut pass);
        }
        let now = world.status.replacement.clone().unwrap();
        assert_eq!((now.phase, now.new_id.as_deref()), (phase, Some("conn-2")), "{:#?}", world.log);
        assert_eq!(world.status.connector_id.as_deref(), Some(connector));
    }
    assert_eq!(world.ours(), ["conn-1", "conn-2"], "the switch is recorded before anything is deleted");
}

#[test]
fn one_that_does_not_connect_is_deleted_and_the_old_one_kept_until_something_changes() {
    let mut world = refused_by_the_provider();
    world.one_pass();
    world.assert_said("False", "Replacing", "Reconciling", "conn-2 does not connect yet: assume_role_denied");
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    world.run(&[]);
    assert_kept_the_old_one(&world, "conn-2 did not connect in 4 tests: assume_role_denied");
    assert_eq!((world.tests_run(), world.posts.len()), (4, 2));

    // Asked again, it is tried again, and once.
    world.api.tests = std::iter::repeat_n(Ok(not_connected()), 5).collect();
    world.object.requested_at = Some("again".to_owned());
    world.run(&[]);
    assert_eq!(world.posts.len(), 3);
    world.api.tests.clear();
    world.run(&[]);
    assert_eq!((world.posts.len(), world.ours()), (3, vec!["conn-1".to_owned()]), "a request serves once");

    // A corrected Secret too.
    world.secret = Ok("canary-corrected".to_owned());
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!((world.posts.len(), world.ours()), (4, vec!["conn-4".to_owned()]));
    assert_eq!(world.status.failed_replacement, None);
}

#[test]
fn a_failed_replacement_is_over_when_the_spec_is_reverted_or_consents_to_another_way() {
    let mut reverted = refused_by_the_provider();
    let before = World::ready().desired;
    reverted.run(&[]);
    reverted.desired = before;
    reverted.object.generation += 1;
    reverted.run(&[]);
    reverted.assert_one_and_ready();
    assert_eq!((reverted.posts.len(), reverted.ours()), (2, vec!["conn-1".to_owned()]));
    assert_eq!(reverted.status.failed_replacement, None);

    let mut recreated = refused_by_the_provider();
    recreated.run(&[]);
    recreated.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    recreated.run(&[]);
    recreated.assert_one_and_ready();
    assert_eq!(recreated.ours(), ["conn-3"]);
}

#[test]
fn a_name_that_is_taken_keeps_the_old_one_and_says_which_policy_helps() {
    let mut world = edited();
    world.api.answers = [Answer::Refused(FaultKind::Conflict)].into();
    world.run(&[]);
    assert_kept_the_old_one(
        &world,
        "takes no second connector of that name: set spec.replacePolicy to Recreate",
    );
    assert_eq!(world.posts.len(), 2);
    world.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn an_edit_under_way_leads_to_what_the_last_spec_says_whoever_dies_and_with_the_creates_answer_lost() {
    let before = World::ready().desired.unwrap();
    for reverted in [false, true] {
        for moment in (1..=14).step_by(2) {
            let make = || {
                let mut world = edited();
                world.api.answers = [Answer::CreatedUnheard].into();
                world.run_until(moment);
                world.edit(|desired| {
                    if reverted {
                        desired.source = before.source.clone();
                    } else {
                        desired.scope.buckets.push("pond".to_owned());
                    }
                });
                world
            };
            for crash in 0..=make().run(&[]) {
                let mut world = make();
                world.log.push(format!("reverted: {reverted}, after {moment}, dead after {crash}"));
                world.run(&[crash]);
                world.assert_one_and_ready();
                let alive = world.api.alive(world.now).next().unwrap();
                let wanted = request(world.desired.as_ref().unwrap(), "x").readable;
                assert_eq!(alive.item.config, wanted, "{:#?}", world.log);
            }
        }
    }
}

#[test]
fn it_ends_with_the_new_one_alone_whatever_becomes_of_its_requests_and_whoever_dies() {
    for answer in ANSWERS {
        for deletion in DELETIONS {
            let make = || {
                let mut world = edited();
                world.api.answers = [answer].into();
                world.api.deletions = [deletion].into();
                world
            };
            let lost =
                [(Answer::CreatedUnheard, Deletion::DoneUnheard), (Answer::Unheard, Deletion::Unheard)];
            let ordinary = answer == Answer::Created || deletion == Deletion::Done;
            if !ordinary && !lost.contains(&(answer, deletion)) {
                continue;
            }
            let twice = (answer, deletion) == (Answer::CreatedUnheard, Deletion::DoneUnheard);
            everywhere(&format!("create first, {answer:?}, {deletion:?}"), twice, make, |world| {
                let final_word = matches!(
                    answer,
                    Answer::Refused(FaultKind::Refused | FaultKind::NotFound | FaultKind::Conflict)
                );
                if final_word && world.posts.len() == 2 {
                    assert_kept_the_old_one(world, "was not created");
                } else {
                    world.assert_one_and_ready();
                    assert!(role(world).contains("Corrected"), "{}", role(world));
                }
            });
        }
    }
}

#[test]
fn a_roll_back_ends_with_the_old_one_alone_whatever_becomes_of_its_requests_and_whoever_dies() {
    for deletion in DELETIONS {
        let make = || {
            let mut world = refused_by_the_provider();
            world.api.deletions = [deletion].into();
            world
        };
        everywhere(&format!("roll back, {deletion:?}"), deletion == Deletion::DoneUnheard, make, |world| {
            // A test whose outcome died with the operator counts for nothing, and the next one may pass.
            if world.api.tests.is_empty() && world.ours() != ["conn-1"] {
                world.assert_one_and_ready();
            } else {
                assert_kept_the_old_one(world, "did not connect");
            }
        });
    }
}

#[test]
fn a_test_that_cannot_run_is_repeated_and_one_that_the_api_refuses_counts_as_failed() {
    let mut down = edited();
    down.api.tests = std::iter::repeat_n(Err(fault(FaultKind::Unreachable)), 9).collect();
    down.one_pass();
    down.assert_said("False", "ApiUnavailable", "Reconciling", "cannot test the new connector");
    down.run(&[]);
    down.assert_one_and_ready();
    assert_eq!(down.ours(), ["conn-2"]);
    for kind in [FaultKind::Refused, FaultKind::Conflict, FaultKind::NotFound] {
        let mut world = edited();
        world.api.tests = std::iter::repeat_n(Err(fault(kind)), 4).collect();
        world.run(&[]);
        assert_kept_the_old_one(&world, "did not connect in 4 tests");
    }
}

#[test]
fn a_rotated_secret_keeps_the_connector_ready_where_the_new_one_fails() {
    let mut world = World::ready();
    world.scanned = true;
    world.edit(|desired| desired.replace = ReplacePolicy::CreateFirst);
    world.secret = Ok("canary-rotated".to_owned());
    world.api.tests = std::iter::repeat_n(Ok(not_connected()), 4).collect();
    world.run(&[]);
    assert_eq!(said(&world.status, "Ready").0, "True", "{:#?}", world.log);
    let (truth, reason, message) = said(&world.status, "Synced");
    assert_eq!((truth, reason), ("False", "CredentialsOutdated"));
    assert!(
        message.contains("did not connect in 4 tests") && message.contains("credentials-acknowledged"),
        "{message}"
    );
    assert_eq!(world.ours(), ["conn-1"]);
}

#[test]
fn an_object_that_is_deleted_at_any_moment_of_it_leaves_neither_behind() {
    for answer in [Answer::Created, Answer::CreatedUnheard, Answer::Unheard, Answer::CreatedLate(60)] {
        for fails in [false, true] {
            let base = || {
                let mut world = if fails { refused_by_the_provider() } else { edited() };
                world.api.answers = [answer].into();
                world
            };
            let longest = base().run(&[]);
            for moment in 1..=longest {
                let make = || {
                    let mut world = base();
                    world.run_until(moment);
                    world.object.deleting = true;
                    world
                };
                let length = if answer == Answer::CreatedUnheard && !fails { make().run(&[]) } else { 0 };
                for crash in 0..=length {
                    let mut world = make();
                    world.run(&[crash]);
                    let what =
                        format!("{answer:?}, fails {fails}, deleted after {moment}, dead after {crash}");
                    assert!(world.released && world.ours().is_empty(), "{what}: {:#?}", world.log);
                    assert!(world.ledger.claims.is_empty(), "{what}: {:#?}", world.log);
                }
            }
        }
    }
}

#[test]
fn suspend_alone_pauses_it_and_it_goes_on_where_it_was() {
    for moment in 1..=14 {
        let mut world = edited();
        world.run_until(moment);
        world.edit(|desired| desired.suspend = true);
        world.run(&[]);
        let (posts, ours) = (world.posts.len(), world.ours());
        world.pass(7200);
        world.run(&[]);
        assert_eq!((world.posts.len(), world.ours()), (posts, ours), "{moment}: {:#?}", world.log);
        world.edit(|desired| desired.suspend = false);
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!(world.posts.len(), 2, "{moment}");
    }
}

#[test]
fn it_goes_on_though_the_spec_or_its_secret_cannot_be_read() {
    for moment in [6, 8, 10, 12] {
        let mut world = edited();
        world.run_until(moment);
        let missing = crate::controller::Blocked::new(
            crate::controller::Reason::SecretNotFound,
            "Secret s is not there",
        );
        let secret = std::mem::replace(&mut world.secret, Err(missing));
        world.run(&[]);
        assert_eq!(world.ours(), ["conn-2"], "{moment}: {:#?}", world.log);
        world.secret = secret;
        world.run(&[]);
        world.assert_one_and_ready();
    }
}

#[test]
fn a_record_that_makes_no_sense_deletes_nothing() {
    for phase in [ReplacementPhase::Switched, ReplacementPhase::RollingBack, ReplacementPhase::Testing] {
        let mut world = World::ready();
        world.status.replacement = Some(Box::new(crate::crd::Replacement {
            old_id: "conn-1".to_owned(),
            new_id: (phase != ReplacementPhase::Testing).then(|| "conn-1".to_owned()),
            phase,
            sent: None,
            connection_test: None,
        }));
        if phase == ReplacementPhase::Switched {
            world.status.replacement.as_mut().unwrap().new_id = None;
        }
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!((world.ours(), &world.status.replacement), (vec!["conn-1".to_owned()], &None));
    }
}

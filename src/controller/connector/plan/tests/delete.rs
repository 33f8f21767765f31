//! Letting go: what each policy means, what holds an object, and the way out that every such message names.

use super::api::{Answer, Deletion};
use super::fixture::{request, seconds};
use super::world::{Step, World};
use crate::controller::{Blocked, Reason};
use crate::crd::{DeletionPolicy, Origin};
use crate::remote::FaultKind;

const WAY_OUT: &str = "to let go without asking the API, set the annotation slim.io/abandon: \"true\"";

/// A world in which a POST was sent, nobody heard what became of it, and the object is being deleted.
fn lost(answer: Answer) -> World {
    let mut world = World::new();
    world.api.answers = [answer].into();
    world.one_pass();
    world.object.deleting = true;
    world.log.clear();
    world
}

#[test]
fn a_deletion_is_sent_its_effect_confirmed_and_then_the_object_let_go() {
    let mut world = World::deleting();
    world.run(&[]);
    assert_eq!(world.log, ["delete", "confirm", "release"]);
    assert_eq!(world.ours(), Vec::<String>::new());
}

#[test]
fn the_policy_says_what_becomes_of_the_connector() {
    for (policy, origin, stays) in [
        (None, Some(Origin::Created), false),
        (None, None, false),
        (None, Some(Origin::Adopted), true),
        (Some(DeletionPolicy::Delete), Some(Origin::Adopted), false),
        (Some(DeletionPolicy::Retain), Some(Origin::Created), true),
    ] {
        let mut world = World::deleting();
        world.status.origin = origin;
        world.object.deletion =
            policy.or((origin == Some(Origin::Adopted)).then_some(DeletionPolicy::Retain));
        if policy.is_none() {
            // The check of the world knows no origins; the plan has to.
            let observed_policy = world.object.deletion.take();
            let mut pass = super::world::Pass::default();
            let observed = world.observe(&mut pass);
            let next = super::super::plan(&observed).effect;
            let releases = matches!(next, Some(super::super::Effect::Release { .. }));
            assert_eq!(releases, stays, "{origin:?}: {next:?}");
            world.object.deletion = observed_policy;
        }
        world.run(&[]);
        assert!(world.released);
        assert_eq!(world.ours().len(), usize::from(stays), "{policy:?} {origin:?}");
    }
}

#[test]
fn retain_and_abandon_need_neither_workspace_nor_api() {
    for (retain, abandon) in [(true, false), (false, true)] {
        let mut world = World::deleting();
        world.object.deletion = retain.then_some(DeletionPolicy::Retain);
        world.object.abandon = abandon;
        world.api.down = Some(FaultKind::Unreachable);
        world.workspace = Err(Blocked::new(Reason::WorkspaceNotFound, "not there"));
        world.run(&[]);
        assert_eq!(world.log, ["release"]);
        assert_eq!(world.ours().len(), 1);
    }
}

#[test]
fn abandon_acts_only_once_the_object_is_being_deleted() {
    let mut world = World::ready();
    world.object.abandon = true;
    world.run(&[]);
    assert_eq!(world.log, Vec::<String>::new());
    world.assert_one_and_ready();
}

#[test]
fn abandon_lets_go_of_an_id_that_no_api_could_have_given() {
    let mut world = World::deleting();
    world.status.connector_id = Some("a b".to_owned());
    world.one_pass();
    world.assert_said("False", "InvalidSpec", "Reconciling", WAY_OUT);
    world.object.abandon = true;
    world.run(&[]);
    assert!(world.released);
}

#[test]
fn where_nothing_is_at_the_api_there_is_nothing_to_wait_for() {
    let mut world = World::new();
    world.object.deleting = true;
    assert_eq!(world.one_pass(), None);
    assert_eq!(world.log, Vec::<String>::new(), "an object without our finalizer is none of our business");

    let mut begun = World::new();
    let _ = begun.until("claim");
    begun.object.deleting = true;
    begun.workspace = Err(Blocked::new(Reason::WorkspaceNotFound, "not there"));
    begun.log.clear();
    begun.run(&[]);
    assert_eq!(begun.log, ["release"]);
}

#[test]
fn one_that_is_deleted_between_the_claim_and_the_post_is_let_go_at_once() {
    let mut world = World::new();
    let mut pass = world.until("create");
    world.object.deleting = true;
    world.log.clear();
    for _ in 0..2 {
        assert!(matches!(world.step(&mut pass), Step::Acted), "{:?}", world.log);
    }
    assert!(world.released);
    assert_eq!(
        (world.log.as_slice(), world.posts.len()),
        (&["close".to_owned(), "release".to_owned()][..], 0)
    );
}

#[test]
fn a_create_whose_answer_was_lost_is_resolved_before_the_object_is_let_go() {
    let mut found = lost(Answer::CreatedUnheard);
    found.run(&[]);
    assert_eq!(found.log, ["list", "record", "delete", "confirm", "close", "release"]);

    let mut late = lost(Answer::CreatedLate(80));
    assert_eq!(late.one_pass(), seconds(15));
    late.assert_said("False", "Deleting", "Reconciling", "looking for what it made");
    late.run(&[]);
    assert!(late.released && late.ours().is_empty());

    let mut nothing = lost(Answer::Unheard);
    nothing.run(&[]);
    assert!(nothing.released);
    assert_eq!((nothing.posts.len(), nothing.log.last().unwrap().as_str()), (1, "release"));
}

#[test]
fn several_that_could_be_it_hold_the_object_until_they_are_told_apart() {
    let mut world = lost(Answer::CreatedUnheard);
    let twin = request(world.desired.as_ref().unwrap(), "x").create;
    world.api.put("conn-twin", &twin, world.now);
    assert_eq!(world.one_pass(), seconds(300));
    world.assert_said("False", "CreateOutcomeAmbiguous", "Stalled", "(conn-1, conn-twin)");
    world.assert_said("False", "CreateOutcomeAmbiguous", "Stalled", WAY_OUT);
    world.api.connectors.retain(|it| it.ours);
    world.run(&[]);
    assert!(world.released && world.ours().is_empty());
}

#[test]
fn retain_and_abandon_let_go_of_an_open_claim() {
    for retain in [true, false] {
        let mut world = lost(Answer::CreatedUnheard);
        world.object.deletion = retain.then_some(DeletionPolicy::Retain);
        world.object.abandon = !retain;
        world.api.down = Some(FaultKind::Unreachable);
        world.run(&[]);
        assert_eq!(world.log, ["close", "release"]);
        assert_eq!(world.ours().len(), 1);
    }
}

#[test]
fn what_holds_a_deletion_is_said_with_the_way_out() {
    let mut no_workspace = World::deleting();
    no_workspace.workspace =
        Err(Blocked::new(Reason::WorkspaceNotFound, "ClusterWorkspace default is not there"));
    no_workspace.run(&[]);
    no_workspace.assert_said(
        "False",
        "WorkspaceNotFound",
        "Reconciling",
        "cannot be deleted yet: ClusterWorkspace",
    );
    no_workspace.assert_said("False", "WorkspaceNotFound", "Reconciling", WAY_OUT);

    let mut other_key = World::deleting();
    other_key.rotate("identity-2");
    other_key.polls = false;
    other_key.run(&[]);
    other_key.assert_said("False", "IdentityChanged", "Reconciling", "put the old key back");
    other_key.assert_said("False", "IdentityChanged", "Reconciling", WAY_OUT);
    assert_eq!(other_key.log.iter().filter(|word| *word == "delete").count(), 0);
    other_key.rotate("identity-1");
    other_key.run(&[]);
    assert!(other_key.released);

    for (kind, reason) in [
        (FaultKind::Unreachable, "ApiUnavailable"),
        (FaultKind::Unauthorized, "Unauthorized"),
        (FaultKind::Forbidden, "Forbidden"),
        (FaultKind::Conflict, "ApiUnavailable"),
        (FaultKind::RateLimited, "RateLimited"),
    ] {
        let mut refused = World::deleting();
        refused.api.deletions = [Deletion::Refused(kind)].into();
        refused.one_pass();
        refused.assert_said("False", reason, "Reconciling", "cannot delete conn-1 at the API");
        refused.assert_said("False", reason, "Reconciling", WAY_OUT);
        refused.run(&[]);
        assert!(refused.released && refused.ours().is_empty(), "{kind:?}");
    }
}

#[test]
fn a_new_key_that_shows_the_connector_may_delete_it() {
    let mut world = World::deleting();
    world.rotate("identity-2");
    world.pass(60);
    world.run(&[]);
    assert!(world.released && world.ours().is_empty());
}

#[test]
fn an_open_claim_is_not_let_go_on_the_strength_of_another_keys_list() {
    let mut world = lost(Answer::CreatedUnheard);
    world.rotate("identity-2");
    world.api.empty_lists = true;
    world.run(&[]);
    world.assert_said("False", "IdentityChanged", "Reconciling", WAY_OUT);
    world.api.empty_lists = false;
    world.rotate("identity-1");
    world.run(&[]);
    assert!(world.released && world.ours().is_empty());
}

#[test]
fn a_secret_a_spec_and_a_suspension_do_not_hold_a_deletion() {
    for case in ["secret", "spec", "suspend"] {
        let mut world = World::deleting();
        match case {
            "secret" => world.secret = Err(Blocked::new(Reason::SecretNotFound, "gone")),
            "spec" => world.desired = Err(Blocked::new(Reason::InvalidSpec, "no provider")),
            _ => world.edit(|desired| desired.suspend = true),
        }
        world.run(&[]);
        assert!(world.released && world.ours().is_empty(), "{case}");
    }
}

#[test]
fn one_that_is_not_there_any_more_is_confirmed_absent() {
    let mut world = World::deleting();
    world.vanish();
    world.run(&[]);
    assert_eq!(world.log, ["delete", "confirm", "release"]);
}

#[test]
fn a_deletion_that_takes_its_time_is_waited_for() {
    let mut world = World::deleting();
    world.api.deletions = [Deletion::Later(60), Deletion::Later(60)].into();
    assert_eq!(world.one_pass(), seconds(5));
    world.assert_said("False", "Deleting", "Reconciling", "conn-1 is being deleted at the API");
    assert!(world.object.finalizer);
    world.run(&[]);
    assert!(world.released && world.ours().is_empty());
}

#[test]
fn an_absence_that_cannot_be_confirmed_is_no_absence() {
    let mut world = World::deleting();
    world.api.deletions = [Deletion::DoneUnheard].into();
    let pass = world.until("confirm");
    world.api.down = Some(FaultKind::NoAnswer);
    world.finish(pass);
    world.assert_said("False", "ApiUnavailable", "Reconciling", "cannot see whether conn-1 is gone");
    assert!(world.object.finalizer);
    world.api.down = None;
    world.run(&[]);
    assert!(world.released);
}

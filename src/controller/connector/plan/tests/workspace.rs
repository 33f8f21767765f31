//! What a workspace that changes means for its connectors: a key that was given up, one that shows nothing yet, a namespace
//! that is not allowed any more, and a workspace that is being deleted.

use super::api::Answer;
use super::fixture::{other_role, workspace};
use super::world::World;
use crate::controller::connector::observed::WorkspaceView;
use crate::controller::{Blocked, Reason};

fn closed(reason: Reason) -> WorkspaceView {
    WorkspaceView { closed: Some(Blocked::new(reason, "nothing new")), ..workspace() }
}

fn not_allowed() -> WorkspaceView {
    let refused = Some(Blocked::new(Reason::NamespaceNotAllowed, "not allowed"));
    WorkspaceView { closed: refused.clone(), refused, ..workspace() }
}

/// Another key, acknowledged: what the old one made was given up.
fn given_up(world: &mut World) {
    world.rotate("identity-2");
    let view = WorkspaceView { identity: "identity-2".to_owned(), ..workspace() };
    world.workspace = Ok(WorkspaceView { retired: vec!["identity-1".to_owned()], ..view });
}

#[test]
fn a_closed_workspace_takes_nothing_new_and_asks_nothing() {
    for reason in [Reason::WorkspaceDeleting, Reason::IdentityChanged, Reason::NamespaceNotAllowed] {
        let mut world = World::new();
        world.workspace = Ok(closed(reason));
        world.one_pass();
        world.one_pass();
        world.assert_said("False", reason.as_str(), "Reconciling", "nothing new");
        assert_eq!((world.posts.len(), world.object.finalizer), (0, false));
        assert!(!world.log.iter().any(|word| word == "list" || word == "claim"), "{:?}", world.log);
    }
}

#[test]
fn a_create_whose_answer_was_lost_is_found_in_a_closed_workspace_too() {
    for view in [closed(Reason::WorkspaceDeleting), not_allowed()] {
        let mut world = World::new();
        world.api.answers = [Answer::CreatedUnheard].into();
        world.one_pass();
        world.workspace = Ok(view);
        world.run(&[]);
        assert_eq!((world.posts.len(), world.ledger.claims.len()), (1, 0));
        assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    }
}

#[test]
fn a_connector_is_put_down_under_the_key_that_it_was_made_with() {
    let mut world = World::new();
    let mut pass = world.until("create");
    world.step(&mut pass);
    world.rotate("identity-2");
    let hidden = std::mem::take(&mut world.api.connectors);
    world.finish(pass);
    assert_eq!(world.status.identity.as_deref(), Some("identity-1"));
    // Else a 404 to the new key would be taken for the connector's end.
    world.object.deleting = true;
    world.one_pass();
    assert!(!world.log.iter().any(|word| word == "delete"), "{:?}", world.log);
    world.rotate("identity-1");
    world.api.connectors = hidden;
    world.run(&[]);
    assert!(world.released && world.ours().is_empty(), "{:?}", world.log);
}

#[test]
fn a_replacement_is_not_begun_in_a_closed_workspace() {
    let mut world = World::ready();
    world.edit(other_role);
    world.workspace = Ok(closed(Reason::WorkspaceDeleting));
    world.run(&[]);
    assert_eq!((world.posts.len(), world.ours()), (1, vec!["conn-1".to_owned()]));
}

#[test]
fn a_connector_of_a_namespace_that_is_not_allowed_any_more_is_not_ready_and_is_left_alone() {
    let mut world = World::ready();
    world.workspace = Ok(not_allowed());
    world.vanish();
    world.run(&[]);
    world.assert_said("False", "NamespaceNotAllowed", "Reconciling", "not allowed");
    assert_eq!((world.posts.len(), world.status.connector_id.as_deref()), (1, Some("conn-1")));
}

#[test]
fn what_was_made_with_a_key_that_was_given_up_is_let_go_and_made_anew() {
    let mut world = World::ready();
    let hidden = std::mem::take(&mut world.api.connectors);
    given_up(&mut world);
    world.pass(60);
    world.run(&[]);
    assert_eq!(world.posts.len(), 2);
    assert_eq!(world.status.identity.as_deref(), Some("identity-2"));
    assert!(!world.log.iter().any(|word| word == "delete"), "{:?}", world.log);
    assert_eq!(hidden.len(), 1, "the old one stays");
}

#[test]
fn one_that_is_being_deleted_is_let_go_without_a_delete() {
    let mut world = World::deleting();
    let hidden = std::mem::take(&mut world.api.connectors);
    given_up(&mut world);
    world.run(&[]);
    assert!(world.released);
    assert_eq!((world.log, hidden.len()), (vec!["release".to_owned()], 1));
}

#[test]
fn a_claim_of_a_key_that_was_given_up_is_closed_and_nothing_taken_for_it() {
    for deleting in [false, true] {
        let mut world = World::new();
        world.api.answers = [Answer::Unheard].into();
        world.one_pass();
        world.object.deleting = deleting;
        given_up(&mut world);
        world.log.clear();
        world.run(&[]);
        assert_eq!(world.log[0], "close", "{deleting}");
        assert_eq!((world.posts.len(), world.released), (if deleting { 1 } else { 2 }, deleting));
    }
}

#[test]
fn an_absence_is_believed_under_a_key_that_is_known_for_the_same_workspace() {
    let mut world = World::ready();
    world.vanish();
    world.rotate("identity-2");
    let view = WorkspaceView { identity: "identity-2".to_owned(), ..workspace() };
    world.workspace = Ok(WorkspaceView { former: vec!["identity-1".to_owned()], ..view });
    world.pass(600);
    world.run(&[]);
    assert_eq!(world.posts.len(), 2, "{:?}", world.log);
}

#[test]
fn an_absence_is_not_believed_while_the_key_shows_nothing_yet() {
    let mut world = World::ready();
    world.vanish();
    world.workspace = Ok(WorkspaceView { changed: true, ..closed(Reason::IdentityChanged) });
    world.pass(600);
    world.run(&[]);
    assert_eq!((world.posts.len(), world.status.connector_id.as_deref()), (1, Some("conn-1")));
}

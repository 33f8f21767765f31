//! A connector that is only read: no request but reads, nothing claimed, and both ways between managing and observing.

use connectors_api::wire::{ConnectorId, ConnectorState};

use super::api::Answer;
use super::crashes::everywhere;
use super::fixture::{other_role, request, said};
use super::world::World;
use crate::controller::connector::observed::Watched;
use crate::controller::{Blocked, Reason};
use crate::crd::{Origin, ReplacePolicy};

/// From now on the spec only observes `id`, with or without something to compare it with.
fn observe(world: &mut World, id: &str, provider: bool) {
    let watched = Watched { id: ConnectorId::parse(id).unwrap(), max_risk_score: Some(50) };
    (world.observing, world.object.observe) = (Some(watched), true);
    world.object.generation += 1;
    if provider {
        world.desired.as_mut().unwrap().connector_id = Some(id.to_owned());
    } else {
        world.desired = Err(Blocked::new(Reason::InvalidSpec, "the spec says nothing of a provider"));
    }
}

/// From now on the spec manages what it observed.
fn manage(world: &mut World) {
    let id = world.observing.take().unwrap().id.to_string();
    world.object.observe = false;
    let mut desired = super::fixture::desired();
    desired.connector_id = Some(id);
    world.desired = Ok(desired);
    world.object.generation += 1;
}

fn observed(provider: bool) -> World {
    let mut world = World::new();
    let create = request(world.desired.as_ref().unwrap(), "x").create;
    world.api.put("conn-theirs", &create, world.now);
    observe(&mut world, "conn-theirs", provider);
    world
}

/// Ready by the remote state, with nothing written, claimed or held.
fn assert_only_read(world: &World) {
    assert_eq!(said(&world.status, "Ready").0, "True", "{:#?}", world.status);
    assert_eq!((&world.status.connector_id, world.status.origin, &world.status.sent), (&None, None, &None));
    assert!(!world.object.finalizer && world.ledger.claims.is_empty(), "{:#?}", world.log);
    assert_eq!(said(&world.status, "Connected").0, "", "nobody tests it from here");
}

#[test]
fn what_is_observed_is_read_and_nothing_else() {
    for provider in [true, false] {
        let mut world = observed(provider);
        world.run(&[]);
        assert_only_read(&world);
        world.assert_said("True", "Ready", "", "the API says active");
        let asked = world.log.iter().filter(|word| !matches!(word.as_str(), "record" | "status" | "read"));
        assert_eq!(asked.count(), 0, "{:#?}", world.log);
        assert_eq!(world.status.state.as_deref(), Some("active"));
        assert_eq!(said(&world.status, "Synced").0, "True");
        assert_eq!(said(&world.status, "RiskAcceptable").1, "NotScanned");
    }
}

#[test]
fn it_needs_no_secret_and_follows_the_remote_state() {
    let mut world = observed(true);
    world.secret = Err(Blocked::new(Reason::SecretNotFound, "not there"));
    world.run(&[]);
    assert_only_read(&world);
    for (state, reason) in [
        (ConnectorState::Error, "RemoteError"),
        (ConnectorState::Disconnected, "RemoteDisconnected"),
        (ConnectorState::PendingTest, "ConnectionTestPending"),
    ] {
        world.api.connectors[0].item.status = state;
        world.pass(60);
        world.one_pass();
        world.assert_said("False", reason, "Reconciling", "");
    }
    world.api.connectors[0].item.status = ConnectorState::Active;
    world.pass(60);
    world.one_pass();
    assert_only_read(&world);
}

#[test]
fn what_differs_from_the_spec_is_said_and_does_not_touch_ready() {
    let mut world = observed(true);
    world.edit(other_role);
    world.run(&[]);
    assert_only_read(&world);
    let (truth, reason, message) = said(&world.status, "Synced");
    assert_eq!((truth, reason), ("False", "ObservedDiffers"));
    assert!(message.contains("role_arn") && !message.contains("arn:aws"), "{message}");
}

#[test]
fn one_that_is_not_there_is_missing_until_it_is_listed() {
    let mut world = observed(false);
    world.vanish();
    world.run(&[]);
    world.assert_said("False", "RemoteMissing", "Stalled", "no connector conn-theirs");
    world.api.connectors[0].gone_at = None;
    world.pass(60);
    world.one_pass();
    assert_only_read(&world);
    // And one that goes away.
    world.vanish();
    world.pass(60);
    world.run(&[]);
    world.assert_said("False", "RemoteMissing", "Stalled", "no connector conn-theirs");
    assert_eq!(world.posts, []);
}

#[test]
fn where_adoption_is_not_allowed_only_what_was_created_from_here_is_observed() {
    let mut theirs = observed(false);
    theirs.workspace.as_mut().unwrap().allows_adoption = false;
    theirs.run(&[]);
    theirs.assert_said("False", "AdoptionNotAllowed", "Reconciling", "(conn-theirs)");
    assert_eq!(theirs.status.state, None, "nothing of it is told");

    let mut ours = World::ready();
    ours.workspace.as_mut().unwrap().allows_adoption = false;
    observe(&mut ours, "conn-1", false);
    ours.run(&[]);
    assert_only_read(&ours);
}

#[test]
fn from_managing_to_observing_the_connector_is_let_go_and_stays() {
    for provider in [true, false] {
        let make = || {
            let mut world = World::ready();
            observe(&mut world, "conn-1", provider);
            world
        };
        everywhere(&format!("managed, then observed, {provider}"), true, make, |world| {
            assert_only_read(world);
            assert_eq!((world.api.alive(world.now).count(), world.ours().len()), (1, 0));
        });
    }
}

#[test]
fn and_back_it_is_adopted_as_what_it_was() {
    let back = || {
        let mut world = World::ready();
        observe(&mut world, "conn-1", false);
        world.run(&[]);
        manage(&mut world);
        world.posts.clear();
        world
    };
    everywhere("observed, then managed", true, back, |world| {
        world.assert_one_and_ready();
        assert_eq!((world.status.origin, world.posts.len()), (Some(Origin::Created), 0));
    });
    let mut theirs = observed(false);
    theirs.run(&[]);
    manage(&mut theirs);
    theirs.run(&[]);
    theirs.assert_one_and_ready();
    assert_eq!(theirs.status.origin, Some(Origin::Adopted));
}

#[test]
fn a_create_that_is_under_way_is_resolved_before_anything_is_only_observed() {
    for answer in [Answer::Created, Answer::CreatedUnheard, Answer::CreatedLate(60), Answer::Unheard] {
        for moment in 1..=8 {
            for provider in [true, false] {
                let mut world = World::new();
                world.api.answers = [answer].into();
                world.run_until(moment);
                observe(&mut world, "conn-1", provider);
                world.run(&[]);
                assert_eq!(world.ledger.claims, [], "{answer:?} {moment}: {:#?}", world.log);
                assert!(!world.object.finalizer, "{answer:?} {moment}: {:#?}", world.log);
                assert!(world.ours().is_empty(), "nothing is left that was neither let go nor observed");
            }
        }
    }
}

#[test]
fn a_replacement_that_is_under_way_is_finished_first_and_its_id_has_to_be_named() {
    for moment in 1..=8 {
        let mut world = World::ready();
        world.edit(|desired| {
            other_role(desired);
            desired.replace = ReplacePolicy::Recreate;
        });
        world.run_until(moment);
        let begun = world.status.replacement.is_some();
        observe(&mut world, "conn-1", true);
        world.run(&[]);
        if world.status.connector_id.is_some() {
            world.assert_said("False", "InvalidSpec", "Stalled", "this object has conn-2");
            observe(&mut world, "conn-2", true);
            world.run(&[]);
            world.assert_said("False", "ConnectionTestPending", "Reconciling", "only observed is not tested");
            assert!(!world.object.finalizer && world.status.connector_id.is_none());
        } else {
            assert!(!begun && !world.object.finalizer, "{moment}: {:#?}", world.log);
        }
        assert_eq!(world.api.alive(world.now).count(), 1, "{moment}");
    }
    let mut bare = World::ready();
    bare.edit(other_role);
    bare.run_until(4);
    assert!(bare.status.replacement.is_some(), "{:#?}", bare.log);
    observe(&mut bare, "conn-1", false);
    bare.run(&[]);
    bare.assert_said("False", "InvalidSpec", "Stalled", "until it has ended");
}

#[test]
fn one_that_is_deleted_on_its_way_to_observing_leaves_the_connector_there() {
    let mut world = World::ready();
    observe(&mut world, "conn-1", false);
    world.object.deleting = true;
    world.run(&[]);
    assert!(world.released);
    assert_eq!(world.api.alive(world.now).count(), 1);
}

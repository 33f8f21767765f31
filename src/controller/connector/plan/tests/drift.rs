//! A connector that somebody changed at the API: seen at the next poll, said with what was changed, and answered as the policy
//! says.

use super::fixture::said;
use super::world::World;
use crate::crd::ReplacePolicy;

/// Somebody gives the connector another name, or role, in the API's dashboard.
fn drift(world: &mut World, key: &str) {
    let item = &mut world.api.connectors.last_mut().unwrap().item;
    if key == "name" {
        item.name = "renamed by hand".to_owned();
    } else {
        item.config.insert(key.to_owned(), "changed by hand".into());
    }
    world.pass(60);
}

#[test]
fn what_was_changed_at_the_api_is_named_and_both_ways_out_are_said() {
    for key in ["name", "role_arn", "region"] {
        let mut world = World::ready();
        world.scanned = true;
        drift(&mut world, key);
        world.one_pass();
        let words = format!(
            "{key} was changed at the API: change it back there, or set spec.replacePolicy to Recreate or CreateFirst"
        );
        world.assert_said("False", "Drifted", "Stalled", &words);
        let (truth, reason, message) = said(&world.status, "Synced");
        assert_eq!((truth, reason), ("False", "Drifted"));
        assert!(message.contains(key), "{message}");
        world.run(&[]);
        assert_eq!((world.posts.len(), world.reason()), (1, "Drifted".to_owned()), "it is not forgotten");

        let given = World::ready().api.connectors[0].item.clone();
        world.api.connectors[0].item = given;
        world.pass(60);
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!(world.posts.len(), 1);
    }
}

#[test]
fn what_was_changed_at_the_api_is_made_anew_where_that_is_consented_to_or_loses_nothing() {
    for policy in [ReplacePolicy::Never, ReplacePolicy::Recreate, ReplacePolicy::CreateFirst] {
        let mut world = World::ready();
        world.scanned = policy != ReplacePolicy::Never;
        world.edit(|desired| desired.replace = policy);
        world.run(&[]);
        drift(&mut world, "role_arn");
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!((world.posts.len(), world.ours()), (2, vec!["conn-2".to_owned()]), "{policy:?}");
    }
}

#[test]
fn consent_after_the_fact_is_taken_up_at_once() {
    for policy in [ReplacePolicy::Recreate, ReplacePolicy::CreateFirst] {
        let mut world = World::ready();
        world.scanned = true;
        drift(&mut world, "region");
        world.run(&[]);
        world.edit(|desired| desired.replace = policy);
        world.one_pass();
        world.assert_one_and_ready();
        assert_eq!(world.ours(), ["conn-2"], "{policy:?}");
    }
}

#[test]
fn a_list_that_alone_shows_a_change_replaces_nothing() {
    let mut world = World::ready();
    world.scanned = true;
    world.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    world.run(&[]);
    drift(&mut world, "region");
    // A read shows it as it is.
    world.api.connectors[0].item = World::ready().api.connectors[0].item.clone();
    world.one_pass();
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.posts.len(), 1);
}

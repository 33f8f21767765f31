//! When a connector is believed gone, and what happens then: a wrong belief makes a second one.

use jiff::SignedDuration;

use super::api::Answer;
use super::fixture::request;
use super::world::{Pass, Step, World};
use crate::controller::connector::plan::{Effect, Plan, plan};
use crate::controller::ledger::SETTLED_AFTER;

#[test]
fn a_connector_deleted_out_of_band_is_said_to_be_lost_and_made_again() {
    let mut world = World::ready();
    world.vanish();
    world.pass(60);
    let mut pass = Pass::default();
    while !world.log.iter().any(|word| word == "record") {
        assert!(matches!(world.step(&mut pass), Step::Acted), "{:?}", world.log);
    }
    world.assert_said(
        "False",
        "RemoteMissing",
        "Reconciling",
        "conn-1 was deleted at the API, with its scan history",
    );
    assert_eq!(world.status.connector_id, None);
    world.run(&[]);
    assert_eq!((world.posts.len(), world.ours()), (2, vec!["conn-2".to_owned()]));
    world.assert_one_and_ready();
}

#[test]
fn it_is_not_believed_gone_before_a_complete_list_lacks_it_too() {
    // The direct read fails first: the list, where it is from before, is asked again.
    let mut world = World::ready();
    world.crash();
    world.api.connectors[0].shown_from = world.now + SignedDuration::from_secs(10_000);
    world.polls = false;
    world.pass(400);
    let mut pass = world.until("record");
    assert_eq!(world.log, ["read", "list"], "both lack it: it is gone");
    world.step(&mut pass);
    world.assert_said("False", "RemoteMissing", "Reconciling", "conn-1 was deleted at the API");

    let mut disagreeing = World::ready();
    disagreeing.api.hides_reads = true;
    disagreeing.api.connectors[0].item.findings_count = 3;
    disagreeing.pass(60);
    disagreeing.run(&[]);
    disagreeing.assert_said(
        "False",
        "RemoteMissing",
        "Reconciling",
        "lists conn-1 and does not let it be read",
    );
    assert_eq!((disagreeing.posts.len(), disagreeing.ours().len()), (1, 1));
    disagreeing.api.hides_reads = false;
    disagreeing.run(&[]);
    disagreeing.assert_one_and_ready();

    let mut short = World::ready();
    for n in 0..8 {
        let mut other = request(short.desired.as_ref().unwrap(), "x").create;
        other.name = format!("other-{n}");
        short.api.put(&format!("conn-other-{n}"), &other, short.now);
    }
    short.pass(60);
    short.api.empty_lists = true;
    short.api.hides_reads = true;
    short.object.requested_at = Some("now".to_owned());
    short.one_pass();
    short.assert_said("False", "RemoteMissing", "Reconciling", "the API's list is too short to be believed");
    assert_eq!(short.status.connector_id.as_deref(), Some("conn-1"), "an alarm is no reason to act");
}

#[test]
fn a_connector_that_was_only_just_made_is_not_believed_gone() {
    let mut world = World::new();
    world.api.answers = [Answer::Created].into();
    let pass = world.until("test");
    // The API's reads lag behind its writes.
    world.api.connectors[0].shown_from =
        world.posts[0].claimed_at + SignedDuration::try_from(SETTLED_AFTER).unwrap();
    world.finish(pass);
    world.assert_said("False", "RemoteMissing", "Reconciling", "is not shown");
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    world.run(&[]);
    assert_eq!(world.posts.len(), 1);
    world.assert_one_and_ready();
}

#[test]
fn an_absence_is_not_believed_under_another_key() {
    let mut world = World::ready();
    let hidden = std::mem::take(&mut world.api.connectors);
    world.rotate("identity-2-of-another-workspace");
    world.pass(60);
    world.run(&[]);
    world.assert_said(
        "False",
        "IdentityChanged",
        "Reconciling",
        "another one now (identity-2-o), and does not show",
    );
    assert_eq!((world.posts.len(), world.status.connector_id.as_deref()), (1, Some("conn-1")));
    world.api.connectors = hidden;
    world.rotate("identity-1");
    world.pass(60);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_new_key_of_the_same_workspace_is_recognised_by_what_it_shows() {
    let mut world = World::ready();
    world.rotate("identity-2");
    world.pass(60);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.status.identity.as_deref(), Some("identity-2"));
    assert!(world.object.copy.as_ref().unwrap().contains("identity-2"));
    assert_eq!(world.posts.len(), 1);
}

#[test]
fn an_absence_right_after_a_change_of_key_is_not_believed_either() {
    let mut world = World::ready();
    world.rotate("identity-2");
    world.api.connectors[0].item.findings_count = 3;
    world.pass(60);
    // Shown by the new key's list, and gone before it is read.
    world.vanish();
    world.one_pass();
    world.assert_said("False", "IdentityChanged", "Reconciling", "put the old key back");
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
}

#[test]
fn with_a_clock_behind_the_one_that_made_it_a_connector_is_not_taken_for_long_known() {
    let mut world = World::ready();
    world.crash();
    world.api.connectors[0].shown_from = world.now + SignedDuration::from_secs(10_000);
    world.polls = false;
    world.pass(400);
    let (mut pass, mut log) = (Pass::default(), 0);
    loop {
        // `Connected` turned at a time that is still to come by our clock.
        let mut observed = world.observe(&mut pass);
        observed.now -= SignedDuration::from_hours(1);
        let next = plan(&observed);
        pass.facts = observed.facts;
        match next.effect {
            Some(Effect::Read(_) | Effect::List) if log < 4 => log += 1,
            None => break assert!(said(&next).contains("was made only just"), "{next:?}"),
            other => panic!("it was believed gone: {other:?}"),
        }
        world.step(&mut pass);
    }
    assert_eq!(world.log[world.log.len() - log..], ["read", "list"]);
}

fn said(plan: &Plan) -> &str {
    plan.status.conditions.iter().find(|it| it.type_ == "Ready").map_or("", |ready| &ready.message)
}

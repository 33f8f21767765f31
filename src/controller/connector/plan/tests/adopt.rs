//! Taking what exists: by its id, by its match, by a backup's record; and what is not taken.

use std::time::Duration;

use connectors_api::wire::ConnectorId;

use super::crashes::everywhere;
use super::fixture::{other_role, request, said};
use super::world::World;
use crate::controller::connector::backup::{BackupRecord, Sealer};
use crate::controller::connector::observed::{Object, Survey};
use crate::crd::{ConnectorStatus, Origin, ReplacePolicy};
use crate::remote::FaultKind;

/// A connector that somebody else made, just as the spec wants one.
fn put(world: &mut World, id: &str) {
    let create = request(world.desired.as_ref().unwrap(), "x").create;
    world.api.put(id, &create, world.now);
}

/// An object whose spec names a connector that is there.
fn by_id() -> World {
    let mut world = World::new();
    put(&mut world, "conn-theirs");
    world.edit(|desired| desired.connector_id = Some("conn-theirs".to_owned()));
    world
}

/// An object that takes what matches, and something that does.
fn by_match() -> World {
    let mut world = World::new();
    put(&mut world, "conn-theirs");
    world.edit(|desired| desired.adopt_matching = true);
    world
}

/// What was ready, put back by a backup: the same name, another UID, the annotation, and no status.
fn restored() -> World {
    let mut world = World::ready();
    (world.status, world.object.finalizer) = (ConnectorStatus::default(), false);
    world.status.observed_generation = Some(-1);
    world.object.uid = "uid-2".to_owned();
    world.api.connectors.iter_mut().for_each(|it| it.ours = false);
    world.crash();
    world.posts.clear();
    world
}

fn forbidden(world: &mut World) {
    world.workspace.as_mut().unwrap().allows_adoption = false;
}

fn assert_taken(world: &World, id: &str, origin: Origin) {
    world.assert_one_and_ready();
    assert_eq!(world.status.connector_id.as_deref(), Some(id));
    assert_eq!((world.status.origin, &world.status.adopting), (Some(origin), &None));
    assert_eq!(world.posts, [], "nothing was created");
}

/// Nothing was taken, created or left behind.
fn assert_left_alone(world: &World) {
    assert_eq!((&world.status.connector_id, &world.status.adopting), (&None, &None), "{:#?}", world.log);
    assert_eq!((world.posts.len(), world.ledger.claims.len()), (0, 0));
    assert!(!world.object.finalizer && world.ours().is_empty());
}

#[test]
fn what_the_spec_names_is_read_wished_for_and_taken_before_anything_else_is_done_with_it() {
    let mut world = by_id();
    world.one_pass();
    let steps =
        ["record", "read", "record", "survey", "finalizer", "record", "annotate", "test", "read", "status"];
    assert_eq!(world.log, steps);
    assert_taken(&world, "conn-theirs", Origin::Adopted);
    assert_eq!(said(&world.status, "Synced").0, "True");
}

#[test]
fn an_adoption_ends_the_same_whenever_the_operator_dies_in_it() {
    for (what, make) in [("by id", by_id as fn() -> World), ("by match", by_match), ("by a backup", restored)]
    {
        everywhere(what, true, make, |world| {
            world.assert_one_and_ready();
            assert_eq!((world.posts.len(), &world.status.adopting), (0, &None));
        });
    }
}

#[test]
fn what_was_adopted_stays_when_its_object_goes_and_goes_where_the_spec_says_so() {
    let adopted = || {
        let mut world = by_id();
        world.run(&[]);
        world.object.deleting = true;
        world
    };
    let mut kept = adopted();
    kept.run(&[]);
    assert!(kept.released && kept.ours() == ["conn-theirs"]);
    let mut deleted = adopted();
    deleted.object.deletion = Some(crate::crd::DeletionPolicy::Delete);
    deleted.run(&[]);
    assert!(deleted.released && deleted.ours().is_empty());
}

#[test]
fn an_object_that_is_deleted_at_any_moment_of_an_adoption_leaves_the_connector_there() {
    let steps = by_id().run(&[]);
    for moment in 1..=steps {
        let mut world = by_id();
        world.run_until(moment);
        world.object.deleting = true;
        world.run(&[]);
        assert!(world.released || !world.object.finalizer, "{moment}: {:#?}", world.log);
        assert_eq!(world.api.alive(world.now).count(), 1, "{moment}: {:#?}", world.log);
    }
}

#[test]
fn one_that_does_not_exist_or_is_not_as_the_spec_says_is_not_taken_and_what_differs_is_named() {
    let mut missing = by_id();
    missing.edit(|desired| desired.connector_id = Some("conn-nobodys".to_owned()));
    missing.run(&[]);
    missing.assert_said("False", "RemoteMissing", "Stalled", "no connector conn-nobodys");
    assert_left_alone(&missing);

    let mut differs = by_id();
    differs.edit(other_role);
    differs.run(&[]);
    differs.assert_said("False", "AdoptionMismatch", "Stalled", "differs from the spec in role_arn;");
    assert_left_alone(&differs);

    let mut provider = by_id();
    provider.api.connectors[0].item.provider = connectors_api::wire::Provider::Azure;
    provider.run(&[]);
    provider.assert_said("False", "AdoptionMismatch", "Stalled", "provider");
    assert_left_alone(&provider);

    // Its cure is noticed.
    differs.edit(|desired| *desired = by_id().desired.unwrap());
    differs.run(&[]);
    assert_taken(&differs, "conn-theirs", Origin::Adopted);
}

#[test]
fn a_name_that_others_gave_stays_and_is_compared_only_where_the_spec_has_one() {
    let renamed = || {
        let mut world = by_id();
        world.api.connectors[0].item.name = "Old billing lake".to_owned();
        world
    };
    let mut unnamed = renamed();
    unnamed.run(&[]);
    assert_taken(&unnamed, "conn-theirs", Origin::Adopted);
    let name = |world: &mut World, name: &str| {
        let name = name.to_owned();
        world.edit(|desired| (desired.named, desired.name) = (true, name));
    };
    let mut same = renamed();
    name(&mut same, "Old billing lake");
    same.run(&[]);
    assert_taken(&same, "conn-theirs", Origin::Adopted);
    let mut other = renamed();
    name(&mut other, "New billing lake");
    other.run(&[]);
    other.assert_said("False", "AdoptionMismatch", "Stalled", "differs from the spec in name;");
    assert_left_alone(&other);
}

#[test]
fn what_another_object_has_or_an_older_one_wants_is_not_taken_until_it_is_free() {
    fn who() -> Option<String> {
        Some("other/theirs".to_owned())
    }
    let cached = |world: &mut World| world.taken = ["conn-theirs".to_owned()].into();
    let holder = |world: &mut World| world.survey = Survey { holder: who(), ..Survey::default() };
    let older = |world: &mut World| world.survey = Survey { older: who(), ..Survey::default() };
    for take_away in [cached, holder, older] as [fn(&mut World); 3] {
        let mut world = by_id();
        take_away(&mut world);
        for _ in 0..3 {
            world.one_pass();
            world.assert_said("False", "AlreadyClaimed", "Reconciling", "conn-theirs");
            assert_left_alone(&world);
        }
        (world.taken, world.survey) = Default::default();
        world.run(&[]);
        assert_taken(&world, "conn-theirs", Origin::Adopted);
    }
}

#[test]
fn the_older_of_two_keeps_its_wish_and_waits_for_the_younger_and_for_creates_of_that_name() {
    let who = || Some("other/theirs".to_owned());
    for survey in
        [Survey { younger: who(), ..Survey::default() }, Survey { creating: who(), ..Survey::default() }]
    {
        let mut world = by_id();
        world.survey = survey;
        for _ in 0..3 {
            assert_eq!(world.one_pass(), Some(Duration::from_secs(2)));
            world.assert_said("False", "Adopting", "Reconciling", "other/theirs");
            assert_eq!(world.status.adopting.as_deref(), Some("conn-theirs"));
            assert_eq!(world.status.connector_id, None);
        }
        world.survey = Survey::default();
        world.run(&[]);
        assert_taken(&world, "conn-theirs", Origin::Adopted);
    }
}

#[test]
fn a_wish_that_is_not_wanted_any_more_is_given_up() {
    let mut world = by_id();
    world.survey.younger = Some("other/theirs".to_owned());
    world.one_pass();
    world.edit(|desired| desired.connector_id = Some("conn-nobodys".to_owned()));
    world.one_pass();
    assert_left_alone(&world);
    let mut away = by_id();
    away.survey.younger = Some("other/theirs".to_owned());
    away.one_pass();
    away.workspace =
        Err(crate::controller::Blocked::new(crate::controller::Reason::WorkspaceNotFound, "gone"));
    away.one_pass();
    assert_left_alone(&away);
}

#[test]
fn of_a_workspace_that_does_not_allow_it_nothing_is_taken() {
    for make in [by_id as fn() -> World, by_match] {
        let mut world = make();
        forbidden(&mut world);
        world.run(&[]);
        world.assert_said("False", "AdoptionNotAllowed", "Reconciling", "set its spec.allowAdoption");
        assert_left_alone(&world);
        world.workspace.as_mut().unwrap().allows_adoption = true;
        world.run(&[]);
        assert_taken(&world, "conn-theirs", Origin::Adopted);
    }
}

#[test]
fn an_api_that_cannot_be_read_lets_nothing_be_taken_or_created() {
    let mut world = by_id();
    world.api.down = Some(FaultKind::NoAnswer);
    world.one_pass();
    world.assert_said("False", "ApiUnavailable", "Reconciling", "cannot read the connector to adopt");
    assert_left_alone(&world);
    world.api.down = None;
    world.run(&[]);
    assert_taken(&world, "conn-theirs", Origin::Adopted);
}

#[test]
fn objects_that_lost_everything_but_their_manifests_find_their_connectors_again() {
    let mut world = World::ready();
    // The same manifest, applied to an empty cluster.
    let mut rebuilt = by_match();
    rebuilt.api.connectors = std::mem::take(&mut world.api.connectors);
    rebuilt.api.connectors[0].ours = false;
    rebuilt.now = world.now;
    rebuilt.run(&[]);
    assert_taken(&rebuilt, "conn-1", Origin::Adopted);
}

#[test]
fn a_match_is_taken_only_where_there_is_one_and_otherwise_one_is_created_or_a_person_chooses() {
    let mut none = by_match();
    none.api.connectors.clear();
    none.run(&[]);
    none.assert_one_and_ready();
    assert_eq!((none.posts.len(), none.status.origin), (1, Some(Origin::Created)));

    let mut several = by_match();
    put(&mut several, "conn-twin");
    several.run(&[]);
    several.assert_said(
        "False",
        "AlreadyExists",
        "Stalled",
        "(conn-theirs, conn-twin), and none was created",
    );
    assert_left_alone(&several);
    several.edit(|desired| desired.connector_id = Some("conn-twin".to_owned()));
    several.run(&[]);
    assert_taken(&several, "conn-twin", Origin::Adopted);

    let mut taken = by_match();
    taken.taken.insert("conn-theirs".to_owned());
    taken.run(&[]);
    taken.assert_one_and_ready();
    assert_eq!(taken.posts.len(), 1, "what others have is no match");
}

#[test]
fn without_leave_to_match_nothing_is_taken_and_both_ways_out_are_named() {
    let mut world = by_match();
    world.edit(|desired| desired.adopt_matching = false);
    world.run(&[]);
    world.assert_said(
        "False",
        "AlreadyExists",
        "Stalled",
        "spec.connectorId to adopt it (or spec.adoptionPolicy to Matching)",
    );
    assert_left_alone(&world);
}

#[test]
fn a_restored_object_has_its_connector_again_as_it_had_it() {
    let mut world = restored();
    forbidden(&mut world);
    world.run(&[]);
    assert_taken(&world, "conn-1", Origin::Created);
    let record = BackupRecord::parse(&world.object).unwrap();
    assert_eq!((record.uid.as_str(), record.origin), ("uid-2", Some(Origin::Created)));

    // One that was adopted is not taken for one that was created.
    let mut adopted = by_id();
    adopted.run(&[]);
    (adopted.status, adopted.object.finalizer) = (ConnectorStatus::default(), false);
    adopted.desired.as_mut().unwrap().connector_id = None;
    adopted.run(&[]);
    assert_taken(&adopted, "conn-theirs", Origin::Adopted);
}

#[test]
fn a_record_that_the_key_did_not_seal_proves_nothing() {
    let forge = |world: &mut World, change: fn(&mut BackupRecord)| {
        let mut record = BackupRecord::parse(&world.object).unwrap();
        change(&mut record);
        world.object.copy = Some(record.text());
    };
    // Another's id, with what looks like one's own seal: no right to it, and none to delete it.
    let mut theft = restored();
    put(&mut theft, "conn-victim");
    forge(&mut theft, |record| record.id = "conn-victim".to_owned());
    forbidden(&mut theft);
    theft.run(&[]);
    theft.assert_said("False", "AdoptionNotAllowed", "Reconciling", "(conn-victim)");
    assert_left_alone(&theft);

    let mut held = restored();
    put(&mut held, "conn-victim");
    held.taken.insert("conn-victim".to_owned());
    forge(&mut held, |record| record.id = "conn-victim".to_owned());
    held.run(&[]);
    held.assert_said("False", "AlreadyClaimed", "Reconciling", "conn-victim");
    assert_left_alone(&held);

    // Sealed with a key that is not there any more: an adoption with all its checks.
    let mut rotated = restored();
    rotated.workspace.as_mut().unwrap().sealer = Sealer::new("credential-2");
    rotated.run(&[]);
    assert_taken(&rotated, "conn-1", Origin::Adopted);

    let mut edited = restored();
    forge(&mut edited, |record| record.origin = Some(Origin::Created));
    forge(&mut edited, |record| record.uid = "uid-7".to_owned());
    edited.run(&[]);
    assert_taken(&edited, "conn-1", Origin::Adopted);
}

#[test]
fn an_annotation_that_came_with_a_copy_of_another_object_is_ignored() {
    let mut world = World::new();
    let original = Object { name: "original".to_owned(), uid: "uid-9".to_owned(), ..world.object.clone() };
    let status = ConnectorStatus { origin: Some(Origin::Created), ..ConnectorStatus::default() };
    let id = ConnectorId::parse("conn-theirs").unwrap();
    world.object.copy = Some(BackupRecord::of(&original, &status, &id, &Sealer::new("credential-1")).text());
    let mut create = request(world.desired.as_ref().unwrap(), "x").create;
    create.name = "team.original".to_owned();
    world.api.put("conn-theirs", &create, world.now);
    let plan = super::super::plan(&world.observe(&mut super::world::Pass::default()));
    let Some(super::super::Effect::Record { note, .. }) = plan.effect else { panic!("{plan:?}") };
    assert_eq!(note, super::super::Note::CopyIgnored("team/original".to_owned()));
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!((world.posts.len(), world.status.origin), (1, Some(Origin::Created)));
}

#[test]
fn a_record_of_a_connector_that_is_gone_is_dropped_after_confirmation_and_one_is_created() {
    let gone = || {
        let mut world = restored();
        world.vanish();
        world
    };
    everywhere("restored, and gone", true, gone, World::assert_one_and_ready);

    let mut hidden = restored();
    hidden.api.hides_reads = true;
    hidden.one_pass();
    hidden.assert_said("False", "RemoteMissing", "Reconciling", "lists conn-1 and does not let it be read");
    assert_left_alone(&hidden);

    let mut other_key = gone();
    other_key.rotate("identity-2");
    other_key.run(&[]);
    other_key.assert_said("False", "IdentityChanged", "Reconciling", "put the old key back");
    assert_left_alone(&other_key);
    other_key.object.copy = None;
    other_key.run(&[]);
    other_key.assert_one_and_ready();
}

#[test]
fn a_cluster_put_back_to_before_a_replacement_finds_the_younger_twin() {
    let twin = |matching: bool| {
        let mut world = World::ready();
        world.edit(|desired| {
            other_role(desired);
            desired.adopt_matching = matching;
        });
        let (status, copy) = (world.status.clone(), world.object.copy.clone());
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!(world.status.connector_id.as_deref(), Some("conn-2"));
        world.api.connectors.iter_mut().for_each(|it| it.ours = false);
        (world.status, world.object.copy) = (status, copy);
        world.posts.clear();
        world.crash();
        world.pass(300);
        world.run(&[]);
        world
    };
    let found = twin(true);
    assert_taken(&found, "conn-2", Origin::Adopted);
    let asked = twin(false);
    asked.assert_said("False", "AlreadyExists", "Stalled", "conn-2");
    assert_eq!(asked.posts, []);
}

#[test]
fn the_id_that_is_known_may_be_named_at_any_time_and_changes_nothing() {
    let mut world = World::ready();
    world.edit(|desired| desired.connector_id = Some("conn-1".to_owned()));
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.status.origin, Some(Origin::Created));
    assert_eq!(world.log, ["status"]);
}

#[test]
fn one_that_the_spec_names_and_somebody_deleted_is_not_made_again() {
    let mut world = by_id();
    world.run(&[]);
    world.pass(300);
    world.vanish();
    world.pass(60);
    world.run(&[]);
    world.assert_said("False", "RemoteMissing", "Stalled", "or remove it to have one created");
    assert_eq!((world.posts.len(), &world.status.connector_id), (0, &None));
    world.edit(|desired| desired.connector_id = None);
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn what_was_adopted_is_replaced_only_with_consent() {
    let mut world = by_id();
    world.run(&[]);
    world.pass(300);
    world.edit(other_role);
    world.run(&[]);
    world.assert_said("False", "ReplacementRequired", "Stalled", "role_arn");
    world.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.status.origin, Some(Origin::Created));
}

//! A spec that the connector at the API does not match: replaced where that loses nothing or is consented to, and otherwise
//! said, with both ways out.

use connectors_api::wire::{ScanHistoryEntry, ScanId, ScanState};

use super::api::{Answer, Deletion};
use super::fixture::{at, not_connected, other_role, request, said};
use super::world::World;
use crate::controller::ledger::SETTLED_AFTER;
use crate::controller::{Blocked, Reason};
use crate::crd::{CreateBucket, DeletionPolicy, Origin, ReplacePolicy};
use crate::remote::FaultKind;

fn history() -> ScanHistoryEntry {
    ScanHistoryEntry {
        scan_id: ScanId::parse("scan-1").unwrap(),
        status: ScanState::Running,
        started_at: Some(at(10)),
        completed_at: None,
        files_processed: 0,
        findings_count: 0,
    }
}

/// Ways in which a replacement would lose something.
fn losses() -> Vec<(&'static str, World)> {
    let mut worlds = Vec::new();
    for what in ["scan of ours", "scanned before", "last scan", "findings", "history", "retain", "adopted"] {
        let mut world = World::ready();
        match what {
            "scan of ours" => world.scanned = true,
            "scanned before" => world.status.scanned = Some(true),
            "last scan" => world.api.connectors[0].item.last_scan = Some(at(5)),
            "findings" => world.api.connectors[0].item.findings_count = 3,
            // Nothing in a list tells of a scan that somebody else started and that still runs.
            "history" => world.api.connectors[0].history.push(history()),
            "retain" => world.desired.as_mut().unwrap().deletion = Some(DeletionPolicy::Retain),
            _ => world.status.origin = Some(Origin::Adopted),
        }
        world.pass(60);
        worlds.push((what, world));
    }
    worlds
}

#[test]
fn a_correction_before_the_first_scan_is_a_replacement_that_asks_for_no_consent() {
    let mut world = World::new();
    world.api.tests = [Ok(not_connected())].into();
    world.one_pass();
    world.assert_said("False", "ConnectionTestFailed", "Reconciling", "");
    world.log.clear();
    world.edit(other_role);
    world.run(&[]);
    let steps = [
        "read", "list", "claim", "record", "delete", "confirm", "record", "bind", "create", "record",
        "annotate", "close", "test", "read", "status",
    ];
    assert_eq!(world.log, steps);
    world.assert_one_and_ready();
    assert_eq!(world.ours(), ["conn-2"]);
    assert_eq!(world.status.connection_test.as_ref().unwrap().failures, 0);
}

#[test]
fn each_phase_of_a_replacement_stands_in_the_status_before_its_effect() {
    let mut world = World::ready();
    world.edit(other_role);
    let mut pass = world.until("delete");
    let begun = world.status.replacement.clone().unwrap();
    assert_eq!((begun.old_id.as_str(), format!("{:?}", begun.phase)), ("conn-1", "Deleting".to_owned()));
    assert_eq!(world.ledger.claims.len(), 1, "name and slot are there before anything is deleted");
    assert_eq!(world.ledger.claims[0].known_ids, ["conn-1"]);
    world.assert_said("False", "Replacing", "Reconciling", "is being replaced");
    assert_eq!(said(&world.status, "Synced").1, "Replacing");
    for _ in 0..3 {
        world.step(&mut pass);
    }
    let gone = world.status.replacement.clone().unwrap();
    assert_eq!(
        (format!("{:?}", gone.phase), world.status.connector_id.as_ref()),
        ("Creating".to_owned(), None)
    );
    assert_eq!(world.posts.len(), 1, "nothing was sent before that was put down");
}

#[test]
fn where_something_would_be_lost_the_spec_is_refused_until_it_is_reverted_or_consented_to() {
    for (what, mut world) in losses() {
        let before = world.desired.clone();
        world.edit(other_role);
        world.run(&[]);
        let words = "differs from the connector at the API in role_arn, and the API cannot change a connector: revert the spec, \
                     or set spec.replacePolicy to Recreate";
        world.assert_said("False", "ReplacementRequired", "Stalled", words);
        assert_eq!(said(&world.status, "Synced").1, "ReplacementRequired", "{what}");
        assert_eq!((world.posts.len(), world.ours().len()), (1, 1), "{what}");
        assert_eq!(world.ledger.claims, [], "{what}");

        let edited = std::mem::replace(&mut world.desired, before);
        world.object.generation += 1;
        world.run(&[]);
        world.assert_one_and_ready();
        assert_eq!(world.posts.len(), 1, "{what}: reverted");

        world.desired = edited;
        world.edit(|desired| desired.replace = ReplacePolicy::Recreate);
        world.run(&[]);
        assert_eq!(world.posts.len(), 2, "{what}: consented to");
        world.assert_one_and_ready();
        assert_eq!(world.status.origin, Some(Origin::Created));
        assert_eq!(world.status.scan_history, [], "{what}: the old one's history is not the new one's");
    }
}

#[test]
fn an_api_that_writes_what_it_was_given_in_its_own_way_does_not_have_it_made_again_and_again() {
    for policy in [ReplacePolicy::Never, ReplacePolicy::Recreate] {
        let mut world = World::new();
        world.api.shouts = true;
        world.edit(|desired| desired.replace = policy);
        world.run(&[]);
        world.assert_said(
            "False",
            "ReplacementRequired",
            "Stalled",
            "shows another region than it was given",
        );
        assert_eq!((world.posts.len(), world.ours().len()), (1, 1));
    }
}

#[test]
fn a_name_and_a_scope_are_part_of_what_the_api_cannot_change() {
    for (change, key) in [
        ((|world: &mut World| world.edit(|it| it.name = "renamed".to_owned())) as fn(&mut World), "name"),
        (|world| world.edit(|it| it.scope.buckets.push("pond".to_owned())), "buckets"),
    ] {
        let mut free = World::ready();
        change(&mut free);
        free.run(&[]);
        assert_eq!(free.posts.len(), 2, "{key}");
        free.assert_one_and_ready();
        let mut scanned = World::ready();
        scanned.scanned = true;
        change(&mut scanned);
        scanned.run(&[]);
        scanned.assert_said("False", "ReplacementRequired", "Stalled", &format!("in {key},"));
    }
}

#[test]
fn a_rotated_secret_is_said_and_ready_stays_while_tests_pass() {
    let mut world = World::ready();
    world.scanned = true;
    world.secret = Ok("canary-rotated".to_owned());
    world.run(&[]);
    assert_eq!(said(&world.status, "Ready").0, "True");
    let (truth, reason, message) = said(&world.status, "Synced");
    assert_eq!((truth, reason), ("False", "CredentialsOutdated"));
    let digest = request(world.desired.as_ref().unwrap(), "canary-rotated").sent;
    assert!(message.contains(&format!("slim.io/credentials-acknowledged to {digest}")), "{message}");
    assert_eq!(world.posts.len(), 1);

    // Another value acknowledges nothing.
    world.object.acknowledged = Some("0123456789abcdef0123456789abcdef".to_owned());
    world.run(&[]);
    assert_eq!(said(&world.status, "Synced").1, "CredentialsOutdated");
    world.log.clear();
    world.object.acknowledged = Some(digest.clone());
    world.run(&[]);
    assert_eq!(said(&world.status, "Synced").0, "True");
    assert_eq!(
        (world.status.sent.as_deref(), world.tests_run()),
        (Some(digest.as_str()), 1),
        "it is tested again"
    );
    world.assert_one_and_ready();
    // An acknowledgement serves for its own digest alone.
    world.secret = Ok("canary-rotated-again".to_owned());
    world.run(&[]);
    assert_eq!(said(&world.status, "Synced").1, "CredentialsOutdated");
}

#[test]
fn a_rotated_secret_is_a_replacement_where_that_loses_nothing_or_is_consented_to() {
    let mut free = World::ready();
    free.secret = Ok("canary-rotated".to_owned());
    free.run(&[]);
    assert_eq!(free.posts.len(), 2);
    free.assert_one_and_ready();
    let mut consented = World::ready();
    consented.scanned = true;
    consented.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    consented.run(&[]);
    assert_eq!(consented.posts.len(), 1, "consent alone replaces nothing");
    consented.secret = Ok("canary-rotated".to_owned());
    consented.run(&[]);
    assert_eq!(consented.posts.len(), 2);
    consented.assert_one_and_ready();
}

#[test]
fn a_change_of_the_spec_that_the_api_does_not_show_is_not_taken_for_a_rotated_secret() {
    // The API of this story shows no prefixes.
    let silent = || {
        let mut world = World::ready();
        world.scanned = true;
        world.api.shows_no_prefixes = true;
        world.edit(|desired| desired.scope.prefixes.push("people/".to_owned()));
        world
    };
    let mut world = silent();
    world.run(&[]);
    let digest = request(world.desired.as_ref().unwrap(), "canary-external-id").sent;
    let words = "was given another spec, in what the API does not show";
    world.assert_said("False", "ReplacementRequired", "Stalled", words);
    assert!(said(&world.status, "Ready").2.contains(&digest));
    assert_eq!(said(&world.status, "Synced").1, "ReplacementRequired");
    world.object.acknowledged = Some(digest);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.posts.len(), 1);

    let mut suspended = silent();
    suspended.edit(|desired| (desired.suspend, desired.replace) = (true, ReplacePolicy::Recreate));
    suspended.run(&[]);
    suspended.assert_said("False", "Suspended", "", words);
    suspended.edit(|desired| desired.suspend = false);
    suspended.run(&[]);
    suspended.assert_one_and_ready();
    assert_eq!(suspended.posts.len(), 2);

    let mut reverted = silent();
    reverted.run(&[]);
    reverted.edit(|desired| desired.scope.prefixes.clear());
    reverted.run(&[]);
    reverted.assert_one_and_ready();
    assert_eq!(reverted.posts.len(), 1);
}

#[test]
fn a_missing_hash_is_taken_again_and_is_never_a_difference() {
    let mut world = World::ready();
    let sent = world.status.sent.take();
    world.status.connection_test.as_mut().unwrap().sent = None;
    world.run(&[]);
    assert_eq!(world.status.sent, sent);
    assert_eq!(world.posts.len(), 1);
    world.assert_one_and_ready();

    // Where the spec changed too, today's hash is not that of what the API was given.
    let mut edited = World::ready();
    (edited.scanned, edited.status.sent) = (true, None);
    edited.edit(other_role);
    edited.run(&[]);
    edited.assert_said("False", "ReplacementRequired", "Stalled", "role_arn");
    edited.edit(|desired| desired.replace = ReplacePolicy::Recreate);
    edited.run(&[]);
    assert_eq!(edited.posts.len(), 2);
    edited.assert_one_and_ready();
}

#[test]
fn a_secret_that_is_gone_changes_nothing_and_does_not_hide_a_changed_spec() {
    let missing = || Err(Blocked::new(Reason::SecretNotFound, "Secret team/s is not there"));
    let mut world = World::ready();
    world.secret = missing();
    world.run(&[]);
    assert_eq!(said(&world.status, "Ready").0, "True", "the connector at the API is what it was");
    assert_eq!(said(&world.status, "Synced"), ("Unknown", "SecretNotFound", "Secret team/s is not there"));

    let mut edited = World::ready();
    edited.secret = missing();
    edited.edit(other_role);
    edited.run(&[]);
    edited.assert_said("False", "SecretNotFound", "Reconciling", "Secret team/s is not there");
    assert_eq!(said(&edited.status, "Synced").0, "False");
    assert_eq!(edited.posts.len(), 1);
    edited.secret = Ok("canary-external-id".to_owned());
    edited.run(&[]);
    edited.assert_one_and_ready();
    assert_eq!(edited.posts.len(), 2);
}

#[test]
fn a_replacement_waits_for_its_slot_before_it_deletes_anything() {
    let mut world = World::ready();
    world.creates_per_hour = 1;
    world.ledger.creates = vec![CreateBucket { minute: at(0), count: 1 }];
    world.edit(other_role);
    let wait = world.one_pass().unwrap();
    assert!(wait.as_secs() > 2000, "{wait:?}");
    world.assert_said("False", "Replacing", "Reconciling", "waits for the workspace's creates of this hour");
    assert_eq!((world.ours().as_slice(), &world.status.replacement), (&["conn-1".to_owned()][..], &None));
    world.pass(wait.as_secs() as i64);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.posts.len(), 2);
}

#[test]
fn one_that_stands_in_the_way_of_the_new_connector_stops_a_replacement_before_it_begins() {
    let mut world = World::ready();
    let mut wanted = world.desired.clone().unwrap();
    other_role(&mut wanted);
    world.api.put("conn-theirs", &request(&wanted, "x").create, world.now);
    let sent = world.status.sent.clone();
    world.edit(other_role);
    world.run(&[]);
    world.assert_said("False", "AlreadyExists", "Stalled", "conn-theirs");
    assert_eq!(world.ours(), ["conn-1"]);
    assert_eq!(world.status.sent, sent, "what the old connector was given is not forgotten");
}

#[test]
fn what_another_objects_status_names_too_is_not_deleted_until_that_is_settled() {
    for deleting in [false, true] {
        let mut world = World::ready();
        world.contested.insert("conn-1".to_owned());
        world.object.deleting = deleting;
        world.edit(other_role);
        world.run(&[]);
        world.assert_said(
            "False",
            "AlreadyClaimed",
            "Reconciling",
            "conn-1 is in the status of another Connector",
        );
        assert!(world.ours().contains(&"conn-1".to_owned()) && !world.released);
        world.contested.clear();
        world.run(&[]);
        if deleting {
            assert!(world.released && world.ours().is_empty());
        } else {
            world.assert_one_and_ready();
            assert_eq!(world.ours(), ["conn-2"]);
        }
    }
}

#[test]
fn a_suspended_replacement_does_not_begin_and_rests_where_it_is() {
    let mut world = World::ready();
    world.edit(|desired| {
        other_role(desired);
        desired.suspend = true;
    });
    world.run(&[]);
    assert_eq!((world.posts.len(), world.ours()), (1, vec!["conn-1".to_owned()]));
    world.edit(|desired| desired.suspend = false);
    let pass = world.until("delete");
    world.edit(|desired| desired.suspend = true);
    world.finish(pass);
    world.run(&[]);
    world.assert_said("False", "Replacing", "Reconciling", "rests: spec.suspend is set");
    assert_eq!(world.ours(), ["conn-1"]);
    world.edit(|desired| desired.suspend = false);
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.ours(), ["conn-2"]);
}

#[test]
fn a_deletion_that_the_api_refuses_or_takes_its_time_for_is_waited_for() {
    let mut refused = World::ready();
    refused.api.deletions = [Deletion::Refused(FaultKind::Conflict)].into();
    refused.edit(other_role);
    refused.one_pass();
    refused.assert_said("False", "ApiUnavailable", "Reconciling", "conn-1 cannot be deleted");
    refused.run(&[]);
    refused.assert_one_and_ready();

    let mut slow = World::ready();
    slow.api.deletions = [Deletion::Later(30)].into();
    slow.edit(other_role);
    slow.one_pass();
    slow.assert_said("False", "Replacing", "Reconciling", "the API still shows conn-1");
    slow.run(&[]);
    slow.assert_one_and_ready();
    assert_eq!(slow.ours(), ["conn-2"]);
}

#[test]
fn a_replacement_whose_create_is_refused_says_so_and_goes_on_when_the_spec_changes() {
    let mut world = World::ready();
    world.api.answers = [Answer::Refused(FaultKind::Refused)].into();
    world.edit(other_role);
    world.run(&[]);
    world.assert_said("False", "RefusedByApi", "Stalled", "correct the spec");
    assert_eq!(world.ours(), Vec::<String>::new());
    world.edit(|desired| desired.name = "renamed".to_owned());
    world.run(&[]);
    world.assert_one_and_ready();
}

#[test]
fn a_changed_identity_pauses_a_replacement_unless_the_new_key_shows_the_connector() {
    let mut world = World::ready();
    world.edit(other_role);
    let _ = world.until("delete");
    let hidden = std::mem::take(&mut world.api.connectors);
    world.rotate("identity-2");
    world.run(&[]);
    world.assert_said("False", "IdentityChanged", "Reconciling", "put the old key back");
    assert_eq!(world.status.connector_id.as_deref(), Some("conn-1"));
    world.api.connectors = hidden;
    world.pass(60);
    world.pass(i64::try_from(SETTLED_AFTER.as_secs()).unwrap());
    world.run(&[]);
    world.assert_one_and_ready();
    assert_eq!(world.ours(), ["conn-2"]);
}

#[test]
fn what_was_found_out_about_the_old_connector_is_not_said_of_the_new_one() {
    // Recovered, tested and read under one spec, and replaced under another, in as few passes as can be.
    let mut world = World::new();
    world.api.answers = [Answer::CreatedUnheard].into();
    world.api.tests = [Ok(not_connected())].into();
    world.one_pass();
    world.edit(other_role);
    world.log.clear();
    world.run(&[]);
    world.assert_one_and_ready();
    let tested = world.tests_run();
    let creates = world.log.iter().position(|word| word == "create").unwrap();
    assert!(world.log[creates..].iter().any(|word| word == "test"), "{tested} {:#?}", world.log);
}

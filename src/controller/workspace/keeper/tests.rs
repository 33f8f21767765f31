//! Moves between keepers: every order of steps, and what must come first.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::*;
use crate::crd::{Claim, ClaimKind, RateLimits, WorkspaceKind};
use crate::remote::{Budget, Remote};

fn id(uid: &str) -> WorkspaceId {
    WorkspaceId {
        kind: WorkspaceKind::Workspace,
        namespace: Some("team".to_owned()),
        name: uid.to_owned(),
        uid: uid.to_owned(),
    }
}

fn entry(uid: &str, age: i64, key: Option<&str>) -> Entry {
    let remote = key.map(|key| {
        let endpoint = connectors_api::Endpoint::parse("https://api.slim.io").unwrap();
        let client = connectors_api::Client::builder(endpoint, SecretString::from("k".to_owned()));
        let budget = Budget::new(RateLimits::default());
        Arc::new(Remote::new(client.build().unwrap(), budget, key.to_owned(), Arc::default()))
    });
    Entry {
        id: id(uid),
        created: Timestamp::from_second(1_800_000_000 - age).unwrap(),
        deleting: false,
        moving: false,
        remote,
        identity: None,
        former: Vec::new(),
        retired: Vec::new(),
        closed: None,
        changed: false,
        blocked: None,
        trouble: None,
        poll_interval: Duration::from_secs(60),
    }
}

fn claim(member: Option<&str>) -> Claim {
    Claim {
        kind: ClaimKind::Connector,
        namespace: "team".to_owned(),
        name: "lake".to_owned(),
        uid: "uid".to_owned(),
        member: member.map(str::to_owned),
        nonce: "n".to_owned(),
        claimed_at: Timestamp::UNIX_EPOCH,
        identity: "i".to_owned(),
        subject: "lake".to_owned(),
        provider: None,
        config: None,
        known_ids: Vec::new(),
    }
}

fn named(keeper: &str) -> WorkspaceStatus {
    WorkspaceStatus { keeper: Some(id(keeper)), ..WorkspaceStatus::default() }
}

fn with(members: &[&str], claims: Vec<Claim>) -> WorkspaceStatus {
    let members = members.iter().map(|uid| id(uid)).collect();
    WorkspaceStatus { members, claims, ..WorkspaceStatus::default() }
}

#[test]
fn the_oldest_with_the_same_key_is_chosen_then_the_lower_uid() {
    let all = [entry("b", 5, Some("k")), entry("a", 5, Some("k")), entry("old", 9, Some("other"))];
    assert_eq!(chosen(&all[0], None, &all), id("a"));
    assert_eq!(chosen(&all[1], None, &all), id("a"));
    assert_eq!(chosen(&all[2], None, &all), id("old"), "another key is another group");
}

#[test]
fn one_that_is_being_deleted_keeps_for_nobody_else() {
    let deleting = Entry { deleting: true, ..entry("a", 5, Some("k")) };
    let all = [deleting, entry("b", 3, Some("k"))];
    assert_eq!(chosen(&all[1], Some(&id("a")), &all), id("b"));
}

#[test]
fn a_keeper_that_was_not_looked_at_since_the_restart_is_not_left() {
    let all = [entry("b", 3, Some("k"))];
    assert_eq!(chosen(&all[0], Some(&id("a")), &all), id("a"));
    let without_key = [entry("b", 3, None), entry("a", 5, Some("k"))];
    assert_eq!(
        chosen(&without_key[0], Some(&id("a")), &without_key),
        id("a"),
        "nor without a key of one's own"
    );
}

#[test]
fn a_workspace_goes_to_its_keeper_and_back_in_guarded_steps() {
    let me = id("b");
    let home = WorkspaceStatus::default();
    assert_eq!(step(&me, &home, None, &me), Step::Stay);
    assert_eq!(step(&me, &home, None, &id("a")), Step::Name(id("a")));
    assert_eq!(step(&me, &named("a"), Some(&with(&[], Vec::new())), &id("a")), Step::Join);
    assert_eq!(step(&me, &named("a"), Some(&with(&["b"], Vec::new())), &id("a")), Step::Stay);
    assert_eq!(step(&me, &named("a"), Some(&with(&["b"], Vec::new())), &me), Step::Leave);
    assert_eq!(step(&me, &named("a"), Some(&with(&[], Vec::new())), &me), Step::Return);
}

#[test]
fn nothing_moves_while_one_of_its_claims_is_open_or_it_keeps_for_others() {
    let me = id("b");
    assert_eq!(step(&me, &with(&[], vec![claim(None)]), None, &id("a")), Step::Wait);
    assert_eq!(step(&me, &with(&["c"], Vec::new()), None, &id("a")), Step::Wait);
    let mine = with(&["b"], vec![claim(Some("b"))]);
    assert_eq!(step(&me, &named("a"), Some(&mine), &me), Step::Wait);
    let of_others = with(&["b", "c"], vec![claim(Some("c")), claim(None)]);
    assert_eq!(step(&me, &named("a"), Some(&of_others), &me), Step::Leave);
}

#[test]
fn a_keeper_that_was_forced_to_go_or_that_has_a_keeper_itself_takes_no_members() {
    let me = id("b");
    assert_eq!(step(&me, &named("a"), None, &id("a")), Step::Return);
    assert_eq!(step(&me, &named("a"), Some(&named("c")), &id("a")), Step::Wait);
    assert_eq!(step(&me, &named("a"), Some(&named("c")), &id("c")), Step::Return);
}

#[test]
fn the_creates_of_both_count() {
    let bucket =
        |minute: i64, count| CreateBucket { minute: Timestamp::from_second(minute * 60).unwrap(), count };
    let both = merged(&[bucket(1, 2), bucket(3, 1)], &[bucket(2, 5), bucket(3, 4)]);
    assert_eq!(both, [bucket(1, 2), bucket(2, 5), bucket(3, 5)]);
}

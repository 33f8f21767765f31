//! Asking the API: what it refuses is asked once, and who has to wait for a create keeps the turn that it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use slimio_operator::crd::Connector;

use crate::lab::{Lab, condition};

async fn connectors(lab: &Lab) -> Vec<Connector> {
    lab.objects::<Connector>().list(&ListParams::default()).await.unwrap().items
}

fn reason(connector: &Connector) -> String {
    condition(connector.status.as_ref(), "Ready").map(|(_, reason, _)| reason).unwrap_or_default()
}

/// Waits until so many connectors have that reason.
async fn until_count(lab: &Lab, count: usize, wanted: &str) -> Vec<Connector> {
    for _ in 0..1200 {
        let all = connectors(lab).await;
        if all.iter().filter(|connector| reason(connector) == wanted).count() == count {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let all = connectors(lab).await;
    let reasons = all.iter().map(|it| (it.name_any(), reason(it))).collect::<Vec<_>>();
    panic!("not {count} times {wanted}: {reasons:?}\n{}", lab.log_of_this_test());
}

/// When each one's turn was told to come, by name.
fn told(all: &[Connector]) -> BTreeMap<String, Timestamp> {
    let told = |it: &Connector| Some((it.name_any(), it.status.as_ref()?.next_create_time?));
    all.iter().filter_map(told).collect()
}

/// Writes to those that wait since that version, and how many of them told a turn again.
async fn writes_since(lab: &Lab, version: &str, times: &BTreeMap<String, Timestamp>) -> (usize, usize) {
    let mut seen = pin!(lab.objects::<Connector>().watch(&WatchParams::default(), version).await.unwrap());
    let (mut writes, mut told) = (0, BTreeSet::new());
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(2), seen.next()).await {
        if let WatchEvent::Modified(now) = event.unwrap()
            && times.contains_key(&now.name_any())
        {
            writes += 1;
            told.extend(now.status.and_then(|it| it.next_create_time).map(|at| (now.metadata.name, at)));
        }
    }
    (writes, told.len() - times.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_create_is_said_once_asked_once_and_cured_by_the_secret() {
    let lab = Lab::shared("viewer").await;
    let bucket = lab.bucket(1).await;
    let viewer = lab.parts.server.create_key(&lab.namespace, "viewer").await.unwrap();
    let with_key = |key: &secrecy::SecretString| {
        lab.secret("api-key", "apiKey", secrecy::ExposeSecret::expose_secret(key))
    };
    lab.apply(&with_key(&viewer)).await;
    lab.until_workspace("lab", "Ready").await;
    lab.apply(&lab.connector("c0", &bucket, "")).await;
    let secret = format!("Secret {}/api-key (key apiKey)", lab.namespace);
    let message = lab.until_workspace("lab", "Forbidden").await;
    assert!(message.contains(&secret) && message.contains("create"), "{message}");

    let posts = async || lab.requests().await.iter().filter(|it| *it == "POST /api/v1/connectors").count();
    assert_eq!(posts().await, 1);
    for n in 1..6 {
        lab.apply(&lab.connector(&format!("c{n}"), &bucket, "")).await;
    }
    for connector in until_count(&lab, 6, "Forbidden").await {
        let (_, _, message) = condition(connector.status.as_ref(), "Ready").unwrap();
        assert!(message.contains(&secret), "{message}");
        assert_eq!(condition(connector.status.as_ref(), "Reconciling").unwrap().0, "True");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(posts().await, 1, "nothing more is sent while the circuit is open");
    let events = lab
        .kubectl(&[
            "get",
            "events",
            "--output=jsonpath={range .items[*]}{.reason} {.involvedObject.kind}{'\\n'}{end}",
        ])
        .await;
    let forbidden = events.lines().filter(|line| line.starts_with("Forbidden")).collect::<Vec<_>>();
    assert_eq!(forbidden, ["Forbidden Workspace"], "one event, where the cause is");
    let metrics = lab.parts.operator.metrics().await.unwrap();
    let open =
        format!("slimio_circuit_open{{workspace=\"Workspace {}/lab\",circuit=\"create\"}} 1", lab.namespace);
    assert!(metrics.contains(&open), "{open} is not in\n{metrics}");

    lab.apply(&with_key(&lab.key)).await;
    until_count(&lab, 6, "Ready").await;
    lab.until_workspace("lab", "Ready").await;
    assert_eq!(lab.remote().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_create_keeps_the_turn_that_it_was_told_over_a_restart_and_against_newcomers() {
    let mut lab = Lab::alone("turns").await;
    let bucket = lab.bucket(1).await;
    let limited = |creates: u32| {
        lab.workspace().replace("createsPerHour: 10000", &format!("createsPerHour: {creates}"))
    };
    let (ten, twenty) = (limited(10), limited(20));
    lab.apply(&ten).await;
    lab.until_workspace("lab", "Ready").await;
    let begun = Timestamp::now().as_second();
    let version = lab.objects::<Connector>().list(&ListParams::default()).await.unwrap().metadata;
    let all = (0..30).map(|n| lab.connector(&format!("c{n:02}"), &bucket, "")).collect::<Vec<_>>();
    lab.apply(&all.join("---\n")).await;
    until_count(&lab, 10, "Ready").await;
    until_count(&lab, 20, "WaitingForQuota").await;
    assert_eq!(lab.remote().await.len(), 10);

    // Ten in an hour from now, and ten more an hour later: whatever their order was, each was told its own place.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let all = {
        drop(all);
        connectors(&lab).await
    };
    let times = told(&all);
    let hours = |at: &Timestamp| (at.as_second() - begun) / 3600;
    let by_hour = |hour| times.values().filter(|at| hours(at) == hour).count();
    assert_eq!((by_hour(1), by_hour(2)), (10, 10), "{times:?}");
    for connector in all.iter().filter(|it| reason(it) == "WaitingForQuota") {
        let (_, _, message) = condition(connector.status.as_ref(), "Ready").unwrap();
        assert!(message.contains(&times[&connector.name_any()].to_string()), "{message}");
    }

    // Telling them took few writes: first touch, the finalizer where one looked first, the turn, and the turn again for few.
    let (writes, rewrites) = writes_since(&lab, &version.resource_version.unwrap(), &times).await;
    assert!((40..=70).contains(&writes), "{writes} writes for 20 connectors");
    assert!(rewrites <= 10, "{rewrites} turns were told again");

    // A restart in between: nothing is written, nothing created, nothing asked but the list.
    let versions = |all: &[Connector]| {
        all.iter().map(|it| (it.name_any(), it.resource_version())).collect::<BTreeMap<_, _>>()
    };
    let before = versions(&connectors(&lab).await);
    lab.parts_mut().operator.kill().await;
    lab.parts_mut().operator.restart().await.unwrap();
    while !lab.parts.operator.metrics().await.unwrap().contains("\nslimio_leading 1\n") {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = connectors(&lab).await;
    assert_eq!(versions(&after), before, "nobody was written to");
    assert_eq!(lab.remote().await.len(), 10);

    // A newcomer is told a turn behind all of them.
    lab.apply(&lab.connector("late", &bucket, "")).await;
    lab.until_reason("late", "WaitingForQuota").await;
    let with_late = told(&connectors(&lab).await);
    assert_eq!(hours(&with_late["late"]), 3, "{with_late:?}");

    // Ten creates more go to those whose turn was the next, and to nobody else.
    lab.apply(&twenty).await;
    let all = until_count(&lab, 20, "Ready").await;
    let next = times.iter().filter(|(_, at)| hours(at) == 1).map(|(name, _)| name.clone());
    let waited = |it: &&Connector| times.contains_key(&it.name_any()) && reason(it) == "Ready";
    let served = all.iter().filter(waited).map(ResourceExt::name_any);
    assert_eq!(served.collect::<BTreeSet<_>>(), next.collect::<BTreeSet<_>>());
    assert_eq!(lab.remote().await.len(), 20);
}

//! Two replicas: one acts. It hands over when it is told to go, loses the lead when it is frozen or the Lease is taken from it,
//! and nothing is made twice meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Operator, OperatorOptions, Signal};

use crate::lab::{Lab, id};

async fn leads(operator: &Operator) -> bool {
    operator.metrics().await.is_ok_and(|text| text.lines().any(|line| line == "slimio_leading 1"))
}

/// Seconds until it leads.
async fn until_leads(operator: &Operator, limit: u64) -> Duration {
    let begun = Instant::now();
    while !leads(operator).await {
        assert!(begun.elapsed() < Duration::from_secs(limit), "it does not lead:\n{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

async fn second(lab: &Lab) -> Operator {
    let options = OperatorOptions {
        permitted_endpoints: vec![lab.parts.server.endpoint().to_owned()],
        ..OperatorOptions::default()
    };
    Operator::start(&lab.parts.cluster, options).await.unwrap()
}

async fn holder(lab: &Lab, holder: &str) {
    let patch = json!({"spec": {"holderIdentity": holder, "renewTime": null}}).to_string();
    let args =
        ["-n", "slimio-system", "patch", "lease", "slimio-operator", "--type=merge", "--patch", &patch];
    let output = lab.parts.cluster.kubectl(&args).await.unwrap();
    assert!(output.success, "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lead_goes_over_within_seconds_when_its_holder_is_told_to_go_and_after_the_lease_when_it_freezes()
{
    let mut lab = Lab::alone("leaders").await;
    let bucket = lab.bucket(1).await;
    until_leads(&lab.parts.operator, 30).await;
    let mut other = second(&lab).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    assert!(!leads(&other).await);
    let effects = |text: &str| text.lines().filter(|line| line.starts_with("slimio_effects_total{")).count();
    assert_eq!(effects(&other.metrics().await.unwrap()), 0, "whoever does not lead has no effect");

    lab.parts_mut().operator.stop().await.unwrap();
    let took = until_leads(&other, 10).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    lab.apply(&lab.connector("b", &bucket, "  displayName: b")).await;
    lab.until_ready("b").await;

    // Frozen with a connector to make: the one that thaws finds that it leads no more.
    lab.parts_mut().operator.restart().await.unwrap();
    other.process().signal(Signal::Freeze);
    lab.apply(&lab.connector("c", &bucket, "  displayName: c")).await;
    until_leads(&lab.parts.operator, 40).await;
    lab.until_ready("c").await;
    other.process().signal(Signal::Continue);
    lab.apply(&lab.connector("d", &bucket, "  displayName: d")).await;
    lab.until_ready("d").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(leads(&lab.parts.operator).await && !leads(&other).await);

    let mut ids = BTreeSet::new();
    for name in ["a", "b", "c", "d"] {
        ids.insert(id(&lab.until_ready(name).await));
    }
    let remote = lab.remote().await.iter().map(|item| item.id.to_string()).collect::<BTreeSet<_>>();
    assert_eq!((remote.len(), remote), (4, ids), "one connector for each object");
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_taken_away_stops_effects_and_one_that_is_deleted_is_made_anew() {
    let lab = Lab::alone("lease").await;
    let bucket = lab.bucket(1).await;
    let operator = &lab.parts.operator;
    until_leads(operator, 30).await;
    lab.until_workspace("lab", "Ready").await;
    holder(&lab, "somebody-else").await;
    let begun = Instant::now();
    while leads(operator).await {
        assert!(begun.elapsed() < Duration::from_secs(15), "{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.apply(&lab.connector("a", &bucket, "")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(lab.remote().await.is_empty(), "somebody else leads");
    // Who took it is silent, and so loses it again.
    until_leads(operator, 40).await;
    lab.until_ready("a").await;

    let gone = ["-n", "slimio-system", "delete", "lease", "slimio-operator"];
    assert!(lab.parts.cluster.kubectl(&gone).await.unwrap().success);
    lab.apply(&lab.connector("b", &bucket, "  displayName: b")).await;
    lab.until_ready("b").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(leads(operator).await);
    let there = ["-n", "slimio-system", "get", "lease", "slimio-operator"];
    assert!(lab.parts.cluster.kubectl(&there).await.unwrap().success, "it was made anew");
    assert_eq!(lab.remote().await.len(), 2);
}

//! Objects that an older CRD took and today's refuses: said to be invalid, and neither kept from being read nor from going.

use std::path::Path;
use std::time::Duration;

use slimio_operator::crd::Connector;

use crate::lab::{Lab, condition, id};

/// Opens the schema of specs.
const OPEN: &str = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_todays_rules_refuse_is_invalid_and_its_object_can_still_be_written_and_deleted() {
    let mut lab = Lab::alone("oldschema").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    let ready = lab.until_ready("a").await;

    lab.kubectl(&["patch", "crd", "connectors.slim.io", "--type=json", "--patch", OPEN]).await;
    let often = r#"{"spec": {"connectionTest": {"interval": "1m"}}}"#;
    let patch = ["--namespace", &lab.namespace, "patch", "connector", "a", "--type=merge", "--patch", often];
    tokio::time::timeout(Duration::from_secs(30), async {
        while !lab.parts.cluster.kubectl(&patch).await.unwrap().success {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await
    .expect("the opened schema takes the edit");
    lab.parts.cluster.install_crds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))).await.unwrap();

    for restarted in [false, true] {
        if restarted {
            lab.parts_mut().operator.kill().await;
            lab.parts_mut().operator.restart().await.unwrap();
        }
        let (invalid, message) = lab.until_reason("a", "InvalidSpec").await;
        assert!(message.contains("15m"), "{message}");
        assert_eq!(id(&invalid), id(&ready), "nothing is lost by it");
        assert!(condition(invalid.status.as_ref(), "Stalled").is_some_and(|(truth, ..)| truth == "True"));
    }
    lab.kubectl(&["label", "connector", "a", "team=data"]).await;
    assert_eq!(lab.remote().await.len(), 1);
    lab.kubectl(&["delete", "connector", "a", "--wait=false"]).await;
    lab.until_gone("a").await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_an_administrator_wiped_or_forged_loses_nothing_and_deletes_nothing() {
    let lab = Lab::shared("forged").await;
    let bucket = lab.bucket(1).await;
    for name in ["a", "b"] {
        lab.apply(&lab.connector(name, &bucket, "")).await;
    }
    let (a, b) = (id(&lab.until_ready("a").await), id(&lab.until_ready("b").await));
    let forge = async |name: &str, status: String| {
        let patch = format!(r#"{{"status": {status}}}"#);
        lab.kubectl(&["patch", "connector", name, "--subresource=status", "--type=merge", "--patch", &patch])
            .await;
        // A status that somebody writes wakes nobody by itself.
        let now = format!("slim.io/reconcile-requested-at={:?}", std::time::SystemTime::now());
        lab.kubectl(&["annotate", "connector", name, "--overwrite", &now]).await;
    };
    // Wiped: the sealed annotation says whose it is.
    forge("a", "null".to_owned()).await;
    assert_eq!(id(&lab.until_ready("a").await), a);
    // Nonsense: told, and nothing is asked of the API for it.
    forge("a", r#"{"connectorId": "no id"}"#.to_owned()).await;
    let (_, message) = lab.until_reason("a", "InvalidSpec").await;
    assert!(message.contains("status.connectorId is not an id"), "{message}");
    forge("a", format!(r#"{{"connectorId": "{a}"}}"#)).await;
    lab.until_ready("a").await;
    // A replacement that would delete another object's connector.
    let replacement =
        format!(r#"{{"replacement": {{"oldId": "{b}", "newId": "{a}", "phase": "Switched"}}}}"#);
    forge("a", replacement).await;
    lab.until::<Connector>("a", "told that another object has it", |it| {
        condition(it.status.as_ref(), "Ready").is_some_and(|(_, reason, _)| reason == "AlreadyClaimed")
    })
    .await;
    let mut ids = lab.remote().await.iter().map(|item| item.id.to_string()).collect::<Vec<_>>();
    ids.sort();
    let mut both = vec![a, b];
    both.sort();
    assert_eq!(ids, both, "nothing is deleted on the strength of it");
}

//! An oracle that cannot say no proves nothing: each of these wrongs is done on purpose, and must be seen.

use std::time::Duration;

use serde_json::json;
use testbed::ledger::Switches;

use crate::oracle::{Expected, is_ready, verdict};
use crate::rig::Rig;

async fn ready() -> (Rig, Expected, String) {
    let rig = Rig::start("control", Switches { unique_names: false, ..Switches::default() }).await;
    rig.create("a", "one").await;
    rig.until("a", Duration::from_secs(120), is_ready).await.unwrap();
    let id = rig.read("a").await.unwrap()["status"]["connectorId"].as_str().unwrap().to_owned();
    (rig, Expected { ready: vec!["a".to_owned()], creates: (1, 1), retained: 0 }, id)
}

/// One request to the Connectors API, as an operator would send it that breaks its rules.
async fn ask(rig: &Rig, method: &str, path: &str, body: serde_json::Value) {
    let url = format!("{}/api/v1/connectors{path}", rig.ledger.endpoint());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method.parse().unwrap(), url).bearer_auth(rig.ledger.key()).json(&body);
    assert!(request.send().await.unwrap().status().is_success());
}

fn sees(wrong: &[String], rule: &str) {
    assert!(wrong.iter().any(|it| it.starts_with(rule)), "{rule} is not among {wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_without_a_claim_is_seen_and_so_is_the_orphan_that_it_leaves() {
    let (rig, expected, _) = ready().await;
    assert_eq!(verdict(&rig, &expected).await, Vec::<String>::new(), "nothing is wrong yet");
    let body = json!({"name": format!("{}.a", rig.namespace), "provider": "gcp", "config": {}});
    ask(&rig, "POST", "", body).await;
    let wrong = verdict(&rig, &expected).await;
    sees(&wrong, "S5");
    sees(&wrong, "S1");
    sees(&wrong, "S2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_what_nobody_deletes_is_seen() {
    let (rig, expected, id) = ready().await;
    ask(&rig, "DELETE", &format!("/{id}"), json!({})).await;
    ask(&rig, "DELETE", &format!("/{}", rig.foreign), json!({})).await;
    // The operator makes its own anew, which is one create more than there should be.
    rig.until("a", Duration::from_secs(120), |it| {
        it.is_some_and(|it| it["status"]["connectorId"] != id.as_str() && is_ready(Some(it)))
    })
    .await
    .unwrap();
    let wrong = verdict(&rig, &expected).await;
    sees(&wrong, "S3");
    sees(&wrong, "S4");
    sees(&wrong, "S1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_was_written_and_an_operator_that_is_gone_are_seen() {
    let (rig, expected, _) = ready().await;
    rig.operator.lock().await.kill().await;
    rig.edit("a", |spec| spec["gcp"]["projectId"] = json!("acme-lake-43")).await;
    let wrong = verdict(&rig, &expected).await;
    sees(&wrong, "S13");
    sees(&wrong, "L1");
    sees(&wrong, "the operator is not there");
}

//! A killed server goes on where it was and counts nothing twice; a deleted connector takes its scan along.

use std::time::Duration;

use serde_json::json;
use testbed::{Aws, Server, pii};

use crate::rig::{Caller, aws_connector};

#[tokio::test]
async fn a_scan_that_is_killed_again_and_again_ends_with_the_figures_of_an_undisturbed_one() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    let files = pii::files(5, 150);
    aws.put_objects("bucket", files.into_iter().map(|f| (f.key, f.text.into_bytes()))).await.unwrap();
    let mut server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;

    let undisturbed = caller.start(&id, &json!({"type": "full"})).await;
    let expected = caller.ended(&undisturbed).await;
    assert_eq!(expected["progress"]["files_total"], 150, "{expected}");

    let scan = caller.start(&id, &json!({"type": "full"})).await;
    let mut kills = 0;
    for pause in [30, 150, 250, 100, 350, 200, 50, 300] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if caller.get(&format!("/scans/{scan}")).await.data(200)["status"] == "completed" {
            break;
        }
        server.kill().await;
        kills += 1;
        server.restart().await.unwrap();
    }
    assert!(kills >= 2, "the scan was over before it could be killed twice");
    let ended = caller.ended(&scan).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    for part in ["files_total", "files_processed", "files_failed", "findings_count"] {
        assert_eq!(ended["progress"][part], expected["progress"][part], "{part} after {kills} kills");
    }
    for part in ["total_enumerated", "total_scanned", "total_skipped", "total_failed"] {
        assert_eq!(ended["coverage"][part], expected["coverage"][part], "{part} after {kills} kills");
    }
    let read = caller.get(&format!("/connectors/{id}")).await.data(200).clone();
    assert_eq!(read["scan_history"].as_array().unwrap().len(), 2, "{read}");
}

#[tokio::test]
async fn a_server_that_is_stopped_puts_its_scan_down_and_takes_it_up_again() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    aws.put_objects("bucket", (0..100).map(|n| (format!("{n}.txt"), b"SSN 536-22-4417\n".to_vec())))
        .await
        .unwrap();
    let mut server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let scan = caller.start(&id, &json!({"type": "full", "options": {"max_workers": 1}})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.stop().await.unwrap();
    server.restart().await.unwrap();
    let ended = caller.ended(&scan).await;
    assert_eq!(
        (&ended["status"], &ended["progress"]["findings_count"]),
        (&json!("completed"), &json!(100)),
        "{ended}"
    );
}

#[tokio::test]
async fn deleting_a_connector_stops_its_scan_and_takes_it_along() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    aws.put_objects("bucket", (0..150).map(|n| (format!("{n}.txt"), b"SSN 536-22-4417\n".to_vec())))
        .await
        .unwrap();
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let scan = caller.start(&id, &json!({"type": "full", "options": {"max_workers": 1}})).await;
    let mut seen = json!(null);
    testbed::wait::until("the scan to run", Duration::from_secs(20), async || {
        seen = caller.get(&format!("/scans/{scan}")).await.data(200).clone();
        seen["progress"]["files_processed"].as_u64().unwrap() > 0
    })
    .await
    .unwrap();
    assert_eq!(seen["status"], "running", "{seen}");
    assert!(seen["progress"]["percent_complete"].as_f64().unwrap() < 100.0, "{seen}");

    caller.delete(&format!("/connectors/{id}")).await.data(200);
    caller.get(&format!("/scans/{scan}")).await.refused(404, "SCAN_NOT_FOUND");
    // The same name and bucket are free again at once, and the new scan is not disturbed by the old one.
    let again = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let scan = caller.start(&again, &json!({"type": "full"})).await;
    let ended = caller.ended(&scan).await;
    assert_eq!(
        (&ended["status"], &ended["progress"]["findings_count"]),
        (&json!("completed"), &json!(150)),
        "{ended}"
    );
    assert!(server.log().contains("scan put down"), "{}", server.log());
}

//! A killed server goes on where it was and counts nothing twice; a deleted connector takes its scan along.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection as _;
use testbed::{Aws, Server, ServerOptions, pii};

use crate::rig::{Caller, aws_connector, with_s3_at};
use crate::switch::Switch;

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

/// A bucket with `files` small files, each with one finding.
async fn bucket_of(files: usize) -> Aws {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    let objects = (0..files).map(|n| (format!("{n}.txt"), b"SSN 536-22-4417\n".to_vec()));
    aws.put_objects("bucket", objects).await.unwrap();
    aws
}

#[tokio::test]
async fn storage_that_is_away_for_a_while_makes_a_scan_wait_and_costs_no_file() {
    let aws = bucket_of(60).await;
    let wire = Switch::to(aws.endpoint()).await;
    let server = Server::start_with(None, with_s3_at(&aws, wire.endpoint())).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let scan = caller.start(&id, &json!({"type": "full", "options": {"max_workers": 1}})).await;
    testbed::wait::until("some files to be done", Duration::from_secs(20), async || {
        let progress = caller.get(&format!("/scans/{scan}")).await.data(200)["progress"].clone();
        progress["files_processed"].as_u64().unwrap() >= 3
    })
    .await
    .unwrap();
    wire.open();
    testbed::wait::until("the scan to notice", Duration::from_secs(60), async || {
        server.log().contains("scan pauses")
    })
    .await
    .unwrap();
    assert_eq!(caller.get(&format!("/scans/{scan}")).await.data(200)["status"], "running");
    wire.close();
    let ended = caller.ended(&scan).await;
    let progress = &ended["progress"];
    assert_eq!(
        (
            &ended["status"],
            &progress["files_processed"],
            &progress["files_failed"],
            &progress["findings_count"]
        ),
        (&json!("completed"), &json!(60), &json!(0), &json!(60)),
        "{ended}"
    );
}

#[tokio::test]
async fn a_scan_ends_at_its_time_limit_which_goes_on_while_the_server_is_away() {
    let aws = bucket_of(60).await;
    let mut server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let options = json!({"type": "full", "options": {"timeout_minutes": 1, "max_workers": 1}});
    let scan = caller.start(&id, &options).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.kill().await;
    // As if the server had been away for the minute.
    let mut database = sqlx::SqliteConnection::connect(server.database()).await.unwrap();
    sqlx::query("UPDATE scans SET started_ms = COALESCE(started_ms, created_ms) - 61000")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    server.restart().await.unwrap();
    let ended = caller.ended(&scan).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(ended["message"], "stopped at its time limit of 1 min (options.timeout_minutes)");
    // The connector did nothing wrong: it can be scanned again.
    let again = caller.start(&id, &json!({"type": "full"})).await;
    assert_eq!(caller.ended(&again).await["status"], "completed");
}

#[tokio::test]
async fn credentials_that_are_lost_fail_the_scan_and_mark_the_connector() {
    let aws = bucket_of(40).await;
    let mut first = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&first, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let scan = caller.start(&id, &json!({"type": "full", "options": {"max_workers": 1}})).await;
    first.kill().await;

    let unknown = vec![("AWS_ACCESS_KEY_ID".to_owned(), "AKIAUNKNOWN".to_owned())];
    let options = ServerOptions { env: unknown, database: Some(first.database().to_owned()), args: vec![] };
    let second = Server::start_with(Some(&aws), options).await.unwrap();
    let caller = Caller::new(&second, "default", "admin").await;
    let ended = caller.ended(&scan).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(
        ended["message"].as_str().unwrap().starts_with("AWS refused this server's own credentials"),
        "{ended}"
    );
    assert_eq!(caller.get(&format!("/connectors/{id}")).await.data(200)["status"], "error");
    let answer = caller.post(&format!("/connectors/{id}/scan"), &json!({"type": "full"})).await;
    answer.refused(409, "CONNECTOR_NOT_ACTIVE");
}

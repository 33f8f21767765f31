//! The whole loop: apply, Ready, scan, risk and findings, delete.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{WatchEvent, WatchParams};
use slimio_operator::crd::{Connector, ScanPhase};

use crate::lab::{Lab, condition, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_created_tested_scanned_and_deleted() {
    let lab = Lab::shared("loop").await;
    let bucket = lab.bucket(4).await;

    lab.apply(&lab.connector("customers", &bucket, "  maxRiskScore: 100")).await;
    lab.kubectl(&["wait", "--for=condition=Ready", "connector/customers", "--timeout=60s"]).await;
    let connector = lab.until_ready("customers").await;
    let status = connector.status.clone().unwrap();
    assert_eq!((status.provider.as_deref(), status.state.as_deref()), (Some("aws"), Some("active")));
    assert_eq!(status.observed_generation, connector.metadata.generation);
    assert_eq!(status.connection_test.as_ref().unwrap().buckets_accessible, [bucket.as_str()]);
    assert_eq!(status.risk_score, None, "there is no score before the first scan");
    assert_eq!(condition(Some(&status), "RiskAcceptable").unwrap().1, "NotScanned");
    let remote = lab.remote().await;
    assert_eq!(remote.len(), 1);
    assert_eq!(remote[0].id.as_str(), id(&connector));
    assert_eq!(remote[0].name, format!("{}.customers", lab.namespace));

    lab.apply(&lab.scan("first-look", "customers", "")).await;
    lab.kubectl(&["wait", "--for=condition=Complete", "scan/first-look", "--timeout=60s"]).await;
    let (scan, message) = lab.until_scan("first-look", "Completed").await;
    let scanned = scan.status.unwrap();
    assert_eq!(
        (scanned.phase, scanned.files_processed, scanned.findings_count),
        (Some(ScanPhase::Completed), Some(4), Some(12))
    );
    assert!(message.contains("12 findings in 4 files"), "{message}");
    assert!(scanned.completion_time >= scanned.start_time && scanned.duration.is_some());

    // The connector follows its scan without waiting for anything else.
    let connector = lab
        .until::<Connector>("customers", "refreshed", |it| {
            it.status
                .as_ref()
                .is_some_and(|status| status.findings_count == Some(12) && !status.scan_history.is_empty())
        })
        .await;
    let status = connector.status.unwrap();
    assert!(status.risk_score.is_some_and(|score| score > 0) && status.last_scan_time.is_some());
    assert_eq!(Some(&status.scan_history[0].scan_id), scanned.scan_id.as_ref());
    assert_eq!(condition(Some(&status), "RiskAcceptable").unwrap().0, "True");

    lab.kubectl(&["delete", "connector", "customers", "--timeout=60s"]).await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_apply_to_ready_takes_six_writes_and_four_requests_and_then_none() {
    let lab = Lab::shared("budget").await;
    let bucket = lab.bucket(1).await;
    // No poll falls between: what the API is asked is asked for this connector.
    lab.apply(&lab.workspace().replace("pollInterval: 2s", "pollInterval: 24h")).await;
    // The first connector of a workspace has it held, and a workspace that changed is looked at: that is its budget.
    lab.apply(&lab.connector("first", &bucket, "")).await;
    lab.until_ready("first").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = lab.requests().await.len() + 1;
    let mut seen = pin!(lab.objects::<Connector>().watch(&WatchParams::default(), "0").await.unwrap());

    lab.apply(&lab.connector("counted", &bucket, "")).await;
    let mut writes = 0;
    loop {
        match seen.next().await.unwrap().unwrap() {
            WatchEvent::Added(_) | WatchEvent::Bookmark(_) => {}
            WatchEvent::Modified(now) => {
                writes += 1;
                if condition(now.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True") {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let asked = lab.requests().await.split_off(before);
    assert_eq!(writes, 6, "first touch, finalizer, claim, id, annotation, Ready");
    let id = &lab.remote().await[0].id;
    let paths = [
        "GET /api/v1/connectors",
        "POST /api/v1/connectors",
        "POST /api/v1/connectors/{id}/test",
        "GET /api/v1/connectors/{id}",
    ];
    assert_eq!(asked, paths, "look, create, test and read of {id}");

    let written = async {
        loop {
            match seen.next().await.unwrap().unwrap() {
                WatchEvent::Bookmark(_) => {}
                other => break other,
            }
        }
    };
    let quiet = tokio::time::timeout(Duration::from_secs(5), written).await;
    assert!(quiet.is_err(), "written at rest: {quiet:?}");
}

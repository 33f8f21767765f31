//! What changes something is sent once, and a lost answer is told apart from a refusal and from nothing sent.

use std::time::Duration;

use connectors_api::{
    ConnectorState, Error, ErrorKind, Provider, ScanOptions, ScanType, StartParallelScan, StartScan,
};
use tokio::net::TcpListener;

use crate::double::{Act, Double, http, json};
use crate::{billing, client, conn, impatient};

const CREATED: &str = r#"{"status":"success","data":{"id":"conn-3m8x1z","name":"Billing archive","provider":"aws",
    "status":"pending_test","created_at":"2025-02-10T11:12:13Z"}}"#;

async fn create_error(act: Act) -> (Error, usize) {
    let waits = matches!(act, Act::Silence | Act::Drip(..));
    let double = Double::always(act).await;
    let client = if waits { impatient(double.address) } else { client(double.address) };
    let error = client.create(&billing()).await.unwrap_err();
    // Time for a second request, if there were one.
    tokio::time::sleep(Duration::from_millis(50)).await;
    (error, double.seen().len())
}

#[tokio::test]
async fn a_create_sends_the_documented_request_and_reads_the_answer() {
    let double = Double::always(Act::Answer(http(
        201,
        &["x-request-id: req-9", "X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 59"],
        CREATED,
    )))
    .await;
    let answer = client(double.address).create(&billing()).await.unwrap();
    assert_eq!(answer.value.id, conn("conn-3m8x1z"));
    assert_eq!((answer.value.provider, answer.value.status), (Provider::Aws, ConnectorState::PendingTest));
    assert_eq!((answer.status, answer.request_id.unwrap().as_str()), (201, "req-9"));
    assert_eq!((answer.rate_limit.limit, answer.rate_limit.remaining), (Some(60), Some(59)));

    let request = &double.seen()[0];
    assert_eq!(request.line, "POST /api/v1/connectors");
    assert_eq!(request.header("authorization"), Some("Bearer sk_live_canary"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some("slimio-operator/9.9.9"));
    assert_eq!(
        request.header("accept-encoding"),
        None,
        "a compressed body could not be bounded before it is read"
    );
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["config"]["external_id"], "ext-canary");
}

#[tokio::test]
async fn a_connection_that_is_reset_before_the_answer_leaves_the_outcome_unknown_and_nothing_is_sent_again() {
    let (error, requests) = create_error(Act::Reset).await;
    assert_eq!((error.kind(), error.status(), requests), (ErrorKind::OutcomeUnknown, None, 1));
    assert!(
        error.to_string().starts_with("create connector: the outcome is unknown: the connection broke"),
        "{error}"
    );
    let (error, requests) = create_error(Act::AnswerAndClose(Vec::new())).await;
    assert_eq!((error.kind(), requests), (ErrorKind::OutcomeUnknown, 1));
}

#[tokio::test]
async fn a_service_that_stays_silent_leaves_the_outcome_unknown() {
    let (error, requests) = create_error(Act::Silence).await;
    assert_eq!((error.kind(), requests), (ErrorKind::OutcomeUnknown, 1));
    assert_eq!(error.to_string(), "create connector: the outcome is unknown: nothing came for 400ms");
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_total_limit() {
    let (error, requests) = create_error(Act::Drip(json(201, CREATED), Duration::from_millis(20))).await;
    assert_eq!((error.kind(), requests), (ErrorKind::OutcomeUnknown, 1));
    assert!(
        error.to_string().contains("took longer than 900ms") || error.to_string().contains("nothing came"),
        "{error}"
    );
}

#[tokio::test]
async fn a_success_whose_body_cannot_be_read_leaves_the_outcome_unknown() {
    let mut cut = json(201, CREATED);
    cut.truncate(cut.len() - 20);
    for (answer, says) in [
        (cut, "the connection broke"),
        (http(200, &["content-type: text/html"], "<html>welcome to this network</html>"), "it is not JSON"),
        (json(201, r#"{"status":"success","data":{"name":"no id"}}"#), "missing field `id`"),
        (json(201, r#"{"data":{"id":""}}"#), "an id must not be empty"),
        (json(201, "{}"), "missing field `data`"),
        (json(201, r#"{"metadata":{"request_id":"req-1"}}"#), "missing field `data`"),
        (json(201, ""), "it is not JSON"),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 99999999\r\n\r\n{".to_vec(), "larger than 8 MiB"),
    ] {
        let (error, requests) = create_error(Act::AnswerAndClose(answer)).await;
        assert_eq!((error.kind(), requests), (ErrorKind::OutcomeUnknown, 1), "{error}");
        assert!(error.status().is_some_and(|s| s < 300), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn the_status_says_whether_a_create_may_have_been_done() {
    use ErrorKind::{OutcomeUnknown, Refused};
    for (status, kind) in [
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (408, OutcomeUnknown),
        (409, Refused),
        (413, Refused),
        (422, Refused),
        (429, Refused),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
        (301, OutcomeUnknown),
        (302, OutcomeUnknown),
        (303, OutcomeUnknown),
        (307, Refused),
        (308, Refused),
    ] {
        let body = r#"{"status":"error","error":{"code":"SOME_CODE","message":"so it is"}}"#;
        let headers: &[&str] = if status < 400 { &["location: http://127.0.0.1:9/elsewhere"] } else { &[] };
        let (error, requests) = create_error(Act::Answer(http(status, headers, body))).await;
        assert_eq!((error.kind(), error.status(), requests), (kind, Some(status), 1), "{error}");
        if status >= 400 {
            assert_eq!((error.code(), error.message()), (Some("SOME_CODE"), Some("so it is")));
        }
    }
}

#[tokio::test]
async fn an_error_envelope_under_a_success_leaves_the_outcome_of_a_create_unknown() {
    let body = r#"{"status":"error","error":{"code":"QUOTA","message":"no more"}}"#;
    let (error, _) = create_error(Act::Answer(json(200, body))).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::OutcomeUnknown, Some("QUOTA")));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Double::always(Act::Answer(json(201, CREATED))).await;
    let location = format!("location: http://{}/api/v1/connectors", elsewhere.address);
    let double = Double::always(Act::Answer(http(307, &[&location], ""))).await;
    let error = client(double.address).create(&billing()).await.unwrap_err();
    assert!(error.to_string().contains("redirects are never followed"), "{error}");
    assert!(error.to_string().contains(&elsewhere.address.to_string()), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client(free).create(&billing()).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotSent, None));
    assert!(
        error.to_string().starts_with("create connector: not sent: no connection: Connection refused"),
        "{error}"
    );
}

/// A kept connection that the service closes just then is the classic way to a second copy of a POST.
#[tokio::test]
async fn posts_and_deletes_never_share_a_connection() {
    let double = Double::start(|_, request| {
        let status = if request.line.starts_with("POST /api/v1/connectors") { 201 } else { 200 };
        Act::Answer(json(status, CREATED))
    })
    .await;
    let client = client(double.address);
    for _ in 0..3 {
        client.create(&billing()).await.unwrap();
        client.delete(&conn("conn-1")).await.unwrap();
    }
    let connections: Vec<usize> = double.seen().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn reads_do_share_a_connection() {
    let double = Double::always(Act::Answer(json(200, r#"{"data":{"id":"conn-1"}}"#))).await;
    let client = client(double.address);
    for _ in 0..3 {
        client.get(&conn("conn-1")).await.unwrap();
    }
    assert!(double.seen().iter().all(|request| request.connection == 0), "{:?}", double.seen());
}

#[tokio::test]
async fn a_service_that_closes_after_each_answer_sees_each_post_once() {
    let double = Double::always(Act::AnswerAndClose(json(201, CREATED))).await;
    let client = client(double.address);
    for _ in 0..20 {
        client.create(&billing()).await.unwrap();
    }
    assert_eq!(double.seen().len(), 20);
}

#[tokio::test]
async fn a_delete_is_done_with_a_body_and_without_one() {
    let body =
        r#"{"status":"success","data":{"id":"conn-1","deleted":true},"metadata":{"request_id":"req-5"}}"#;
    for answer in [json(200, body), http(204, &[], ""), json(200, "")] {
        let double = Double::always(Act::Answer(answer)).await;
        let deleted = client(double.address).delete(&conn("conn-1")).await.unwrap();
        assert!(deleted.value.deleted);
        assert_eq!(double.seen()[0].line, "DELETE /api/v1/connectors/conn-1");
    }
}

#[tokio::test]
async fn a_delete_of_what_is_not_there_is_a_refusal_that_can_be_recognised() {
    let double = Double::always(Act::Answer(json(404, r#"{"error":{"code":"CONNECTOR_NOT_FOUND"}}"#))).await;
    let error = client(double.address).delete(&conn("conn-1")).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.code(), Some("CONNECTOR_NOT_FOUND"));
    let double = Double::always(Act::Reset).await;
    let error = client(double.address).delete(&conn("conn-1")).await.unwrap_err();
    assert_eq!((error.kind(), double.seen().len()), (ErrorKind::OutcomeUnknown, 1));
}

#[tokio::test]
async fn scans_are_started_with_their_documented_bodies() {
    let double =
        Double::always(Act::Answer(json(201, r#"{"data":{"scan_id":"scan-9p4w2r","status":"queued"}}"#)))
            .await;
    let client = client(double.address);
    let options = ScanOptions { max_files: Some(2000), ..ScanOptions::default() };
    let start = StartScan { scan_type: ScanType::Full, options: options.clone() };
    let started = client.start_scan(&conn("conn-1"), &start).await.unwrap();
    assert_eq!(started.value.scan_id.as_str(), "scan-9p4w2r");
    let parallel =
        StartParallelScan { connectors: vec![conn("conn-1")], scan_type: ScanType::Incremental, options };
    client.start_parallel_scan(&parallel).await.unwrap();
    let seen = double.seen();
    assert_eq!(seen[0].line, "POST /api/v1/connectors/conn-1/scan");
    assert_eq!(seen[0].body, r#"{"type":"full","options":{"max_files":2000}}"#);
    assert_eq!(seen[1].line, "POST /api/v1/scans/parallel");
    assert_eq!(
        seen[1].body,
        r#"{"connectors":["conn-1"],"type":"incremental","options":{"max_files":2000}}"#
    );
}

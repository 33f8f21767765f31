//! What changes nothing: reading, and testing a connector, whose failures leave no question of effect.

use std::time::Duration;

use connectors_api::{ErrorKind, ScanState};

use crate::double::{Act, Double, http, json};
use crate::{client, conn, impatient};

#[tokio::test]
async fn a_read_gives_the_connector_and_the_request_id_of_the_envelope() {
    let body = r#"{"status":"success","data":{"id":"conn-7h2k9q","name":"Billing archive","provider":"aws","status":"active",
        "config":{"region":"eu-west-1"},"scan_history":[],"risk_score":41,"created_at":"2025-01-20T09:30:00Z"},
        "metadata":{"request_id":"req-4d5e6f","timestamp":"2025-02-10T11:20:01Z"}}"#;
    let double = Double::always(Act::Answer(http(200, &["x-request-id: req-header"], body))).await;
    let answer = client(double.address).get(&conn("conn-7h2k9q")).await.unwrap();
    assert_eq!(answer.value.risk_score, Some(41));
    assert_eq!(answer.request_id.unwrap().as_str(), "req-4d5e6f");
    assert_eq!(double.seen()[0].line, "GET /api/v1/connectors/conn-7h2k9q");
}

#[tokio::test]
async fn ids_are_sent_as_one_path_segment() {
    let double = Double::always(Act::Answer(json(404, ""))).await;
    let client = client(double.address);
    let error = client.get(&conn("../../admin?x=1#y")).await.unwrap_err();
    assert!(error.is_not_found());
    client.get_scan(&"a/b".parse().unwrap()).await.unwrap_err();
    let lines: Vec<_> = double.seen().into_iter().map(|r| r.line).collect();
    assert_eq!(lines, ["GET /api/v1/connectors/..%2F..%2Fadmin%3Fx=1%23y", "GET /api/v1/scans/a%2Fb"]);
}

#[tokio::test]
async fn a_scan_is_read() {
    let body = r#"{"data":{"scan_id":"scan-1","status":"running","progress":{"files_total":4,"files_processed":1}}}"#;
    let double = Double::always(Act::Answer(json(200, body))).await;
    let scan = client(double.address).get_scan(&"scan-1".parse().unwrap()).await.unwrap().value;
    assert_eq!((scan.status, scan.progress.unwrap().files_total), (ScanState::Running, 4));
}

#[tokio::test]
async fn a_read_that_gets_no_answer_says_so() {
    for act in [Act::Reset, Act::AnswerAndClose(Vec::new()), Act::Silence] {
        let double = Double::always(act).await;
        let error = impatient(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::NoAnswer, None), "{error}");
    }
}

#[tokio::test]
async fn a_read_whose_answer_cannot_be_read_says_why() {
    for (answer, says) in [
        (
            http(200, &[], "<html>"),
            "read connector: the answer cannot be read after HTTP 200: it is not JSON",
        ),
        (json(200, r#"{"data":{}}"#), "missing field `id`"),
        (json(200, r#"{"data":null}"#), "null"),
        (json(200, &format!("{{\"data\":{}", "[".repeat(5000))), "it is not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"data\"".to_vec(), "the connection broke"),
    ] {
        let double = Double::always(Act::AnswerAndClose(answer)).await;
        let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn refusals_are_read_in_all_three_shapes_and_without_any() {
    let full = r#"{"status":"error","error":{"code":"CONNECTOR_NOT_FOUND","message":"not known","details":{}},
        "metadata":{"request_id":"req-77aa88","timestamp":"2025-02-10T11:21:00Z"}}"#;
    for (status, body, sentence) in [
        (
            404,
            full,
            "read connector: refused with HTTP 404 CONNECTOR_NOT_FOUND: not known (request req-77aa88)",
        ),
        (
            429,
            r#"{"status":"error","error":{"code":"RATE_LIMIT_EXCEEDED","message":"slow down"}}"#,
            "read connector: refused with HTTP 429 RATE_LIMIT_EXCEEDED: slow down",
        ),
        (429, r#"{"error":"Too many requests"}"#, "read connector: refused with HTTP 429: Too many requests"),
        (502, "<html><body>Bad gateway</body></html>", "read connector: refused with HTTP 502"),
        (500, "", "read connector: refused with HTTP 500"),
    ] {
        let double = Double::always(Act::Answer(http(status, &[], body))).await;
        let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Refused, Some(status)));
        assert_eq!(error.to_string(), sentence);
    }
}

#[tokio::test]
async fn the_wait_that_a_service_asks_for_is_read_in_seconds_and_as_a_date() {
    for (headers, wait) in [
        (vec!["retry-after: 6"], Some(6)),
        (vec!["date: Tue, 10 Feb 2026 11:20:00 GMT", "retry-after: Tue, 10 Feb 2026 11:20:45 GMT"], Some(45)),
        (vec!["retry-after: soon"], None),
        (vec![], None),
    ] {
        let double = Double::always(Act::Answer(http(429, &headers, r#"{"error":"slow down"}"#))).await;
        let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!(error.retry_after().map(|w| w.as_secs()), wait, "{headers:?}");
    }
    let headers = ["retry-after: 6", "x-ratelimit-remaining: 0", "x-request-id: req-h"];
    let double = Double::always(Act::Answer(http(503, &headers, ""))).await;
    let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
    assert_eq!(error.rate_limit().remaining, Some(0));
    assert_eq!(
        error.to_string(),
        "read connector: refused with HTTP 503 (request req-h); the service asks to wait 6 s"
    );
}

#[tokio::test]
async fn a_failed_test_is_an_answer_or_a_refusal() {
    let body = r#"{"status":"success","data":{"connected":false,"buckets_accessible":[],"sample_objects":0,"latency_ms":12,
        "cause":"external_id_refused","message":"the role does not accept this external id"}}"#;
    let double = Double::always(Act::Answer(json(200, body))).await;
    let outcome = client(double.address).test(&conn("conn-1"), None).await.unwrap().value;
    assert!(!outcome.connected);
    assert_eq!(outcome.cause.as_deref(), Some("external_id_refused"));
    let request = &double.seen()[0];
    assert_eq!((request.line.as_str(), request.body.as_str()), ("POST /api/v1/connectors/conn-1/test", ""));
    assert_eq!(request.header("content-length"), Some("0"));

    for status in [200, 400, 500] {
        let body = r#"{"status":"error","error":{"code":"ACCESS_DENIED","message":"no access"}}"#;
        let double = Double::always(Act::Answer(json(status, body))).await;
        let error = client(double.address).test(&conn("conn-1"), None).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, Some("ACCESS_DENIED")), "{status}");
    }
}

#[tokio::test]
async fn a_test_may_take_longer_than_other_requests() {
    let slow = Act::After(
        Duration::from_millis(1100),
        Box::new(Act::Answer(json(200, r#"{"data":{"connected":true}}"#))),
    );
    let double = Double::always(slow).await;
    assert!(impatient(double.address).test(&conn("conn-1"), None).await.unwrap().value.connected);
    let error = impatient(double.address).get(&conn("conn-1")).await.unwrap_err();
    assert_eq!(error.message(), Some("nothing came for 400ms"));
}

#[tokio::test]
async fn a_test_that_breaks_off_was_sent_once_and_has_no_outcome_to_ask_for() {
    let double = Double::always(Act::Reset).await;
    let error = client(double.address).test(&conn("conn-1"), None).await.unwrap_err();
    assert_eq!((error.kind(), double.seen().len()), (ErrorKind::NoAnswer, 1));
}

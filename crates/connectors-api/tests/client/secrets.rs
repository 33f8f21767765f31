//! A secret that the service echoes, wherever it puts it, is in no error.

use connectors_api::Error;

use crate::double::{Act, Double, http, json};
use crate::{billing, client, conn, impatient};

fn assert_clean(error: &Error) {
    for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn an_echoed_credential_is_redacted_in_every_part_of_an_error() {
    let body = r#"{"status":"error","error":{"code":"sk_live_canary","message":"key sk_live_canary and Bearer sk_live_can are bad"},
        "metadata":{"request_id":"req-sk_live_canary"}}"#;
    for status in [400, 401, 500] {
        let answer = http(status, &["x-request-id: sk_live_canary"], body);
        let double = Double::always(Act::Answer(answer)).await;
        for error in [
            client(double.address).get(&conn("conn-1")).await.unwrap_err(),
            client(double.address).create(&billing()).await.unwrap_err(),
        ] {
            assert_clean(&error);
            assert_eq!(error.message(), Some("key [redacted] and Bearer [redacted] are bad"));
            assert_eq!(error.request_id(), None);
        }
    }
}

#[tokio::test]
async fn an_echoed_secret_of_the_body_is_redacted() {
    let flat = r#"{"error":"external id ext-canary is not accepted"}"#;
    let double = Double::always(Act::Answer(json(422, flat))).await;
    let error = client(double.address).create(&billing()).await.unwrap_err();
    assert_clean(&error);
    assert_eq!(error.message(), Some("external id [redacted] is not accepted"));
}

#[tokio::test]
async fn secrets_in_redirects_and_in_unreadable_answers_are_redacted() {
    let location = "location: https://elsewhere.example/?key=sk_live_canary&id=ext-canary";
    for answer in [
        http(302, &[location], ""),
        http(307, &[location], ""),
        json(201, r#"{"data":{"id":{"sk_live_canary":1}}}"#),
        json(201, r#"{"data":"sk_live_canary ext-canary"}"#),
    ] {
        let double = Double::always(Act::AnswerAndClose(answer)).await;
        assert_clean(&client(double.address).create(&billing()).await.unwrap_err());
    }
}

#[tokio::test]
async fn errors_of_the_connection_and_the_client_itself_hold_no_secret() {
    for act in [Act::Reset, Act::Silence, Act::AnswerAndClose(b"sk_live_canary\r\n\r\n".to_vec())] {
        let double = Double::always(act).await;
        assert_clean(&impatient(double.address).create(&billing()).await.unwrap_err());
    }
    let builder = crate::builder("127.0.0.1:9");
    assert!(!format!("{builder:?}").contains("canary"));
    let debug = format!("{:?}", builder.build().unwrap());
    assert!(debug.contains("127.0.0.1:9") && !debug.contains("canary"), "{debug}");
}

#[tokio::test]
async fn messages_are_bounded_and_on_one_line() {
    let body = serde_json::json!({"error": {"code": "C".repeat(500), "message": format!("a\n\u{1b}[2Jb{}", "é".repeat(9000))}});
    let double = Double::always(Act::Answer(json(400, &body.to_string()))).await;
    let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
    assert_eq!(error.message().unwrap().chars().count(), 300);
    assert!(error.message().unwrap().starts_with("a [2Jbéé"));
    assert_eq!(error.code().unwrap().chars().count(), 64);
    assert!(!error.to_string().chars().any(char::is_control));
}

//! Bodies are bounded, whether their length is announced or not.

use std::time::Duration;

use connectors_api::ErrorKind;

use crate::double::{Act, Double, http};
use crate::{client, conn};

/// A chunked answer of so many mebibytes that is valid JSON.
fn chunked(status: u16, mebibytes: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status} Something\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
    let mut chunk = |bytes: &[u8]| {
        answer.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        answer.extend_from_slice(bytes);
        answer.extend_from_slice(b"\r\n");
    };
    chunk(br#"{"data":{"id":"conn-1","name":""#);
    for _ in 0..mebibytes {
        chunk(&vec![b'x'; 1024 * 1024]);
    }
    chunk(br#""}}"#);
    chunk(b"");
    answer
}

#[tokio::test]
async fn a_large_body_within_the_bound_is_read() {
    let double = Double::always(Act::Answer(chunked(200, 7))).await;
    let answer = client(double.address).get(&conn("conn-1")).await.unwrap();
    assert_eq!(answer.value.name.len(), 7 * 1024 * 1024);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_given_up_while_it_comes() {
    let double = Double::always(Act::Answer(chunked(200, 9))).await;
    let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    assert!(error.to_string().ends_with("the body is larger than 8 MiB"), "{error}");
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_waited_for() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 8388609\r\n\r\n".to_vec();
    let double = Double::always(Act::Answer(announced)).await;
    let client = client(double.address);
    let id = conn("conn-1");
    let get = client.get(&id);
    let error = tokio::time::timeout(Duration::from_secs(3), get).await.unwrap().unwrap_err();
    assert!(error.to_string().ends_with("the body is larger than 8 MiB"), "{error}");
}

#[tokio::test]
async fn a_body_that_would_swell_in_memory_is_not_parsed() {
    for part in ["{},", "[],", "0,"] {
        let parts = part.repeat(401_000);
        let body = format!(r#"{{"data":{{"id":"conn-1","config":{{"x":[{parts}0]}}}}}}"#);
        let double = Double::always(Act::Answer(http(200, &[], body))).await;
        let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable);
        assert!(error.to_string().ends_with("the body has too many parts"), "{error}");
    }
}

#[tokio::test]
async fn a_connector_with_very_many_buckets_is_read() {
    let buckets: Vec<String> = (0..100_000).map(|n| format!("a-bucket-with-an-ordinary-name-{n}")).collect();
    let body = serde_json::json!({"data": {"id": "conn-1", "config": {"buckets": buckets}}}).to_string();
    let double = Double::always(Act::Answer(http(200, &[], body))).await;
    let answer = client(double.address).get(&conn("conn-1")).await.unwrap();
    assert_eq!(answer.value.config["buckets"].as_array().unwrap().len(), 100_000);
}

#[tokio::test]
async fn the_status_of_a_refusal_counts_whatever_its_body_does() {
    for answer in [
        chunked(503, 9),
        http(503, &[], "x".repeat(200_000)),
        b"HTTP/1.1 503 Something\r\ncontent-length: 99999999\r\n\r\nx".to_vec(),
        b"HTTP/1.1 503 Something\r\ncontent-length: 50\r\n\r\n{\"error\"".to_vec(),
    ] {
        let double = Double::always(Act::AnswerAndClose(answer)).await;
        let error = client(double.address).get(&conn("conn-1")).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Refused, Some(503)), "{error}");
    }
}

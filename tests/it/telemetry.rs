//! What is told of the operator's work: a trace for each reconcile, a line for each effect, and nothing while nothing happens.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Lab;

/// Looks of the workspace's poll, every two seconds.
const LOOKS: u32 = 6;

type Spans = Arc<Mutex<Vec<Span>>>;

/// A collector on loopback that keeps what it gets.
async fn collector() -> (String, Spans) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let kept = Arc::clone(&spans);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(collect(connection, Arc::clone(&kept)));
        }
    });
    (address, spans)
}

async fn collect(mut connection: TcpStream, kept: Spans) {
    let mut bytes = Vec::new();
    while connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.expect("the exporter says how long the body is");
        if bytes.len() < end + length {
            continue;
        }
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let request = ExportTraceServiceRequest::decode(&bytes[end..end + length]).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        kept.lock().extend(scopes.flat_map(|scope| scope.spans));
        bytes.drain(..end + length);
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}

/// An attribute as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::{IntValue, StringValue};
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        StringValue(text) => Some(text.clone()),
        IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_is_one_trace_down_to_its_requests_and_an_effect_is_one_line() {
    let (address, spans) = collector().await;
    let mut lab = Lab::alone_with("traced", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)]).await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;

    let lines = |lab: &Lab| {
        let log = lab.parts.operator.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["level"] != "DEBUG").collect::<Vec<_>>()
    };
    let of = |effect: &str| {
        let all = lines(&lab);
        all.into_iter().filter(|it| it["effect"] == effect && it["name"] == "a").collect::<Vec<_>>()
    };
    let created = of("create");
    assert_eq!(created.len(), 1, "{created:?}");
    let line = &created[0];
    assert_eq!((&line["kind"], &line["namespace"]), (&"Connector".into(), &lab.namespace.as_str().into()));
    assert_eq!(line["generation"], 1);
    let request_id = line["request_id"].as_str().expect("the API's id of the request").to_owned();

    // Whatever follows on Ready is over; from then on there are looks, and nothing to say.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = lines(&lab).len();
    tokio::time::sleep(Duration::from_secs(2) * LOOKS).await;
    let all = lines(&lab);
    assert_eq!(all.len(), before, "{:#?}", &all[before..]);

    // The rest comes at the end at the latest.
    lab.parts_mut().operator.stop().await.unwrap();
    let spans = spans.lock().clone();
    let create = spans.iter().find(|span| attribute(span, "request_id").as_ref() == Some(&request_id));
    let create = create.unwrap_or_else(|| panic!("no span has {request_id}: {spans:#?}"));
    assert_eq!(create.name, "create connector");
    assert_eq!(attribute(create, "http.route").as_deref(), Some("/api/v1/connectors"));
    assert!(attribute(create, "http.response.status_code").is_some_and(|status| status.starts_with('2')));
    let parent = spans.iter().find(|span| span.span_id == create.parent_span_id).expect("its reconcile");
    assert_eq!((parent.name.as_str(), parent.parent_span_id.as_slice()), ("reconcile", &[][..]));
    assert_eq!(parent.trace_id, create.trace_id);
    assert_eq!(attribute(parent, "kind").as_deref(), Some("Connector"));
    assert_eq!(attribute(parent, "name").as_deref(), Some("a"));
    let text = format!("{spans:?}");
    for secret in ["external", "slim_"] {
        assert!(!text.contains(secret), "{secret} is in a trace");
    }
    assert!(!text.contains(lab.parts.aws.external_id()));
}

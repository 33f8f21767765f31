//! X2 and X4: an API that repeats what it was sent, in every form and at every place, gets none of it into a log, an event, a
//! status, a metric or a trace, and neither gets long or unprintable text there.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::hostile::{Answer, Asked, Hostile, http, success};
use super::{Stage, ready};

const KEY: &str = "sk_live+canary/51c0ffee==";
const EXTERNAL_ID: &str = "ext:canary+7d/b0bcafe=";
/// Longest text in a status, and in an event, for which the API server has a limit too.
const LONGEST: usize = 1024;

/// How a secret may be written.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let url = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    // Of a longer text that is encoded whole, the middle is the secret's own.
    let within = [format!("Bearer {secret}"), format!("id={secret}&x"), format!("{{\"k\":\"{secret}\"}}")];
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex, url];
    forms.extend([STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret)]);
    forms.extend(within.iter().map(|text| STANDARD.encode(text)));
    forms
}

/// What must not be found: of an encoded form that has something else around it, a part will do.
fn traces_of(secret: &str) -> Vec<String> {
    forms(secret)
        .into_iter()
        .map(|form| if form.len() > 20 { form[12..form.len() - 4].to_owned() } else { form })
        .collect()
}

/// Everything that a confused service could say, where a message is expected: with what it knows in that request.
fn echo(secrets: &[&str]) -> String {
    let all = secrets.iter().map(|secret| forms(secret).join(" \u{1b}[31m\u{7}\r\n")).collect::<Vec<_>>();
    format!("no: {} {}", all.join(", "), "and so on ".repeat(4_000))
}

fn refusal(status: u16, secrets: &[&str]) -> Answer {
    let body = json!({"status": "error", "error": {"code": secrets[0], "message": echo(secrets)},
                      "metadata": {"request_id": STANDARD.encode(KEY)}});
    http(status, &[&format!("x-request-id: {KEY}")], body.to_string())
}

/// What is to go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Lists(u16),
    Redirects,
    Nonsense,
    Creates(u16),
    Tests(u16),
    Echoes,
}

/// A whole, if confused, Connectors API.
fn confused(mood: Mood, elsewhere: &str, asked: &Asked) -> Answer {
    let target = asked.line.replace("/api/v1/", "").replace("?limit=100", "");
    let detail = || {
        json!({"id": "conn-1", "name": "a", "provider": "aws", "status": KEY,
               "config": {"external_id": EXTERNAL_ID, "note": echo(&[EXTERNAL_ID, KEY])},
               "scan_history": [{"scan_id": "scan-1", "status": STANDARD.encode(KEY)}]})
    };
    match (target.as_str(), mood) {
        ("GET connectors", Mood::Lists(status)) => refusal(status, &[KEY]),
        ("GET connectors", Mood::Redirects) => {
            let location = format!("location: {elsewhere}/{}", forms(KEY).concat());
            http(302, &[&location], "")
        }
        ("GET connectors", Mood::Nonsense) => success(&json!(echo(&[KEY]))),
        ("GET connectors", _) => success(&json!([])),
        ("POST connectors", Mood::Creates(status)) => refusal(status, &[EXTERNAL_ID, KEY]),
        ("POST connectors", _) => success(&json!({"id": "conn-1", "name": KEY, "status": KEY})),
        ("POST connectors/conn-1/test", Mood::Tests(status)) => refusal(status, &[EXTERNAL_ID, KEY]),
        ("POST connectors/conn-1/test", _) => success(&json!({
            "connected": false, "cause": KEY, "message": echo(&[EXTERNAL_ID, KEY]),
            "buckets_accessible": forms(KEY).into_iter().chain(["\u{1b}[2Jbucket".repeat(1000)]).collect::<Vec<_>>(),
        })),
        ("GET connectors/conn-1", _) => success(&detail()),
        _ => refusal(404, &[KEY]),
    }
}

/// Every text in a value, but in what users wrote.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_an_api_repeats_is_told_to_anybody_in_any_form() {
    let listener = Hostile::start(|_| http(200, &[], "")).await;
    let collector = Hostile::start(|_| http(200, &[], "")).await;
    let mood = Arc::new(Mutex::new(Mood::Lists(500)));
    let (elsewhere, now) = (listener.endpoint.clone(), Arc::clone(&mood));
    let api = Hostile::start(move |asked| confused(*now.lock(), &elsewhere, asked)).await;
    let env = [("RUST_LOG", "debug"), ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let stage = Stage::start("canary", &[&api.endpoint], &env).await;
    stage.secret("key", "apiKey", KEY).await;
    stage.secret("external-id", "externalId", EXTERNAL_ID).await;
    let mut said = Vec::new();

    stage.make("workspaces", Stage::workspace("w", &api.endpoint)).await;
    for (next, expected) in [
        (Mood::Lists(500), "HTTP 500"),
        (Mood::Redirects, "redirects to"),
        (Mood::Nonsense, "not as documented"),
        (Mood::Lists(422), "HTTP 422"),
    ] {
        *mood.lock() = next;
        stage.look("workspaces", "w").await;
        let told = |it: &Value| ready(it)["message"].as_str().is_some_and(|text| text.contains(expected));
        let found = stage.until("workspaces", "w", expected, told).await;
        said.push(ready(&found)["message"].as_str().unwrap().to_owned());
    }
    // A create that is refused, and one that is not, with a test that fails, a state and a history.
    *mood.lock() = Mood::Creates(400);
    stage.look("workspaces", "w").await;
    stage.until_reason("workspaces", "w", "Ready").await;
    stage.make("connectors", Stage::connector("refused", "w")).await;
    said.push(stage.until_reason("connectors", "refused", "RefusedByApi").await);
    *mood.lock() = Mood::Echoes;
    stage.make("connectors", Stage::connector("a", "w")).await;
    said.push(stage.until_reason("connectors", "a", "ConnectionTestFailed").await);
    *mood.lock() = Mood::Tests(400);
    stage.look("connectors", "a").await;
    let refused = |it: &Value| ready(it)["message"].as_str().is_some_and(|text| text.contains("HTTP 400"));
    let found = stage.until("connectors", "a", "told that the test was refused", refused).await;
    said.push(ready(&found)["message"].as_str().unwrap().to_owned());
    let state = &found["status"]["state"];
    assert_eq!(state, "[redacted]", "a state that is a key");
    *mood.lock() = Mood::Lists(401);
    stage.look("workspaces", "w").await;
    said.push(stage.until_reason("workspaces", "w", "Unauthorized").await);

    // The API was told the secrets, and what it said of them did arrive.
    let asked = api.seen();
    assert!(asked.iter().all(|it| it.head.contains(&format!("bearer {}", KEY.to_lowercase()))));
    assert!(asked.iter().any(|it| it.line.starts_with("POST") && it.body.contains(EXTERNAL_ID)));
    for message in &said {
        assert!(message.contains("[redacted]"), "{message}");
    }
    assert_eq!(listener.connections(), 0, "somebody who is not permitted was contacted");

    let Stage { ref operator, ref cluster, ref namespace } = stage;
    let metrics = operator.metrics().await.unwrap();
    let told = stage.told().await;
    let lease = cluster.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")).await;
    operator.process().signal(testbed::Signal::Terminate);
    let ended = tokio::time::Instant::now() + super::PATIENCE;
    while operator.process().exit().is_none() && tokio::time::Instant::now() < ended {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (log, spans) = (operator.log(), collector.seen());
    assert!(log.contains("\"level\":\"DEBUG\"") && !spans.is_empty(), "there is something to search");
    let spans = spans.iter().map(|span| span.body.clone()).collect::<String>();
    assert!(spans.contains("reconcile") && metrics.contains("slimio_"));
    let places = [
        ("log", log),
        ("metrics", metrics),
        ("traces", spans),
        ("objects and events", serde_json::to_string(&told).unwrap()),
        ("leases", lease.unwrap().to_string()),
    ];
    for secret in [KEY, EXTERNAL_ID] {
        for trace in traces_of(secret) {
            for (place, text) in &places {
                let at = text.find(&trace);
                let shown = at.map(|at| &text[at.saturating_sub(200)..(at + 100).min(text.len())]);
                assert_eq!(at, None, "{trace:?} is in the {place}: {shown:?}");
            }
        }
    }
    for object in &told {
        let mut found = Vec::new();
        texts(&object["status"], &mut found);
        texts(&object["note"], &mut found);
        for text in found {
            assert!(text.chars().count() <= LONGEST && !text.chars().any(char::is_control), "{text:?}");
        }
    }
}

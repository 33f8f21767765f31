//! The ledger double answers as the real server does, and its faults are what they say.

use std::time::Duration;

use connectors_api::{
    AwsConfig, Client, ConnectorConfig, ConnectorId, CreateConnector, Endpoint, ErrorKind, ListLimits,
    ListQuery, Route,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use testbed::ledger::{Deed, Fault, Injection, Ledger, Switches, TestAnswer};
use testbed::{Server, ServerOptions};

fn body(name: &str) -> Value {
    json!({"name": name, "provider": "aws", "config": {
        "role_arn": "arn:aws:iam::210987654321:role/BillingReader", "external_id": "ext-51c0ffee",
        "region": "eu-west-1", "buckets": ["billing"], "prefixes": ["invoices/"], "file_types": ["csv"],
    }})
}

/// Statuses and shapes of the answers to one sequence of requests, on the wire.
async fn sequence(endpoint: &str, key: &str) -> Vec<(String, u16, Value)> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = Vec::new();
    let mut ask = async |method: &str, path: &str, key: &str, body: Option<Value>| {
        let mut request =
            http.request(method.parse().unwrap(), format!("{endpoint}/api/v1/{path}")).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let json: Value = answer.json().await.unwrap();
        let shown =
            path.split(['?', '/']).filter(|part| !part.starts_with("conn-")).collect::<Vec<_>>().join("/");
        seen.push((format!("{method} {shown}"), status, shape(&json)));
        json
    };
    ask("GET", "connectors", "no-such-key", None).await;
    ask("GET", "connectors", key, None).await;
    let made = ask("POST", "connectors", key, Some(body("a"))).await;
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    ask("POST", "connectors", key, Some(body("a"))).await;
    ask("POST", "connectors", key, Some(json!({"name": "x"}))).await;
    ask("POST", "connectors", key, Some(body("b"))).await;
    ask("GET", "connectors?limit=1", key, None).await;
    ask("GET", "connectors?limit=0", key, None).await;
    ask("GET", "connectors?cursor=%25", key, None).await;
    ask("GET", &format!("connectors/{id}"), key, None).await;
    ask("POST", &format!("connectors/{id}/test"), key, None).await;
    ask("GET", "connectors/conn-unknown", key, None).await;
    ask("DELETE", &format!("connectors/{id}"), key, None).await;
    ask("DELETE", &format!("connectors/{id}"), key, None).await;
    ask("GET", &format!("connectors/{id}"), key, None).await;
    ask("POST", &format!("connectors/{id}/test"), key, None).await;
    ask("POST", &format!("connectors/{id}/scan"), key, Some(json!({"type": "full"}))).await;
    ask("GET", "scans/scan-unknown", key, None).await;
    seen
}

/// Keys and types without values; the code of an error is part of its shape.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| {
                let shown = match key.as_str() {
                    "code" => value.clone(),
                    // What the details of a refusal hold, no client reads.
                    "details" => json!(value.is_object()),
                    _ => shape(value),
                };
                (key.clone(), shown)
            });
            Value::Object(members.collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(shape).collect()),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(it) => json!(it),
        Value::Null => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_answers_in_the_shapes_of_the_real_server() {
    use secrecy::ExposeSecret;
    let server = Server::start_with(None, ServerOptions::default()).await.unwrap();
    let key = server.create_key("w", "admin").await.unwrap();
    // The server has no cloud here, so its test fails; so must the double's.
    let ledger = Ledger::start(Switches { test: TestAnswer::Refused, ..Switches::default() }).await.unwrap();
    let real = sequence(server.endpoint(), key.expose_secret()).await;
    let double = sequence(ledger.endpoint(), ledger.key()).await;
    for (real, double) in real.iter().zip(&double) {
        assert_eq!(real, double);
    }
    assert_eq!(real.len(), double.len());
}

fn client(ledger: &Ledger) -> Client {
    let endpoint = Endpoint::parse(ledger.endpoint()).unwrap();
    Client::builder(endpoint, SecretString::from(ledger.key())).without_proxies().build().unwrap()
}

fn wanted(name: &str) -> CreateConnector {
    let aws = AwsConfig {
        role_arn: "arn:aws:iam::210987654321:role/BillingReader".to_owned(),
        external_id: SecretString::from("ext-51c0ffee"),
        region: "eu-west-1".to_owned(),
    };
    CreateConnector {
        name: name.to_owned(),
        config: ConnectorConfig::Aws(aws),
        scope: connectors_api::Scope::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_create_does_or_does_not_what_it_says() {
    let ledger = Ledger::start(Switches::default()).await.unwrap();
    let client = client(&ledger);
    let status =
        |code, done| Fault::Status { code, done, header: Some(("retry-after".to_owned(), "7".to_owned())) };
    let unknown = ErrorKind::OutcomeUnknown;
    let cases = [
        (Fault::AnswerLost, unknown, 1),
        (Fault::NotDone, unknown, 0),
        (Fault::ResetAfter(40), unknown, 1),
        (Fault::ResetAfter(120), unknown, 1),
        (status(500, true), unknown, 1),
        (status(500, false), unknown, 0),
        (status(429, false), ErrorKind::Refused, 0),
        (Fault::Body("<html>".to_owned()), unknown, 1),
        (Fault::Redirect("http://127.0.0.1:1/".to_owned()), ErrorKind::Refused, 0),
        (Fault::Endless, unknown, 1),
    ];
    for (n, (fault, kind, done)) in cases.into_iter().enumerate() {
        let before = ledger.count(Deed::Created);
        ledger.inject(Injection::next(Route::CreateConnector, fault.clone()));
        let error = client.create(&wanted(&format!("c{n}"))).await.unwrap_err();
        assert_eq!((error.kind(), ledger.count(Deed::Created) - before), (kind, done), "{fault:?}: {error}");
    }
    let before = ledger.count(Deed::Created);
    client.create(&wanted("in peace")).await.unwrap();
    assert_eq!(ledger.count(Deed::Created), before + 1, "and nothing befalls the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_create_is_done_after_its_caller_has_gone() {
    let ledger = Ledger::start(Switches::default()).await.unwrap();
    let client = client(&ledger);
    ledger.inject(Injection::next(Route::CreateConnector, Fault::Late(Duration::from_millis(400))));
    let given_up = tokio::time::timeout(Duration::from_millis(100), client.create(&wanted("late"))).await;
    assert!(given_up.is_err());
    assert_eq!(ledger.count(Deed::Created), 0);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(ledger.count(Deed::Created), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_lag_and_go_empty_as_told_and_pages_hold_everything() {
    let ledger = Ledger::start(Switches::default()).await.unwrap();
    let client = client(&ledger);
    for n in 0..205 {
        ledger.plant(&format!("c{n}"), "aws", serde_json::Map::new());
    }
    let listed =
        async || client.list(&ListQuery::default(), ListLimits::default()).await.unwrap().items.len();
    assert_eq!(listed().await, 205);
    ledger.set(|switches| switches.newest_first = true);
    assert_eq!(listed().await, 205);
    ledger.set(|switches| switches.list = testbed::ledger::Listing::Overlapping);
    assert_eq!(listed().await, 205, "what comes twice counts once");
    ledger.set(|switches| switches.list = testbed::ledger::Listing::Empty);
    assert_eq!(listed().await, 0);
    ledger.set(|switches| *switches = Switches { list_lag: Duration::from_mins(1), ..Switches::default() });
    assert_eq!(listed().await, 0, "nothing is that old");
    let id = ConnectorId::parse(ledger.live()[0].id.as_str()).unwrap();
    assert!(client.get(&id).await.is_ok(), "a read does not lag");
}

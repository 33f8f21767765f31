//! Proxies of the environment are used, unless the client was told not to.

use crate::double::{Act, Double, json};
use crate::{builder, client, conn};

const PART: &str = "CONNECTORS_API_TEST_PROXIED_PART";

/// The environment of a running process cannot be changed safely, so the test runs its second half in a child of itself.
#[tokio::test]
async fn requests_go_through_the_proxy_of_the_environment_unless_told_not_to() {
    const SERVICE: &str = "service.example:8080";
    if std::env::var_os(PART).is_some() {
        let endpoint = connectors_api::Endpoint::parse(&format!("http://{SERVICE}")).unwrap();
        let client = connectors_api::Client::builder(endpoint, "key".into()).build().unwrap();
        assert_eq!(client.get(&conn("conn-1")).await.unwrap().value.name, "proxied");
        let service =
            Double::always(Act::Answer(json(200, r#"{"data":{"id":"conn-1","name":"direct"}}"#))).await;
        let direct = builder(service.address).without_proxies().build().unwrap();
        assert_eq!(direct.get(&conn("conn-1")).await.unwrap().value.name, "direct");
        return;
    }
    let proxy = Double::always(Act::Answer(json(200, r#"{"data":{"id":"conn-1","name":"proxied"}}"#))).await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "environment::requests_go_through_the_proxy_of_the_environment_unless_told_not_to",
            "--nocapture",
        ])
        .env(PART, "1")
        .env("HTTP_PROXY", format!("http://{}", proxy.address))
        .env("http_proxy", format!("http://{}", proxy.address))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    assert_eq!(proxy.seen()[0].line, format!("GET http://{SERVICE}/api/v1/connectors/conn-1"));
}

#[tokio::test]
async fn a_client_that_cannot_be_made_says_why() {
    let refused = |key: &str| {
        let endpoint = connectors_api::Endpoint::parse("https://127.0.0.1:9").unwrap();
        connectors_api::Client::builder(endpoint, key.into()).build().unwrap_err().to_string()
    };
    assert_eq!(refused(""), "the credential is empty");
    assert!(refused("sk_live_canary\n").starts_with("the credential ends in a line break"));
    for bundle in ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        let error = builder("127.0.0.1:9").ca_bundle(bundle).build().unwrap_err();
        assert_eq!(error.to_string(), "the CA bundle holds no readable PEM certificate", "{bundle:?}");
    }
}

#[tokio::test]
async fn a_client_is_cheap_to_clone_and_its_clones_share_connections() {
    let double = Double::always(Act::Answer(json(200, r#"{"data":{"id":"conn-1"}}"#))).await;
    let first = client(double.address);
    let second = first.clone();
    first.get(&conn("conn-1")).await.unwrap();
    second.get(&conn("conn-1")).await.unwrap();
    assert!(double.seen().iter().all(|request| request.connection == 0));
}

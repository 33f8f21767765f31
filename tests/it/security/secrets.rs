//! X1: of Secrets the operator watches the metadata alone, and reads those that an object of the same namespace names, by name:
//! as the API server's audit log and a proxy before it saw it.

use std::time::Duration;

use testbed::faults::{KubeProxy, Verb};
use testbed::{Operator, OperatorOptions};

use crate::lab::{Lab, rights};

const ACCOUNT: &str = "system:serviceaccount:slimio-system:watched";
/// Whatever the operator asks of Secrets, with what it was answered.
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: RequestResponse, users: ['system:serviceaccount:slimio-system:watched'], resources: [{group: '', resources: [secrets]}]}
  - {level: None}
";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_watched_by_their_metadata_and_only_those_that_are_named_are_read() {
    let mut lab = Lab::audited("named", POLICY).await;
    lab.parts_mut().operator.stop().await.unwrap();
    let bucket = lab.bucket(1).await;
    let own = lab.namespace.clone();
    lab.apply(&rights("watched")).await;
    let account = lab.parts.cluster.service_account("slimio-system", "watched", "watched").await.unwrap();
    // Secrets that nobody names, one of the same name elsewhere, and one that a workspace points to from another namespace.
    let other = lab.parts.cluster.create_namespace("other").await.unwrap();
    lab.apply(&lab.secret("bystander", "apiKey", "canary-bystander")).await;
    for name in ["aws-external-id", "not-there"] {
        let foreign = lab.secret(name, "externalId", "canary-foreign");
        lab.apply(&foreign.replace(&format!("namespace: {own}"), &format!("namespace: {other}"))).await;
    }
    let options = OperatorOptions {
        permitted_endpoints: vec![lab.parts.server.endpoint().to_owned()],
        kubeconfig: Some(account),
        env: vec![("RUST_LOG".to_owned(), "info".to_owned())],
        ..OperatorOptions::default()
    };
    let mut operator = Operator::start(&lab.parts.cluster, options.clone()).await.unwrap();
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.apply(&lab.connector("lost", &bucket, "").replace("name: aws-external-id", "name: not-there")).await;
    lab.until_ready("a").await;
    lab.until_reason("lost", "SecretNotFound").await;
    // A changed one is read again, one that nobody names is not.
    lab.apply(&lab.secret("bystander", "apiKey", "canary-changed")).await;
    lab.apply(&lab.secret("aws-external-id", "externalId", "another-one-now")).await;
    lab.until_reason("a", "ConnectionTestFailed").await;
    operator.stop().await.unwrap();

    let events = lab.asked_by(ACCOUNT);
    let (mut read, mut listed, mut watched) = (0, 0, 0);
    for event in &events {
        let object = &event["objectRef"];
        let (namespace, name) = (object["namespace"].as_str(), object["name"].as_str());
        match event["verb"].as_str().unwrap() {
            "get" => {
                assert_eq!(namespace, Some(own.as_str()), "{event}");
                let named = ["api-key", "aws-external-id", "not-there"];
                assert!(name.is_some_and(|name| named.contains(&name)), "{event}");
                read += 1;
            }
            "list" => {
                // The body is left out where it is metadata alone, or says so.
                let kind = event["responseObject"]["kind"].as_str();
                assert!(matches!(kind, None | Some("PartialObjectMetadataList")), "{event}");
                listed += 1;
            }
            "watch" => watched += 1,
            other => panic!("{other} of secrets: {event}"),
        }
        // Among the bodies of lists there is no content.
        assert!(event["verb"] == "get" || !event.to_string().contains("\"data\""), "{event}");
    }
    assert!(read >= 3 && listed + watched >= 1, "{read} read, {listed} listed, {watched} watched");

    // What the API server does not put down, the proxy sees: the form that is asked for.
    let proxy =
        KubeProxy::start(&lab.parts.cluster, |_, _| Box::pin(std::future::ready(None))).await.unwrap();
    let options = OperatorOptions { kubeconfig: Some(proxy.kubeconfig().to_path_buf()), ..options };
    let operator = Operator::start(&lab.parts.cluster, options).await.unwrap();
    lab.apply(&lab.secret("aws-external-id", "externalId", lab.parts.aws.external_id())).await;
    lab.until_ready("a").await;
    let calls = proxy.calls();
    let secrets = calls.iter().filter(|call| call.resource == "secrets").collect::<Vec<_>>();
    let wide = |verb| secrets.iter().filter(move |call| call.verb == verb);
    assert!(wide(Verb::Watch).count() >= 1 && wide(Verb::Get).count() >= 2, "{secrets:?}");
    for call in wide(Verb::List).chain(wide(Verb::Watch)) {
        let accept = call.accept.as_deref().unwrap_or_default();
        let forms = accept.split(',').map(str::trim).filter(|form| !form.is_empty()).collect::<Vec<_>>();
        let partial = |form: &&str| form.contains("as=PartialObjectMetadata");
        assert!(!forms.is_empty() && forms.iter().all(partial), "{call:?}");
    }
    for call in wide(Verb::Get) {
        assert_eq!(call.namespace.as_deref(), Some(own.as_str()), "{call:?}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = operator.log();
    assert!(!log.contains("canary-"), "{log}");
}

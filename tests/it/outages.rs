//! Parts that go away and come back, and an operator that is killed: nothing twice, nothing lost.

use std::time::Duration;

use slimio_operator::crd::Connector;
use testbed::Exit;

use crate::lab::{Lab, condition, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_create_and_at_delete_is_waited_for() {
    let mut lab = Lab::alone("away").await;
    let bucket = lab.bucket(1).await;
    lab.until_workspace("lab", "Ready").await;
    lab.parts_mut().server.kill().await;
    let yaml = lab.connector("a", &bucket, "");
    lab.apply(&yaml).await;
    let (_, message) = lab.until_reason("a", "ApiUnavailable").await;
    assert!(message.contains("next attempt in") || message.contains("cannot be read"), "{message}");

    lab.parts_mut().server.restart().await.unwrap();
    lab.until_ready("a").await;
    assert_eq!(lab.remote().await.len(), 1);

    lab.parts_mut().server.kill().await;
    lab.kubectl(&["delete", "connector", "a", "--wait=false"]).await;
    let told = |it: &Connector| {
        condition(it.status.as_ref(), "Ready")
            .is_some_and(|(_, _, message)| message.contains("slim.io/abandon"))
    };
    lab.until::<Connector>("a", "told how to let go", told).await;
    lab.parts_mut().server.restart().await.unwrap();
    lab.until_gone("a").await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_let_go_without_the_api_when_it_is_abandoned() {
    let mut lab = Lab::alone("abandon").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    lab.parts_mut().server.kill().await;
    lab.kubectl(&["delete", "connector", "a", "--wait=false"]).await;
    lab.kubectl(&["annotate", "connector", "a", "slim.io/abandon=true"]).await;
    lab.until_gone("a").await;
    lab.parts_mut().server.restart().await.unwrap();
    assert_eq!(lab.remote().await.len(), 1, "it was let go, not deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_again_and_again_makes_each_connector_once() {
    let mut lab = Lab::alone("killed").await;
    let bucket = lab.bucket(1).await;
    lab.until_workspace("lab", "Ready").await;
    let names = (0..12).map(|n| format!("c{n}")).collect::<Vec<_>>();
    for name in &names {
        lab.apply(&lab.connector(name, &bucket, "")).await;
        if name.ends_with(['1', '3', '5', '7', '9']) {
            lab.parts_mut().operator.kill().await;
            lab.parts_mut().operator.restart().await.unwrap();
        }
    }
    let mut ids = Vec::new();
    for name in &names {
        // A create whose answer was lost is found again, or made again once it cannot appear any more: two minutes.
        let connector = lab
            .until_within::<Connector>(name, "Ready", Duration::from_secs(240), |it| {
                condition(it.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True")
            })
            .await;
        ids.push(id(&connector));
    }
    let mut remote = lab.remote().await.iter().map(|item| item.id.to_string()).collect::<Vec<_>>();
    remote.sort();
    ids.sort();
    assert_eq!(remote, ids, "one connector at the API for each object, and no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_on_over_restarts_of_operator_and_server_and_runs_once() {
    let mut lab = Lab::alone("resumed").await;
    let bucket = lab.bucket(60).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    lab.apply(&lab.scan("s", "a", "  options: {maxWorkers: 1}")).await;
    lab.until::<slimio_operator::crd::Scan>("s", "started", |it| {
        it.status.as_ref().is_some_and(|status| status.scan_id.is_some())
    })
    .await;
    lab.parts_mut().server.kill().await;
    lab.parts_mut().operator.kill().await;
    lab.parts_mut().operator.restart().await.unwrap();
    lab.parts_mut().server.restart().await.unwrap();
    let (scan, _) = lab.until_scan("s", "Completed").await;
    let status = scan.status.unwrap();
    assert_eq!(
        (status.files_processed, status.findings_count),
        (Some(60), Some(180)),
        "nothing is counted twice"
    );
    let detail = lab.api.get(&lab.remote().await[0].id).await.unwrap().value;
    assert_eq!(detail.scan_history.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_object_does_not_stop_the_others() {
    let mut lab = Lab::alone("malformed").await;
    let bucket = lab.bucket(1).await;
    lab.parts_mut().operator.kill().await;
    // An older CRD let it through: the schema is opened, the object stored, and the schema closed again.
    let loose = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations"}]"#;
    lab.kubectl(&["patch", "crd", "connectors.slim.io", "--type=json", "--patch", loose]).await;
    let malformed = format!(
        "{{apiVersion: slim.io/v1alpha1, kind: Connector, metadata: {{name: malformed, namespace: {}}}, spec: {{aws: 7, suspend: maybe}}}}",
        lab.namespace
    );
    tokio::time::timeout(Duration::from_secs(30), async {
        while !lab.parts.cluster.apply(&malformed).await.unwrap().success {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await
    .expect("the opened schema takes the object");
    lab.parts
        .cluster
        .install_crds(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds")))
        .await
        .unwrap();
    lab.parts_mut().operator.restart().await.unwrap();

    lab.apply(&lab.connector("sound", &bucket, "")).await;
    lab.until_ready("sound").await;
    let log = lab.parts.operator.log();
    assert!(log.contains("a malformed object is left alone"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_ends_cleanly_waits_for_its_crds_and_serves_health_and_metrics() {
    let mut lab = Lab::alone("process").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    let metrics = lab.parts.operator.metrics().await.unwrap();
    for name in [
        "slimio_reconciles_total",
        "slimio_reconcile_duration_seconds",
        "slimio_api_requests_total",
        "slimio_effects_total",
        "slimio_leading 1",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert_eq!(lab.parts_mut().operator.stop().await.unwrap(), Exit::Code(0));
    let lease = lab
        .parts
        .cluster
        .kubectl(&[
            "-n",
            "slimio-system",
            "get",
            "lease",
            "slimio-operator",
            "-o",
            "jsonpath={.spec.holderIdentity}",
        ])
        .await
        .unwrap();
    assert_eq!(lease.stdout, "", "the lease was given back");

    // The finalizer keeps the Connector, and with it the CRD, until it is taken off by force.
    let forced = r#"{"metadata":{"finalizers":null}}"#;
    lab.kubectl(&["patch", "connector", "a", "--type=merge", "--patch", forced]).await;
    lab.kubectl(&["delete", "crd", "connectors.slim.io", "--timeout=60s"]).await;
    lab.parts_mut().operator.restart().await.unwrap();
    let ready = http_status(&format!("{}/readyz", lab.parts.operator.http_addr())).await;
    assert_eq!(ready, 503);
    tokio::time::timeout(Duration::from_secs(30), async {
        while !lab.parts.operator.log().contains("kubectl apply -f crds/") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("it says what it waits for");
    lab.parts
        .cluster
        .install_crds(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds")))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while http_status(&format!("{}/readyz", lab.parts.operator.http_addr())).await != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("it goes on when the CRDs are there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_asked_through_the_proxy_of_the_environment_and_kubernetes_is_not() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut connection, _) = proxy.accept().await.unwrap();
        let mut line = vec![0; 1024];
        let read = tokio::io::AsyncReadExt::read(&mut connection, &mut line).await.unwrap();
        String::from_utf8_lossy(&line[..read]).into_owned()
    });
    // The API server is reached by TLS, and so not through this one.
    let lab = Lab::alone_with("proxied", &[("HTTP_PROXY", &address), ("NO_PROXY", "localhost")]).await;
    let asked =
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the proxy is asked").unwrap();
    assert!(asked.starts_with(&format!("GET {}/api/v1/connectors", lab.parts.server.endpoint())), "{asked}");
}

async fn http_status(url: &str) -> u16 {
    reqwest::get(url).await.unwrap().status().as_u16()
}

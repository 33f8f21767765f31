//! Parts that go away and come back, and an operator that is killed: nothing twice, nothing lost.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use slimio_operator::crd::Connector;
use testbed::{Exit, Operator, OperatorOptions};

use crate::lab::{Lab, condition, id, rights};

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
        "\nslimio_leading 1\n",
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

/// Waits until this is so.
async fn until(what: &str, lab: &Lab, enough: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !enough().await {
        assert!(begun.elapsed() < Duration::from_secs(180), "not {what}:\n{}", lab.parts.operator.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn leads(lab: &Lab) -> bool {
    lab.parts.operator.metrics().await.unwrap().lines().any(|line| line == "slimio_leading 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubernetes_api_that_is_away_for_a_minute_costs_that_minute_and_nothing_else() {
    let mut lab = Lab::alone("no-kube").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    let before = id(&lab.until_ready("a").await);
    lab.parts_mut().cluster.stop_api_server().await.unwrap();
    let ready = format!("{}/readyz", lab.parts.operator.http_addr());
    until("unready", &lab, async || http_status(&ready).await == 503).await;
    until("without the lead", &lab, async || !leads(&lab).await).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(lab.parts.operator.process().exit().is_none(), "{}", lab.parts.operator.log());

    lab.parts_mut().cluster.start_api_server().await.unwrap();
    lab.apply(&lab.connector("b", &bucket, "")).await;
    let served =
        |it: &Connector| condition(it.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True");
    lab.until_within("b", "Ready", Duration::from_secs(120), served).await;
    until("ready", &lab, async || http_status(&ready).await == 200).await;
    assert!(leads(&lab).await);
    assert_eq!(id(&lab.until_ready("a").await), before);
    let asked = lab.requests().await;
    let creates = asked.iter().filter(|request| *request == "POST /api/v1/connectors").count();
    assert_eq!(creates, 2, "{asked:?}");
    assert!(!asked.iter().any(|request| request.starts_with("DELETE")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_withdrawn_and_a_token_that_ends_are_told_and_got_over() {
    let mut lab = Lab::alone("withdrawn").await;
    lab.parts_mut().operator.stop().await.unwrap();
    let bucket = lab.bucket(1).await;
    let accounts = "/api/v1/namespaces/slimio-system/serviceaccounts";
    lab.apply(&rights("wavering")).await;
    let account = lab.parts.cluster.service_account("slimio-system", "wavering", "wavering").await.unwrap();
    // As in a pod: the token is in a file, where another one appears in time.
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&account).unwrap()).unwrap();
    let token = account.with_file_name("token-wavering");
    std::fs::write(&token, config["users"][0]["user"]["token"].as_str().unwrap()).unwrap();
    config["users"][0]["user"] = json!({"tokenFile": token});
    std::fs::write(&account, config.to_string()).unwrap();
    let options = OperatorOptions {
        permitted_endpoints: vec![lab.parts.server.endpoint().to_owned()],
        kubeconfig: Some(account),
        ..OperatorOptions::default()
    };
    let operator = Operator::start(&lab.parts.cluster, options).await.unwrap();
    lab.parts_mut().operator = operator;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;

    let none = rights("wavering").split("rules:").next().map(|head| format!("{head}rules: []")).unwrap();
    lab.apply(&none).await;
    lab.apply(&lab.connector("b", &bucket, "")).await;
    until("told", &lab, async || {
        let log = lab.parts.operator.log();
        log.lines().any(|line| line.contains("reconcile failed") && line.contains("is forbidden"))
    })
    .await;
    let metrics = lab.parts.operator.metrics().await.unwrap();
    assert!(metrics.contains("kind=\"Connector\",outcome=\"kubernetes\""), "{metrics}");
    // Without the Lease nothing is done any more.
    until("without the lead", &lab, async || !leads(&lab).await).await;
    assert_eq!(lab.remote().await.len(), 1);
    lab.apply(&rights("wavering")).await;
    let is_ready =
        |it: &Connector| condition(it.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True");
    lab.until_within("b", "Ready", Duration::from_secs(180), is_ready).await;

    let cluster = &lab.parts.cluster;
    cluster.request(Method::DELETE, &format!("{accounts}/wavering"), None).await.unwrap();
    lab.apply(&lab.connector("c", &bucket, "")).await;
    until("told", &lab, async || lab.parts.operator.log().contains("Unauthorized")).await;
    let cluster = &lab.parts.cluster;
    let again = json!({"metadata": {"name": "wavering"}});
    cluster.request(Method::POST, accounts, Some(&again)).await.unwrap();
    let wanted = json!({"spec": {"expirationSeconds": 3600}});
    let issued = cluster.request(Method::POST, &format!("{accounts}/wavering/token"), Some(&wanted)).await;
    std::fs::write(&token, issued.unwrap()["status"]["token"].as_str().unwrap()).unwrap();
    lab.until_within("c", "Ready", Duration::from_secs(240), is_ready).await;
    assert_eq!(lab.remote().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_removed_and_put_back_while_the_operator_runs_is_served_again() {
    let lab = Lab::alone("no-kind").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    let ready = format!("{}/readyz", lab.parts.operator.http_addr());
    lab.kubectl(&["delete", "crd", "scans.slim.io", "--timeout=60s"]).await;
    until("unready", &lab, async || http_status(&ready).await == 503).await;
    let metrics = lab.parts.operator.metrics().await.unwrap();
    assert!(metrics.contains("slimio_interrupted_watches{kind=\"Scan\"} 1"), "{metrics}");
    // The other kinds go on.
    lab.apply(&lab.connector("b", &bucket, "")).await;
    lab.until_ready("b").await;
    let crds = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"));
    lab.parts.cluster.install_crds(crds).await.unwrap();
    lab.apply(&lab.scan("s", "a", "")).await;
    let ended = |it: &slimio_operator::crd::Scan| {
        it.status.as_ref().is_some_and(|status| status.completion_time.is_some())
    };
    lab.until_within("s", "over", Duration::from_secs(180), ended).await;
    until("ready", &lab, async || http_status(&ready).await == 200).await;
}

async fn http_status(url: &str) -> u16 {
    reqwest::get(url).await.unwrap().status().as_u16()
}

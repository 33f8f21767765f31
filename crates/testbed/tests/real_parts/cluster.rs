//! The control plane is a real one: it refuses strangers, collects garbage, and comes back after an outage.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use testbed::{ClusterOptions, TestCluster, wait};

#[tokio::test]
async fn kubectl_applies_reads_and_gets_refusals_as_a_person_does() {
    let cluster = TestCluster::shared().await.unwrap();
    let namespace = cluster.create_namespace("kubectl").await.unwrap();
    let yaml = format!("{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {namespace}}}}}");
    let applied = cluster.apply(&yaml).await.unwrap();
    assert!(applied.success, "{applied:?}");
    assert!(applied.stdout.contains("secret/s created"), "{applied:?}");
    let refused = cluster.kubectl(&["get", "configmap", "nowhere", "-n", &namespace]).await.unwrap();
    assert!(!refused.success);
    assert!(refused.stderr.contains("\"nowhere\" not found"), "{refused:?}");
    let version = cluster.get("/version").await.unwrap();
    assert_eq!(version["gitTreeState"], "clean", "{version}");
}

#[tokio::test]
async fn strangers_may_do_nothing_and_service_accounts_what_rbac_says() {
    let cluster = TestCluster::shared().await.unwrap();
    let namespace = cluster.create_namespace("rbac").await.unwrap();
    let account = json!({"metadata": {"name": "robot"}});
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    cluster.request(Method::POST, &accounts, Some(&account)).await.unwrap();
    let token = cluster
        .request(Method::POST, &format!("{accounts}/robot/token"), Some(&json!({"spec": {"audiences": []}})))
        .await
        .unwrap();
    let token = token["status"]["token"].as_str().unwrap();
    let allowed = cluster
        .kubectl(&["auth", "can-i", "list", "secrets", "-n", &namespace, "--token", token])
        .await
        .unwrap();
    assert_eq!(allowed.stdout.trim(), "no");
    let stranger = cluster.kubectl(&["get", "namespaces", "--token", "guessed"]).await.unwrap();
    assert!(!stranger.success && stranger.stderr.contains("Unauthorized"), "{stranger:?}");
}

#[tokio::test]
async fn a_deleted_owner_takes_its_dependents_along_and_a_deleted_namespace_everything() {
    let cluster = TestCluster::shared().await.unwrap();
    let namespace = cluster.create_namespace("garbage").await.unwrap();
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let owner =
        cluster.request(Method::POST, &maps, Some(&json!({"metadata": {"name": "owner"}}))).await.unwrap();
    let reference =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    let child = json!({"metadata": {"name": "child", "ownerReferences": reference}});
    cluster.request(Method::POST, &maps, Some(&child)).await.unwrap();
    cluster.request(Method::DELETE, &format!("{maps}/owner"), None).await.unwrap();
    let gone =
        async |path: String| cluster.get(&path).await.is_err_and(|error| error.to_string().contains("404"));
    let limit = Duration::from_secs(60);
    wait::until("the child is collected", limit, async || gone(format!("{maps}/child")).await).await.unwrap();
    let path = format!("/api/v1/namespaces/{namespace}");
    cluster.request(Method::DELETE, &path, None).await.unwrap();
    wait::until("the namespace is gone", limit, async || gone(path.clone()).await).await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_was_away_comes_back_with_all_it_knew() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    let options = ClusterOptions { audit_policy: Some(policy.to_owned()), ..ClusterOptions::default() };
    let mut cluster = TestCluster::start_with(options).await.unwrap();
    let namespace = cluster.create_namespace("outage").await.unwrap();
    cluster.stop_api_server().await.unwrap();
    assert!(cluster.get("/version").await.unwrap_err().to_string().contains("got no answer"));
    cluster.start_api_server().await.unwrap();
    let found = cluster.get(&format!("/api/v1/namespaces/{namespace}")).await.unwrap();
    assert_eq!(found["metadata"]["name"], namespace.as_str());
    assert_eq!(cluster.unexpected_exit(), None);
    let audited = std::fs::read_to_string(cluster.audit_log()).unwrap();
    assert!(audited.lines().any(|line| line.contains("\"verb\":\"create\"") && line.contains(&namespace)));
    let folder = cluster.logs().to_path_buf();
    drop(cluster);
    assert!(!folder.exists(), "its folder goes with it");
}

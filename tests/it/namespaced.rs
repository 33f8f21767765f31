//! An operator with the rights of one namespace only, as the audit log of the API server saw it.

use std::time::Duration;

use serde_json::Value;
use testbed::{Operator, OperatorOptions};

use crate::lab::Lab;

const ACCOUNT: &str = "system:serviceaccount:slimio-system:held";
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, users: ['system:serviceaccount:slimio-system:held']}
  - {level: None}
";

/// What docs/operations.md asks for, with these verbs on Secrets.
fn rights(namespace: &str, secrets: &str) -> String {
    format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: held, namespace: {namespace}}}
rules:
  - {{apiGroups: [slim.io], resources: [workspaces], verbs: [get, list, watch, patch]}}
  - {{apiGroups: [slim.io], resources: [connectors], verbs: [get, list, watch, patch]}}
  - {{apiGroups: [slim.io], resources: [scans], verbs: [get, list, watch, create, patch, delete]}}
  - {{apiGroups: [slim.io], resources: [scanschedules], verbs: [get, list, watch]}}
  - {{apiGroups: [slim.io], resources: [workspaces/status, connectors/status, scans/status, scanschedules/status], verbs: [update]}}
  - {{apiGroups: [''], resources: [secrets], verbs: {secrets}}}
  - {{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: held, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: held}}
subjects: [{{kind: ServiceAccount, name: held, namespace: slimio-system}}]
"
    )
}

const LEASE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: held, namespace: slimio-system}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [slimio-operator], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: held, namespace: slimio-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: held}
subjects: [{kind: ServiceAccount, name: held, namespace: slimio-system}]
";

/// The requests of the operator's account: verb, resource, namespace and status.
fn requests(lab: &Lab) -> Vec<(String, String, String, u64)> {
    let mine = lab.asked_by(ACCOUNT);
    mine.iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &event["objectRef"];
            let (resource, namespace) = (text(&object["resource"]), text(&object["namespace"]));
            (text(&event["verb"]), resource, namespace, event["responseStatus"]["code"].as_u64().unwrap_or(0))
        })
        .collect()
}

async fn until(what: &str, operator: &Operator, enough: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if enough().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not {what}:\n{}", operator.log());
}

async fn ready(operator: &Operator) -> bool {
    reqwest::get(format!("{}/readyz", operator.http_addr())).await.unwrap().status().is_success()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_held_to_a_namespace_asks_for_nothing_outside_and_needs_no_list_of_secrets() {
    let mut lab = Lab::audited("held", POLICY).await;
    lab.parts_mut().operator.stop().await.unwrap();
    let bucket = lab.bucket(1).await;
    let namespace = lab.namespace.clone();
    // The ClusterRole does not exist: the account has the rights of its Roles and no others.
    let account = lab.parts.cluster.service_account("slimio-system", "held", "no-such-role").await.unwrap();
    lab.apply(LEASE).await;
    let options = OperatorOptions {
        permitted_endpoints: vec![lab.parts.server.endpoint().to_owned()],
        kubeconfig: Some(account),
        args: vec![format!("--namespaces={namespace},not-there")],
        ..OperatorOptions::default()
    };

    // Without rights it waits; with them in one of its two namespaces that one is served.
    let mut operator = Operator::start(&lab.parts.cluster, options.clone()).await.unwrap();
    until("waiting", &operator, async || operator.log().contains("cannot list the resources")).await;
    assert!(!ready(&operator).await);
    lab.apply(&rights(&namespace, "[get, list, watch]")).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    let cluster_wide =
        lab.connector("wide", &bucket, "").replace("{kind: Workspace, name: lab}", "{name: default}");
    lab.apply(&cluster_wide).await;
    let (_, message) = lab.until_reason("wide", "NotAvailableInNamespacedMode").await;
    assert!(message.contains("held to namespaces"), "{message}");
    // Both fail at each attempt in the other namespace, and each of the five kinds says so once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = operator.log();
    assert_eq!(log.matches("the watch is interrupted").count(), 5, "{log}");
    let metrics = operator.metrics().await.unwrap();
    assert!(metrics.contains("slimio_interrupted_watches{kind=\"Connector\"} 1"), "{metrics}");
    lab.kubectl(&["delete", "connector", "wide"]).await;
    operator.stop().await.unwrap();

    // Less rights: Secrets by name alone.
    lab.apply(&rights(&namespace, "[get]")).await;
    let listed = requests(&lab).len();
    let options = OperatorOptions {
        args: vec![format!("--namespaces={namespace}"), "--watch-secrets=false".to_owned()],
        ..options
    };
    let operator = Operator::start(&lab.parts.cluster, options).await.unwrap();
    until("ready", &operator, async || ready(&operator).await).await;
    lab.until_ready("a").await;
    lab.apply(&lab.secret("aws-external-id", "externalId", "another-one-now")).await;
    // Never scanned, it is made anew with what the Secret says now, which the role does not accept.
    lab.until_reason("a", "ConnectionTestFailed").await;

    let all = requests(&lab);
    for (verb, resource, asked, status) in &all {
        // What is refused is that in the namespace that is not there.
        let known = [namespace.as_str(), "slimio-system", "not-there"].contains(&asked.as_str());
        assert!(known, "{verb} {resource} in {asked:?} was asked for: {status}");
        assert!(asked != "slimio-system" || resource == "leases", "{verb} {resource} in {asked}");
    }
    let strict = &all[listed..];
    let secrets = strict.iter().filter(|(_, resource, ..)| resource == "secrets").collect::<Vec<_>>();
    assert!(!secrets.is_empty() && secrets.iter().all(|(verb, ..)| verb == "get"), "{secrets:?}");
    let refused = strict.iter().filter(|(.., status)| *status == 403).collect::<Vec<_>>();
    assert!(refused.is_empty(), "{refused:?}");
}

//! What the operator must not do, whoever asks for it: read Secrets that are not named, tell one, talk to somebody who is not
//! permitted, believe what is too large, or give away what is another's.

mod bounds;
mod canary;
mod endpoints;
mod hostile;
mod secrets;
mod theft;

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testbed::{Operator, OperatorOptions, SharedCluster, TestCluster};
use tokio::sync::OnceCell;

const GROUP: &str = "/apis/slim.io/v1alpha1";
const PATIENCE: Duration = Duration::from_secs(90);

/// A namespace with an operator that is held to it, and no API but those of the test.
struct Stage {
    cluster: SharedCluster,
    namespace: String,
    operator: Operator,
}

impl Stage {
    async fn start(prefix: &str, permitted: &[&str], env: &[(&str, &str)]) -> Self {
        static CRDS: OnceCell<()> = OnceCell::const_new();
        let cluster = TestCluster::shared().await.unwrap();
        let crds = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"));
        CRDS.get_or_init(async || cluster.install_crds(crds).await.unwrap()).await;
        let namespace = cluster.create_namespace(prefix).await.unwrap();
        let options = OperatorOptions {
            permitted_endpoints: permitted.iter().map(|&endpoint| endpoint.to_owned()).collect(),
            namespace: Some(namespace.clone()),
            args: vec![format!("--namespaces={namespace}"), "--leader-elect=false".to_owned()],
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..OperatorOptions::default()
        };
        let operator = Operator::start(&cluster, options).await.unwrap();
        Self { cluster, namespace, operator }
    }

    fn path(&self, plural: &str) -> String {
        match plural {
            "secrets" => format!("/api/v1/namespaces/{}/secrets", self.namespace),
            "events" => format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace),
            _ => format!("{GROUP}/namespaces/{}/{plural}", self.namespace),
        }
    }

    async fn make(&self, plural: &str, object: Value) {
        self.cluster.request(Method::POST, &self.path(plural), Some(&object)).await.unwrap();
    }

    async fn secret(&self, name: &str, key: &str, value: &str) {
        self.make("secrets", json!({"metadata": {"name": name}, "stringData": {key: value}})).await;
    }

    /// A Workspace with the key of the Secret `key`, and limits that no test reaches.
    fn workspace(name: &str, endpoint: &str) -> Value {
        json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
            "spec": {
                "endpoint": endpoint, "pollInterval": "1s",
                "auth": {"apiKey": {"secretRef": {"name": "key", "key": "apiKey"}}},
                "rateLimits": {"requestsPerMinute": 1_000_000, "requestsPerHour": 10_000_000,
                               "createsPerHour": 1_000_000, "concurrentRequests": 100},
            },
        })
    }

    /// An AWS Connector whose external id is in the Secret `external-id`.
    fn connector(name: &str, workspace: &str) -> Value {
        json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector", "metadata": {"name": name},
            "spec": {
                "workspaceRef": {"kind": "Workspace", "name": workspace}, "displayName": name,
                "aws": {
                    "roleArn": "arn:aws:iam::210987654321:role/BillingReader", "region": "eu-west-1",
                    "externalIdSecretRef": {"name": "external-id", "key": "externalId"},
                },
            },
        })
    }

    /// Has the object looked at now.
    async fn look(&self, plural: &str, name: &str) {
        let now = Instant::now();
        let at = format!("slim.io/reconcile-requested-at={now:?}");
        let args = ["annotate", "--overwrite", "-n", &self.namespace, plural, name, &at];
        let output = self.cluster.kubectl(&args).await.unwrap();
        assert!(output.success, "{}", output.stderr);
    }

    /// Waits until the object satisfies `enough`.
    async fn until(&self, plural: &str, name: &str, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        let path = format!("{}/{name}", self.path(plural));
        loop {
            let last = self.cluster.get(&path).await.unwrap();
            if enough(&last) {
                return last;
            }
            let log = self.operator.log();
            assert!(begun.elapsed() < PATIENCE, "{name} is not {what}: {last:#}\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until `Ready` has that reason, and gives its message.
    async fn until_reason(&self, plural: &str, name: &str, reason: &str) -> String {
        let found = self.until(plural, name, reason, |it| ready(it)["reason"] == reason).await;
        ready(&found)["message"].as_str().unwrap().to_owned()
    }

    /// All that a user of the namespace can read of the operator's work.
    async fn told(&self) -> Vec<Value> {
        let mut told = Vec::new();
        for plural in ["connectors", "scans", "workspaces", "events"] {
            let list = self.cluster.get(&self.path(plural)).await.unwrap();
            told.extend(list["items"].as_array().unwrap().clone());
        }
        told
    }
}

fn ready(object: &Value) -> &Value {
    let mut all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == "Ready").unwrap_or(&Value::Null)
}

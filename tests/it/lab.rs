//! A laboratory: everything that a test of the operator needs, really started.
//!
//! Tests share one control plane, object store, API server and operator ([`Lab::shared`]), and each has a namespace, an API
//! workspace and a bucket of its own. A test that kills or cuts off a part starts its own ([`Lab::alone`]).

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors_api::{Client as ApiClient, ConnectorItem, Endpoint, ListLimits, ListQuery};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use slimio_operator::crd::{Connector, ConnectorStatus, Scan, Workspace};
use testbed::{Aws, ClusterOptions, Operator, OperatorOptions, Server, TestCluster};
use tokio::sync::OnceCell;

/// How long a test waits for what has to happen. Far above what it takes, for busy machines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The really started parts.
pub(crate) struct Parts {
    pub(crate) cluster: TestCluster,
    pub(crate) aws: Aws,
    pub(crate) server: Server,
    pub(crate) operator: Operator,
}

impl Parts {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more environment for the operator.
    pub(crate) async fn start_with(env: &[(&str, &str)]) -> Self {
        Self::start_on(ClusterOptions::default(), env).await
    }

    async fn start_on(cluster: ClusterOptions, env: &[(&str, &str)]) -> Self {
        let (cluster, aws) = tokio::join!(TestCluster::start_with(cluster), Aws::start());
        let (cluster, aws) = (cluster.unwrap(), aws.unwrap());
        cluster.install_crds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))).await.unwrap();
        let made = cluster
            .apply("{apiVersion: v1, kind: Namespace, metadata: {name: slimio-system}}")
            .await
            .unwrap();
        assert!(made.success, "{}", made.stderr);
        let server = Server::start(&aws).await.unwrap();
        let options = OperatorOptions {
            permitted_endpoints: vec![server.endpoint().to_owned()],
            env: [("RUST_LOG", "info,slimio_operator=debug")]
                .iter()
                .chain(env)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..OperatorOptions::default()
        };
        let operator = Operator::start(&cluster, options).await.unwrap();
        Self { cluster, aws, server, operator }
    }
}

static SHARED: OnceCell<Arc<Parts>> = OnceCell::const_new();

/// One test's part of it.
pub(crate) struct Lab {
    pub(crate) parts: Arc<Parts>,
    pub(crate) namespace: String,
    pub(crate) key: SecretString,
    pub(crate) api: ApiClient,
    pub(crate) kube: Client,
}

impl Lab {
    /// With the parts that tests share.
    pub(crate) async fn shared(prefix: &str) -> Self {
        let parts = SHARED.get_or_init(async || Arc::new(Parts::start().await)).await;
        Self::with(Arc::clone(parts), prefix).await
    }

    /// With parts of its own, which it may kill: take them with [`Lab::parts_mut`].
    pub(crate) async fn alone(prefix: &str) -> Self {
        Self::with(Arc::new(Parts::start().await), prefix).await
    }

    /// With parts of its own, and more environment for its operator.
    pub(crate) async fn alone_with(prefix: &str, env: &[(&str, &str)]) -> Self {
        Self::with(Arc::new(Parts::start_with(env).await), prefix).await
    }

    /// With parts of its own, and a log of what the API server was asked.
    pub(crate) async fn audited(prefix: &str, policy: &str) -> Self {
        let options = ClusterOptions { audit_policy: Some(policy.to_owned()), ..ClusterOptions::default() };
        Self::with(Arc::new(Parts::start_on(options, &[]).await), prefix).await
    }

    /// What the audit log tells of an account.
    pub(crate) fn asked_by(&self, account: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.parts.cluster.audit_log()).unwrap();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["user"]["username"] == account).collect()
    }

    async fn with(parts: Arc<Parts>, prefix: &str) -> Self {
        let namespace = parts.cluster.create_namespace(prefix).await.unwrap();
        let key = parts.server.create_key(&namespace, "admin").await.unwrap();
        let endpoint = Endpoint::parse(parts.server.endpoint()).unwrap();
        let api = ApiClient::builder(endpoint, key.clone()).without_proxies().build().unwrap();
        let kubeconfig = Kubeconfig::read_from(parts.cluster.kubeconfig()).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let kube = Client::try_from(config).unwrap();
        let lab = Self { parts, namespace, key, api, kube };
        lab.apply(&lab.secret("api-key", "apiKey", lab.key.expose_secret())).await;
        lab.apply(&lab.secret("aws-external-id", "externalId", lab.parts.aws.external_id())).await;
        lab.apply(&lab.workspace()).await;
        lab
    }

    /// The parts, for a test that has them alone.
    pub(crate) fn parts_mut(&mut self) -> &mut Parts {
        Arc::get_mut(&mut self.parts).expect("only a lab of its own may be taken apart")
    }

    /// A Secret with one key.
    pub(crate) fn secret(&self, name: &str, key: &str, value: &str) -> String {
        let value = serde_json::to_string(value).unwrap();
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {}}}, stringData: {{{key}: {value}}}}}",
            self.namespace
        )
    }

    /// The Workspace `lab` with limits that no test reaches.
    pub(crate) fn workspace(&self) -> String {
        format!(
            "
apiVersion: slim.io/v1alpha1
kind: Workspace
metadata: {{name: lab, namespace: {}}}
spec:
  endpoint: {}
  auth: {{apiKey: {{secretRef: {{name: api-key, key: apiKey}}}}}}
  pollInterval: 2s
  rateLimits: {{requestsPerMinute: 100000, requestsPerHour: 1000000, createsPerHour: 10000, concurrentRequests: 20}}
",
            self.namespace,
            self.parts.server.endpoint()
        )
    }

    /// An AWS Connector for `bucket`, with `more` lines of spec.
    pub(crate) fn connector(&self, name: &str, bucket: &str, more: &str) -> String {
        format!(
            "
apiVersion: slim.io/v1alpha1
kind: Connector
metadata: {{name: {name}, namespace: {}}}
spec:
  workspaceRef: {{kind: Workspace, name: lab}}
  aws:
    roleArn: {}
    externalIdSecretRef: {{name: aws-external-id, key: externalId}}
    region: us-east-1
  scope: {{buckets: [{bucket}]}}
{more}
",
            self.namespace,
            self.parts.aws.role_arn()
        )
    }

    /// A full Scan of `connector`, with `more` lines of spec.
    pub(crate) fn scan(&self, name: &str, connector: &str, more: &str) -> String {
        format!(
            "
apiVersion: slim.io/v1alpha1
kind: Scan
metadata: {{name: {name}, namespace: {}}}
spec:
  connectorRef: {{name: {connector}}}
  type: Full
{more}
",
            self.namespace
        )
    }

    /// A bucket of this test's own with `files` CSV files, each with three e-mail addresses in it.
    pub(crate) async fn bucket(&self, files: usize) -> String {
        let bucket = format!("{}-data", self.namespace);
        self.parts.aws.create_bucket(&bucket).await.unwrap();
        for n in 0..files {
            let body = format!(
                "name,email\nAnn,ann{n}@example.org\nBob,bob{n}@example.org\nCem,cem{n}@example.org\n"
            );
            self.parts.aws.put_object(&bucket, &format!("people/{n}.csv"), body).await.unwrap();
        }
        bucket
    }

    /// `kubectl apply`, which must be taken.
    pub(crate) async fn apply(&self, yaml: &str) {
        let output = self.parts.cluster.apply(yaml).await.unwrap();
        assert!(output.success, "kubectl apply was refused: {}\n{yaml}", output.stderr);
    }

    /// `kubectl apply`, which must be refused; what it says.
    pub(crate) async fn refused(&self, yaml: &str) -> String {
        let output = self.parts.cluster.apply(yaml).await.unwrap();
        assert!(!output.success, "kubectl apply was taken: {}\n{yaml}", output.stdout);
        output.stderr
    }

    /// `kubectl` in this test's namespace; what it prints.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let mut all = vec!["--namespace", &self.namespace];
        all.extend(args);
        let output = self.parts.cluster.kubectl(&all).await.unwrap();
        assert!(output.success, "kubectl {args:?}: {}", output.stderr);
        output.stdout
    }

    /// The API of a kind in this test's namespace.
    pub(crate) fn objects<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    /// Waits until the object satisfies `enough`.
    pub(crate) async fn until<K>(&self, name: &str, what: &str, enough: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.until_within(name, what, PATIENCE, enough).await
    }

    /// Waits that long until the object satisfies `enough`.
    pub(crate) async fn until_within<K>(
        &self,
        name: &str,
        what: &str,
        patience: Duration,
        enough: impl Fn(&K) -> bool,
    ) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let begun = Instant::now();
        loop {
            let last = self.objects::<K>().get_opt(name).await.unwrap();
            if let Some(found) = last.as_ref().filter(|found| enough(found)) {
                return found.clone();
            }
            assert!(
                begun.elapsed() < patience,
                "{} {name} is not {what} after {patience:?}: {last:#?}\noperator's log:\n{}",
                K::kind(&()),
                self.log_of_this_test()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the Connector's `Ready` has that reason, and gives it with the message.
    pub(crate) async fn until_reason(&self, name: &str, reason: &str) -> (Connector, String) {
        let what = format!("Ready with reason {reason}");
        let found = self
            .until::<Connector>(name, &what, |it| {
                condition(it.status.as_ref(), "Ready").is_some_and(|(_, why, _)| why == reason)
            })
            .await;
        let (_, _, message) = condition(found.status.as_ref(), "Ready").unwrap();
        (found, message)
    }

    /// Waits until the Connector is `Ready=True`.
    pub(crate) async fn until_ready(&self, name: &str) -> Connector {
        self.until(name, "Ready", |it: &Connector| {
            condition(it.status.as_ref(), "Ready").is_some_and(|(truth, _, _)| truth == "True")
        })
        .await
    }

    /// Waits until the Scan's `Ready` has that reason, and gives it with the message.
    pub(crate) async fn until_scan(&self, name: &str, reason: &str) -> (Scan, String) {
        let said = |it: &Scan| {
            let all = it.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            all.into_iter().find(|condition| condition.type_ == "Ready").map(|it| (it.reason, it.message))
        };
        let what = format!("Ready with reason {reason}");
        let found =
            self.until::<Scan>(name, &what, |it| said(it).is_some_and(|(why, _)| why == reason)).await;
        let (_, message) = said(&found).unwrap();
        (found, message)
    }

    /// Waits until the Workspace's `Ready` has that reason, and gives its message.
    pub(crate) async fn until_workspace(&self, name: &str, reason: &str) -> String {
        let said = |it: &Workspace| {
            let all = it.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            all.into_iter().find(|condition| condition.type_ == "Ready").map(|it| (it.reason, it.message))
        };
        let what = format!("Ready with reason {reason}");
        let found =
            self.until::<Workspace>(name, &what, |it| said(it).is_some_and(|(why, _)| why == reason)).await;
        said(&found).unwrap().1
    }

    /// Waits until the object is gone.
    pub(crate) async fn until_gone(&self, name: &str) {
        let begun = Instant::now();
        while let Some(last) = self.objects::<Connector>().get_opt(name).await.unwrap() {
            assert!(begun.elapsed() < PATIENCE, "{name} is not gone: {last:#?}\n{}", self.log_of_this_test());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The connectors at the API, in this test's workspace.
    pub(crate) async fn remote(&self) -> Vec<ConnectorItem> {
        self.api.list(&ListQuery::default(), ListLimits::default()).await.unwrap().items
    }

    /// The requests that the API got for this test's workspace up to now, with the routes' templates, oldest first.
    pub(crate) async fn requests(&self) -> Vec<String> {
        // A request of our own, by whose id the log tells what the server calls this workspace.
        let marker = self.api.list_page(&ListQuery::default(), None).await.unwrap().request_id.unwrap();
        let log = self.parts.server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let requests = lines.filter(|line| line["message"] == "request").collect::<Vec<_>>();
        let end =
            requests.iter().position(|line| line["request_id"] == marker.as_str()).expect("it is in the log");
        let mine = requests[..end].iter().filter(|line| line["workspace"] == requests[end]["workspace"]);
        mine.map(|line| format!("{} {}", line["method"].as_str().unwrap(), line["route"].as_str().unwrap()))
            .collect()
    }

    /// What the operator said about this test's namespace.
    pub(crate) fn log_of_this_test(&self) -> String {
        let log = self.parts.operator.log();
        log.lines().filter(|line| line.contains(&self.namespace)).collect::<Vec<_>>().join("\n")
    }
}

/// A condition's status, reason and message.
pub(crate) fn condition(status: Option<&ConnectorStatus>, kind: &str) -> Option<(String, String, String)> {
    let found = status?.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// The Connector's id at the API.
pub(crate) fn id(connector: &Connector) -> String {
    let id = connector.status.as_ref().and_then(|status| status.connector_id.clone());
    id.unwrap_or_else(|| panic!("{} has no id: {:#?}", connector.name_any(), connector.status))
}

/// The ClusterRole of that name with the rights that docs/operations.md gives the operator, and those on its Lease.
pub(crate) fn rights(name: &str) -> String {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let begin = "kind: ClusterRole\nmetadata: {name: slimio-operator}\nrules:\n";
    let rules =
        page.split(begin).nth(1).and_then(|rest| rest.split("---").next()).expect("it is on the page");
    format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {name}}}
rules:
{rules}
  - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, update]}}
"
    )
}

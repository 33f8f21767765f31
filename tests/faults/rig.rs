//! One plan's rig: a namespace, a ledger, a proxy and an operator of its own, on a control plane that all plans share.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::faults::{Call, KubeProxy};
use testbed::ledger::{Ledger, Switches};
use testbed::{Operator, OperatorOptions, SharedCluster, TestCluster};
use tokio::sync::OnceCell;

use crate::director::{Director, SharedOperator};
use crate::oracle;

const GROUP: &str = "/apis/slim.io/v1alpha1";

/// The control plane with the CRDs.
pub(crate) async fn cluster() -> Arc<SharedCluster> {
    static CRDS: OnceCell<Arc<SharedCluster>> = OnceCell::const_new();
    let cluster = CRDS.get_or_init(async || {
        let cluster = TestCluster::shared().await.unwrap();
        cluster.install_crds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))).await.unwrap();
        Arc::new(cluster)
    });
    Arc::clone(cluster.await)
}

pub(crate) struct Rig {
    pub(crate) cluster: Arc<SharedCluster>,
    pub(crate) namespace: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) proxy: KubeProxy,
    pub(crate) operator: SharedOperator,
    pub(crate) director: Arc<Director>,
    /// The id of a connector that is nobody's here.
    pub(crate) foreign: String,
}

impl Rig {
    /// With an operator that takes itself for the leader.
    pub(crate) async fn start(prefix: &str, switches: Switches) -> Self {
        Self::start_with(prefix, switches, false).await
    }

    /// With an operator that is elected, or takes itself for the leader.
    pub(crate) async fn start_with(prefix: &str, switches: Switches, elects: bool) -> Self {
        let cluster = cluster().await;
        let namespace = cluster.create_namespace(prefix).await.unwrap();
        let ledger = Arc::new(Ledger::start(switches).await.unwrap());
        // Alike in name, and not ours: nothing may touch it.
        let config = json!({"project_id": "acme-lake-42"}).as_object().cloned().unwrap_or_default();
        let foreign = ledger.plant(&format!("{namespace}.A"), "gcp", config);
        let director = Arc::new(Director::default());
        let proxy = proxy(&cluster, &director).await;
        hook_ledger(&cluster, &namespace, &ledger, &director);
        let operator = operator(&cluster, &proxy, &ledger, &namespace, elects).await;
        let operator = Arc::new(tokio::sync::Mutex::new(operator));
        director.watches(&operator);
        let rig = Self { cluster, namespace, ledger, proxy, operator, director, foreign };
        rig.write_key(rig.ledger.key()).await;
        rig
    }

    /// Runs this while the operator is started again whenever it goes down.
    pub(crate) async fn keeping<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.keep() => match never {},
        }
    }

    async fn keep(&self) -> Infallible {
        loop {
            self.director.down.notified().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Err(error) = self.operator.lock().await.restart().await {
                self.director.violated(format!("the operator did not start again: {error}"));
            }
        }
    }

    /// A second operator beside the first, behind a proxy of its own.
    pub(crate) async fn another_operator(&self, elects: bool) -> (KubeProxy, Operator) {
        let proxy = proxy(&self.cluster, &Arc::new(Director::default())).await;
        let operator = operator(&self.cluster, &proxy, &self.ledger, &self.namespace, elects).await;
        (proxy, operator)
    }

    /// Makes or changes the Secret of the API key.
    pub(crate) async fn write_key(&self, key: &str) {
        let path = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let secret = json!({"metadata": {"name": "api-key"}, "stringData": {"apiKey": key}});
        if self.cluster.get(&format!("{path}/api-key")).await.is_ok() {
            self.cluster.request(Method::PUT, &format!("{path}/api-key"), Some(&secret)).await.unwrap();
            return;
        }
        self.cluster.request(Method::POST, &path, Some(&secret)).await.unwrap();
        let workspace = json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "w"},
            "spec": {
                "endpoint": self.ledger.endpoint(), "pollInterval": "1s",
                "auth": {"apiKey": {"secretRef": {"name": "api-key", "key": "apiKey"}}},
                "rateLimits": {"requestsPerMinute": 1_000_000, "requestsPerHour": 10_000_000,
                               "createsPerHour": 1_000_000, "concurrentRequests": 100},
            },
        });
        self.cluster.request(Method::POST, &self.path("workspaces"), Some(&workspace)).await.unwrap();
    }

    pub(crate) fn path(&self, plural: &str) -> String {
        format!("{GROUP}/namespaces/{}/{plural}", self.namespace)
    }

    /// Applies a Connector with this scope.
    pub(crate) async fn create(&self, name: &str, bucket: &str) {
        let connector = json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
            "metadata": {"name": name, "labels": {"team": "of-a-user"}},
            "spec": {
                "workspaceRef": {"kind": "Workspace", "name": "w"}, "replacePolicy": "Recreate",
                "gcp": {
                    "projectId": "acme-lake-42",
                    "serviceAccountEmail": "reader@acme-lake-42.iam.gserviceaccount.com",
                    "wifProvider": "projects/1/locations/global/workloadIdentityPools/p/providers/q",
                },
                "scope": {"buckets": [bucket]},
            },
        });
        self.cluster.request(Method::POST, &self.path("connectors"), Some(&connector)).await.unwrap();
    }

    /// The Connector, read without the proxy.
    pub(crate) async fn read(&self, name: &str) -> Option<Value> {
        self.cluster.get(&format!("{}/{name}", self.path("connectors"))).await.ok()
    }

    /// Edits the Connector's spec, again where somebody else wrote in between.
    pub(crate) async fn edit(&self, name: &str, change: impl Fn(&mut Value)) {
        let path = format!("{}/{name}", self.path("connectors"));
        for _ in 0..50 {
            let mut connector = self.cluster.get(&path).await.unwrap();
            change(&mut connector["spec"]);
            match self.cluster.request(Method::PUT, &path, Some(&connector)).await {
                Ok(_) => return,
                Err(error) if error.to_string().contains("409") => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no edit of {name} came through");
    }

    pub(crate) async fn delete(&self, name: &str) {
        let path = format!("{}/{name}", self.path("connectors"));
        self.cluster.request(Method::DELETE, &path, None).await.unwrap();
    }

    /// Waits until the Connector satisfies `enough`; what it last was when it never did.
    pub(crate) async fn until(
        &self,
        name: &str,
        limit: Duration,
        enough: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), String> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let last = self.read(name).await;
            if enough(last.as_ref()) {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                let shown = last.map_or_else(|| "gone".to_owned(), |last| last["status"].to_string());
                return Err(format!("{name} did not come to what was asked within {limit:?}: {shown}"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The operator's log.
    pub(crate) async fn log(&self) -> String {
        self.operator.lock().await.log()
    }

    /// The writes that reached the proxy so far: leases and events aside.
    pub(crate) fn writes(&self) -> usize {
        let counts =
            |call: &&Call| call.verb.writes() && call.resource != "leases" && call.resource != "events";
        self.proxy.calls().iter().filter(counts).count()
    }
}

/// A proxy that asks the director.
async fn proxy(cluster: &TestCluster, director: &Arc<Director>) -> KubeProxy {
    let director = Arc::clone(director);
    KubeProxy::start(cluster, move |call, stage| {
        let director = Arc::clone(&director);
        async move { director.kube(&call, stage).await }.boxed()
    })
    .await
    .unwrap()
}

/// Lets the oracle look at each mutation as it comes, then the director.
fn hook_ledger(cluster: &Arc<SharedCluster>, namespace: &str, ledger: &Ledger, director: &Arc<Director>) {
    ledger.add_key("second-key", "first");
    let (cluster, namespace, director) = (Arc::clone(cluster), namespace.to_owned(), Arc::clone(director));
    ledger.at_every_moment(move |moment| {
        let (cluster, namespace, director) = (Arc::clone(&cluster), namespace.clone(), Arc::clone(&director));
        async move {
            if let Err(violation) = oracle::mutation(&cluster, &namespace, &moment).await {
                director.violated(violation);
            }
            director.remote(&moment).await
        }
        .boxed()
    });
}

/// An operator held to this namespace, behind this proxy.
async fn operator(
    cluster: &TestCluster,
    proxy: &KubeProxy,
    ledger: &Ledger,
    namespace: &str,
    elects: bool,
) -> Operator {
    let options = OperatorOptions {
        permitted_endpoints: vec![ledger.endpoint().to_owned()],
        kubeconfig: Some(proxy.kubeconfig().to_path_buf()),
        namespace: Some(namespace.to_owned()),
        args: vec![
            format!("--namespaces={namespace}"),
            format!("--leader-elect={elects}"),
            // What is never told by a watch is to be found within a plan's time.
            "--relist-seconds=60".to_owned(),
        ],
        env: vec![("RUST_LOG".to_owned(), "info,slimio_operator=debug".to_owned())],
    };
    Operator::start(cluster, options).await.unwrap()
}

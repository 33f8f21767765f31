//! A real control plane on loopback: etcd, kube-apiserver with RBAC, kube-controller-manager, and an administrator.

mod credentials;
mod kubectl;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub use kubectl::Output;
pub use shared::SharedCluster;

use crate::process::{Exit, Process, Spec};
use crate::rundir::PartDir;
use crate::wait::until_serving;
use crate::{Error, Parts, Result, port};

/// How long a part of the control plane may take until it serves; two busy cores take four seconds.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long kube-apiserver gets to drain when it is stopped in good order.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// An audit policy (YAML, `audit.k8s.io/v1`); events then go to [`TestCluster::audit_log`].
    pub audit_policy: Option<String>,
    /// Controllers beside those that namespaces and garbage collection need (`deployment`, `replicaset`, `job`, …).
    pub controllers: Vec<String>,
    /// Whether etcd syncs to disk, as it must where etcd itself is stopped and started again.
    pub durable: bool,
}

/// A running control plane. Nothing runs Pods: there is no kubelet.
#[derive(Debug)]
pub struct TestCluster {
    // In the order in which they are dropped.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    _etcd: Process,
    parts: Parts,
    options: ClusterOptions,
    etcd_port: u16,
    api_port: u16,
    token: SecretString,
    kubeconfig: PathBuf,
    client: reqwest::Client,
    dir: PartDir,
}

impl TestCluster {
    /// Starts one with nothing special.
    ///
    /// # Errors
    /// Those of [`Parts::prepare`], and [`Error::Start`] with the end of the log of what did not come up.
    pub async fn start() -> Result<Self> {
        Self::start_with(ClusterOptions::default()).await
    }

    /// Starts one.
    ///
    /// # Errors
    /// Those of [`TestCluster::start`].
    pub async fn start_with(options: ClusterOptions) -> Result<Self> {
        let parts = Parts::prepared().await?;
        port::retry(async || Self::try_start(parts.clone(), options.clone()).await).await
    }

    /// The one cluster of this process that tests share; each test makes itself a namespace in it.
    ///
    /// # Errors
    /// Those of [`TestCluster::start`].
    pub async fn shared() -> Result<SharedCluster> {
        SharedCluster::get().await
    }

    async fn try_start(parts: Parts, options: ClusterOptions) -> Result<Self> {
        let dir = PartDir::new("cluster")?;
        let token = credentials::random_token()?;
        credentials::write(&dir, &token)?;
        if let Some(policy) = &options.audit_policy {
            let path = dir.file("audit-policy.yaml");
            std::fs::write(&path, policy).map_err(Error::io(format!("write {}", path.display())))?;
        }
        let (etcd_port, etcd) = start_etcd(&parts, &dir, options.durable).await?;
        let api_port = port::free()?;
        let api_server = spawn_api_server(&parts, &dir, &options, etcd_port, api_port)?;
        let client = serving_api(&api_server, &dir, api_port, &token).await?;
        let kubeconfig = dir.file("kubeconfig");
        let authority =
            std::fs::read(authority(&dir)).map_err(Error::io("read the API server's certificate"))?;
        credentials::write_kubeconfig(&kubeconfig, &base_url(api_port), &authority, &token)?;
        let controller_manager = spawn_controller_manager(&parts, &dir, &options, &kubeconfig)?;
        Ok(Self {
            controller_manager,
            api_server: Some(api_server),
            _etcd: etcd,
            parts,
            options,
            etcd_port,
            api_port,
            token,
            kubeconfig,
            client,
            dir,
        })
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubectl of the same release.
    #[must_use]
    pub fn kubectl_program(&self) -> &Path {
        &self.parts.kubectl
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> String {
        base_url(self.api_port)
    }

    /// The certificate (PEM) that signs the API server's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        authority(&self.dir)
    }

    /// Where audit events go, one JSON object a line, when there is an audit policy.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.dir.file("audit.log")
    }

    /// The folder of logs; it is gone with the cluster unless a test fails.
    #[must_use]
    pub fn logs(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the logs when the cluster goes.
    pub fn keep_logs(&mut self) {
        self.dir.keep();
    }

    /// The running parts, by name and process id.
    #[must_use]
    pub fn processes(&self) -> Vec<(&str, u32)> {
        [Some(&self._etcd), self.api_server.as_ref(), self.controller_manager.as_ref()]
            .into_iter()
            .flatten()
            .map(|process| (process.name(), process.pid()))
            .collect()
    }

    /// Stops kube-apiserver: what its clients see when the control plane is away.
    ///
    /// # Errors
    /// None today.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        if let Some(process) = self.api_server.take() {
            process.stop(DRAIN_LIMIT).await;
        }
        Ok(())
    }

    /// Starts it again, on the same port, with the same certificate and the same etcd.
    ///
    /// # Errors
    /// [`Error::Start`] when it does not come up.
    pub async fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.as_ref().is_some_and(|process| process.exit().is_none()) {
            return Ok(());
        }
        let process = spawn_api_server(&self.parts, &self.dir, &self.options, self.etcd_port, self.api_port)?;
        serving_api(&process, &self.dir, self.api_port, &self.token).await?;
        self.api_server = Some(process);
        // It gives up when it cannot reach the API server for long.
        if self.controller_manager.as_ref().is_some_and(|manager| manager.exit().is_some()) {
            self.controller_manager =
                spawn_controller_manager(&self.parts, &self.dir, &self.options, &self.kubeconfig)?;
        }
        Ok(())
    }

    /// Makes a namespace whose name begins with `prefix` and that no other test has.
    ///
    /// # Errors
    /// [`Error::Refused`] with the API server's answer.
    pub async fn create_namespace(&self, prefix: &str) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.request(Method::POST, "/api/v1/namespaces", Some(&body)).await?;
        Ok(name)
    }

    /// Reads a path of the API server (`/apis/slim.io/v1alpha1/connectors`) as the administrator.
    ///
    /// # Errors
    /// [`Error::Refused`] for any answer but success, [`Error::Http`] without one.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.request(Method::GET, path, None).await
    }

    /// One request as the administrator.
    ///
    /// # Errors
    /// Those of [`TestCluster::get`].
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let asked = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url()))
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(Error::http(&asked))?;
        let status = answer.status();
        let text = answer.text().await.map_err(Error::http(&asked))?;
        if !status.is_success() {
            let answer = format!("{status}: {}", text.chars().take(500).collect::<String>());
            return Err(Error::Refused { asked, answer });
        }
        serde_json::from_str(&text).map_err(|error| Error::Bug(format!("{asked} answered no JSON: {error}")))
    }

    /// A client with the administrator's rights that waits for an answer as long as it takes, as watches need it.
    pub(crate) fn streaming_client(&self) -> Result<reqwest::Client> {
        let pem = std::fs::read(self.authority()).map_err(Error::io("read the API server's certificate"))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(Error::http("reading the API server's certificate"))?;
        let mut headers = http::HeaderMap::new();
        let bearer = http::HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| Error::Bug("the administrator's token is no header".to_owned()))?;
        headers.insert("authorization", bearer);
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(roots)
            .default_headers(headers)
            .build()
            .map_err(Error::http("building a client of the API server"))
    }

    /// Makes a service account (in a namespace that exists), gives it this ClusterRole, and returns a kubeconfig of it:
    /// for a program that should be known by name in the audit log, and held to its own permissions.
    ///
    /// # Errors
    /// Those of [`TestCluster::get`], and [`Error::Io`].
    pub async fn service_account(&self, namespace: &str, name: &str, cluster_role: &str) -> Result<PathBuf> {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.request(Method::POST, &accounts, Some(&json!({"metadata": {"name": name}}))).await?;
        let binding = json!({
            "metadata": {"name": format!("{namespace}-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        self.request(Method::POST, bindings, Some(&binding)).await?;
        let wanted = json!({"spec": {"expirationSeconds": 86_400}});
        let answer = self.request(Method::POST, &format!("{accounts}/{name}/token"), Some(&wanted)).await?;
        let Some(token) = answer["status"]["token"].as_str() else {
            return Err(Error::Bug(format!("no token for service account {namespace}/{name}")));
        };
        let path = self.dir.file(&format!("kubeconfig-{namespace}-{name}"));
        let authority =
            std::fs::read(self.authority()).map_err(Error::io("read the API server's certificate"))?;
        credentials::write_kubeconfig(&path, &self.url(), &authority, &SecretString::from(token))?;
        Ok(path)
    }

    /// How the controller manager or the API server ended, if one did without being told.
    #[must_use]
    pub fn unexpected_exit(&self) -> Option<(&str, Exit)> {
        [Some(&self._etcd), self.api_server.as_ref(), self.controller_manager.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|process| process.exit().map(|exit| (process.name(), exit)))
    }
}

fn base_url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// kube-apiserver signs its own certificate and writes it here.
fn authority(dir: &PartDir) -> PathBuf {
    dir.file("certificates/apiserver.crt")
}

async fn start_etcd(parts: &Parts, dir: &PartDir, durable: bool) -> Result<(u16, Process)> {
    let port = port::free()?;
    let url = format!("http://127.0.0.1:{port}");
    let mut spec = Spec::new("etcd", &parts.etcd, dir.file("etcd.log"))
        .args(["--name=testbed", "--log-level=warn", "--listen-peer-urls=http://127.0.0.1:0"])
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--data-dir={}", dir.data().join("etcd").display()))
        .scrub_if_orphaned(dir.data());
    if !durable {
        spec = spec.arg("--unsafe-no-fsync");
    }
    let process = spec.spawn()?;
    let client = crate::wait::client()?;
    let health = format!("{url}/health");
    until_serving(&process, "/health", START_LIMIT, async || crate::wait::answers(&client, &health).await)
        .await?;
    Ok((port, process))
}

fn spawn_api_server(
    parts: &Parts,
    dir: &PartDir,
    options: &ClusterOptions,
    etcd_port: u16,
    api_port: u16,
) -> Result<Process> {
    let key = dir.file("service-account.pem");
    let mut spec = Spec::new("kube-apiserver", &parts.kube_apiserver, dir.file("kube-apiserver.log"))
        .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC"])
        // Without these it looks for an address that other machines reach, and fails where there is none.
        .args(["--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
        .args([
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
        ])
        .arg(format!("--secure-port={api_port}"))
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--cert-dir={}", dir.file("certificates").display()))
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg(format!("--token-auth-file={}", dir.file("tokens.csv").display()));
    if options.audit_policy.is_some() {
        spec = spec
            .arg(format!("--audit-policy-file={}", dir.file("audit-policy.yaml").display()))
            .arg(format!("--audit-log-path={}", dir.file("audit.log").display()))
            .arg("--audit-log-mode=blocking-strict");
    }
    spec.spawn()
}

/// Waits until the API server is ready, and gives the client that trusts its certificate.
async fn serving_api(
    process: &Process,
    dir: &PartDir,
    port: u16,
    token: &SecretString,
) -> Result<reqwest::Client> {
    let certificate = authority(dir);
    until_serving(process, "its certificate", START_LIMIT, async || certificate.is_file()).await?;
    let pem = std::fs::read(&certificate).map_err(Error::io("read the API server's certificate"))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(Error::http("reading the API server's certificate"))?;
    let client = crate::wait::builder()
        .tls_certs_only(roots)
        .build()
        .map_err(Error::http("building a client of the API server"))?;
    let ready = format!("{}/readyz", base_url(port));
    until_serving(process, "/readyz", START_LIMIT, async || {
        let answer = client.get(&ready).bearer_auth(token.expose_secret()).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await?;
    Ok(client)
}

fn spawn_controller_manager(
    parts: &Parts,
    dir: &PartDir,
    options: &ClusterOptions,
    kubeconfig: &Path,
) -> Result<Option<Process>> {
    let Some(program) = &parts.kube_controller_manager else { return Ok(None) };
    let mut controllers = vec!["namespace", "garbagecollector", "serviceaccount", "serviceaccount-token"];
    controllers.extend(options.controllers.iter().map(String::as_str));
    let process = Spec::new("kube-controller-manager", program, dir.file("kube-controller-manager.log"))
        .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--controllers={}", controllers.join(",")))
        .arg(format!("--service-account-private-key-file={}", dir.file("service-account.pem").display()))
        .spawn()?;
    Ok(Some(process))
}

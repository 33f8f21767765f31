//! `bench loop`: what the operator costs, and how long a person waits, on real parts on one machine. `bench scale` beside it.

mod audit;
mod scale;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testbed::figures::{Figures, quantile};
use testbed::{Aws, ClusterOptions, Error, Operator, OperatorOptions, Result, Server, TestCluster};

/// Connectors in the end.
const CONNECTORS: usize = 100;
/// What the operator is left alone for before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);
/// How long "at rest" is watched.
const REST: Duration = Duration::from_secs(60);
/// A connector that is not ready by then fails the bench.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is looked for: the resolution of the times.
const LOOK: Duration = Duration::from_millis(20);
const NAMESPACE: &str = "bench";
const OPERATOR_NAMESPACE: &str = "slimio-system";
const OPERATOR_USER: &str = "system:serviceaccount:slimio-system:slimio-operator";
const MIB: f64 = 1024.0 * 1024.0;

/// Which bench to run.
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum)]
    name: Bench,
    /// The checkout, for `crds/` and `target/bench/`.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// How many connectors `scale` ends with, above 1,000.
    #[arg(long, default_value_t = 10_000)]
    connectors: usize,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Bench {
    /// From apply to Ready: time, writes, requests; memory with 1 and 100 connectors; calm at rest.
    Loop,
    /// 1,000 and 10,000 connectors: memory, processor, calm, speed, restart.
    Scale,
}

/// Runs it, prints the table and writes the JSON.
pub(super) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::Io { what: "start a runtime".to_owned(), source })?;
    let (figures, outcome) = runtime.block_on(async {
        match args.name {
            Bench::Loop => measure(&args.root).await.map(|figures| (figures, Ok(()))),
            Bench::Scale => {
                let mut figures = Figures::new("scale", "cargo xtask bench scale");
                let outcome = tokio::select! {
                    outcome = scale::measure(&args.root, args.connectors, &mut figures) => outcome,
                    // What was measured until then is told.
                    _ = tokio::signal::ctrl_c() => Err(Error::Refused {
                        asked: "the rest of the bench".to_owned(),
                        answer: "interrupted".to_owned(),
                    }),
                };
                Ok((figures, outcome))
            }
        }
    })?;
    println!("{}", figures.table(&args.root));
    println!("written to {}", figures.write(&args.root)?.display());
    outcome.map(|()| ExitCode::SUCCESS)
}

/// What runs while it is measured.
struct Rig {
    operator: Operator,
    _server: Server,
    aws: Aws,
    cluster: TestCluster,
}

/// What one connector took from apply to Ready.
struct Passage {
    seconds: f64,
    writes: BTreeMap<String, usize>,
    requests: BTreeMap<String, u64>,
}

async fn measure(root: &Path) -> Result<Figures> {
    let rig = Rig::start(root).await?;
    eprintln!("1 connector, then {} s of rest", SETTLE.as_secs());
    let mut passages = vec![rig.passage(0).await?];
    tokio::time::sleep(SETTLE).await;
    let rss_one = rig.operator.rss_bytes()?;
    eprintln!("{} more, one after another", CONNECTORS - 1);
    for index in 1..CONNECTORS {
        passages.push(rig.passage(index).await?);
    }
    eprintln!("{} s of rest", (SETTLE + REST).as_secs());
    tokio::time::sleep(SETTLE).await;
    let rss_all = rig.operator.rss_bytes()?;
    let at_rest = rig.writes_within(REST).await?;
    Ok(report(&passages, rss_one, rss_all, &at_rest))
}

impl Rig {
    async fn start(root: &Path) -> Result<Self> {
        let options =
            ClusterOptions { audit_policy: Some(audit::POLICY.to_owned()), ..ClusterOptions::default() };
        let cluster = TestCluster::start_with(options).await?;
        cluster.install_crds(&root.join("crds")).await?;
        let aws = Aws::start().await?;
        aws.create_bucket("bench").await?;
        aws.put_object("bench", "a.csv", "name\n").await?;
        let server = Server::start(&aws).await?;
        let key = server.create_key("bench", "admin").await?;
        let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": OPERATOR_NAMESPACE},
                "stringData": {"apiKey": key.expose_secret()}},
            {"apiVersion": "slim.io/v1alpha1", "kind": "ClusterWorkspace", "metadata": {"name": "default"}, "spec": {
                "endpoint": server.endpoint(),
                "auth": {"apiKey": {"secretRef": {"name": "key", "key": "apiKey"}}},
                "allowedNamespaces": {"selector": {}},
                "pollInterval": "10s",
                "rateLimits": {"requestsPerMinute": 6000, "requestsPerHour": 100_000, "createsPerHour": 1000},
            }},
        ]});
        let applied = cluster.apply(&manifests.to_string()).await?;
        if !applied.success {
            return Err(Error::Refused { asked: "the bench's workspace".to_owned(), answer: applied.stderr });
        }
        let kubeconfig =
            cluster.service_account(OPERATOR_NAMESPACE, "slimio-operator", "cluster-admin").await?;
        let options = OperatorOptions {
            permitted_endpoints: vec![server.endpoint().to_owned()],
            kubeconfig: Some(kubeconfig),
            ..OperatorOptions::default()
        };
        let operator = Operator::start(&cluster, options).await?;
        let rig = Self { operator, _server: server, aws, cluster };
        rig.ready("/apis/slim.io/v1alpha1/clusterworkspaces/default").await?;
        Ok(rig)
    }

    /// Applies connector number `index` and waits until it is Ready.
    async fn passage(&self, index: usize) -> Result<Passage> {
        let name = format!("bench-{index:03}");
        let connectors = format!("/apis/slim.io/v1alpha1/namespaces/{NAMESPACE}/connectors");
        let connector = json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector", "metadata": {"name": name}, "spec": {
                "aws": {"roleArn": self.aws.role_arn(), "externalId": self.aws.external_id(), "region": testbed::REGION},
                "scope": {"buckets": ["bench"]},
            },
        });
        let (audited, before) = (self.audit_size()?, self.requests().await?);
        let started = Instant::now();
        self.cluster.request(Method::POST, &connectors, Some(&connector)).await?;
        self.ready(&format!("{connectors}/{name}")).await?;
        let seconds = started.elapsed().as_secs_f64();
        // What follows on Ready belongs to it: events, the second half of a status.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let after = self.requests().await?;
        let requests = after
            .into_iter()
            .map(|(route, count)| (route.clone(), count - before.get(&route).copied().unwrap_or(0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let mine: Vec<audit::Write> = self
            .writes_since(audited)?
            .into_iter()
            // Those of other connectors belong to their own passage.
            .filter(|write| !write.resource.starts_with("connectors") || write.name == name)
            .collect();
        let writes = audit::by_resource(&mine)
            .into_iter()
            .map(|(resource, count)| (resource.to_owned(), count))
            .collect();
        Ok(Passage { seconds, writes, requests })
    }

    async fn ready(&self, path: &str) -> Result<()> {
        let end = Instant::now() + READY_LIMIT;
        loop {
            let object = self.cluster.get(path).await?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            {
                return Ok(());
            }
            if Instant::now() > end {
                let answer =
                    format!("not Ready after {} s: {}", READY_LIMIT.as_secs(), Value::from(conditions));
                return Err(Error::Refused { asked: path.to_owned(), answer });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn audit_size(&self) -> Result<u64> {
        let path = self.cluster.audit_log();
        let size = std::fs::metadata(&path).map(|meta| meta.len());
        size.map_err(|source| Error::Io { what: format!("look at {}", path.display()), source })
    }

    fn writes_since(&self, from: u64) -> Result<Vec<audit::Write>> {
        let path = self.cluster.audit_log();
        audit::writes(&path, OPERATOR_USER, from)
            .map_err(|source| Error::Io { what: format!("read {}", path.display()), source })
    }

    async fn writes_within(&self, time: Duration) -> Result<Vec<audit::Write>> {
        let from = self.audit_size()?;
        tokio::time::sleep(time).await;
        self.writes_since(from)
    }

    /// The operator's own count of its requests to the API, by route.
    async fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for line in self.operator.metrics().await?.lines() {
            let Some((labels, value)) =
                line.strip_prefix("slimio_api_requests_total{").and_then(|l| l.split_once("} "))
            else {
                continue;
            };
            let route = labels.split(',').find_map(|label| label.strip_prefix("route=\"")?.strip_suffix('"'));
            let (Some(route), Ok(count)) = (route, value.trim().parse::<u64>()) else {
                return Err(Error::Bug(format!("the metric is not read: {line}")));
            };
            *counts.entry(route.to_owned()).or_insert(0) += count;
        }
        Ok(counts)
    }
}

/// The table. Memory is resident memory of the operator's process.
fn report(passages: &[Passage], rss_one: u64, rss_all: u64, at_rest: &[audit::Write]) -> Figures {
    #[allow(clippy::cast_precision_loss)] // bytes of memory and counts, far below 2^53
    let float = |count: u64| count as f64;
    let mut figures = Figures::new("loop", "cargo xtask bench loop");
    figures.add("operator RSS, 1 connector", "MiB", float(rss_one) / MIB, Some(25.0));
    figures.add(format!("operator RSS, {CONNECTORS} connectors"), "MiB", float(rss_all) / MIB, Some(35.0));
    let seconds: Vec<f64> = passages.iter().map(|passage| passage.seconds).collect();
    figures.add("apply to Ready, p50", "s", quantile(&seconds, 0.5), None);
    figures.add("apply to Ready, p95", "s", quantile(&seconds, 0.95), Some(1.5));
    figures.add("apply to Ready, worst", "s", quantile(&seconds, 1.0), None);
    let to_connector = |passage: &Passage| {
        let counts = passage.writes.iter().filter(|(resource, _)| resource.starts_with("connectors"));
        counts.map(|(_, count)| *count as u64).sum::<u64>()
    };
    let writes: Vec<f64> = passages.iter().map(|passage| float(to_connector(passage))).collect();
    figures.add("writes to the Connector, apply to Ready, p50", "writes", quantile(&writes, 0.5), Some(5.0));
    figures.add(
        "writes to the Connector, apply to Ready, worst",
        "writes",
        quantile(&writes, 1.0),
        Some(5.0),
    );
    let requests: Vec<f64> = passages.iter().map(|passage| float(passage.requests.values().sum())).collect();
    figures.add("API requests, apply to Ready, p50", "requests", quantile(&requests, 0.5), Some(4.0));
    figures.add("API requests, apply to Ready, worst", "requests", quantile(&requests, 1.0), None);
    let calm: Vec<audit::Write> =
        at_rest.iter().filter(|write| write.resource != "leases").cloned().collect();
    figures.add(
        format!("writes at rest in {} s, the Lease apart", REST.as_secs()),
        "writes",
        float(calm.len() as u64),
        Some(0.0),
    );

    if let Some(usual) =
        passages.iter().find(|passage| float(to_connector(passage)) == quantile(&writes, 0.5))
    {
        let listed = |counts: Vec<String>| counts.join(", ");
        let all_writes = usual.writes.iter().map(|(resource, count)| format!("{count} {resource}")).collect();
        let all_requests = usual.requests.iter().map(|(route, count)| format!("{count} {route}")).collect();
        figures.note(format!("one usual connector writes: {}", listed(all_writes)));
        figures.note(format!("and asks of the API: {}", listed(all_requests)));
    }
    figures.note("the worst count of requests includes the background list that is read every 10 s");
    figures.note(format!(
        "times are looked at every {} ms, up to 0.7 s after Ready is counted in",
        LOOK.as_millis()
    ));
    if !calm.is_empty() {
        figures.note(format!("at rest it wrote {:?}", audit::by_resource(&calm)));
    }
    figures
}

//! What runs while it is measured, and what can be read of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connectors_api::Route;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::ledger::{Deed, Fault, Ledger, Moment, Stage, Switches};
use testbed::{ClusterOptions, Error, Operator, OperatorOptions, Result, TestCluster};

use super::super::audit;
use super::QUIET;

/// Connectors whose Secret or remote state changes while it is measured.
const SAMPLES: usize = 50;
/// Secrets that the connectors share evenly.
const SECRETS: usize = 100;
/// A phase that takes longer fails the bench.
const LIMIT: Duration = Duration::from_secs(900);
pub(super) const LOOK: Duration = Duration::from_millis(100);
const NAMESPACE: &str = "bench";
const OPERATOR_NAMESPACE: &str = "slimio-system";
const OPERATOR_USER: &str = "system:serviceaccount:slimio-system:slimio-operator";
const MIB: f64 = 1024.0 * 1024.0;

/// How the names of the connectors begin that are counted.
const NUMBERED: &str = "bench-";
/// A connector whose name begins so is answered to its create with 500.
pub(super) const POISON: &str = "poison-";

/// When the API answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    After(Duration),
    /// After 0, 5 and 20 ms in turns.
    Mixed,
}

pub(super) struct Rig {
    operator: Operator,
    pub(super) ledger: Ledger,
    pub(super) cluster: TestCluster,
    told: Arc<Told>,
}

/// What the API's double is told, and tells.
struct Told {
    /// When the last page of a list was answered.
    listed: Mutex<Instant>,
    pace: Mutex<Pace>,
    requests: AtomicUsize,
}

impl Told {
    async fn moment(self: Arc<Self>, moment: Moment) -> Option<Fault> {
        match moment.stage {
            Stage::Received => {
                let pace = *self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let wait = match pace {
                    Pace::After(wait) => wait,
                    Pace::Mixed => {
                        let turn = self.requests.fetch_add(1, Ordering::Relaxed) % 3;
                        Duration::from_millis([0, 5, 20][turn])
                    }
                };
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                let prefix = format!("{NAMESPACE}.{POISON}");
                let poisoned = moment.route == Route::CreateConnector
                    && moment.name.is_some_and(|name| name.starts_with(&prefix));
                poisoned.then_some(Fault::Status { code: 500, done: false, header: None })
            }
            Stage::Done if moment.route == Route::ListConnectors => {
                *self.listed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
                None
            }
            _ => None,
        }
    }
}

/// What was used in a time at rest.
pub(super) struct Rest {
    pub(super) millicores: f64,
    pub(super) writes: Vec<audit::Write>,
    pub(super) lists: u64,
    pub(super) others: u64,
}

impl Rig {
    pub(super) async fn start(root: &Path) -> Result<Self> {
        let options =
            ClusterOptions { audit_policy: Some(audit::POLICY.to_owned()), ..ClusterOptions::default() };
        let cluster = TestCluster::start_with(options).await?;
        cluster.install_crds(&root.join("crds")).await?;
        let ledger = Ledger::start(Switches::default()).await?;
        let mut items = vec![
            namespace(OPERATOR_NAMESPACE),
            namespace(NAMESPACE),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": OPERATOR_NAMESPACE},
                "stringData": {"apiKey": ledger.key()}}),
            json!({"apiVersion": "slim.io/v1alpha1", "kind": "ClusterWorkspace", "metadata": {"name": "default"}, "spec": {
                "endpoint": ledger.endpoint(),
                "auth": {"apiKey": {"secretRef": {"name": "key", "key": "apiKey"}}},
                "allowedNamespaces": {"selector": {}},
                "pollInterval": "10s",
                "rateLimits": {"requestsPerMinute": 1_000_000, "requestsPerHour": 10_000_000,
                    "createsPerHour": 1_000_000, "concurrentRequests": 64},
            }}),
        ];
        items.extend((0..SECRETS).map(|index| secret(index, "first")));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let applied = cluster.apply(&list.to_string()).await?;
        if !applied.success {
            return Err(Error::Refused { asked: "the bench's workspace".to_owned(), answer: applied.stderr });
        }
        let kubeconfig =
            cluster.service_account(OPERATOR_NAMESPACE, "slimio-operator", "cluster-admin").await?;
        let options = OperatorOptions {
            permitted_endpoints: vec![ledger.endpoint().to_owned()],
            kubeconfig: Some(kubeconfig),
            env: vec![("RUST_LOG".to_owned(), "warn".to_owned())],
            ..OperatorOptions::default()
        };
        let operator = Operator::start(&cluster, options).await?;
        let told = Arc::new(Told {
            listed: Mutex::new(Instant::now()),
            pace: Mutex::new(Pace::After(Duration::from_millis(50))),
            requests: AtomicUsize::new(0),
        });
        let hook = Arc::clone(&told);
        ledger.at_every_moment(move |moment| Box::pin(Arc::clone(&hook).moment(moment)));
        Ok(Self { operator, ledger, cluster, told })
    }

    pub(super) fn pace(&self, pace: Pace) {
        *self.told.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = pace;
    }

    /// Applies connectors number `from` to `to`, and waits until that many are Ready: the seconds from the first on.
    pub(super) async fn grow(&self, from: usize, to: usize) -> Result<f64> {
        let begun = Instant::now();
        stream::iter(from..to)
            .map(|index| async move {
                let body = connector(index);
                self.cluster.request(Method::POST, &connectors(), Some(&body)).await.map(drop)
            })
            .buffer_unordered(16)
            .try_collect::<()>()
            .await?;
        eprintln!("  applied after {:.1} s", begun.elapsed().as_secs_f64());
        let mut told = Instant::now();
        loop {
            let ready = self.count("slimio_resources{kind=\"Connector\",reason=\"Ready\"}").await?;
            if ready >= to {
                return Ok(begun.elapsed().as_secs_f64());
            }
            if told.elapsed() > Duration::from_secs(10) {
                eprintln!("  {ready} are Ready after {:.0} s", begun.elapsed().as_secs_f64());
                told = Instant::now();
            }
            if begun.elapsed() > LIMIT {
                let answer = format!("{ready} of {to} are Ready after {} s", LIMIT.as_secs());
                return Err(Error::Refused { asked: "the connectors".to_owned(), answer });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Creates beyond one each of those that are numbered; others are made on the way, and are no concern of theirs.
    pub(super) fn surplus(&self, expected: usize) -> f64 {
        let prefix = format!("{NAMESPACE}.{NUMBERED}");
        let entries = self.ledger.entries();
        let created =
            entries.iter().filter(|entry| entry.deed == Deed::Created && entry.name.starts_with(&prefix));
        float(created.count().abs_diff(expected) as u64)
    }

    pub(super) fn rss(&self) -> Result<f64> {
        Ok(float(self.operator.rss_bytes()?) / MIB)
    }

    pub(super) async fn rest(&self, time: Duration) -> Result<Rest> {
        let (audited, ticks) = (self.audited()?, self.ticks()?);
        let (lists, all) = (self.ledger.requests(Route::ListConnectors), self.ledger.all_requests());
        tokio::time::sleep(time).await;
        let path = self.cluster.audit_log();
        let writes = audit::writes(&path, OPERATOR_USER, audited)
            .map_err(|source| Error::Io { what: format!("read {}", path.display()), source })?;
        let lists = self.ledger.requests(Route::ListConnectors) - lists;
        Ok(Rest {
            // A tick is a hundredth of a second.
            millicores: float(self.ticks()? - ticks) * 10.0 / time.as_secs_f64(),
            writes: writes.into_iter().filter(|write| write.resource != "leases").collect(),
            lists,
            others: self.ledger.all_requests() - all - lists,
        })
    }

    fn audited(&self) -> Result<u64> {
        let path = self.cluster.audit_log();
        let size = std::fs::metadata(&path).map(|meta| meta.len());
        size.map_err(|source| Error::Io { what: format!("look at {}", path.display()), source })
    }

    /// Processor time that the operator has used, in hundredths of a second.
    pub(super) fn ticks(&self) -> Result<u64> {
        let path = format!("/proc/{}/stat", self.operator.process().pid());
        let stat = std::fs::read_to_string(&path)
            .map_err(|source| Error::Io { what: format!("read {path}"), source })?;
        // Behind the name, which may hold anything, user and system time are the 12th and 13th.
        let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
        let times = behind.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        Ok(times.sum())
    }

    /// Rotates Secrets, one after another: seconds until the connectors that name them say so.
    pub(super) async fn rotated(&self) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for index in 0..SAMPLES {
            let begun = Instant::now();
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{}", secret_name(index));
            self.cluster.request(Method::PUT, &path, Some(&secret(index, "second"))).await?;
            let outdated = |object: &Value| {
                conditions(object).any(|it| it["type"] == "Synced" && it["reason"] == "CredentialsOutdated")
            };
            self.until(&BTreeSet::from([index]), outdated, |_| times.push(begun.elapsed().as_secs_f64()))
                .await?;
        }
        Ok(times)
    }

    /// Changes connectors at the API: seconds from the end of the list that shows it to the status.
    pub(super) async fn changed(&self) -> Result<Vec<f64>> {
        let held = self.ledger.live();
        let chosen: BTreeSet<usize> = (SAMPLES..2 * SAMPLES).collect();
        for index in &chosen {
            let name = format!("{NAMESPACE}.{}", connector_name(*index));
            let id = held.iter().find(|held| held.name == name).map(|held| held.id.clone());
            let id = id.ok_or_else(|| Error::Bug(format!("{name} is not at the API")))?;
            self.ledger.change(&id, |held| held.risk_score = Some(77));
        }
        let mut times = Vec::new();
        let shown =
            |object: &Value| object["status"]["riskScore"] == 77 || object["status"]["state"] == "error";
        self.until(&chosen, shown, |_| {
            let listed = *self.told.listed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            times.push(listed.elapsed().as_secs_f64());
        })
        .await?;
        Ok(times)
    }

    /// Calls `each` once for every one of these connectors, when it satisfies `enough`.
    pub(super) async fn until(
        &self,
        which: &BTreeSet<usize>,
        enough: impl Fn(&Value) -> bool,
        mut each: impl FnMut(usize),
    ) -> Result<()> {
        let (mut left, begun) = (which.clone(), Instant::now());
        while !left.is_empty() {
            for index in left.clone() {
                let object = self.cluster.get(&format!("{}/{}", connectors(), connector_name(index))).await?;
                if enough(&object) {
                    left.remove(&index);
                    each(index);
                } else if begun.elapsed() > Duration::from_secs(120) {
                    return Err(Error::Refused {
                        asked: connector_name(index),
                        answer: object["status"].to_string(),
                    });
                }
            }
            tokio::time::sleep(LOOK / 5).await;
        }
        Ok(())
    }

    pub(super) async fn poll_every(&self, interval: &str) -> Result<()> {
        let patch = json!({"spec": {"pollInterval": interval}}).to_string();
        let args = ["patch", "clusterworkspace", "default", "--type=merge", "--patch", &patch];
        let output = self.cluster.kubectl(&args).await?;
        if output.success {
            return Ok(());
        }
        Err(Error::Refused { asked: "another pollInterval".to_owned(), answer: output.stderr })
    }

    /// Kills the operator and starts it again: seconds until every connector was looked at and nothing happens any more.
    pub(super) async fn restart(&mut self, many: usize) -> Result<f64> {
        self.operator.kill().await;
        let begun = Instant::now();
        self.operator.restart().await?;
        let mut last = (0, Instant::now());
        loop {
            let count = self.count("slimio_reconciles_total{kind=\"Connector\",outcome=\"ok\"}").await?;
            let asked = usize::try_from(self.ledger.all_requests()).unwrap_or(usize::MAX);
            if count.saturating_add(asked) != last.0 {
                last = (count.saturating_add(asked), Instant::now());
            } else if count >= many && last.1.elapsed() > QUIET {
                return Ok((last.1 - begun).as_secs_f64());
            }
            if begun.elapsed() > LIMIT {
                let answer = format!("{count} reconciles after {} s", LIMIT.as_secs());
                return Err(Error::Refused { asked: "quiet after a restart".to_owned(), answer });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A metric of the operator; 0 where it is not there yet.
    pub(super) async fn count(&self, name: &str) -> Result<usize> {
        let text = self.operator.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn secret_name(index: usize) -> String {
    format!("external-{:03}", index % SECRETS)
}

fn secret(index: usize, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret_name(index), "namespace": NAMESPACE},
        "stringData": {"id": format!("{value}-{index}")}})
}

pub(super) fn connectors() -> String {
    format!("/apis/slim.io/v1alpha1/namespaces/{NAMESPACE}/connectors")
}

pub(super) fn connector_name(index: usize) -> String {
    format!("{NUMBERED}{index:05}")
}

pub(super) fn connector(index: usize) -> Value {
    json!({"apiVersion": "slim.io/v1alpha1", "kind": "Connector", "metadata": {"name": connector_name(index)}, "spec": {
        "aws": {"roleArn": format!("arn:aws:iam::123456789012:role/bench-{index}"), "region": "eu-west-1",
            "externalIdSecretRef": {"name": secret_name(index), "key": "id"}},
        "scope": {"buckets": [format!("bench-{index}")]},
        // What is to be kept is not made anew when its Secret changes.
        "deletionPolicy": "Retain",
    }})
}

pub(super) fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

#[allow(clippy::cast_precision_loss)] // bytes of memory and counts, far below 2^53
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

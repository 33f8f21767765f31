//! Everything that runs while the demo is up, started in order, each step with the time that it took.

use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use testbed::pii::{self, Planted};
use testbed::progress::rough;
use testbed::{Aws, Operator, OperatorOptions, Parts, Server, TestCluster};

use super::Failure;
use super::manifests::{self, Values};

/// Files in the first bucket, and in the second.
const FILES: [(&str, u64, usize); 2] = [("customer-exports", 2026, 360), ("platform-data", 4711, 90)];
/// The API workspace that the demo's key belongs to.
const WORKSPACE: &str = "demo";

/// The running parts. Dropped in this order: what uses others first.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) operator: Operator,
    pub(super) server: Server,
    pub(super) cluster: TestCluster,
    _aws: Aws,
    pub(super) api_key: SecretString,
    /// What is in the bucket that the example scans.
    pub(super) planted: Planted,
}

impl Stage {
    /// Starts all of it and applies the manifests of `root/deploy/examples`.
    pub(super) async fn build(root: &Path) -> Result<Self, Failure> {
        step("parts", async { Parts::prepared().await.map(|_| "in the cache".to_owned()) }).await?;
        let cluster = step_of("control plane", TestCluster::start(), |cluster| {
            let names: Vec<&str> = cluster.processes().into_iter().map(|(name, _)| name).collect();
            format!("{} at {}", names.join(", "), cluster.url())
        })
        .await?;
        let aws = step_of("object store", Aws::start(), |aws| {
            format!("S3, STS and IAM (moto, authentication on) at {}", aws.endpoint())
        })
        .await?;
        let planted = upload(&aws).await?;
        let server =
            step_of("connectors-server", Server::start(&aws), |server| server.endpoint().to_owned()).await?;
        let api_key = server.create_key(WORKSPACE, "admin").await?;
        step("custom resources", async {
            cluster.install_crds(&root.join("crds")).await.map(|()| "crds/".to_owned())
        })
        .await?;
        let options = OperatorOptions {
            permitted_endpoints: vec![server.endpoint().to_owned()],
            ..OperatorOptions::default()
        };
        let operator = step_of("slimio-operator", Operator::start(&cluster, options), |operator| {
            format!("process {}, metrics at {}/metrics", operator.process().pid(), operator.http_addr())
        })
        .await?;
        let stage = Self { operator, server, cluster, _aws: aws, api_key, planted };
        stage.apply(&root.join("deploy/examples")).await?;
        Ok(stage)
    }

    async fn apply(&self, folder: &Path) -> Result<(), Failure> {
        let values = Values {
            endpoint: self.server.endpoint(),
            api_key: self.api_key.expose_secret(),
            external_id: self._aws.external_id(),
        };
        let started = Instant::now();
        let files = manifests::filled(folder, &values).map_err(Failure)?;
        for (path, text) in &files {
            let output = self.cluster.apply(text).await?;
            if !output.success {
                return Err(Failure(format!(
                    "kubectl apply -f {} was refused: {}",
                    path.display(),
                    output.stderr.trim()
                )));
            }
        }
        report("kubectl apply", &format!("{} manifests of deploy/examples", files.len()), started.elapsed());
        Ok(())
    }

    /// The objects that the table shows, workspaces first.
    pub(super) async fn objects(&self) -> Result<Vec<Value>, Failure> {
        let mut objects = Vec::new();
        for (kind, plural) in
            [("ClusterWorkspace", "clusterworkspaces"), ("Connector", "connectors"), ("Scan", "scans")]
        {
            let list = self.cluster.get(&format!("/apis/slim.io/v1alpha1/{plural}")).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let mut item = item.clone();
                item["kind"] = kind.into();
                objects.push(item);
            }
        }
        Ok(objects)
    }

    /// The names of the connectors that the Connectors API has, asked of it directly.
    pub(super) async fn connectors_at_the_api(&self) -> Result<Vec<String>, Failure> {
        let url = format!("{}/api/v1/connectors?limit=100", self.server.endpoint());
        let lost = |error: reqwest::Error| Failure(format!("GET {url}: {error}"));
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().map_err(lost)?;
        let answer = client.get(&url).bearer_auth(self.api_key.expose_secret()).send().await.map_err(lost)?;
        let body: Value = answer.error_for_status().map_err(lost)?.json().await.map_err(lost)?;
        let Some(items) = body["data"].as_array() else {
            return Err(Failure(format!("GET {url} answered no list")));
        };
        Ok(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)).collect())
    }

    /// Leaves the logs where they are, and says where.
    pub(super) fn keep_logs(&mut self) -> Vec<String> {
        self.operator.keep_logs();
        self.server.keep_logs();
        self.cluster.keep_logs();
        vec![
            self.operator.log_path().display().to_string(),
            self.server.log_path().display().to_string(),
            self.cluster.logs().display().to_string(),
        ]
    }

    /// What died without being told, if something did.
    pub(super) fn casualty(&self) -> Option<String> {
        let of = |name: &str, exit: testbed::Exit| format!("{name} {exit}");
        let programs = [self.operator.process(), self.server.process()];
        let program =
            programs.into_iter().find_map(|process| process.exit().map(|exit| of(process.name(), exit)));
        program.or_else(|| self.cluster.unexpected_exit().map(|(name, exit)| of(name, exit)))
    }
}

async fn upload(aws: &Aws) -> Result<Planted, Failure> {
    let started = Instant::now();
    let (mut count, mut bytes, mut planted) = (0, 0, None);
    for (bucket, seed, number) in FILES {
        aws.create_bucket(bucket).await?;
        let files = pii::files(seed, number);
        planted.get_or_insert_with(|| pii::planted(&files));
        count += files.len();
        bytes += files.iter().map(|file| file.text.len()).sum::<usize>();
        aws.put_objects(bucket, files.into_iter().map(|file| (file.key, file.text.into_bytes()))).await?;
    }
    let kib = bytes / 1024;
    report(
        "sample data",
        &format!("{count} files, {kib} KiB, in {} buckets", FILES.len()),
        started.elapsed(),
    );
    Ok(planted.unwrap_or_default())
}

async fn step(name: &str, work: impl Future<Output = testbed::Result<String>>) -> Result<(), Failure> {
    step_of(name, work, String::clone).await.map(drop)
}

/// Runs one step and reports what it made.
async fn step_of<T>(
    name: &str,
    work: impl Future<Output = testbed::Result<T>>,
    say: impl FnOnce(&T) -> String,
) -> Result<T, Failure> {
    let started = Instant::now();
    let made = work.await?;
    report(name, &say(&made), started.elapsed());
    Ok(made)
}

fn report(name: &str, made: &str, took: Duration) {
    println!("  {name:18} {made} ({})", rough(took));
}

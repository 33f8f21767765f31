//! What the two programs under test have in common: a clean environment, a known HTTP address, restarts, memory.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::{Exit, Process, Spec};
use crate::wait::{self, until_serving};
use crate::{Error, Result, bins};

/// How long a program may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Its own grace on SIGTERM has to be shorter.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Prefixes of variables that would change what the programs do, and that a developer may well have set.
const FOREIGN: [&str; 6] = ["AWS_", "AZURE_", "GOOGLE_", "CONNECTORS_SERVER_", "SLIMIO_", "KUBE"];
/// The same by whole name (in either case: proxies are spelt both ways).
const FOREIGN_NAMES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "POD_NAMESPACE", "POD_NAME"];

/// Arguments and environment of a program that is started again and again in the same way.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) log: PathBuf,
    /// The data that goes when we die (none for a program without any).
    pub(crate) data: PathBuf,
    /// What answers with success once it serves.
    pub(crate) health: String,
}

impl Program {
    /// Starts it without waiting for anything.
    pub(crate) fn spawn(&self) -> Result<Process> {
        let mut spec = Spec::new(self.name, bins::program(self.name)?, &self.log)
            .args(&self.args)
            .without_env(foreign_variables())
            .grace(Duration::from_secs(5))
            .scrub_if_orphaned(&self.data);
        for (key, value) in &self.env {
            spec = spec.env(key, value);
        }
        spec.spawn()
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&self) -> Result<Process> {
        let process = self.spawn()?;
        let client = wait::client()?;
        let serves = async || wait::answers(&client, &self.health).await;
        until_serving(&process, &self.health, START_LIMIT, serves).await?;
        Ok(process)
    }
}

/// SIGTERM, and a wait for its own end: a program that has to be killed is an error in a test.
pub(crate) async fn stop(process: &Process) -> Result<Exit> {
    process.signal(crate::Signal::Terminate);
    match process.wait(STOP_LIMIT).await {
        Some(exit) => Ok(exit),
        None => {
            let error =
                process.start_error(format!("SIGTERM did not end it within {} s", STOP_LIMIT.as_secs()));
            process.kill().await;
            Err(error)
        }
    }
}

/// Resident memory in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| Error::Bug(format!("{path} says nothing of VmRSS")))
}

fn foreign_variables() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(key, _)| key.into_string().ok())
        .filter(|key| {
            let upper = key.to_ascii_uppercase();
            FOREIGN.iter().any(|prefix| upper.starts_with(prefix)) || FOREIGN_NAMES.contains(&upper.as_str())
        })
        .collect()
}

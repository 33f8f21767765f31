//! `slimio-operator run` as a child process, outside of the cluster, with a kubeconfig.

use std::path::PathBuf;

use crate::process::{Exit, Process};
use crate::program::{self, Program};
use crate::rundir::PartDir;
use crate::{Error, Result, TestCluster, port, wait};

/// What an operator is started with.
#[derive(Clone, Debug, Default)]
pub struct OperatorOptions {
    /// Values of `--permitted-endpoint`: usually the server's address.
    pub permitted_endpoints: Vec<String>,
    /// Another kubeconfig than the cluster's administrator's (an account of its own, a proxy in between).
    pub kubeconfig: Option<PathBuf>,
    /// Its own namespace; `slimio-system` when unset.
    pub namespace: Option<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    program: Program,
    http: String,
    dir: PartDir,
}

impl Operator {
    /// Starts one and waits until `/healthz` answers.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not built, [`Error::Start`] with the end of its log.
    pub async fn start(cluster: &TestCluster, options: OperatorOptions) -> Result<Self> {
        port::retry(async || {
            let (program, http, dir) = Self::program(cluster, options.clone())?;
            let process = program.start().await?;
            Ok(Self { process, program, http, dir })
        })
        .await
    }

    /// Starts one without waiting: for an operator that is expected to refuse, or to wait for something itself.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not built.
    pub fn spawn(cluster: &TestCluster, options: OperatorOptions) -> Result<Self> {
        let (program, http, dir) = Self::program(cluster, options)?;
        let process = program.spawn()?;
        Ok(Self { process, program, http, dir })
    }

    fn program(cluster: &TestCluster, options: OperatorOptions) -> Result<(Program, String, PartDir)> {
        let OperatorOptions { permitted_endpoints, kubeconfig, namespace, args: more_args, env } = options;
        let dir = PartDir::new("slimio-operator")?;
        let port = port::free()?;
        let kubeconfig = kubeconfig.unwrap_or_else(|| cluster.kubeconfig().to_path_buf());
        let mut args = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--http-listen=127.0.0.1:{port}"),
        ];
        args.extend(permitted_endpoints.iter().map(|endpoint| format!("--permitted-endpoint={endpoint}")));
        args.extend(namespace.map(|namespace| format!("--namespace={namespace}")));
        args.extend(more_args);
        let http = format!("http://127.0.0.1:{port}");
        let program = Program {
            name: "slimio-operator",
            args,
            env,
            log: dir.file("slimio-operator.log"),
            data: dir.data(),
            health: format!("{http}/healthz"),
        };
        Ok((program, http, dir))
    }

    /// The address of `/healthz`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn http_addr(&self) -> &str {
        &self.http
    }

    /// Its metrics as text.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("{}/metrics", self.http);
        let answer = wait::client()?.get(&url).send().await.and_then(reqwest::Response::error_for_status);
        answer.map_err(Error::http(&url))?.text().await.map_err(Error::http(&url))
    }

    /// Everything it has logged, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.program.log.clone()
    }

    /// Keeps the log when the operator goes.
    pub fn keep_logs(&mut self) {
        self.dir.keep();
    }

    /// The process, for its id and for signals.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when it does not run.
    pub fn rss_bytes(&self) -> Result<u64> {
        program::rss_bytes(self.process.pid())
    }

    /// SIGKILL: as a crash.
    pub async fn kill(&mut self) -> Exit {
        self.process.kill().await
    }

    /// SIGTERM, and its own exit.
    ///
    /// # Errors
    /// [`Error::Start`] when it does not end by itself.
    pub async fn stop(&mut self) -> Result<Exit> {
        program::stop(&self.process).await
    }

    /// Starts it again with the same arguments. Ends a running one first, by SIGTERM.
    ///
    /// # Errors
    /// [`Error::Start`] with the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.exit().is_none() {
            program::stop(&self.process).await?;
        }
        self.process = self.program.start().await?;
        Ok(())
    }
}

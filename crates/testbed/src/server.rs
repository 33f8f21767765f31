//! `connectors-server` as a child process, with a database of its own and the cloud that it is given.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use crate::process::{Exit, Process};
use crate::program::{self, Program};
use crate::rundir::PartDir;
use crate::{Aws, Error, REGION, Result, bins, port};

/// How long the making of a key may take.
const KEY_LIMIT: Duration = Duration::from_secs(30);

/// What a server is started with beside its cloud.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Further arguments of `connectors-server serve`.
    pub args: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// The database; a SQLite file of this server's own by default.
    pub database: Option<String>,
}

/// A running Connectors API server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    program: Program,
    endpoint: String,
    database: String,
    dir: PartDir,
}

impl Server {
    /// Starts one that reads from this S3 and asks this STS.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not built, [`Error::Start`] with the end of its log.
    pub async fn start(aws: &Aws) -> Result<Self> {
        Self::start_with(Some(aws), ServerOptions::default()).await
    }

    /// Starts one; without a cloud every AWS connector fails its test.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub async fn start_with(aws: Option<&Aws>, options: ServerOptions) -> Result<Self> {
        port::retry(async || Self::try_start(aws, options.clone()).await).await
    }

    async fn try_start(aws: Option<&Aws>, options: ServerOptions) -> Result<Self> {
        let dir = PartDir::new("connectors-server")?;
        let port = port::free()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let ServerOptions { args: more_args, env: more_env, database } = options;
        let database =
            database.unwrap_or_else(|| format!("sqlite://{}", dir.data().join("server.db").display()));
        let mut args =
            vec!["serve".to_owned(), format!("--listen=127.0.0.1:{port}"), format!("--database={database}")];
        // Never the machine's own role or metadata service, cloud or not.
        let mut env = vec![("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())];
        if let Some(aws) = aws {
            args.push(format!("--sts-endpoint={}", aws.endpoint()));
            args.push(format!("--s3-endpoint={}", aws.endpoint()));
            args.push(format!("--aws-region={REGION}"));
            let key = aws.server_credentials();
            env.push(("AWS_ACCESS_KEY_ID".to_owned(), key.id.clone()));
            env.push(("AWS_SECRET_ACCESS_KEY".to_owned(), key.secret.expose_secret().to_owned()));
        }
        args.extend(more_args);
        env.extend(more_env);
        let program = Program {
            name: "connectors-server",
            args,
            env,
            log: dir.file("connectors-server.log"),
            data: dir.data(),
            health: format!("{endpoint}/healthz"),
        };
        let process = program.start().await?;
        Ok(Self { process, program, endpoint, database, dir })
    }

    /// `http://127.0.0.1:<port>`, the same over restarts.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The folder of its database and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.program.log.clone()
    }

    /// Everything it has logged, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Keeps the log when the server goes.
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

    /// Makes an API key as an administrator does, on the command line. `role` is `admin`, `editor` or `viewer`.
    ///
    /// # Errors
    /// [`Error::Refused`] with what the command says.
    pub async fn create_key(&self, workspace: &str, role: &str) -> Result<SecretString> {
        let asked = format!("connectors-server keys create --workspace {workspace} --role {role}");
        let mut command = Command::new(bins::program("connectors-server")?);
        command
            .args(["keys", "create", "--database", &self.database, "--workspace", workspace, "--role", role])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let refused = |answer: String| Error::Refused { asked: asked.clone(), answer };
        let output = tokio::time::timeout(KEY_LIMIT, command.output())
            .await
            .map_err(|_| refused(format!("nothing within {} s", KEY_LIMIT.as_secs())))?
            .map_err(Error::io(asked.clone()))?;
        if !output.status.success() {
            return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let key = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(refused("it did not print one key alone".to_owned()));
        }
        Ok(SecretString::from(key))
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

    /// Starts it again where it was: same port, same database. Ends a running one first.
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

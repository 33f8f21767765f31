//! kubectl as a person runs it, against this cluster.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::TestCluster;
use crate::{Error, Result};

/// How long one kubectl may take, `kubectl wait` included.
const LIMIT: Duration = Duration::from_secs(300);

/// What a command printed and whether it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error: where a refusal's message is.
    pub stderr: String,
    /// Whether it exited with code 0.
    pub success: bool,
}

impl TestCluster {
    /// Runs `kubectl` with these arguments.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be run, [`Error::Refused`] when it hangs. A refusal by the API server is an
    /// [`Output`] without success.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Output> {
        self.kubectl_with_input(args, "").await
    }

    /// Applies YAML as `kubectl apply -f -` does.
    ///
    /// # Errors
    /// Those of [`TestCluster::kubectl`].
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        self.kubectl_with_input(&["apply", "-f", "-"], yaml).await
    }

    /// Installs the CRDs of a folder and waits until they are served.
    ///
    /// # Errors
    /// [`Error::Refused`] with kubectl's message.
    pub async fn install_crds(&self, folder: &Path) -> Result<()> {
        let path = folder.as_os_str();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f"].map(OsStr::new);
        accepted("install the CRDs", self.kubectl(&[&apply[..], &[path]].concat()).await?)?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f"].map(OsStr::new);
        accepted("wait for the CRDs", self.kubectl(&[&wait[..], &[path]].concat()).await?)
    }

    /// Runs `kubectl` with this standard input.
    ///
    /// # Errors
    /// Those of [`TestCluster::kubectl`].
    pub async fn kubectl_with_input<A: AsRef<OsStr>>(&self, args: &[A], input: &str) -> Result<Output> {
        let mut child = Command::new(&self.parts.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // Not the person's own folder: its discovery cache and preferences are theirs.
            .env("KUBECACHEDIR", self.dir.file("kubectl-cache"))
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io(format!("run {}", self.parts.kubectl.display())))?;
        let pipe = child.stdin.take();
        let run = async {
            if let Some(mut pipe) = pipe {
                // A kubectl that does not read its input is no failure of ours.
                let _ = pipe.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(LIMIT, run)
            .await
            .map_err(|_| Error::Refused {
                asked: format!(
                    "kubectl {}",
                    args.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
                ),
                answer: format!("nothing within {} s", LIMIT.as_secs()),
            })?
            .map_err(Error::io("wait for kubectl"))?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            success: output.status.success(),
        })
    }
}

/// An output that is a success, or the refusal as an error.
fn accepted(asked: &str, output: Output) -> Result<()> {
    if output.success {
        return Ok(());
    }
    Err(Error::Refused { asked: asked.to_owned(), answer: output.stderr.trim().to_owned() })
}

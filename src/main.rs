//! The SlimIO operator's command line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use connectors_api::Endpoint;
use kube::config::{KubeConfigOptions, Kubeconfig};
use slimio_operator::controller::{self, Options, Settings};
use slimio_operator::crd;
use slimio_operator::remote::PermittedEndpoints;
use slimio_operator::telemetry::{self, LogFormat};

/// Cloud-storage connectors and sensitive-data scans as Kubernetes resources.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator, in a cluster or from a kubeconfig.
    Run(RunArgs),
    /// Print the custom resource definitions as YAML, or write them to a folder, one file each.
    Crds {
        /// The folder to write to.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
struct RunArgs {
    /// The kubeconfig to use. Without it: KUBECONFIG, the usual places, then the cluster that the operator runs in.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// An API that may be talked to, by scheme, host and port. Repeat it for several.
    #[arg(
        long = "permitted-endpoint",
        env = "SLIMIO_PERMITTED_ENDPOINTS",
        value_delimiter = ',',
        default_value = Endpoint::VENDOR,
        value_parser = Endpoint::parse
    )]
    permitted_endpoints: Vec<Endpoint>,
    /// The operator's namespace: where the Secrets of ClusterWorkspaces and the Lease are.
    #[arg(long, env = "POD_NAMESPACE", default_value = "slimio-system")]
    namespace: String,
    /// The namespaces that the operator is held to: it asks Kubernetes for nothing outside of them and of its own, and knows
    /// no ClusterWorkspaces. Without it: the whole cluster.
    #[arg(long, env = "SLIMIO_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SLIMIO_HTTP_LISTEN", default_value = "0.0.0.0:8080")]
    http_listen: SocketAddr,
    /// Act only while holding the Lease, so that several replicas can run.
    #[arg(long, env = "SLIMIO_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Watch the metadata of Secrets, to act on a changed one within seconds. Without it no right to list Secrets is needed, and
    /// a change is noticed at the workspace's next poll.
    #[arg(long, env = "SLIMIO_WATCH_SECRETS", default_value_t = true, action = clap::ArgAction::Set)]
    watch_secrets: bool,
    /// How many seconds a watch goes on before it begins anew with a list, so that nothing is forgotten whose event was never told.
    #[arg(long, env = "SLIMIO_RELIST_SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(10..))]
    relist_seconds: u64,
    /// Give risk score and number of findings of each connector as metrics: two series a connector.
    #[arg(long, env = "SLIMIO_CONNECTOR_METRICS", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    connector_metrics: bool,
    /// How log lines are written.
    #[arg(long, env = "SLIMIO_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Crds { dir } => crds(dir.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slimio-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: RunArgs) -> Result<(), Box<dyn std::error::Error>> {
    // Two threads: the work is waiting, and each thread more costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let traces = telemetry::init(args.log_format)?;
        let client = kube::Client::try_from(kubernetes(args.kubeconfig.as_deref()).await?)?;
        let namespaces = args.namespaces.into_iter().filter(|name| !name.is_empty()).collect::<BTreeSet<_>>();
        let settings = Settings {
            permitted: PermittedEndpoints::new(&args.permitted_endpoints),
            namespace: args.namespace,
            namespaces: Some(namespaces).filter(|namespaces| !namespaces.is_empty()),
            watch_secrets: args.watch_secrets,
        };
        let identity = format!("{}-{:08x}", hostname(), std::process::id());
        let options = Options {
            http_listen: args.http_listen,
            leader_elect: args.leader_elect,
            identity,
            connector_metrics: args.connector_metrics,
            relist: Duration::from_secs(args.relist_seconds),
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), permitted = %settings.permitted, namespace = settings.namespace, "starting");
        controller::run(client, settings, options, signal()?).await?;
        if let Some(traces) = traces {
            traces.end().await;
        }
        Ok(())
    })
}

/// How Kubernetes is reached. Requests are tried again by the reconciles and not below them.
async fn kubernetes(path: Option<&Path>) -> Result<kube::Config, Box<dyn std::error::Error>> {
    let mut config = match path {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await?,
    };
    config.default_retry = false;
    // Longer than the API server leaves a watch without a word.
    config.read_timeout = Some(Duration::from_secs(295));
    config.reset_reader_on_write = true;
    Ok(config)
}

/// The pod's name, which Kubernetes gives as the host's.
fn hostname() -> String {
    let name = std::env::var("POD_NAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "slimio-operator".to_owned())
}

/// Ends at SIGTERM and at Ctrl-C.
fn signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[allow(clippy::print_stdout, reason = "printing the manifests is what the command is for")]
fn crds(dir: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    for definition in crd::all() {
        let text = crd::manifest(&definition)?;
        match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                std::fs::write(dir.join(crd::file_name(&definition)), text)?;
            }
            None => println!("---\n{text}"),
        }
    }
    Ok(())
}

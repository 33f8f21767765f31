//! The command line. What it prints on stdout is what was asked for, and nothing else.
#![allow(clippy::print_stdout, reason = "a command prints its result")]

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::logging::{self, LogFormat};
use crate::serve::{ServeSettings, serve};
use crate::storage::AwsSettings;
use crate::store::{DatabaseSettings, Role, Store};

/// A self-hosted Connectors API.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and run its scans.
    Serve(Box<Serve>),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Debug, Args)]
struct Database {
    /// The database file. It holds external ids and client secrets: keep it, and its backups, to yourself.
    #[arg(long, env = "CONNECTORS_SERVER_DATABASE", value_name = "sqlite:///PATH")]
    database: String,
    /// Most MiB the database file may take; without it the disk is the limit.
    #[arg(long, env = "CONNECTORS_SERVER_DATABASE_MAX_MIB", value_name = "MIB")]
    database_max_mib: Option<u64>,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where to listen. Put something that speaks TLS in front of it unless it is this machine.
    #[arg(long, env = "CONNECTORS_SERVER_LISTEN", default_value = "127.0.0.1:8090", value_name = "ADDR")]
    listen: SocketAddr,
    #[command(flatten)]
    database: Database,
    /// Token service to use instead of AWS's own.
    #[arg(long, env = "CONNECTORS_SERVER_STS_ENDPOINT", value_name = "URL")]
    sts_endpoint: Option<Url>,
    /// Object store to use instead of AWS's own.
    #[arg(long, env = "CONNECTORS_SERVER_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<Url>,
    /// Region of the token service; the connector's when not given.
    #[arg(long, env = "CONNECTORS_SERVER_AWS_REGION", value_name = "REGION")]
    aws_region: Option<String>,
    /// How lines of the log look.
    #[arg(long, env = "CONNECTORS_SERVER_LOG_FORMAT", default_value = "auto")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key and print it. It is not shown again.
    Create {
        #[command(flatten)]
        database: Database,
        /// Workspace of the key; made if it is not there.
        #[arg(long)]
        workspace: String,
        /// What the key may do: viewer reads; editor also tests and scans; admin also creates and deletes.
        #[arg(long)]
        role: Role,
    },
    /// List keys: id, workspace, role, time of creation, state.
    List {
        #[command(flatten)]
        database: Database,
    },
    /// End a key, from the next request on.
    Revoke {
        #[command(flatten)]
        database: Database,
        /// Id of the key, from the list.
        id: String,
    },
}

impl From<Database> for DatabaseSettings {
    fn from(Database { database, database_max_mib }: Database) -> Self {
        Self { url: database, max_size_mib: database_max_mib }
    }
}

/// Does what the command line says. Failures are one sentence on stderr and a code that is not zero.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve(args) => run_server(*args).await,
        Command::Keys(keys) => run_keys(keys).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("connectors-server: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run_server(args: Serve) -> Result<(), String> {
    logging::start(args.log_format);
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone()).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let settings = ServeSettings {
        listen: args.listen,
        database: args.database.into(),
        aws: AwsSettings {
            sts_endpoint: args.sts_endpoint,
            s3_endpoint: args.s3_endpoint,
            region: args.aws_region,
        },
    };
    // The address on stdout, for whoever asked for a free port.
    Box::pin(serve(settings, stop, |address| println!("listening on {address}")))
        .await
        .map_err(|error| error.to_string())
}

async fn run_keys(keys: Keys) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    match keys {
        Keys::Create { database, workspace, role } => {
            check_workspace(&workspace)?;
            let store = Store::open(&database.into()).await.map_err(|e| text(&e))?;
            let key = store.create_key(&workspace, role).await.map_err(|e| text(&e))?;
            println!("{}", key.expose_secret());
        }
        Keys::List { database } => {
            let store = Store::open(&database.into()).await.map_err(|e| text(&e))?;
            for key in store.keys().await.map_err(|e| text(&e))? {
                let state = if key.revoked { "revoked" } else { "valid" };
                println!("{}\t{}\t{}\t{}\t{state}", key.id, key.workspace, key.role, key.created_at);
            }
        }
        Keys::Revoke { database, id } => {
            let store = Store::open(&database.into()).await.map_err(|e| text(&e))?;
            if !store.revoke_key(&id).await.map_err(|e| text(&e))? {
                return Err(format!("there is no key {id:?}; `keys list` shows the ids"));
            }
        }
    }
    Ok(())
}

fn check_workspace(name: &str) -> Result<(), String> {
    let good = (1..=256).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        Err("the workspace must have 1 to 256 characters and no control characters".to_owned())
    }
}

fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(())
}

//! The SlimIO operator's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use slimio_operator::crd;

/// Cloud-storage connectors and sensitive-data scans as Kubernetes resources.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML, or write them to a folder, one file each.
    Crds {
        /// The folder to write to.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
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

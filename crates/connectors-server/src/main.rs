//! The program: reads the command line and leaves the rest to the library.

use std::process::ExitCode;

use clap::Parser;
use connectors_server::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}

//! The command line of the testbed: prepares the real parts, shows them at work. `cargo xtask` calls it.
#![allow(clippy::print_stdout)] // a command line: standard output is its result

mod bench;
mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{Kstatus, Parts};

/// Real parts for tests and for the demo.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build and install what the real parts need, once per machine, and say where it is.
    Prepare,
    /// Start everything, apply the examples and show what happens, until Ctrl-C.
    Demo(demo::DemoArgs),
    /// Measure, and print and write the figures.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Task::Prepare => prepare(),
        Task::Bench(args) => bench::run(&args),
        Task::Demo(args) => Ok(demo::run(&args)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare() -> testbed::Result<ExitCode> {
    let Parts { etcd, kube_apiserver, kube_controller_manager, kubectl, python } = Parts::prepare()?;
    let kstatus = Kstatus::prepare()?.program;
    let paths = [
        Some(etcd),
        Some(kube_apiserver),
        kube_controller_manager,
        Some(kubectl),
        Some(python),
        Some(kstatus),
    ];
    for path in paths.into_iter().flatten() {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

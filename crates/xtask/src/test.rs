//! Everything that has to pass before a change goes in. The last lines say what ran.

use std::path::PathBuf;
use std::process::Stdio;

use crate::step::{self, cargo, program};

/// Integration tests that start no control plane.
const WITHOUT_CONTROL_PLANE: [&str; 3] = ["client", "docs", "server"];

/// Runs of the simulation, unless the environment asks for others.
const SIMULATION_RUNS: &str = "400";

/// Runs it; with `quick`, only what needs no control plane.
pub(crate) fn run(quick: bool) -> Result<(), String> {
    step::run("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    step::run("clippy", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if quick {
        let mut tests = vec!["test", "--workspace", "--lib", "--bins", "--no-fail-fast"];
        tests.extend(WITHOUT_CONTROL_PLANE.iter().flat_map(|name| ["--test", name]));
        return step::last("tests without a control plane", &mut cargo(&tests));
    }
    // All targets, so that the programs are built with the features that the tests bring in, and only once.
    step::run("build", &mut cargo(&["build", "--workspace", "--all-targets"]))?;
    step::run("real parts", program("testbed", None)?.arg("prepare").stdout(Stdio::null()))?;
    forget_what_ran()?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.env("SIMULATION_RUNS", SIMULATION_RUNS).env("MODEL_BOUNDS", "whole");
    let passed = step::last("tests", &mut tests);
    for line in what_ran() {
        eprintln!("{line}");
    }
    passed
}

/// Tests of many plans, seeds or states leave one line each of what they ran, in a file `ran-….txt`: the test runner itself
/// shows nothing of a test that passes.
fn summaries() -> Vec<PathBuf> {
    let folder = std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(2)?.join("tmp")));
    let files = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = files
        .filter(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("ran-") && name.ends_with(".txt")
        })
        .map(|file| file.path())
        .collect();
    found.sort();
    found
}

fn forget_what_ran() -> Result<(), String> {
    let removed = summaries().into_iter().try_for_each(std::fs::remove_file);
    removed.map_err(|error| format!("cannot remove the summary of an earlier run: {error}"))
}

fn what_ran() -> Vec<String> {
    summaries()
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|line| line.trim().to_owned())
        .collect()
}

//! Everything that has to pass before a change goes in. The test runner's own closing lines come last.

use std::process::Stdio;

use crate::step::{self, cargo, program};

/// Integration tests that start no control plane.
const WITHOUT_CONTROL_PLANE: [&str; 3] = ["client", "docs", "server"];

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
    step::last("tests", &mut cargo(&["test", "--workspace", "--no-fail-fast"]))
}

//! Every fault plan there is, not only those that the test command has time for.

use std::process::Stdio;

use crate::step::{self, cargo, program};

/// Runs it. The plans, the failures and how often each fault point was hit are printed, and kept in the file that is named
/// at the end.
pub(crate) fn run() -> Result<(), String> {
    // All targets, so that the programs are built as the test command builds them.
    step::run("build", &mut cargo(&["build", "--workspace", "--all-targets"]))?;
    step::run("real parts", program("testbed", None)?.arg("prepare").stdout(Stdio::null()))?;
    let mut tests = cargo(&["test", "--package", "slimio-operator", "--test", "faults", "--", "--nocapture"]);
    step::last("fault plans", tests.env("SLIMIO_CAMPAIGN", "all"))
}

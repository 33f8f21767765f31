//! Measurements, in a release build: the testbed runs them, this builds and names them.

use std::os::unix::process::CommandExt;

use crate::step::{cargo, program, run as step};

/// Returns only when it cannot be started.
pub(crate) fn run(name: &str) -> Result<(), String> {
    step("release build", &mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let mut command = program("testbed", Some("release"))?;
    command.args(["bench", name]);
    Err(format!("cannot run the bench: {}", command.exec()))
}

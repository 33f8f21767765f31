//! Builds everything and becomes the demo: from then on Ctrl-C and exit code are the demo's own.

use std::os::unix::process::CommandExt;

use crate::step::{build_programs, program};

/// Returns only when it cannot be started.
pub(crate) fn run(once: bool) -> Result<(), String> {
    build_programs()?;
    let mut command = program("testbed", None)?;
    command.arg("demo").args(once.then_some("--once"));
    Err(format!("cannot run the demo: {}", command.exec()))
}

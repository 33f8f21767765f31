//! Named, timed steps: commands whose output a person sees, and whose failure ends the task.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::root;

/// Runs a command under a name; an error when it fails.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("== {name}");
    let started = Instant::now();
    let shown = format!("{command:?}").replace('"', "");
    let status = command.status().map_err(|error| format!("== {name}: cannot run {shown}: {error}"))?;
    let took = started.elapsed().as_secs_f64();
    if status.success() {
        eprintln!("== {name}: ok, {took:.1} s");
        return Ok(());
    }
    Err(format!("== {name}: failed after {took:.1} s ({status}): {shown}"))
}

/// Runs the last command of a task: nothing is printed after its own closing lines when it succeeds.
pub(crate) fn last(name: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("== {name}");
    let status = command.status().map_err(|error| format!("== {name}: cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("== {name}: failed ({status})")) }
}

/// `cargo` of the running toolchain, in the checkout.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Builds every program of the workspace, all at once: with the features that they are tested with.
pub(crate) fn build_programs() -> Result<(), String> {
    run("build", &mut cargo(&["build", "--workspace", "--bins"]))
}

/// A program of the workspace, beside this one or in the folder of another profile.
pub(crate) fn program(name: &str, profile: Option<&str>) -> Result<Command, String> {
    let exe = std::env::current_exe().map_err(|error| format!("cannot find the running program: {error}"))?;
    let folder = exe.parent().map(PathBuf::from).unwrap_or_default();
    let folder = match profile {
        Some(profile) => folder.parent().map(|target| target.join(profile)).unwrap_or_default(),
        None => folder,
    };
    let mut command = Command::new(folder.join(name));
    command.current_dir(root());
    Ok(command)
}

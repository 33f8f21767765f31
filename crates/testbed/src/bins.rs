//! Finds the workspace's own programs beside the running test or tool, so that what is tested is what was just built.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The built program `name` of this workspace and profile.
///
/// # Errors
/// [`Error::Missing`], with the command that builds it, when it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = profile_dir()?.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        return Ok(path);
    }
    let release = if path.parent().is_some_and(|dir| dir.ends_with("release")) { " --release" } else { "" };
    Err(Error::missing(
        format!("the program {} ", path.display()).trim_end(),
        format!("build it with `cargo build --workspace --bins{release}` (`cargo xtask test` does)"),
    ))
}

/// `target/<profile>` of the running program: tests lie one folder deeper, in `deps`.
fn profile_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(Error::io("find the running program"))?;
    let dir = exe.parent().unwrap_or(Path::new("."));
    let nested = ["deps", "examples"].iter().any(|name| dir.ends_with(name));
    Ok(if nested { dir.parent().unwrap_or(dir) } else { dir }.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_never_built_is_named_with_the_command_that_builds_it() {
        let message = program("no-such-program").unwrap_err().to_string();
        assert!(message.contains("no-such-program is missing"), "{message}");
        assert!(message.contains("cargo build --workspace --bins"), "{message}");
    }
}

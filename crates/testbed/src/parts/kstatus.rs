//! kstatus, the library that Flux and kpt read an object's state with, built from its own Go module: it says what a tool
//! that knows nothing of our kinds sees.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::python::Python;
use super::{go, step};
use crate::cache::Cache;
use crate::{Error, Result};

const GO_MOD: &str = include_str!("../../kstatus/go.mod");
const GO_SUM: &str = include_str!("../../kstatus/go.sum");
const MAIN_GO: &str = include_str!("../../kstatus/main.go");

/// What kstatus says of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// `InProgress`, `Current`, `Failed` or `Terminating`.
    pub status: String,
    /// Why.
    pub message: String,
}

/// A program that says what kstatus makes of an object. Only tests ask it, so the demo does without.
#[derive(Clone, Debug)]
pub struct Kstatus {
    /// Where it is.
    pub program: PathBuf,
}

impl Kstatus {
    /// The program, built first where it is not in the cache (half a minute, once per machine). Blocks.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Prepare`], each with what to do.
    pub fn prepare() -> Result<Self> {
        Ok(Self { program: build(&Cache::from_env()?, &Python::find()?)? })
    }

    /// What kstatus says of an object as the API server has it.
    ///
    /// # Errors
    /// When the program cannot be run, or takes the value for no object.
    pub fn verdict(&self, object: &Value) -> Result<Verdict> {
        ask(&self.program, object)
    }
}

fn ask(program: &Path, object: &Value) -> Result<Verdict> {
    let io = || Error::io(format!("run {}", program.display()));
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why on standard error.
        let _ = stdin.write_all(object.to_string().as_bytes());
    }
    let output = child.wait_with_output().map_err(io())?;
    let said = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
    let part = |name: &str| said[name].as_str().map(str::to_owned);
    match (part("status"), part("message")) {
        (Some(status), Some(message)) if output.status.success() => Ok(Verdict { status, message }),
        _ => Err(Error::Bug(format!(
            "kstatus gave no verdict ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

fn build(cache: &Cache, base: &Python) -> Result<PathBuf> {
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    let entry = cache.entry("kstatus", &[GO_MOD, GO_SUM, MAIN_GO, &platform]);
    let log = entry.log();
    let built = entry.get_or_build(|folder| {
        let go = go::toolchain(cache, base, go::wanted(GO_MOD)?)?;
        let source = go::source(folder, &[("go.mod", GO_MOD), ("go.sum", GO_SUM), ("main.go", MAIN_GO)])?;
        let compile = go::command("go build", &go, &source, &log)
            .args(["build", "-v", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(folder.join("kstatus"))
            .arg(".");
        step::run("kstatus", compile, &log, go::HINT, |progress, output| {
            let done = output.lines().filter(|line| !line.contains([' ', ':'])).count();
            progress.update(&format!("{done} packages"));
        })?;
        let unseen = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}});
        match ask(&folder.join("kstatus"), &unseen)?.status.as_str() {
            "InProgress" => Ok(()),
            other => Err(Error::Bug(format!(
                "the built kstatus calls an object whose spec nobody has seen {other}"
            ))),
        }
    })?;
    Ok(built.join("kstatus"))
}

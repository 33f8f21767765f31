//! etcd, kube-apiserver and kube-controller-manager, built from the Go modules that `controlplane/go.sum` verifies.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::python::Python;
use super::{go, step};
use crate::cache::Cache;
use crate::{Error, Result};

const GO_MOD: &str = include_str!("../../controlplane/go.mod");
const GO_SUM: &str = include_str!("../../controlplane/go.sum");
const COMMANDS_GO: &str = include_str!("../../controlplane/commands.go");

/// What is built. The main package of etcd is called `server`.
const PACKAGES: [&str; 3] = [
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "go.etcd.io/etcd/server/v3",
];

/// The folder with the three programs.
pub(super) fn build(cache: &Cache, base: &Python) -> Result<PathBuf> {
    let flags = linker_flags(&kubernetes_version()?);
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    let entry = cache.entry("controlplane", &[GO_MOD, GO_SUM, &flags, &platform]);
    let log = entry.log();
    entry.get_or_build(|folder| {
        let go = go::toolchain(cache, base, go::wanted(GO_MOD)?)?;
        let files = [("go.mod", GO_MOD), ("go.sum", GO_SUM), ("commands.go", COMMANDS_GO)];
        let source = go::source(folder, &files)?;
        let spec = |name: &str| go::command(name, &go, &source, &log);
        let download = spec("go mod download").args(["mod", "download", "-x"]);
        step::run("control plane: modules", download, &log, go::HINT, |progress, output| {
            let done =
                output.lines().filter(|line| line.contains(".zip: 200") || line.contains(".zip (")).count();
            progress.update(&format!("{done} downloaded"));
        })?;
        let total = stale_packages(&go, &source, &flags)?;
        let compile = spec("go build")
            .args(["build", "-v", "-mod=readonly", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(folder)
            .args(PACKAGES);
        step::run("control plane", compile, &log, go::HINT, |progress, output| {
            // `-v` prints the path of each package that is compiled; everything else has a space or a colon.
            let done = output.lines().filter(|line| !line.contains([' ', ':'])).count();
            progress.update_share(done, total, "packages");
        })?;
        std::fs::rename(folder.join("server"), folder.join("etcd")).map_err(Error::io("name etcd"))?;
        check_version(&folder.join("kube-apiserver"))
    })
}

/// How many packages Go's own cache does not have yet: what the build will go through.
fn stale_packages(go: &Path, source: &Path, flags: &str) -> Result<usize> {
    let output = Command::new(go)
        .args(["list", "-deps", "-mod=readonly", "-trimpath", "-ldflags", flags, "-f"])
        .arg("{{if .Stale}}{{.ImportPath}}{{end}}")
        .args(PACKAGES)
        .current_dir(source)
        .envs(go::ENVIRONMENT)
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run go list"))?;
    if !output.status.success() {
        return Err(Error::Prepare {
            step: "control plane: listing its packages".to_owned(),
            reason: output.status.to_string(),
            hint: go::HINT.to_owned(),
            log: source.to_path_buf(),
            tail: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).count())
}

/// What was built runs on this machine.
fn check_version(apiserver: &Path) -> Result<()> {
    let output = Command::new(apiserver)
        .arg("--version")
        .output()
        .map_err(Error::io("run the built kube-apiserver"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = kubernetes_version()?;
    if said.trim().ends_with(&wanted) {
        return Ok(());
    }
    Err(Error::Bug(format!("the built kube-apiserver says {said:?}, not {wanted}")))
}

/// The version of Kubernetes that go.mod names, as `v1.2.3`.
fn kubernetes_version() -> Result<String> {
    required("k8s.io/kubernetes")
        .ok_or_else(|| Error::Bug("go.mod does not name k8s.io/kubernetes".to_owned()))
}

fn required(module: &str) -> Option<String> {
    GO_MOD.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' ').map(str::to_owned))
}

/// Kubernetes learns its version from the linker; kubectl refuses to talk to a server without one.
fn linker_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let at = "k8s.io/component-base/version";
    format!(
        "-s -w -X {at}.gitVersion={version} -X {at}.gitMajor={major} -X {at}.gitMinor={minor} -X {at}.gitTreeState=clean"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_gets_the_version_that_go_mod_pins() {
        let version = kubernetes_version().unwrap();
        let minor = version.split('.').nth(1).unwrap();
        let flags = linker_flags(&version);
        assert!(flags.contains(&format!("gitVersion={version} ")), "{flags}");
        assert!(flags.contains(&format!("gitMinor={minor} ")), "{flags}");
    }

    #[test]
    fn every_staging_module_is_of_the_same_release() {
        let version = kubernetes_version().unwrap().replacen("v1.", "v0.", 1);
        let replaced: Vec<&str> = GO_MOD.lines().filter(|line| line.contains("=>")).collect();
        assert!(replaced.len() > 30, "{}", replaced.len());
        assert!(replaced.iter().all(|line| line.ends_with(&version)), "{replaced:?}");
    }
}

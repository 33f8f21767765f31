//! The programs of the real parts, made once per machine: the control plane from its Go modules, the rest from PyPI.

mod controlplane;
mod go;
mod kstatus;
mod python;
mod step;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::cache::Cache;
use crate::{Error, Result};

pub use kstatus::{Kstatus, Verdict};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Parts {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager. Absent when `KUBEBUILDER_ASSETS` is used and does not hold one: then nothing collects
    /// garbage and no namespace ever goes away.
    pub kube_controller_manager: Option<PathBuf>,
    /// kubectl.
    pub kubectl: PathBuf,
    /// A Python that has moto.
    pub python: PathBuf,
}

impl Parts {
    /// The programs, built and installed first where they are not in the cache (about ten minutes on two cores, once
    /// per machine; progress goes to standard error). Blocks; a second call in this process is free.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Prepare`], each with what to do.
    pub fn prepare() -> Result<Self> {
        static PREPARED: Mutex<Option<Parts>> = Mutex::new(None);
        let mut prepared = PREPARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(parts) = prepared.as_ref() {
            return Ok(parts.clone());
        }
        let parts =
            Self::prepare_in(&Cache::from_env()?, std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from))?;
        Ok(prepared.insert(parts).clone())
    }

    /// [`Parts::prepare`] from within async code.
    ///
    /// # Errors
    /// Those of [`Parts::prepare`].
    pub async fn prepared() -> Result<Self> {
        tokio::task::spawn_blocking(Self::prepare)
            .await
            .map_err(|error| Error::Bug(format!("the preparation panicked: {error}")))?
    }

    fn prepare_in(cache: &Cache, assets: Option<PathBuf>) -> Result<Self> {
        let assets = assets.filter(|folder| !folder.as_os_str().is_empty());
        let base = python::Python::find()?;
        let environment = base.environment(cache)?;
        let python = environment.join("bin/python");
        if let Some(folder) = assets {
            let asset = |name: &str| asset(&folder, name);
            return Ok(Self {
                etcd: asset("etcd")?,
                kube_apiserver: asset("kube-apiserver")?,
                kube_controller_manager: asset("kube-controller-manager").ok(),
                kubectl: asset("kubectl")?,
                python,
            });
        }
        let built = controlplane::build(cache, &base)?;
        Ok(Self {
            etcd: built.join("etcd"),
            kube_apiserver: built.join("kube-apiserver"),
            kube_controller_manager: Some(built.join("kube-controller-manager")),
            kubectl: environment.join("bin/kubectl"),
            python,
        })
    }
}

fn asset(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::missing(
        format!("{name} in KUBEBUILDER_ASSETS ({})", folder.display()),
        "`setup-envtest use` fills that folder; or unset the variable, and the control plane is built from source",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_that_lack_a_program_are_refused_with_both_ways_out() {
        let folder = tempfile::tempdir().unwrap();
        let message = asset(folder.path(), "kube-apiserver").unwrap_err().to_string();
        assert!(message.contains("kube-apiserver in KUBEBUILDER_ASSETS"), "{message}");
        assert!(message.contains("unset the variable"), "{message}");
    }
}

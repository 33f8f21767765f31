//! Things that are made once per machine: keyed by what goes into them, complete or absent, never spoilt by two at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The user's cache folder of the testbed.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$SLIMIO_TESTBED_CACHE`, else `$XDG_CACHE_HOME/slimio-testbed`, else `~/.cache/slimio-testbed`.
    ///
    /// # Errors
    /// [`Error::Missing`] when none of the variables is set.
    pub fn from_env() -> Result<Self> {
        let named = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = named("SLIMIO_TESTBED_CACHE")
            .or_else(|| named("XDG_CACHE_HOME").map(|path| path.join("slimio-testbed")))
            .or_else(|| named("HOME").map(|path| path.join(".cache/slimio-testbed")))
            .ok_or_else(|| Error::missing("a cache folder", "set HOME or SLIMIO_TESTBED_CACHE"))?;
        // Paths are handed to programs that run elsewhere.
        let root = std::path::absolute(&root).map_err(Error::io("find the cache folder"))?;
        Ok(Self { root })
    }

    /// A cache in this folder.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The entry `name` made from these inputs: another input is another entry.
    #[must_use]
    pub fn entry(&self, name: &str, inputs: &[&str]) -> Entry {
        let mut hash = Sha256::new();
        for input in inputs {
            hash.update((input.len() as u64).to_le_bytes());
            hash.update(input);
        }
        let digest = hash.finalize();
        let key: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Entry { path: self.root.join(format!("{name}-{key}")), name: name.to_owned() }
    }
}

/// One folder of the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    path: PathBuf,
    name: String,
}

impl Entry {
    /// The folder, if it is complete.
    #[must_use]
    pub fn get(&self) -> Option<&Path> {
        self.path.is_dir().then_some(&self.path)
    }

    /// The complete folder, made by `build` when it is not there. `build` fills an empty folder beside it, which gets
    /// the final name only when `build` succeeds. A second process waits for the first and says so.
    ///
    /// # Errors
    /// Those of `build`, and [`Error::Io`].
    pub fn get_or_build(&self, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(path) = self.get() {
            return Ok(path.to_path_buf());
        }
        let root = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(root).map_err(Error::io(format!("create {}", root.display())))?;
        let _lock = self.lock()?;
        // Whoever held the lock may have made it.
        if let Some(path) = self.get() {
            return Ok(path.to_path_buf());
        }
        let partial = self.beside("partial");
        if partial.exists() {
            // Left by a process that was killed; nobody else can be in it while we hold the lock.
            fs::remove_dir_all(&partial).map_err(Error::io(format!("remove {}", partial.display())))?;
        }
        fs::create_dir(&partial).map_err(Error::io(format!("create {}", partial.display())))?;
        build(&partial)?;
        fs::rename(&partial, &self.path).map_err(Error::io(format!("complete {}", self.path.display())))?;
        Ok(self.path.clone())
    }

    /// Where the output of the steps that make it goes; it stays when they fail.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.beside("log")
    }

    fn lock(&self) -> Result<File> {
        let path = self.beside("lock");
        let lock = File::create(&path).map_err(Error::io(format!("create {}", path.display())))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(fs::TryLockError::WouldBlock) => {
                eprintln!("{}: another process is preparing it; waiting for that", self.name);
                lock.lock().map_err(Error::io(format!("lock {}", path.display())))?;
                Ok(lock)
            }
            Err(fs::TryLockError::Error(error)) => Err(Error::io(format!("lock {}", path.display()))(error)),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_interrupted_build_leaves_nothing_that_counts_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Cache::at(folder.path()).entry("part", &["v1"]);
        let failed = entry.get_or_build(|partial| {
            fs::write(partial.join("half"), "x").unwrap();
            Err(Error::Bug("interrupted".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!(entry.get(), None);
        let made = entry.get_or_build(|partial| {
            assert_eq!(fs::read_dir(partial).unwrap().count(), 0, "the rest of the first try is gone");
            Ok(())
        });
        assert_eq!(entry.get(), Some(made.unwrap().as_path()));
    }

    #[test]
    fn two_at_once_build_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Cache::at(folder.path()).entry("part", &["v1"]);
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    entry.get_or_build(|_| {
                        builds.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(builds.into_inner(), 1);
        assert!(entry.get().is_some());
    }

    #[test]
    fn another_input_is_another_entry_however_the_inputs_are_cut() {
        let cache = Cache::at("/cache");
        assert_ne!(cache.entry("part", &["ab", "c"]).path, cache.entry("part", &["a", "bc"]).path);
        assert_eq!(cache.entry("part", &["ab"]).path, cache.entry("part", &["ab"]).path);
    }
}

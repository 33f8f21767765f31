//! Folders of running parts: private to the user, removed with the part, and swept when their owner died.
//!
//! `<temporary folder>/slimio-testbed-<uid>/<run>/` belongs to one process, which holds a lock on the file `lock` in
//! it for as long as it lives. A run whose lock is free has lost its owner: its data goes at once, its logs after a
//! day, since somebody may want to read them.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{Error, Result};

/// How long the logs of a dead run stay.
const LOGS_STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder of one part.
#[derive(Debug)]
pub struct PartDir {
    path: PathBuf,
    keep: bool,
}

impl PartDir {
    /// A fresh folder for the part `name` of this process.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let path = run_folder()?.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        private_folder(&path)?;
        private_folder(&path.join("data"))?;
        Ok(Self { path, keep: false })
    }

    /// The folder itself, for logs and files that help to understand a failure.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What goes first: databases and the like.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Leaves the folder (but for the data) where it is when dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for PartDir {
    fn drop(&mut self) {
        let gone = if self.keep || std::thread::panicking() { self.data() } else { self.path.clone() };
        let _ = std::fs::remove_dir_all(gone);
    }
}

/// The folder of this process, made on first use.
fn run_folder() -> Result<&'static Path> {
    static RUN: OnceLock<(PathBuf, File)> = OnceLock::new();
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((path, _)) = RUN.get() {
        return Ok(path);
    }
    let uid = rustix::process::getuid();
    let root = std::env::temp_dir().join(format!("slimio-testbed-{}", uid.as_raw()));
    private_folder(&root)?;
    let meta = root.symlink_metadata().map_err(Error::io(format!("look at {}", root.display())))?;
    if !meta.is_dir() || meta.uid() != uid.as_raw() {
        return Err(Error::missing(
            format!("a private folder at {}", root.display()),
            "it belongs to somebody else; point TMPDIR at a folder of your own".to_owned(),
        ));
    }
    sweep(&root);
    let (path, lock) = claim(&root)?;
    Ok(&RUN.get_or_init(|| (path, lock)).0)
}

/// Takes a run folder that nobody has.
fn claim(root: &Path) -> Result<(PathBuf, File)> {
    let mut attempt = 0_u32;
    loop {
        let path = root.join(format!("{}-{attempt}", std::process::id()));
        private_folder(&path)?;
        let file = path.join("lock");
        let lock = File::create(&file).map_err(Error::io(format!("create {}", file.display())))?;
        // A sweep by another process may have come in between; it holds the lock until it has removed the folder.
        if lock.try_lock().is_ok() && file.is_file() {
            return Ok((path, lock));
        }
        attempt += 1;
    }
}

/// Removes what dead runs left.
fn sweep(root: &Path) {
    for run in std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Ok(lock) = File::open(run.join("lock")) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let old = lock
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LOGS_STAY));
        let entries: Vec<PathBuf> =
            std::fs::read_dir(&run).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        // With nothing but the lock in it there is nothing to read.
        if old || entries.len() <= 1 {
            let _ = std::fs::remove_dir_all(&run);
            continue;
        }
        for part in entries {
            let _ = std::fs::remove_dir_all(part.join("data"));
        }
    }
}

fn private_folder(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io(format!("create {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

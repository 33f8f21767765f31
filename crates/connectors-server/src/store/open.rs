//! Opens the database file: one process at a time serves it, and each failure is one sentence for a person.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Semaphore;

use super::Store;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Bytes in a page of the database file (SQLite's default).
const PAGE_BYTES: u64 = 4096;

/// Connections that only read. Reads never wait for a writer under write-ahead logging.
const READERS: u32 = 8;

/// How long a write waits for another process (`keys create` while the server runs).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the database is and how large it may become.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite://` followed by the path of the file.
    pub url: String,
    /// Most MiB that the file may take; `None` leaves the limit to the disk.
    pub max_size_mib: Option<u64>,
}

/// Why the database cannot be used. Each text is a sentence for the person who started the program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL has another scheme, or no path.
    #[error("the database must be given as sqlite:///path/to/file.db, not as {0:?}")]
    Url(String),
    /// The file cannot be created or opened for writing.
    #[error("the database file {path} cannot be opened for writing: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The path names something else than a file.
    #[error("the database path {0} is a directory; name a file in it")]
    Directory(PathBuf),
    /// Another server has it open.
    #[error("the database file {0} is in use by another connectors-server; only one may serve it")]
    InUse(PathBuf),
    /// The file has another format.
    #[error("the file {0} is not a database of connectors-server (it is no SQLite file)")]
    NotADatabase(PathBuf),
    /// The file was written by a later version.
    #[error("the database file {0} was written by a newer connectors-server; upgrade this one")]
    TooNew(PathBuf),
    /// There is no room for the tables.
    #[error(
        "the database file {0} cannot be written: there is no room left on the disk, or in the size allowed"
    )]
    Full(PathBuf),
    /// The file cannot be written although it could be opened.
    #[error("the database file {0} is read-only")]
    ReadOnly(PathBuf),
    /// Anything else.
    #[error("the database file {path} cannot be used: {source}")]
    Other {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
}

/// Held while a server serves the file, so that two of them do not run the same scans.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

impl Store {
    /// Opens the file, creating it (readable by its owner alone) and its tables where they are not there.
    ///
    /// # Errors
    /// [`OpenError`] says in one sentence what is wrong with the path, the file or the disk.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let path = path_of(&settings.url)?;
        create_private(&path)?;
        let mut options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full);
        if let Some(mib) = settings.max_size_mib {
            let pages = mib.saturating_mul(1024 * 1024) / PAGE_BYTES;
            options = options.pragma("max_page_count", pages.max(1).to_string());
        }
        let single = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(30))
            // When the disk is full SQLite rolls back by itself, and the library's own rollback then fails and leaves
            // it believing in a transaction for ever. Such a connection is not used again.
            .after_release(|conn, _| {
                Box::pin(async move {
                    conn.ping().await?;
                    Ok(!conn.is_in_transaction())
                })
            });
        let writer =
            single.clone().connect_with(options.clone()).await.map_err(|source| explain(&path, source))?;
        // What a scan writes can be found out again, so it does not wait for the disk at each object.
        let jobs = single.connect_lazy_with(options.clone().synchronous(SqliteSynchronous::Normal));
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.pragma("query_only", "on"));
        migrate(&path, &writer).await?;
        Ok(Self { path: Arc::new(path), readers, writer, jobs, turn: Arc::new(Semaphore::new(1)) })
    }

    /// Takes the right to serve this file, for as long as the answer is kept.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it.
    pub fn lock_for_serving(&self) -> Result<ServeLock, OpenError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let file = private_file(OpenOptions::new().create(true).truncate(false), &lock_path)
            .map_err(|source| OpenError::File { path: lock_path, source })?;
        match file.try_lock() {
            Ok(()) => Ok(ServeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(self.path.as_ref().clone())),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::File { path: self.path.as_ref().clone(), source })
            }
        }
    }
}

fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    match path {
        Some(path) if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => {
            Ok(PathBuf::from(path))
        }
        _ => Err(OpenError::Url(without_password(url))),
    }
}

/// The URL without what stands between `://` and `@`: somebody may give the address of another database.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Creates the file before SQLite does, since SQLite would let everybody read it. Its side files (`-wal`, `-shm`)
/// take over the mode.
fn create_private(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() {
        return Err(OpenError::Directory(path.to_path_buf()));
    }
    private_file(OpenOptions::new().create(true).truncate(false), path)
        .map(drop)
        .map_err(|source| OpenError::File { path: path.to_path_buf(), source })
}

fn private_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.read(true).write(true).open(path)
}

async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), OpenError> {
    // A write that changes nothing, so that a file that cannot be written is found now and not at the first create.
    let probe = async {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("PRAGMA user_version = 1").execute(&mut *transaction).await?;
        transaction.commit().await
    };
    probe.await.map_err(|source| explain(path, source))?;
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
            OpenError::TooNew(path.to_path_buf())
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => explain(path, source),
        other => explain(path, sqlx::Error::Migrate(Box::new(other))),
    })
}

/// The low byte of an SQLite result code is the primary one; the rest tells finer shades.
fn explain(path: &Path, source: sqlx::Error) -> OpenError {
    let code = source.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<u32>().ok());
    let path = path.to_path_buf();
    match code.map(|c| c & 0xff) {
        Some(26) => OpenError::NotADatabase(path),
        Some(13) => OpenError::Full(path),
        Some(8) => OpenError::ReadOnly(path),
        _ => OpenError::Other { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: String) -> DatabaseSettings {
        DatabaseSettings { url, max_size_mib: None }
    }

    async fn refusal(url: String) -> String {
        Store::open(&settings(url)).await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn each_path_that_cannot_be_used_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let dir_path = dir.path().display().to_string();
        let text = dir.path().join("notes.txt");
        std::fs::write(
            &text,
            "just some notes, longer than the header of a database file needs to be ".repeat(9),
        )
        .unwrap();

        for (url, expected) in [
            (
                "postgres://u:secret@db/x".to_owned(),
                "the database must be given as sqlite:///path/to/file.db".to_owned(),
            ),
            (
                "sqlite::memory:".to_owned(),
                "the database must be given as sqlite:///path/to/file.db".to_owned(),
            ),
            (format!("sqlite://{dir_path}"), format!("the database path {dir_path} is a directory")),
            (
                format!("sqlite://{dir_path}/missing/x.db"),
                format!(
                    "the database file {dir_path}/missing/x.db cannot be opened for writing: No such file"
                ),
            ),
            (
                format!("sqlite://{}/x.db", text.display()),
                format!(
                    "the database file {}/x.db cannot be opened for writing: Not a directory",
                    text.display()
                ),
            ),
            (
                format!("sqlite://{}", text.display()),
                format!("the file {} is not a database of connectors-server", text.display()),
            ),
        ] {
            let message = refusal(url.clone()).await;
            assert!(message.starts_with(&expected), "{url}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", dir.path().display());
        let store = Store::open(&settings(url.clone())).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'future', TRUE, X'00', 0)",
        )
        .execute(&store.writer)
        .await
        .unwrap();
        drop(store);
        assert!(refusal(url).await.ends_with("was written by a newer connectors-server; upgrade this one"));
    }

    #[tokio::test]
    async fn a_size_that_does_not_even_hold_the_tables_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", dir.path().display());
        let tiny = DatabaseSettings { url, max_size_mib: Some(0) };
        let message = Store::open(&tiny).await.err().unwrap().to_string();
        assert!(message.contains("there is no room left"), "{message}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_database_and_its_side_files_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&settings(format!("sqlite://{}/x.db", dir.path().display()))).await.unwrap();
        let lock = store.lock_for_serving().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }
        drop(lock);
    }

    #[tokio::test]
    async fn only_one_server_serves_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", dir.path().display());
        let first = Store::open(&settings(url.clone())).await.unwrap();
        let lock = first.lock_for_serving().unwrap();
        let second = Store::open(&settings(url)).await.unwrap();
        assert!(
            second
                .lock_for_serving()
                .unwrap_err()
                .to_string()
                .contains("in use by another connectors-server")
        );
        drop(lock);
        second.lock_for_serving().unwrap();
    }
}

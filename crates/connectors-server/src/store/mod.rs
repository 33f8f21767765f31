//! The database: workspaces, keys, connectors, scans and findings, in one SQLite file.
//!
//! What belongs to a workspace is reached through a [`WorkspaceScope`] only, so no query can forget
//! whose rows it may see. What belongs to the scan runner, which serves every workspace, is reached
//! through [`Jobs`]. SQL is plain and stands in this folder alone.

mod connectors;
mod error;
mod findings;
mod ids;
mod jobs;
mod keys;
mod listings;
mod open;
mod scans;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;
use tokio::sync::Semaphore;

pub(crate) use connectors::{ConnectorFilter, ConnectorRow, ConnectorTarget, NewConnector};
pub use error::StoreError;
pub(crate) use findings::{Finding, FoundObject, ObjectOutcome};
pub(crate) use ids::{IdKind, new_id};
pub(crate) use jobs::{Job, Jobs, WorkItem};
pub(crate) use keys::Caller;
pub use keys::Role;
pub(crate) use listings::{ListedObject, PageRecord};
pub use open::{DatabaseSettings, OpenError, ServeLock};
pub(crate) use scans::{NewScan, ScanRow};

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    path: Arc<PathBuf>,
    readers: SqlitePool,
    /// One connection for what a caller was told is done: on the disk before the answer.
    writer: SqlitePool,
    /// One connection for the progress of scans.
    jobs: SqlitePool,
    /// SQLite has one writer at a time. Waiting for this is fair; waiting for SQLite's own lock is not.
    turn: Arc<Semaphore>,
}

/// One workspace's part of the database. Every query made through it names the workspace.
#[derive(Debug, Clone)]
pub(crate) struct WorkspaceScope {
    store: Store,
    workspace_id: String,
}

impl WorkspaceScope {
    /// The id of the workspace, for a log line.
    pub(crate) fn workspace_id(&self) -> &str {
        &self.workspace_id
    }
}

/// Now, as the database keeps times.
fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A time out of the database.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A count out of the database, where no negative one is ever written.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A count for the database.
fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

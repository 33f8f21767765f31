//! What can go wrong in the database, sorted by what the caller has to do about it.

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another connector of the workspace has this name.
    #[error("a connector with this name is there already")]
    NameTaken,
    /// The connector has a scan that is queued or running.
    #[error("the connector has an unfinished scan")]
    ScanUnfinished,
    /// The disk is full, or the database reached the size it may have. Nothing of the change was kept.
    #[error("the database has no room left")]
    Full,
    /// Anything else; the text is for the log and not for a caller.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// A row holds what this version cannot read.
    #[error("database: unreadable {what} in {id}")]
    Unreadable {
        /// The column.
        what: &'static str,
        /// The row.
        id: String,
    },
}

/// SQLite's primary result code for "no room left" (`SQLITE_FULL`).
const SQLITE_FULL: &str = "13";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|e| e.code()) {
            Some(code) if code == SQLITE_FULL => Self::Full,
            _ => Self::Database(error),
        }
    }
}

/// Turns the violation of a unique constraint into `conflict`, at the call that knows which one it is.
pub(crate) fn unique_as(error: sqlx::Error, conflict: StoreError) -> StoreError {
    if error.as_database_error().is_some_and(|e| e.is_unique_violation()) { conflict } else { error.into() }
}

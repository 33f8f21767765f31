//! Scans as a workspace sees them: started, read, listed.

use jiff::Timestamp;
use sqlx::FromRow;

use super::error::unique_as;
use super::{IdKind, StoreError, WorkspaceScope, count, new_id, now_ms, time};

/// Most scans that the history of a connector shows, the newest first.
const HISTORY_LIMIT: i64 = 100;

/// A scan to be started.
#[derive(Debug)]
pub(crate) struct NewScan {
    /// `full` or `incremental`.
    pub(crate) kind: &'static str,
    /// The runner's own options, as JSON.
    pub(crate) options: String,
    /// Buckets and prefixes to list; an empty prefix is the whole bucket.
    pub(crate) listings: Vec<(String, String)>,
}

/// A scan and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanRow {
    pub(crate) id: String,
    pub(crate) connector_id: String,
    pub(crate) state: String,
    pub(crate) failure: Option<String>,
    pub(crate) workers: u64,
    /// Whether every listing was read to its end.
    pub(crate) enumerated: bool,
    pub(crate) files_total: u64,
    pub(crate) scanned: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) unchanged: u64,
    pub(crate) findings_count: u64,
    /// Objects seen in the listings so far.
    pub(crate) listed: u64,
    /// Those of them that the options or the scope leave out.
    pub(crate) left_out: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
}

impl ScanRow {
    /// Objects whose work is over, in whatever way.
    pub(crate) fn processed(&self) -> u64 {
        self.scanned + self.skipped + self.failed
    }
}

#[derive(FromRow)]
struct Raw {
    id: String,
    connector_id: String,
    state: String,
    failure: Option<String>,
    workers: i64,
    enumerated: i64,
    files_total: i64,
    scanned: i64,
    skipped: i64,
    failed: i64,
    unchanged: i64,
    findings_count: i64,
    listed: i64,
    left_out: i64,
    created_ms: i64,
    started_ms: Option<i64>,
    completed_ms: Option<i64>,
}

impl From<Raw> for ScanRow {
    fn from(raw: Raw) -> Self {
        Self {
            id: raw.id,
            connector_id: raw.connector_id,
            state: raw.state,
            failure: raw.failure,
            workers: count(raw.workers),
            enumerated: raw.enumerated != 0,
            files_total: count(raw.files_total),
            scanned: count(raw.scanned),
            skipped: count(raw.skipped),
            failed: count(raw.failed),
            unchanged: count(raw.unchanged),
            findings_count: count(raw.findings_count),
            listed: count(raw.listed),
            left_out: count(raw.left_out),
            created_at: time(raw.created_ms),
            started_at: raw.started_ms.map(time),
            completed_at: raw.completed_ms.map(time),
        }
    }
}

impl WorkspaceScope {
    /// Queues a scan of an active connector. `None` when the connector is not there or not active (any more).
    ///
    /// # Errors
    /// [`StoreError::ScanUnfinished`] when the connector has a scan that is queued or running.
    pub(crate) async fn create_scan(
        &self,
        connector_id: &str,
        new: NewScan,
    ) -> Result<Option<ScanRow>, StoreError> {
        let NewScan { kind, options, listings } = new;
        let id = new_id(IdKind::Scan);
        let mut write = self.store.write().await?;
        let inserted = sqlx::query(
            "INSERT INTO scans (id, workspace_id, connector_id, kind, options, state, baseline_scan_id, created_ms)
             SELECT $1, c.workspace_id, c.id, $2, $3, 'queued',
                CASE WHEN $2 = 'incremental' THEN
                    (SELECT MAX(s.id) FROM scans s WHERE s.connector_id = c.id AND s.state = 'completed')
                END, $4
             FROM connectors c WHERE c.workspace_id = $5 AND c.id = $6 AND c.state = 'active'",
        )
        .bind(&id)
        .bind(kind)
        .bind(options)
        .bind(now_ms())
        .bind(&self.workspace_id)
        .bind(connector_id)
        .execute(write.conn())
        .await
        .map_err(|error| unique_as(error, StoreError::ScanUnfinished))?;
        if inserted.rows_affected() == 0 {
            return Ok(None);
        }
        for (bucket, prefix) in listings {
            sqlx::query("INSERT INTO scan_listings (scan_id, bucket, prefix) VALUES ($1, $2, $3)")
                .bind(&id)
                .bind(bucket)
                .bind(prefix)
                .execute(write.conn())
                .await?;
        }
        write.commit().await?;
        self.scan(&id).await
    }

    /// One scan.
    pub(crate) async fn scan(&self, id: &str) -> Result<Option<ScanRow>, StoreError> {
        let row: Option<Raw> = sqlx::query_as(
            "SELECT s.id, s.connector_id, s.state, s.failure, s.workers, s.enumerated, s.files_total, s.scanned,
                s.skipped, s.failed, s.unchanged, s.findings_count, s.created_ms, s.started_ms, s.completed_ms,
                COALESCE((SELECT SUM(l.listed) FROM scan_listings l WHERE l.scan_id = s.id), 0) AS listed,
                COALESCE((SELECT SUM(l.left_out) FROM scan_listings l WHERE l.scan_id = s.id), 0) AS left_out
             FROM scans s WHERE s.workspace_id = $1 AND s.id = $2",
        )
        .bind(&self.workspace_id)
        .bind(id)
        .fetch_optional(&self.store.readers)
        .await?;
        Ok(row.map(ScanRow::from))
    }

    /// The newest scans of a connector, the newest first.
    pub(crate) async fn scan_history(&self, connector_id: &str) -> Result<Vec<ScanRow>, StoreError> {
        let rows: Vec<Raw> = sqlx::query_as(
            "SELECT id, connector_id, state, failure, workers, enumerated, files_total, scanned, skipped, failed,
                unchanged, findings_count, 0 AS listed, 0 AS left_out, created_ms, started_ms, completed_ms
             FROM scans WHERE workspace_id = $1 AND connector_id = $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(&self.workspace_id)
        .bind(connector_id)
        .bind(HISTORY_LIMIT)
        .fetch_all(&self.store.readers)
        .await?;
        Ok(rows.into_iter().map(ScanRow::from).collect())
    }
}

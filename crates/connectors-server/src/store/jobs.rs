//! The scan runner's view: unfinished scans of all workspaces, their work items, and their ends.
//!
//! An object is claimed, scanned outside of any transaction, and finished in one transaction that
//! holds its state, its findings and the counters. Finishing twice is impossible, so a scan that is
//! taken up again after a crash counts nothing twice.

use serde_json::Value;
use sqlx::FromRow;

use super::connectors::object;
use super::{ConnectorTarget, ObjectOutcome, Store, StoreError, count, findings, now_ms, stored};

/// Rows of earlier scans that are removed in one transaction.
const PRUNE_BATCH: i64 = 2000;

/// The runner's access to the database.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    pub(super) store: Store,
}

/// A scan that runs.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) scan_id: String,
    pub(crate) workspace_id: String,
    pub(crate) connector: ConnectorTarget,
    pub(crate) options: Value,
    pub(crate) baseline: Option<String>,
    /// Whether every listing was read to its end.
    pub(crate) enumerated: bool,
    /// Files recorded before this start.
    pub(crate) files_total: u64,
    /// Unix milliseconds of the first start.
    pub(crate) started_ms: i64,
}

/// An object that a worker has claimed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct WorkItem {
    pub(crate) id: i64,
    pub(crate) bucket: String,
    #[sqlx(rename = "object_key")]
    pub(crate) key: String,
    pub(crate) size: i64,
}

/// What a completed scan leaves at its connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Findings in all objects, those of unchanged ones included.
    pub(crate) findings: u64,
    /// The highest sensitivity, in percent.
    pub(crate) sensitivity: u8,
    /// Objects of this scan that were read.
    pub(crate) read: u64,
    /// Objects of this scan that could not be read.
    pub(crate) failed: u64,
}

impl Store {
    /// The runner's access.
    pub(crate) fn jobs(&self) -> Jobs {
        Jobs { store: self.clone() }
    }
}

impl Jobs {
    /// Scans that have not ended, the oldest first, with their connectors.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT id, connector_id FROM scans WHERE state IN ('queued', 'running') ORDER BY id",
        )
        .fetch_all(&self.store.readers)
        .await?)
    }

    /// Takes a scan up, for the first time or again. `None` when it is gone or has ended.
    pub(crate) async fn begin(&self, scan_id: &str) -> Result<Option<Job>, StoreError> {
        #[derive(FromRow)]
        struct Raw {
            workspace_id: String,
            options: String,
            baseline_scan_id: Option<String>,
            enumerated: i64,
            files_total: i64,
            started_ms: i64,
            connector_id: String,
            provider: String,
            config: String,
            secrets: String,
        }
        let mut write = self.store.write_progress().await?;
        let begun = sqlx::query(
            "UPDATE scans SET state = 'running', started_ms = COALESCE(started_ms, $2)
             WHERE id = $1 AND state IN ('queued', 'running')",
        )
        .bind(scan_id)
        .bind(now_ms())
        .execute(write.conn())
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(None);
        }
        // What a killed process had in hand is to be done again, and a listing in its middle starts over.
        sqlx::query("UPDATE scan_objects SET state = 'pending' WHERE scan_id = $1 AND state = 'claimed'")
            .bind(scan_id)
            .execute(write.conn())
            .await?;
        sqlx::query("UPDATE scan_listings SET listed = 0, left_out = 0 WHERE scan_id = $1 AND done = 0")
            .bind(scan_id)
            .execute(write.conn())
            .await?;
        let raw: Raw = sqlx::query_as(
            "SELECT s.workspace_id, s.options, s.baseline_scan_id, s.enumerated, s.files_total, s.started_ms,
                c.id AS connector_id, c.provider, c.config, c.secrets
             FROM scans s JOIN connectors c ON c.id = s.connector_id WHERE s.id = $1",
        )
        .bind(scan_id)
        .fetch_one(write.conn())
        .await?;
        write.commit().await?;
        Ok(Some(Job {
            scan_id: scan_id.to_owned(),
            workspace_id: raw.workspace_id,
            options: Value::Object(object("options", scan_id, &raw.options)?),
            baseline: raw.baseline_scan_id,
            enumerated: raw.enumerated != 0,
            files_total: count(raw.files_total),
            started_ms: raw.started_ms,
            connector: ConnectorTarget {
                config: object("config", &raw.connector_id, &raw.config)?,
                secrets: object("secrets", &raw.connector_id, &raw.secrets)?,
                id: raw.connector_id,
                provider: raw.provider,
            },
        }))
    }

    /// Records how many workers a scan has.
    pub(crate) async fn set_workers(&self, scan_id: &str, workers: u64) -> Result<(), StoreError> {
        let mut write = self.store.write_progress().await?;
        sqlx::query("UPDATE scans SET workers = $2 WHERE id = $1")
            .bind(scan_id)
            .bind(stored(workers))
            .execute(write.conn())
            .await?;
        write.commit().await
    }

    /// Claims up to `limit` objects of a scan.
    pub(crate) async fn claim(&self, scan_id: &str, limit: u32) -> Result<Vec<WorkItem>, StoreError> {
        let mut write = self.store.write_progress().await?;
        let items = sqlx::query_as(
            "UPDATE scan_objects SET state = 'claimed'
             WHERE id IN (SELECT id FROM scan_objects WHERE scan_id = $1 AND state = 'pending' ORDER BY id LIMIT $2)
             RETURNING id, bucket, object_key, size",
        )
        .bind(scan_id)
        .bind(i64::from(limit))
        .fetch_all(write.conn())
        .await?;
        write.commit().await?;
        Ok(items)
    }

    /// Records the end of the work on an object. Answers whether it still was to be recorded.
    pub(crate) async fn finish(
        &self,
        scan_id: &str,
        item: i64,
        outcome: &ObjectOutcome,
    ) -> Result<bool, StoreError> {
        let (state, reason, n, sensitivity) = match outcome {
            ObjectOutcome::Scanned(found) => ("scanned", None, found.total(), found.sensitivity),
            ObjectOutcome::Skipped(reason) => ("skipped", Some(*reason), 0, 0),
            ObjectOutcome::Failed(reason) => ("failed", Some(*reason), 0, 0),
        };
        let mut write = self.store.write_progress().await?;
        let done = sqlx::query(
            "UPDATE scan_objects SET state = $3, reason = $4, findings_count = $5, sensitivity = $6
             WHERE id = $1 AND scan_id = $2 AND state = 'claimed'",
        )
        .bind(item)
        .bind(scan_id)
        .bind(state)
        .bind(reason)
        .bind(stored(n))
        .bind(i64::from(sensitivity))
        .execute(write.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let ObjectOutcome::Scanned(found) = outcome {
            findings::insert(write.conn(), item, found).await?;
        }
        sqlx::query(
            "UPDATE scans SET
                scanned = scanned + CASE WHEN $2 = 'scanned' THEN 1 ELSE 0 END,
                skipped = skipped + CASE WHEN $2 = 'skipped' THEN 1 ELSE 0 END,
                failed = failed + CASE WHEN $2 = 'failed' THEN 1 ELSE 0 END,
                findings_count = findings_count + $3
             WHERE id = $1",
        )
        .bind(scan_id)
        .bind(state)
        .bind(stored(n))
        .execute(write.conn())
        .await?;
        write.commit().await?;
        Ok(true)
    }

    /// What a scan that has no work left amounts to. `None` when it is gone.
    pub(crate) async fn totals(&self, scan_id: &str) -> Result<Option<Totals>, StoreError> {
        let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT COALESCE(SUM(o.findings_count), 0), COALESCE(MAX(o.sensitivity), 0), s.scanned + s.skipped, s.failed
             FROM scans s LEFT JOIN scan_objects o ON o.scan_id = s.id
             WHERE s.id = $1 GROUP BY s.id",
        )
        .bind(scan_id)
        .fetch_optional(&self.store.readers)
        .await?;
        Ok(row.map(|(findings, sensitivity, read, failed)| Totals {
            findings: count(findings),
            sensitivity: u8::try_from(sensitivity).unwrap_or(100),
            read: count(read),
            failed: count(failed),
        }))
    }

    /// Ends a scan well, and gives its figures to its connector.
    pub(crate) async fn complete(
        &self,
        scan_id: &str,
        totals: Totals,
        risk_score: u32,
    ) -> Result<(), StoreError> {
        let mut write = self.store.write().await?;
        let connector: Option<(String, i64)> = sqlx::query_as(
            "UPDATE scans SET state = 'completed', completed_ms = $2 WHERE id = $1 AND state = 'running'
             RETURNING connector_id, started_ms",
        )
        .bind(scan_id)
        .bind(now_ms())
        .fetch_optional(write.conn())
        .await?;
        let Some((connector_id, started_ms)) = connector else { return Ok(()) };
        sqlx::query(
            "UPDATE connectors SET last_scan_ms = $2, findings_count = $3, risk_score = $4, updated_ms = $5 WHERE id = $1",
        )
        .bind(&connector_id)
        .bind(started_ms)
        .bind(stored(totals.findings))
        .bind(i64::from(risk_score))
        .bind(now_ms())
        .execute(write.conn())
        .await?;
        write.commit().await?;
        self.prune(scan_id, &connector_id).await
    }

    /// Ends a scan that cannot go on. `lost_access` also marks its connector, whose credentials failed.
    pub(crate) async fn fail(
        &self,
        scan_id: &str,
        reason: &str,
        lost_access: bool,
    ) -> Result<(), StoreError> {
        let mut write = self.store.write().await?;
        let connector: Option<String> = sqlx::query_scalar(
            "UPDATE scans SET state = 'failed', failure = $2, completed_ms = $3
             WHERE id = $1 AND state IN ('queued', 'running') RETURNING connector_id",
        )
        .bind(scan_id)
        .bind(reason)
        .bind(now_ms())
        .fetch_optional(write.conn())
        .await?;
        if let Some(connector) = connector {
            sqlx::query(
                "UPDATE connectors SET updated_ms = $2, state = CASE WHEN $3 <> 0 THEN 'error' ELSE state END WHERE id = $1",
            )
            .bind(connector)
            .bind(now_ms())
            .bind(i64::from(lost_access))
            .execute(write.conn())
            .await?;
        }
        write.commit().await
    }

    /// Removes the objects of earlier scans that the newest completed one does not stand on, so that a daily scan
    /// does not make the file grow for ever. The scans themselves stay in the history.
    async fn prune(&self, scan_id: &str, connector_id: &str) -> Result<(), StoreError> {
        loop {
            let mut write = self.store.write_progress().await?;
            let removed = sqlx::query(
                "DELETE FROM scan_objects WHERE id IN (
                    SELECT o.id FROM scans s JOIN scan_objects o ON o.scan_id = s.id
                    WHERE s.connector_id = $1 AND s.id < $2 AND s.state IN ('completed', 'failed')
                      AND NOT EXISTS (SELECT 1 FROM scan_objects n WHERE n.origin_id = o.id)
                    LIMIT $3)",
            )
            .bind(connector_id)
            .bind(scan_id)
            .bind(PRUNE_BATCH)
            .execute(write.conn())
            .await?;
            write.commit().await?;
            if removed.rows_affected() == 0 {
                return Ok(());
            }
        }
    }
}

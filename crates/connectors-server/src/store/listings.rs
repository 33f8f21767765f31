//! What a scan listed: each page is recorded whole, and a listing that starts over counts nothing twice.

use sqlx::FromRow;

use super::jobs::Jobs;
use super::{StoreError, count, stored};

/// A bucket, or one prefix of it, that a scan has to list.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Listing {
    pub(crate) bucket: String,
    /// Empty for the whole bucket.
    pub(crate) prefix: String,
    pub(crate) done: bool,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) etag: Option<String>,
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
    /// Set where it is known already that the object cannot be read.
    pub(crate) unreadable: Option<&'static str>,
}

/// One page of a listing, filtered.
#[derive(Debug, Default)]
pub(crate) struct PageRecord {
    /// What is to be scanned.
    pub(crate) objects: Vec<ListedObject>,
    /// What was left out by file type, or holds no byte.
    pub(crate) left_out: u64,
    /// Whether the listing ends here.
    pub(crate) done: bool,
}

impl Jobs {
    /// The listings of a scan.
    pub(crate) async fn listings(&self, scan_id: &str) -> Result<Vec<Listing>, StoreError> {
        let rows =
            sqlx::query_as("SELECT bucket, prefix, done <> 0 AS done FROM scan_listings WHERE scan_id = $1")
                .bind(scan_id)
                .fetch_all(&self.store.readers)
                .await?;
        Ok(rows)
    }

    /// Records a page and answers how many files the scan has now. At `max_files` the rest of the page is left out.
    pub(crate) async fn record_page(
        &self,
        scan_id: &str,
        baseline: Option<&str>,
        listing: &Listing,
        page: PageRecord,
        max_files: u64,
    ) -> Result<u64, StoreError> {
        let PageRecord { objects, mut left_out, done } = page;
        let listed = left_out + objects.len() as u64;
        let mut write = self.store.write_progress().await?;
        let total: Option<i64> = sqlx::query_scalar("SELECT files_total FROM scans WHERE id = $1")
            .bind(scan_id)
            .fetch_optional(write.conn())
            .await?;
        let Some(total) = total else { return Ok(0) };
        let (before, mut unchanged, mut failed) = (count(total), 0, 0);
        let mut files = before;
        for object in objects {
            if files >= max_files {
                left_out += 1;
                continue;
            }
            let state = insert(write.conn(), scan_id, baseline, &listing.bucket, &object).await?;
            match state.as_deref() {
                // The object was recorded before a restart: it is counted already.
                None => {}
                Some("unchanged") => unchanged += 1,
                Some("failed") => (files, failed) = (files + 1, failed + 1),
                Some(_) => files += 1,
            }
        }
        sqlx::query(
            "UPDATE scan_listings SET listed = listed + $4, left_out = left_out + $5, done = $6
             WHERE scan_id = $1 AND bucket = $2 AND prefix = $3",
        )
        .bind(scan_id)
        .bind(&listing.bucket)
        .bind(&listing.prefix)
        .bind(stored(listed))
        .bind(stored(left_out))
        .bind(i64::from(done))
        .execute(write.conn())
        .await?;
        sqlx::query(
            "UPDATE scans SET files_total = $2, unchanged = unchanged + $3, failed = failed + $4 WHERE id = $1",
        )
        .bind(scan_id)
        .bind(stored(files))
        .bind(stored(unchanged))
        .bind(stored(failed))
        .execute(write.conn())
        .await?;
        write.commit().await?;
        Ok(files)
    }

    /// Records that there is nothing more to list.
    pub(crate) async fn enumerated(&self, scan_id: &str) -> Result<(), StoreError> {
        let mut write = self.store.write_progress().await?;
        sqlx::query("UPDATE scans SET enumerated = 1 WHERE id = $1")
            .bind(scan_id)
            .execute(write.conn())
            .await?;
        write.commit().await
    }
}

/// Inserts a work item and answers its state, or `None` when it is there already.
async fn insert(
    conn: &mut sqlx::SqliteConnection,
    scan_id: &str,
    baseline: Option<&str>,
    bucket: &str,
    object: &ListedObject,
) -> Result<Option<String>, StoreError> {
    let ListedObject { key, etag, size, modified_ms, unreadable } = object;
    // An unchanged object takes over what the baseline knows of it. One that failed then is tried again.
    let carried = match baseline {
        Some(baseline) if unreadable.is_none() => sqlx::query_scalar(
            "INSERT INTO scan_objects (scan_id, bucket, object_key, etag, size, modified_ms, state, reason,
                    findings_count, sensitivity, origin_id)
                 SELECT $1, b.bucket, b.object_key, b.etag, b.size, b.modified_ms, 'unchanged', b.reason,
                    b.findings_count, b.sensitivity, COALESCE(b.origin_id, b.id)
                 FROM scan_objects b
                 WHERE b.scan_id = $2 AND b.bucket = $3 AND b.object_key = $4 AND b.etag = $5 AND b.size = $6
                    AND b.modified_ms = $7 AND b.state IN ('scanned', 'skipped', 'unchanged')
                 ON CONFLICT (scan_id, bucket, object_key) DO NOTHING
                 RETURNING state",
        )
        .bind(scan_id)
        .bind(baseline)
        .bind(bucket)
        .bind(key)
        .bind(etag)
        .bind(stored(*size))
        .bind(modified_ms)
        .fetch_optional(&mut *conn)
        .await?,
        _ => None,
    };
    if carried.is_some() {
        return Ok(carried);
    }
    Ok(sqlx::query_scalar(
        "INSERT INTO scan_objects (scan_id, bucket, object_key, etag, size, modified_ms, state, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (scan_id, bucket, object_key) DO NOTHING
         RETURNING state",
    )
    .bind(scan_id)
    .bind(bucket)
    .bind(key)
    .bind(etag)
    .bind(stored(*size))
    .bind(modified_ms)
    .bind(if unreadable.is_some() { "failed" } else { "pending" })
    .bind(*unreadable)
    .fetch_optional(conn)
    .await?)
}

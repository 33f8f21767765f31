//! What the scan of one object found: counts of everything, places of the first ones, values of none.

use super::{StoreError, stored};

/// Where and as what a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) category: &'static str,
    pub(crate) classifier: &'static str,
    /// Percent.
    pub(crate) confidence: u8,
    /// Bytes from the start of the object.
    pub(crate) offset: u64,
    /// From 1.
    pub(crate) line: u64,
    /// CSV column or JSON key, where known.
    pub(crate) field: Option<String>,
}

/// Result of a scanned object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FoundObject {
    /// Findings by category: all of them.
    pub(crate) counts: Vec<(&'static str, u64)>,
    /// The highest sensitivity among the categories, in percent.
    pub(crate) sensitivity: u8,
    /// The first findings, as many as an object may keep.
    pub(crate) findings: Vec<Finding>,
}

/// How the work on one object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectOutcome {
    /// Its content was read to the end.
    Scanned(FoundObject),
    /// It holds nothing that the detectors can read.
    Skipped(&'static str),
    /// It could not be read.
    Failed(&'static str),
}

impl FoundObject {
    /// Number of findings, the ones whose place was not kept included.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }
}

pub(super) async fn insert(
    conn: &mut sqlx::SqliteConnection,
    object_id: i64,
    found: &FoundObject,
) -> Result<(), StoreError> {
    for (category, n) in &found.counts {
        sqlx::query("INSERT INTO object_categories (object_id, category, count) VALUES ($1, $2, $3)")
            .bind(object_id)
            .bind(*category)
            .bind(stored(*n))
            .execute(&mut *conn)
            .await?;
    }
    for finding in &found.findings {
        sqlx::query(
            "INSERT INTO findings (object_id, category, classifier, confidence, byte_offset, line, field_path)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(object_id)
        .bind(finding.category)
        .bind(finding.classifier)
        .bind(i64::from(finding.confidence))
        .bind(stored(finding.offset))
        .bind(stored(finding.line))
        .bind(&finding.field)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

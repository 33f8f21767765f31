//! One scan from its start, or its resumption, to its end.
//!
//! What ends a scan as failed: credentials that are refused, a bucket that cannot be listed, the time
//! limit, or that not one file could be read. A file that cannot be read is counted and does not end
//! it. A cloud or a database that is away for a while makes it wait.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use jiff::Timestamp;

use super::options::JobOptions;
use super::runner::Shared;
use super::{enumerate, risk, worker};
use crate::storage::{Patience, StorageError};
use crate::store::{Job, StoreError};

/// First and longest pause after something was away.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);

/// Why the work on a scan stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The search of a chunk panicked: a bug, and this object's.
    #[error("the search of an object failed")]
    Search,
}

enum Attempt {
    /// Nothing left to do here: it is completed, failed, or gone.
    Over,
    Later(JobError),
}

/// Works on a scan until it is over.
pub(super) async fn run(shared: &Shared, scan_id: &str, active: &AtomicUsize) {
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match attempt(shared, scan_id, active).await {
            Ok(Attempt::Over) => return,
            Ok(Attempt::Later(error)) => error,
            Err(error) => JobError::Store(error),
        };
        tracing::warn!(scan = scan_id, %error, pause_seconds = pause.as_secs(), "scan pauses");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

async fn attempt(shared: &Shared, scan_id: &str, active: &AtomicUsize) -> Result<Attempt, StoreError> {
    let Some(job) = shared.jobs.begin(scan_id).await? else { return Ok(Attempt::Over) };
    let options: JobOptions = serde_json::from_value(job.options.clone())
        .map_err(|_| StoreError::Unreadable { what: "options", id: scan_id.to_owned() })?;
    tracing::info!(scan = scan_id, connector = %job.connector.id, workspace = %job.workspace_id, "scan runs");
    let left = time_left(&job, &options);
    let worked = tokio::time::timeout(left, Box::pin(work(shared, &job, &options, active))).await;
    let failure = match worked {
        Ok(Ok(())) => return complete(shared, &job).await,
        Ok(Err(JobError::Storage(error))) if !error.cause.is_transient() => {
            (error.message, error.credentials)
        }
        Ok(Err(error)) => return Ok(Attempt::Later(error)),
        Err(_) => (
            format!("stopped at its time limit of {} min (options.timeout_minutes)", options.timeout_minutes),
            false,
        ),
    };
    fail(shared, scan_id, &failure.0, failure.1).await
}

async fn work(
    shared: &Shared,
    job: &Job,
    options: &JobOptions,
    active: &AtomicUsize,
) -> Result<(), JobError> {
    let storage = shared.clouds.open(&job.connector, Patience::Scan)?;
    storage.check().await?;
    let workers = options
        .max_workers
        .map_or(shared.core_count, |n| n as usize)
        .min(super::options::MAX_WORKERS as usize);
    shared.jobs.set_workers(&job.scan_id, workers as u64).await?;
    let work = worker::Work::new(shared, job, &storage, active);
    tokio::try_join!(enumerate::run(shared, job, options, &storage, &work), work.run(workers))?;
    Ok(())
}

async fn complete(shared: &Shared, job: &Job) -> Result<Attempt, StoreError> {
    let Some(totals) = shared.jobs.totals(&job.scan_id).await? else { return Ok(Attempt::Over) };
    if totals.read == 0 && totals.failed > 0 {
        let reason = format!(
            "none of the {} files could be read; check that the role may s3:GetObject in the buckets of the connector",
            totals.failed
        );
        return fail(shared, &job.scan_id, &reason, false).await;
    }
    let score = risk::score(totals.findings, totals.sensitivity);
    shared.jobs.complete(&job.scan_id, totals, score).await?;
    tracing::info!(
        scan = %job.scan_id, connector = %job.connector.id, files = totals.read, failed_files = totals.failed,
        findings = totals.findings, risk = score, "scan completed"
    );
    Ok(Attempt::Over)
}

async fn fail(
    shared: &Shared,
    scan_id: &str,
    reason: &str,
    lost_access: bool,
) -> Result<Attempt, StoreError> {
    shared.jobs.fail(scan_id, reason, lost_access).await?;
    tracing::warn!(scan = scan_id, reason, "scan failed");
    Ok(Attempt::Over)
}

/// Counted from the first start, restarts of the server included.
fn time_left(job: &Job, options: &JobOptions) -> Duration {
    let limit = Duration::from_secs(60) * options.timeout_minutes;
    let elapsed = Timestamp::now().as_millisecond().saturating_sub(job.started_ms);
    limit.saturating_sub(Duration::from_millis(u64::try_from(elapsed).unwrap_or(0)))
}

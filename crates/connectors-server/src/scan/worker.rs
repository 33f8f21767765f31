//! The workers of a scan: they claim objects, read them as a stream, search them, and record each end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::chunks::Chunks;
use super::job::JobError;
use super::object::ObjectSearch;
use super::runner::Shared;
use crate::storage::{Bucket, Cause, Position, Storage, StorageError};
use crate::store::{Job, ObjectOutcome, WorkItem};

/// Objects claimed at once, by worker. Claiming is a transaction, and a claimed object waits for its worker.
const CLAIM_PER_WORKER: u32 = 4;

/// Tries at one object when the storage is away for a moment.
const TRIES: u32 = 3;

/// How long an idle worker waits when nobody tells it that there is more.
const IDLE: Duration = Duration::from_millis(200);

/// The work of one scan.
pub(super) struct Work<'a> {
    shared: &'a Shared,
    job: &'a Job,
    storage: &'a Storage,
    active: &'a AtomicUsize,
    buckets: Mutex<HashMap<String, Bucket>>,
    claimed: Mutex<VecDeque<WorkItem>>,
    enumerated: AtomicBool,
    more: Notify,
}

/// Counts a worker as active while it is at an object, however it leaves it.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        job: &'a Job,
        storage: &'a Storage,
        active: &'a AtomicUsize,
    ) -> Self {
        Self {
            shared,
            job,
            storage,
            active,
            buckets: Mutex::default(),
            claimed: Mutex::default(),
            enumerated: AtomicBool::new(false),
            more: Notify::new(),
        }
    }

    /// Says that more objects are recorded.
    pub(super) fn more(&self) {
        self.more.notify_waiters();
    }

    /// Says that no more will be.
    pub(super) fn enumerated(&self) {
        self.enumerated.store(true, Ordering::Release);
        self.more.notify_waiters();
    }

    /// Works until everything that was and will be recorded is done.
    pub(super) async fn run(&self, workers: usize) -> Result<(), JobError> {
        let batch = CLAIM_PER_WORKER * u32::try_from(workers).unwrap_or(1);
        try_join_all((0..workers).map(|_| self.worker(batch))).await.map(drop)
    }

    async fn worker(&self, batch: u32) -> Result<(), JobError> {
        loop {
            // Asked before the claim: objects that are recorded between the two are seen in the next round.
            let last_round = self.enumerated.load(Ordering::Acquire);
            match self.next(batch).await? {
                Some(item) => {
                    let active = Active::new(self.active);
                    let outcome = self.object(&item).await?;
                    self.shared.jobs.finish(&self.job.scan_id, item.id, &outcome).await?;
                    drop(active);
                }
                None if last_round => return Ok(()),
                None => {
                    let _ = tokio::time::timeout(IDLE, self.more.notified()).await;
                }
            }
        }
    }

    async fn next(&self, batch: u32) -> Result<Option<WorkItem>, JobError> {
        let claimed = self.claimed.lock().pop_front();
        if claimed.is_some() {
            return Ok(claimed);
        }
        let mut items: VecDeque<WorkItem> = self.shared.jobs.claim(&self.job.scan_id, batch).await?.into();
        let first = items.pop_front();
        self.claimed.lock().append(&mut items);
        Ok(first)
    }

    /// Reads and searches one object. An error is one of the scan, not of the object.
    async fn object(&self, item: &WorkItem) -> Result<ObjectOutcome, JobError> {
        let bucket = self.bucket(&item.bucket)?;
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match self.search(&bucket, item).await {
                Ok(outcome) => return Ok(outcome),
                Err(JobError::Storage(error)) => error,
                Err(JobError::Search) => return Ok(ObjectOutcome::Failed("search_failed")),
                Err(error) => return Err(error),
            };
            if error.credentials {
                return Err(error.into());
            }
            // A connection can break in ways that have no name here: worth another try too.
            if !(error.cause.is_transient() || error.cause == Cause::ProviderError) {
                return Ok(ObjectOutcome::Failed(error.cause.as_str()));
            }
            if tried == TRIES {
                // This object's trouble, or everybody's?
                return match bucket.page("", Position::first(1)).await {
                    Ok(_) => Ok(ObjectOutcome::Failed(error.cause.as_str())),
                    Err(StorageError { cause: Cause::AccessDenied, .. }) => {
                        Ok(ObjectOutcome::Failed(error.cause.as_str()))
                    }
                    Err(all) => Err(all.into()),
                };
            }
            tokio::time::sleep(Duration::from_millis(500) * tried).await;
        }
    }

    async fn search(&self, bucket: &Bucket, item: &WorkItem) -> Result<ObjectOutcome, JobError> {
        let content = bucket.read(&item.key).await?;
        let mut chunks = Chunks::new(content, u64::try_from(item.size).unwrap_or(0));
        let mut search = ObjectSearch::new(&item.key);
        while let Some(chunk) = chunks.next().await? {
            // Searching is work for a core, not for the threads that serve requests.
            let core = self.shared.cores.clone().acquire_owned().await.map_err(|_| JobError::Search)?;
            let done = tokio::task::spawn_blocking(move || {
                let text = search.chunk(&chunk);
                drop(core);
                (search, chunk, text)
            });
            let (back, chunk, text) = done.await.map_err(|_| JobError::Search)?;
            if !text {
                return Ok(ObjectOutcome::Skipped("binary"));
            }
            search = back;
            chunks.recycle(chunk.bytes);
        }
        Ok(ObjectOutcome::Scanned(search.finish()))
    }

    fn bucket(&self, name: &str) -> Result<Bucket, StorageError> {
        let mut buckets = self.buckets.lock();
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket.clone());
        }
        let bucket = self.storage.bucket(name)?;
        buckets.insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }
}

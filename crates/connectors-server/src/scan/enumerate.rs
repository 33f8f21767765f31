//! Lists what a scan has to look at, while its workers are at work already.

use super::job::JobError;
use super::options::JobOptions;
use super::runner::Shared;
use super::worker::Work;
use crate::storage::{Page, Position, Storage, has_type};
use crate::store::{Job, PageRecord};

/// Reads every listing that is not done. One that a restart interrupted starts over; what it records again is ignored.
pub(super) async fn run(
    shared: &Shared,
    job: &Job,
    options: &JobOptions,
    storage: &Storage,
    work: &Work<'_>,
) -> Result<(), JobError> {
    if !job.enumerated {
        list(shared, job, options, storage, work).await?;
        shared.jobs.enumerated(&job.scan_id).await?;
    }
    work.enumerated();
    Ok(())
}

async fn list(
    shared: &Shared,
    job: &Job,
    options: &JobOptions,
    storage: &Storage,
    work: &Work<'_>,
) -> Result<(), JobError> {
    let most = options.max_files.unwrap_or(u64::MAX);
    let mut files = job.files_total;
    for listing in shared.jobs.listings(&job.scan_id).await?.into_iter().filter(|l| !l.done) {
        let bucket = storage.bucket(&listing.bucket)?;
        let mut position = Some(Position::default());
        while let Some(here) = position {
            if files >= most {
                return Ok(());
            }
            let Page { objects, next } = bucket.page(&listing.prefix, here).await?;
            let listed = objects.len();
            let mut objects = objects;
            // An empty object holds nothing; most of them are the folder markers of a console.
            objects
                .retain(|o| o.unreadable.is_some() || (o.size > 0 && has_type(&o.key, &options.file_types)));
            let left_out = (listed - objects.len()) as u64;
            let page = PageRecord { objects, left_out, done: next.is_none() };
            files =
                shared.jobs.record_page(&job.scan_id, job.baseline.as_deref(), &listing, page, most).await?;
            work.more();
            position = next;
        }
    }
    Ok(())
}

//! Runs the scans that the database holds: queued ones, and those that an earlier process left unfinished.
//!
//! The database is the queue, so there is nothing to lose. A scan that ends here ends there first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::job;
use crate::storage::Clouds;
use crate::store::Jobs;

/// Scans that run at the same time. The others stay queued.
const MAX_SCANS: usize = 4;

/// How often the database is asked for scans that nobody announced.
const POLL: Duration = Duration::from_secs(5);

/// What the parts of a running scan share with the rest of the server.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) jobs: Jobs,
    pub(super) clouds: Arc<Clouds>,
    /// As many chunks are searched at once as there are cores, over all scans.
    pub(super) cores: Arc<Semaphore>,
    pub(super) core_count: usize,
}

struct Running {
    scan_id: String,
    stop: CancellationToken,
    active: Arc<AtomicUsize>,
}

/// Gives a running scan's place up, however its task ends.
struct Place {
    runner: Arc<Runner>,
    connector_id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runner.running.lock().remove(&self.connector_id);
        // A queued one may take it.
        self.runner.wake();
    }
}

/// The running scans of this process.
pub(crate) struct Runner {
    shared: Shared,
    /// By connector: a connector has at most one unfinished scan.
    running: Mutex<HashMap<String, Running>>,
    wake: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Runner {
    pub(crate) fn new(jobs: Jobs, clouds: Arc<Clouds>, stop: CancellationToken) -> Arc<Self> {
        let core_count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shared = Shared { jobs, clouds, cores: Arc::new(Semaphore::new(core_count)), core_count };
        let running = Mutex::new(HashMap::new());
        Arc::new(Self { shared, running, wake: Notify::new(), stop, tasks: TaskTracker::new() })
    }

    /// Says that there may be something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Stops the scan of a connector that is being deleted.
    pub(crate) fn forget(&self, connector_id: &str) {
        if let Some(running) = self.running.lock().get(connector_id) {
            running.stop.cancel();
        }
    }

    /// Workers of a scan that are at a file right now.
    pub(crate) fn active_workers(&self, connector_id: &str, scan_id: &str) -> u64 {
        let running = self.running.lock();
        let of_this_scan = running.get(connector_id).filter(|r| r.scan_id == scan_id);
        of_this_scan.map_or(0, |r| r.active.load(Ordering::Relaxed) as u64)
    }

    /// Runs scans until the server stops, and waits for the running ones to put down what they hold.
    pub(crate) async fn run(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            match self.shared.jobs.unfinished().await {
                Ok(unfinished) => {
                    unfinished.into_iter().for_each(|(scan, connector)| self.start(scan, connector))
                }
                Err(error) => tracing::error!(%error, "the list of scans cannot be read"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start(self: &Arc<Self>, scan_id: String, connector_id: String) {
        let stop = self.stop.child_token();
        let active = Arc::new(AtomicUsize::new(0));
        {
            let mut running = self.running.lock();
            if running.len() >= MAX_SCANS || running.contains_key(&connector_id) {
                return;
            }
            let entry = Running { scan_id: scan_id.clone(), stop: stop.clone(), active: active.clone() };
            running.insert(connector_id.clone(), entry);
        }
        let place = Place { runner: self.clone(), connector_id };
        self.tasks.spawn(async move {
            let run = Box::pin(job::run(&place.runner.shared, &scan_id, &active));
            tokio::select! {
                () = stop.cancelled() => tracing::info!(scan = %scan_id, "scan put down"),
                () = run => {}
            }
            drop(place);
        });
    }
}

//! Whether the operator hears of what happens: ready when every watch has filled its cache and none is interrupted, and until
//! the end begins.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Metrics;

/// A watch that does not work fails again within this time. One that works again may have nothing to tell, so that it is only
/// known by the failures that stay away.
const SILENCE: Duration = Duration::from_secs(90);
/// A connection that breaks and is opened again at once is no interruption.
const TOLERATED: Duration = Duration::from_secs(10);

/// What the probes answer.
#[derive(Debug, Default)]
pub struct Health {
    watches: Mutex<Vec<Arc<Mutex<Watch>>>>,
    stopping: AtomicBool,
}

/// How one watch is.
#[derive(Debug)]
struct Watch {
    kind: String,
    namespace: Option<String>,
    filled: bool,
    failing: Option<Failing>,
}

/// Failures without anything heard in between.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    /// It has been said.
    said: bool,
}

/// Where one watch tells how it is.
#[derive(Debug)]
pub struct Watching(Arc<Mutex<Watch>>);

impl Health {
    /// Announces the watch of a kind in a namespace, or everywhere. Its cache is not filled yet.
    pub fn watching(&self, kind: &str, namespace: Option<String>) -> Watching {
        let watch = Watch { kind: kind.to_owned(), namespace, filled: false, failing: None };
        let watch = Arc::new(Mutex::new(watch));
        self.watches.lock().push(Arc::clone(&watch));
        Watching(watch)
    }

    /// The end begins: no readiness any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        let watches = self.watches.lock();
        !watches.is_empty()
            && watches.iter().all(|watch| {
                let mut watch = watch.lock();
                watch.filled && !watch.interrupted()
            })
            && !self.stopping.load(Ordering::Relaxed)
    }

    /// Counts the watches that are interrupted.
    pub(super) fn count(&self, metrics: &Metrics) {
        let mut counts = BTreeMap::<String, i64>::new();
        for watch in self.watches.lock().iter() {
            let mut watch = watch.lock();
            let interrupted = i64::from(watch.interrupted());
            *counts.entry(watch.kind.clone()).or_default() += interrupted;
        }
        for (kind, count) in counts {
            metrics.interrupted_watches(kind, count);
        }
    }
}

impl Watch {
    /// Whether nothing is heard at the moment.
    fn interrupted(&mut self) -> bool {
        if self.failing.is_some_and(|failing| failing.last.elapsed() > SILENCE) {
            self.goes_on();
        }
        self.failing.is_some_and(|failing| failing.said)
    }

    fn goes_on(&mut self) {
        if self.failing.take().is_some_and(|failing| failing.said) {
            tracing::info!(kind = self.kind, namespace = self.namespace, "the watch goes on");
        }
    }
}

impl Watching {
    /// The cache has all that there is.
    pub fn filled(&self) {
        let mut watch = self.0.lock();
        watch.goes_on();
        if !std::mem::replace(&mut watch.filled, true) {
            tracing::info!(kind = watch.kind, namespace = watch.namespace, "cache filled");
        }
    }

    /// Something was heard.
    pub fn goes_on(&self) {
        self.0.lock().goes_on();
    }

    /// It failed, and is tried again. Where the API server `refused` it, or it fails for long, that is said once.
    pub fn failed(&self, error: &dyn Display, refused: bool) {
        let mut watch = self.0.lock();
        let now = Instant::now();
        if watch.failing.is_some_and(|failing| failing.last.elapsed() > SILENCE) {
            watch.goes_on();
        }
        let mut failing = watch.failing.unwrap_or(Failing { since: now, last: now, said: false });
        failing.last = now;
        if !failing.said && (refused || now - failing.since > TOLERATED) {
            failing.said = true;
            tracing::warn!(kind = watch.kind, namespace = watch.namespace, %error, "the watch is interrupted; it is tried again");
        }
        watch.failing = Some(failing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readiness_needs_every_watch_and_ends_with_the_end() {
        let health = Health::default();
        assert!(!health.is_ready(), "nothing was announced yet");
        let (first, second) = (health.watching("Connector", None), health.watching("Scan", None));
        first.filled();
        assert!(!health.is_ready());
        second.filled();
        assert!(health.is_ready());
        health.stop();
        assert!(!health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_for_long_or_is_refused_is_counted_until_it_goes_on() {
        let (health, metrics) = (Health::default(), Metrics::default());
        let watching = health.watching("Connector", None);
        watching.filled();
        let counted = || {
            health.count(&metrics);
            metrics.encode().contains("slimio_interrupted_watches{kind=\"Connector\"} 1\n")
        };
        watching.failed(&"broken pipe", false);
        assert!(health.is_ready() && !counted(), "a connection may break");
        tokio::time::advance(TOLERATED + Duration::from_secs(1)).await;
        watching.failed(&"refused", false);
        assert!(!health.is_ready() && counted());
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        assert!(health.is_ready() && !counted(), "it does not fail any more");

        watching.failed(&"forbidden", true);
        assert!(!health.is_ready() && counted(), "a missing right does not come back by itself");
        watching.goes_on();
        assert!(health.is_ready() && !counted());
    }
}

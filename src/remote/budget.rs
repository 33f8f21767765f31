//! How much may be asked of an API with one credential. Every request takes its place here first; who finds none is told
//! when to come again, rather than made to wait while holding a place among the reconciles.
//!
//! Memory: one instant per request of the last hour, 16 bytes each, at most `requests_per_hour` of them and never more
//! than [`REMEMBERED`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::crd::RateLimits;

/// Above this many requests an hour the hourly window is not counted request by request but left to the minute's limit.
const REMEMBERED: usize = 100_000;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// Background reads may take one request in so many of the hour.
const BACKGROUND_SHARE: usize = 4;

/// What a request is for: the lower, the earlier it must step back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Polls: they take at most a quarter of the hour.
    Background,
    /// What a user's change or an object's own state asks for.
    Foreground,
}

/// No place at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// When to ask again.
    pub retry_after: Duration,
}

/// A request's place; dropped when its answer is read.
#[derive(Debug)]
pub struct Place {
    _concurrent: OwnedSemaphorePermit,
}

/// The places of one credential.
#[derive(Debug)]
pub struct Budget {
    concurrent: Arc<Semaphore>,
    windows: Mutex<Windows>,
}

#[derive(Debug)]
struct Windows {
    limits: RateLimits,
    sent: VecDeque<Instant>,
    background: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

impl Budget {
    /// A budget with nothing spent.
    pub fn new(limits: RateLimits) -> Self {
        Self {
            concurrent: Arc::new(Semaphore::new(limits.concurrent_requests as usize)),
            windows: Mutex::new(Windows {
                limits,
                sent: VecDeque::new(),
                background: VecDeque::new(),
                closed_until: None,
            }),
        }
    }

    /// Takes a place in the minute and the hour, and then waits for one of the concurrent ones.
    ///
    /// # Errors
    /// [`Full`], with the time to come again.
    pub async fn take(&self, purpose: Purpose) -> Result<Place, Full> {
        self.windows.lock().take(purpose, Instant::now())?;
        // The semaphore is never closed.
        let permit =
            Arc::clone(&self.concurrent).acquire_owned().await.map_err(|_| Full { retry_after: MINUTE })?;
        Ok(Place { _concurrent: permit })
    }

    /// The API asked for patience: nothing is sent before then.
    pub fn close_for(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut windows = self.windows.lock();
        windows.closed_until = windows.closed_until.max(Some(until));
    }

    /// How long a poll of `pages` requests must be away from the next one to stay within its share.
    pub fn poll_interval(&self, wished: Duration, pages: usize) -> Duration {
        let hourly = self.windows.lock().limits.requests_per_hour as usize;
        let polls_an_hour = (hourly / BACKGROUND_SHARE / pages.max(1)).max(1);
        wished.max(HOUR / u32::try_from(polls_an_hour).unwrap_or(u32::MAX))
    }
}

impl Windows {
    fn take(&mut self, purpose: Purpose, now: Instant) -> Result<(), Full> {
        if let Some(until) = self.closed_until {
            if now < until {
                return Err(Full { retry_after: until - now });
            }
            self.closed_until = None;
        }
        let RateLimits { requests_per_minute, requests_per_hour, .. } = self.limits;
        let (minute, hour) = (requests_per_minute as usize, (requests_per_hour as usize).min(REMEMBERED));
        prune(&mut self.sent, now);
        prune(&mut self.background, now);
        free(&self.sent, minute, MINUTE, now)?;
        free(&self.sent, hour, HOUR, now)?;
        if purpose == Purpose::Background {
            free(&self.background, (hour / BACKGROUND_SHARE).max(1), HOUR, now)?;
            self.background.push_back(now);
        }
        self.sent.push_back(now);
        Ok(())
    }
}

fn prune(sent: &mut VecDeque<Instant>, now: Instant) {
    while sent.front().is_some_and(|first| now.duration_since(*first) >= HOUR) || sent.len() > REMEMBERED {
        sent.pop_front();
    }
}

/// Whether fewer than `limit` requests lie in the window; else when the oldest of them leaves it.
fn free(sent: &VecDeque<Instant>, limit: usize, window: Duration, now: Instant) -> Result<(), Full> {
    let Some(blocking) = sent.len().checked_sub(limit).and_then(|index| sent.get(index)) else {
        return Ok(());
    };
    let age = now.duration_since(*blocking);
    if age >= window { Ok(()) } else { Err(Full { retry_after: window - age }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(per_minute: u32, per_hour: u32) -> Windows {
        let limits = RateLimits {
            requests_per_minute: per_minute,
            requests_per_hour: per_hour,
            ..RateLimits::default()
        };
        Windows { limits, sent: VecDeque::new(), background: VecDeque::new(), closed_until: None }
    }

    #[test]
    fn the_minute_is_full_until_its_oldest_request_leaves_it() {
        let start = Instant::now();
        let mut windows = windows(2, 100);
        assert_eq!(windows.take(Purpose::Foreground, start), Ok(()));
        assert_eq!(windows.take(Purpose::Foreground, start + Duration::from_secs(10)), Ok(()));
        let late = start + Duration::from_secs(20);
        assert_eq!(
            windows.take(Purpose::Foreground, late),
            Err(Full { retry_after: Duration::from_secs(40) })
        );
        assert_eq!(windows.take(Purpose::Foreground, start + MINUTE), Ok(()));
    }

    #[test]
    fn background_reads_leave_three_quarters_of_the_hour_to_others() {
        let start = Instant::now();
        let mut windows = windows(1000, 8);
        assert_eq!(windows.take(Purpose::Background, start), Ok(()));
        assert_eq!(windows.take(Purpose::Background, start), Ok(()));
        assert_eq!(windows.take(Purpose::Background, start), Err(Full { retry_after: HOUR }));
        for _ in 0..6 {
            assert_eq!(windows.take(Purpose::Foreground, start), Ok(()));
        }
        assert!(windows.take(Purpose::Foreground, start).is_err());
    }

    #[tokio::test]
    async fn nothing_is_sent_while_the_api_asks_for_patience() {
        let budget = Budget::new(RateLimits::default());
        budget.close_for(Duration::from_secs(30));
        budget.close_for(Duration::from_secs(5));
        let full = budget.take(Purpose::Foreground).await.unwrap_err();
        assert!(full.retry_after > Duration::from_secs(25), "the longer wish holds: {full:?}");
    }

    #[test]
    fn polls_are_stretched_to_a_quarter_of_the_hour() {
        let budget = Budget::new(RateLimits::default());
        assert_eq!(budget.poll_interval(MINUTE, 1), MINUTE);
        assert_eq!(budget.poll_interval(MINUTE, 10), Duration::from_secs(144));
    }
}

//! Requests counted in sliding windows: how many may be sent now, and when the n-th next one may. Pure: the time is given.
//!
//! Memory: one instant per request of the last hour, 16 bytes each, never more than [`REMEMBERED`] and what a quarter of
//! that is for polls and for intervals.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::crd::RateLimits;
use crate::remote::Purpose;

/// Above this many requests an hour the hourly window is not counted request by request but left to the minute's limit.
const REMEMBERED: usize = 100_000;
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);
/// Polls, and tests on an interval, may each take one request in so many of the hour.
pub(super) const BACKGROUND_SHARE: usize = 4;
/// Beyond this many windows ahead nobody is told a time.
const FAR: u32 = 10_000;

/// What was sent in the last hour.
#[derive(Debug)]
pub(super) struct Windows {
    limits: RateLimits,
    sent: VecDeque<Instant>,
    polls: VecDeque<Instant>,
    intervals: VecDeque<Instant>,
}

impl Windows {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { limits, sent: VecDeque::new(), polls: VecDeque::new(), intervals: VecDeque::new() }
    }

    pub(super) fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// Whole requests left in this minute and this hour.
    pub(super) fn left(&mut self, now: Instant) -> (usize, usize) {
        self.prune(now);
        let minute = self.minute_limit().saturating_sub(within(&self.sent, MINUTE, now));
        (minute, (self.limits.requests_per_hour as usize).saturating_sub(self.sent.len()))
    }

    /// How many may be sent now, whatever they are for.
    pub(super) fn free(&mut self, now: Instant) -> usize {
        let (minute, _) = self.left(now);
        minute.min(self.hour_limit().saturating_sub(self.sent.len()))
    }

    /// When the request after `ahead` others may be sent: now, or later.
    pub(super) fn free_at(&mut self, purpose: Purpose, ahead: usize, now: Instant) -> Instant {
        self.prune(now);
        let minute = nth(&self.sent, self.minute_limit(), MINUTE, ahead, now);
        let hour = nth(&self.sent, self.hour_limit(), HOUR, ahead, now);
        let share = (self.hour_limit() / BACKGROUND_SHARE).max(1);
        let own = match purpose {
            Purpose::Poll => nth(&self.polls, share, HOUR, 0, now),
            Purpose::Interval => nth(&self.intervals, share, HOUR, 0, now),
            _ => now,
        };
        minute.max(hour).max(own)
    }

    /// Counts one.
    pub(super) fn count(&mut self, purpose: Purpose, now: Instant) {
        self.sent.push_back(now);
        if let Some(own) = self.of(purpose) {
            own.push_back(now);
        }
    }

    /// Takes one back that was counted at `then` and not sent.
    pub(super) fn take_back(&mut self, purpose: Purpose, then: Instant) {
        remove(&mut self.sent, then);
        if let Some(own) = self.of(purpose) {
            remove(own, then);
        }
    }

    /// How long a poll of `pages` requests must be away from the next one to stay within its share.
    pub(super) fn poll_interval(&self, wished: Duration, pages: usize) -> Duration {
        let hourly = self.limits.requests_per_hour as usize;
        let polls_an_hour = (hourly / BACKGROUND_SHARE / pages.max(1)).max(1);
        wished.max(HOUR / u32::try_from(polls_an_hour).unwrap_or(u32::MAX))
    }

    fn of(&mut self, purpose: Purpose) -> Option<&mut VecDeque<Instant>> {
        match purpose {
            Purpose::Poll => Some(&mut self.polls),
            Purpose::Interval => Some(&mut self.intervals),
            _ => None,
        }
    }

    fn minute_limit(&self) -> usize {
        self.limits.requests_per_minute as usize
    }

    fn hour_limit(&self) -> usize {
        let hour = self.limits.requests_per_hour as usize;
        if hour > REMEMBERED { usize::MAX } else { hour }
    }

    fn prune(&mut self, now: Instant) {
        for sent in [&mut self.sent, &mut self.polls, &mut self.intervals] {
            while sent.front().is_some_and(|first| now.duration_since(*first) >= HOUR)
                || sent.len() > REMEMBERED
            {
                sent.pop_front();
            }
        }
    }
}

/// How many lie in the window.
fn within(sent: &VecDeque<Instant>, window: Duration, now: Instant) -> usize {
    sent.len() - sent.partition_point(|then| now.duration_since(*then) >= window)
}

/// When the one after `ahead` others fits under `limit` in every window: those that are free now are taken first, then those
/// that the oldest requests give back, and then the same again a window later.
fn nth(sent: &VecDeque<Instant>, limit: usize, window: Duration, ahead: usize, now: Instant) -> Instant {
    let used = within(sent, window, now);
    let free = limit.saturating_sub(used);
    let rounds = u32::try_from(ahead / limit.max(1)).unwrap_or(FAR).min(FAR);
    let place = ahead % limit.max(1);
    let first = match place.checked_sub(free) {
        None => now,
        // More may be in the window than the limit allows: the limit can have been lowered.
        Some(back) => {
            let index = sent.len() - used + used.saturating_sub(limit) + back;
            sent.get(index).map_or(now, |then| *then + window)
        }
    };
    first + window * rounds
}

fn remove(sent: &mut VecDeque<Instant>, then: Instant) {
    let at = sent.partition_point(|other| *other < then);
    if sent.get(at) == Some(&then) {
        sent.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(per_minute: u32, per_hour: u32) -> Windows {
        Windows::new(RateLimits {
            requests_per_minute: per_minute,
            requests_per_hour: per_hour,
            ..RateLimits::default()
        })
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_minute_is_full_until_its_oldest_request_leaves_it() {
        let start = Instant::now();
        let mut windows = windows(2, 100);
        windows.count(Purpose::Edit, start);
        windows.count(Purpose::Edit, start + seconds(10));
        let late = start + seconds(20);
        assert_eq!(windows.free(late), 0);
        let times = [0, 1, 2, 3].map(|ahead| windows.free_at(Purpose::Edit, ahead, late) - start);
        assert_eq!(times, [60, 70, 120, 130].map(seconds));
        assert_eq!(windows.free(start + MINUTE), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_and_intervals_leave_the_rest_of_the_hour_to_others() {
        let start = Instant::now();
        let mut windows = windows(1000, 8);
        for purpose in [Purpose::Poll, Purpose::Interval] {
            windows.count(purpose, start);
            windows.count(purpose, start);
            assert_eq!(windows.free_at(purpose, 0, start), start + HOUR, "{purpose:?}");
        }
        assert_eq!((windows.free_at(Purpose::Create, 0, start), windows.free(start)), (start, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_is_given_back() {
        let start = Instant::now();
        let mut windows = windows(1, 10);
        windows.count(Purpose::Poll, start);
        windows.take_back(Purpose::Poll, start);
        assert_eq!((windows.free(start), windows.free_at(Purpose::Poll, 0, start)), (1, start));
    }

    #[test]
    fn polls_are_stretched_to_a_quarter_of_the_hour() {
        let windows = Windows::new(RateLimits::default());
        assert_eq!(windows.poll_interval(MINUTE, 1), MINUTE);
        assert_eq!(windows.poll_interval(MINUTE, 10), Duration::from_secs(144));
    }

    /// In whatever order requests come, no window ever holds more than its limit, and nobody is told a time that is too late
    /// by more than the window.
    #[tokio::test(start_paused = true)]
    async fn no_window_ever_holds_more_than_its_limit() {
        let start = Instant::now();
        for (per_minute, per_hour) in [(1, 1), (3, 10), (60, 1000), (7, 500)] {
            let mut windows = windows(per_minute, per_hour);
            let mut now = start;
            let mut all: Vec<Instant> = Vec::new();
            for step in 0..3000_u64 {
                now += Duration::from_millis(step * step % 1700);
                let at = windows.free_at(Purpose::Edit, 0, now);
                assert_eq!(at == now, windows.free(now) > 0, "both say the same");
                if step % 7 == 0 {
                    now = at;
                }
                if windows.free(now) > 0 {
                    windows.count(Purpose::Edit, now);
                    all.push(now);
                }
                let in_minute = all.iter().rev().take_while(|then| now - **then < MINUTE).count();
                let in_hour = all.iter().rev().take_while(|then| now - **then < HOUR).count();
                assert!(in_minute <= per_minute as usize && in_hour <= per_hour as usize);
            }
            assert!(all.len() > 10);
        }
    }
}

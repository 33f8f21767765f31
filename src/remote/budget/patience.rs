//! How long the API wants to be left alone: what it said (`Retry-After`, `X-RateLimit-*`), and else longer with each refusal.

use std::time::Duration;

use connectors_api::client::RateLimit;
use tokio::time::Instant;

use super::windows::{HOUR, MINUTE};
use crate::remote::Meter;

/// The first wait after a 429 that does not say how long.
const FIRST: Duration = Duration::from_secs(2);
/// The longest such wait: both editions of the vendor's sample clients stop there or before.
const CEILING: Duration = MINUTE;
/// The longest such wait for creates, whose limit is by the hour.
const CREATES_CEILING: Duration = Duration::from_mins(10);

/// Until when nothing of a meter is sent.
#[derive(Debug, Default)]
pub(super) struct Patience {
    meters: [Closed; Meter::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    until: Option<Instant>,
    refusals: u32,
}

impl Patience {
    /// When a request of that meter may be sent, as far as the API is concerned; never before `now`.
    pub(super) fn open_at(&self, meter: Meter, now: Instant) -> Instant {
        self.meters[meter as usize].until.map_or(now, |until| until.max(now))
    }

    /// A 429, with what it says of the wait.
    pub(super) fn refused(&mut self, meter: Meter, retry_after: Option<Duration>, now: Instant) {
        let closed = &mut self.meters[meter as usize];
        let wait = retry_after.unwrap_or_else(|| {
            let ceiling = if meter == Meter::Creates { CREATES_CEILING } else { CEILING };
            let wait = (FIRST * 2_u32.saturating_pow(closed.refusals.min(16))).min(ceiling);
            // Never less than half, so that it grows all the same.
            wait.mul_f64(0.5 + crate::chance::part() / 2.0)
        });
        closed.refusals = closed.refusals.saturating_add(1);
        self.close(meter, wait, now);
    }

    /// An answer, with the service's own counters.
    pub(super) fn answered(&mut self, meter: Meter, said: &RateLimit, now: Instant) {
        self.meters[meter as usize].refusals = 0;
        if let (Some(0), Some(wait)) = (said.remaining, said.reset_after) {
            self.close(meter, wait, now);
        }
    }

    /// The limit of creates or of scans may be what was reached, and may be that of everything: so the others wait too, but
    /// not for longer than the shorter of the vendor's windows.
    fn close(&mut self, meter: Meter, wait: Duration, now: Instant) {
        let wait = wait.min(HOUR);
        for other in Meter::ALL {
            let wait = if other == meter || meter == Meter::Rest { wait } else { wait.min(MINUTE) };
            let closed = &mut self.meters[other as usize];
            closed.until = closed.until.max(Some(now + wait));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(patience: &Patience, now: Instant) -> [u64; 3] {
        Meter::ALL.map(|meter| (patience.open_at(meter, now) - now).as_secs())
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_api_asks_for_is_the_least_and_the_longer_wish_holds() {
        let now = Instant::now();
        let mut patience = Patience::default();
        patience.refused(Meter::Rest, seconds(30), now);
        patience.refused(Meter::Rest, seconds(5), now);
        assert_eq!(waits(&patience, now), [30, 30, 30]);
        assert_eq!(waits(&patience, now + Duration::from_secs(31)), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_that_creates_or_scans_have_to_wait_costs_the_others_a_minute() {
        let now = Instant::now();
        let mut patience = Patience::default();
        patience.refused(Meter::Creates, seconds(3000), now);
        assert_eq!(waits(&patience, now), [3000, 60, 60]);
        let mut patience = Patience::default();
        patience.refused(Meter::Scans, seconds(20), now);
        assert_eq!(waits(&patience, now), [20, 20, 20]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_word_of_the_api_the_wait_doubles_up_to_a_minute_and_begins_anew_after_an_answer() {
        let now = Instant::now();
        let mut patience = Patience::default();
        let mut last = Duration::ZERO;
        for (n, longest) in [2_u64, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            let mut fresh =
                Patience { meters: patience.meters.map(|closed| Closed { until: None, ..closed }) };
            fresh.refused(Meter::Rest, None, now);
            let wait = fresh.open_at(Meter::Rest, now) - now;
            assert!(
                wait <= Duration::from_secs(longest) && wait >= Duration::from_secs(longest) / 2,
                "{n}: {wait:?}"
            );
            last = wait;
            patience = fresh;
        }
        assert!(last >= Duration::from_secs(30));
        patience.answered(Meter::Rest, &RateLimit::default(), now);
        let mut patience =
            Patience { meters: patience.meters.map(|closed| Closed { until: None, ..closed }) };
        patience.refused(Meter::Rest, None, now);
        assert!(patience.open_at(Meter::Rest, now) - now <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_left_in_the_apis_window_means_to_wait_for_the_next() {
        let now = Instant::now();
        let said = |remaining, reset| RateLimit {
            limit: Some(60),
            remaining: Some(remaining),
            reset: None,
            reset_after: seconds(reset),
        };
        let mut patience = Patience::default();
        patience.answered(Meter::Rest, &said(1, 40), now);
        assert_eq!(waits(&patience, now), [0, 0, 0], "something is left");
        patience.answered(Meter::Rest, &said(0, 40), now);
        assert_eq!(waits(&patience, now), [40, 40, 40]);
        patience.answered(Meter::Creates, &said(0, 1_000_000), now);
        assert_eq!(waits(&patience, now), [3600, 60, 60], "no window is longer than an hour");
        let unknown = RateLimit { reset_after: None, ..said(0, 0) };
        let mut patience = Patience::default();
        patience.answered(Meter::Rest, &unknown, now);
        assert_eq!(waits(&patience, now), [0, 0, 0], "a window without an end is not believed");
    }
}

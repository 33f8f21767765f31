//! How much may be asked of an API with one credential. Every request takes its place here first: deletions and edits before
//! creates, those before tests, those before what nobody waits for; namespaces in turns.
//!
//! Who finds no place waits a moment ([`MOMENT`]); where that does not suffice it is told when to come again and keeps its
//! place in the line meanwhile, rather than holding a place among the reconciles.

mod line;
mod patience;
mod windows;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use connectors_api::client::RateLimit;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Asker, Meter, Purpose};
use crate::crd::RateLimits;
use line::{Key, Line, Want};
use patience::Patience;
use windows::{MINUTE, Windows};

/// How long a request waits for its place before its reconcile gives way to others.
const MOMENT: Duration = Duration::from_secs(2);
/// The longest that anybody is told to stay away: after it the place in the line is looked at again.
const LONGEST: Duration = Duration::from_hours(1);

/// How many look at once whether it is their turn.
const WOKEN: usize = 64;

/// No place at the moment; the place in the line is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// When to ask again.
    pub retry_after: Duration,
}

/// What is left of the limits, and who waits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Gauges {
    /// Requests left in this minute.
    pub minute: usize,
    /// Requests left in this hour.
    pub hour: usize,
    /// Objects that wait for a request.
    pub waiting: usize,
    /// How long the one waits that waits longest.
    pub oldest: Duration,
}

/// The budget of one credential.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    windows: Windows,
    line: Line<Arc<Notify>>,
    patience: Patience,
    under_way: usize,
}

/// A request that is counted and not sent yet. Dropped unsent, it is not counted.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    asker: Asker,
    meter: Meter,
    purpose: Purpose,
    counted_at: Option<Instant>,
}

/// A request's place among those under way; dropped when its answer is read.
#[derive(Debug)]
pub struct Place {
    budget: Budget,
}

impl Budget {
    /// A budget with nothing spent.
    pub fn new(limits: RateLimits) -> Self {
        Self(Arc::new(Mutex::new(State {
            windows: Windows::new(limits),
            line: Line::default(),
            patience: Patience::default(),
            under_way: 0,
        })))
    }

    /// Takes a place for one request.
    ///
    /// # Errors
    /// [`Full`], with the time to come again.
    pub async fn take(&self, asker: &Asker, meter: Meter, purpose: Purpose) -> Result<Place, Full> {
        self.take_within(asker, meter, purpose, MOMENT).await
    }

    /// Takes a place for one request, and waits for it as long as `patience`: for what would be begun anew otherwise.
    ///
    /// # Errors
    /// [`Full`], with the time to come again.
    pub async fn take_within(
        &self,
        asker: &Asker,
        meter: Meter,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<Place, Full> {
        self.wait(asker, meter, purpose, Want { count: true, place: true }, patience).await?;
        Ok(Place { budget: self.clone() })
    }

    /// Has a request counted that is sent a little later: what comes between must not have to wait for the limits.
    ///
    /// # Errors
    /// [`Full`], with the time to come again.
    pub async fn reserve(&self, asker: &Asker, meter: Meter, purpose: Purpose) -> Result<Reservation, Full> {
        self.wait(asker, meter, purpose, Want { count: true, place: false }, MOMENT).await?;
        let asker = asker.clone();
        Ok(Reservation { budget: self.clone(), asker, meter, purpose, counted_at: Some(Instant::now()) })
    }

    /// The API refused a request for the number of those before it.
    pub fn refused(&self, meter: Meter, retry_after: Option<Duration>) {
        self.0.lock().patience.refused(meter, retry_after, Instant::now());
    }

    /// The API answered a request.
    pub fn answered(&self, meter: Meter, said: &RateLimit) {
        self.0.lock().patience.answered(meter, said, Instant::now());
    }

    /// How long a poll of `pages` requests must be away from the next one to stay within its share.
    pub fn poll_interval(&self, wished: Duration, pages: usize) -> Duration {
        self.0.lock().windows.poll_interval(wished, pages)
    }

    /// What is left, and who waits.
    pub fn gauges(&self) -> Gauges {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.line.sweep(now);
        let (minute, hour) = state.windows.left(now);
        let oldest = state.line.oldest().map_or(Duration::ZERO, |since| now.duration_since(since));
        Gauges { minute, hour, waiting: state.line.len(), oldest }
    }

    /// Waits in the line until it is the asker's turn, at most for `patience`.
    async fn wait(
        &self,
        asker: &Asker,
        meter: Meter,
        purpose: Purpose,
        want: Want,
        patience: Duration,
    ) -> Result<(), Full> {
        let begun = Instant::now();
        let joined = {
            let mut state = self.0.lock();
            state.line.join(&asker.namespace, &asker.object, purpose, want, begun)
        };
        let Some(key) = joined else {
            return Err(Full { retry_after: MINUTE + spread(MINUTE) });
        };
        let deadline = begun + patience;
        let _waiting = Waiting { budget: self, key };
        loop {
            let (notify, at) = {
                let now = Instant::now();
                let mut state = self.0.lock();
                match state.turn(key, meter, want, now) {
                    Turn::Now => {
                        if want.count {
                            state.windows.count(purpose, now);
                        }
                        state.under_way += usize::from(want.place);
                        state.line.serve(key);
                        // What is free beyond this is for the next one.
                        state.wake();
                        return Ok(());
                    }
                    Turn::At(at) if at > deadline || now >= deadline => {
                        let back = at.min(now + LONGEST).max(now + Duration::from_secs(1));
                        let back = back + spread((back - now) / 20 + Duration::from_secs(1));
                        state.line.away(key, back);
                        return Err(Full { retry_after: back - now });
                    }
                    Turn::At(at) => {
                        let notify = Arc::new(Notify::new());
                        if let Some(ticket) = state.line.ticket(key) {
                            ticket.waiter = Some(Arc::clone(&notify));
                        }
                        (notify, at)
                    }
                }
            };
            // A time that has come without a turn means that others are ahead: they wake the next.
            let until = if at > Instant::now() { at.min(deadline) } else { deadline };
            let _ = timeout_at(until, notify.notified()).await;
        }
    }
}

/// Whether it is somebody's turn.
enum Turn {
    Now,
    /// Not before then, as far as can be seen.
    At(Instant),
}

impl State {
    fn turn(&mut self, key: Key, meter: Meter, want: Want, now: Instant) -> Turn {
        let Self { windows, line, patience, under_way } = self;
        let (purpose, ..) = key;
        let mut at = patience.open_at(meter, now);
        let creates = patience.open_at(Meter::Creates, now) <= now;
        let scans = patience.open_at(Meter::Scans, now) <= now;
        let rest = patience.open_at(Meter::Rest, now) <= now;
        let ahead = line.ahead(key, now, |purpose| match purpose {
            // The look before a create is not one itself.
            Purpose::Create => creates || rest,
            Purpose::ScanStart | Purpose::ScanRead => scans || rest,
            _ => rest,
        });
        if want.count {
            at = at.max(windows.free_at(purpose, 0, now));
            if windows.free(now) <= ahead.counts {
                at = at.max(windows.free_at(purpose, ahead.all, now));
            }
        }
        let room = (windows.limits().concurrent_requests as usize).saturating_sub(*under_way);
        let has_room = !want.place || room > ahead.places;
        let counted = !want.count || windows.free(now) > ahead.counts;
        if at <= now && has_room && counted { Turn::Now } else { Turn::At(at) }
    }

    /// Has those look again who are there: the first may be held by something that does not hold the next.
    fn wake(&self) {
        for waiter in self.line.present().take(WOKEN) {
            waiter.notify_one();
        }
    }
}

/// Somebody who waits right there; away from when it is dropped.
struct Waiting<'a> {
    budget: &'a Budget,
    key: Key,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.0.lock();
        if let Some(ticket) = state.line.ticket(self.key)
            && ticket.waiter.take().is_some()
        {
            state.line.away(self.key, Instant::now());
            state.wake();
        }
    }
}

impl Reservation {
    /// Sends it now: waits for a place among the requests under way.
    ///
    /// # Errors
    /// [`Full`] when there is none for long.
    pub async fn begin(mut self) -> Result<Place, Full> {
        let want = Want { count: false, place: true };
        self.budget.wait(&self.asker, self.meter, Purpose::Removal, want, MOMENT).await?;
        // What the API counts is when it comes.
        if let Some(then) = self.counted_at.take() {
            let mut state = self.budget.0.lock();
            state.windows.take_back(self.purpose, then);
            state.windows.count(self.purpose, Instant::now());
        }
        Ok(Place { budget: self.budget.clone() })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(then) = self.counted_at {
            let mut state = self.budget.0.lock();
            state.windows.take_back(self.purpose, then);
            state.wake();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.budget.0.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.wake();
    }
}

/// A part of `most`, so that those who were told the same time do not all come at it.
fn spread(most: Duration) -> Duration {
    most.min(MINUTE).mul_f64(crate::chance::part())
}

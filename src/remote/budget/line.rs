//! The line of those who wait for a request: by purpose, then namespaces in turns, then first come first served. Whoever goes
//! away for a while keeps the place until a little after the time at which it was told to be back. Pure: the time is given.
//!
//! Memory: a ticket is about 300 bytes, and there are never more than [`LIMIT`].

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::remote::Purpose;

/// Most tickets in one line.
pub(super) const LIMIT: usize = 20_000;
/// Most tickets that are looked at to find out how many are ahead. Farther back the place is estimated.
const LOOK_AHEAD: usize = 1_000;
/// Whoever is to be back so soon counts as being there.
const SOON: Duration = Duration::from_secs(5);
/// How long after that time a place is kept.
const GRACE: Duration = Duration::from_secs(15);

/// Where in the line: served from the lowest on.
pub(super) type Key = (Purpose, u64, u64);

/// Somebody's place.
#[derive(Debug)]
pub(super) struct Ticket<W> {
    /// The namespace, for whose turn it is.
    namespace: String,
    /// The object that has it.
    object: String,
    /// What is needed.
    pub(super) want: Want,
    /// How to reach whoever waits right there. None: it is away.
    pub(super) waiter: Option<W>,
    /// When it is to be back, if it is away.
    back_at: Instant,
    /// Since when it waits.
    pub(super) since: Instant,
    /// Tickets taken from the line, of this and more urgent purposes, when this one joined, and those ahead of it then.
    joined: (u64, u64),
}

/// What a request needs before it is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Want {
    /// To be counted in the minute and the hour.
    pub(super) count: bool,
    /// One of the places of requests under way.
    pub(super) place: bool,
}

/// What those ahead leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ahead {
    /// How many ahead are to be counted before.
    pub(super) counts: usize,
    /// How many ahead wait for a place among the requests under way.
    pub(super) places: usize,
    /// How many there are altogether; an estimate from [`LOOK_AHEAD`] on.
    pub(super) all: usize,
}

/// The line.
#[derive(Debug)]
pub(super) struct Line<W> {
    tickets: BTreeMap<Key, Ticket<W>>,
    keys: HashMap<String, Key>,
    lanes: HashMap<(Purpose, String), Lane>,
    /// By purpose: the round that is served, tickets in the line, and tickets taken from it so far.
    rounds: BTreeMap<Purpose, (u64, u64, u64)>,
    joined: u64,
}

/// One namespace's tickets of one purpose.
#[derive(Debug)]
struct Lane {
    tickets: usize,
    last_round: u64,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            tickets: BTreeMap::new(),
            keys: HashMap::new(),
            lanes: HashMap::new(),
            rounds: BTreeMap::new(),
            joined: 0,
        }
    }
}

impl<W> Line<W> {
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Since when the one waits who waits longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.tickets.values().map(|ticket| ticket.since).min()
    }

    pub(super) fn ticket(&mut self, key: Key) -> Option<&mut Ticket<W>> {
        self.tickets.get_mut(&key)
    }

    /// The place that the object has, or a new one at the end of its namespace's. None: the line is full.
    pub(super) fn join(
        &mut self,
        namespace: &str,
        object: &str,
        purpose: Purpose,
        want: Want,
        now: Instant,
    ) -> Option<Key> {
        let mut since = now;
        if let Some(key) = self.keys.get(object).copied() {
            if let Some(ticket) = self.tickets.get_mut(&key).filter(|_| key.0 == purpose) {
                ticket.want = want;
                return Some(key);
            }
            // It asks for something else now.
            since = self.leave(key).map_or(now, |ticket| ticket.since);
        }
        if self.tickets.len() >= LIMIT {
            self.sweep(now);
            if self.tickets.len() >= LIMIT {
                return None;
            }
        }
        let ahead = self.rounds.range(..=purpose).map(|(_, (_, waiting, _))| waiting).sum();
        let taken = self.taken_up_to(purpose);
        let (served, waiting, _) = self.rounds.entry(purpose).or_default();
        *waiting += 1;
        let lane = self
            .lanes
            .entry((purpose, namespace.to_owned()))
            .or_insert_with(|| Lane { tickets: 0, last_round: 0 });
        let round = if lane.tickets == 0 { *served } else { lane.last_round + 1 }.max(*served);
        (lane.tickets, lane.last_round) = (lane.tickets + 1, round);
        self.joined += 1;
        let key = (purpose, round, self.joined);
        let ticket = Ticket {
            namespace: namespace.to_owned(),
            object: object.to_owned(),
            want,
            waiter: None,
            back_at: now,
            since,
            joined: (taken, ahead),
        };
        self.keys.insert(object.to_owned(), key);
        self.tickets.insert(key, ticket);
        Some(key)
    }

    /// Takes the ticket out of the line whose turn it was: the rounds go on from there.
    pub(super) fn serve(&mut self, key: Key) {
        if let Some((served, ..)) = self.rounds.get_mut(&key.0) {
            *served = (*served).max(key.1);
        }
        self.leave(key);
    }

    /// Takes a ticket out of the line that is not needed any more.
    fn leave(&mut self, key: Key) -> Option<Ticket<W>> {
        let ticket = self.tickets.remove(&key)?;
        if self.keys.get(&ticket.object) == Some(&key) {
            self.keys.remove(&ticket.object);
        }
        let (purpose, ..) = key;
        if let Some((_, waiting, taken)) = self.rounds.get_mut(&purpose) {
            *waiting = waiting.saturating_sub(1);
            *taken += 1;
        }
        let lane = (purpose, ticket.namespace.clone());
        if let Some(found) = self.lanes.get_mut(&lane) {
            found.tickets -= 1;
            if found.tickets == 0 {
                self.lanes.remove(&lane);
            }
        }
        Some(ticket)
    }

    /// Lets whoever has the ticket go away until then.
    pub(super) fn away(&mut self, key: Key, until: Instant) {
        if let Some(ticket) = self.tickets.get_mut(&key) {
            ticket.waiter = None;
            ticket.back_at = until;
        }
    }

    /// Those ahead of a ticket that count: they are there, or are to be back soon, and `may_go` says that nothing else holds
    /// them. Those that did not come back in time lose their places.
    pub(super) fn ahead(&mut self, key: Key, now: Instant, may_go: impl Fn(Purpose) -> bool) -> Ahead {
        let mut ahead = Ahead { counts: 0, places: 0, all: 0 };
        let mut lost = Vec::new();
        let mut end = true;
        for (other, ticket) in self.tickets.range(..key) {
            if ahead.all >= LOOK_AHEAD {
                end = false;
                break;
            }
            if ticket.is_lost(now) {
                lost.push(*other);
                continue;
            }
            ahead.all += 1;
            if !may_go(other.0) {
                continue;
            }
            if ticket.waiter.is_some() {
                ahead.counts += usize::from(ticket.want.count);
                ahead.places += usize::from(ticket.want.place);
            } else if ticket.back_at <= now + SOON {
                ahead.counts += usize::from(ticket.want.count);
            }
        }
        for key in lost {
            self.leave(key);
        }
        if !end && let Some(ticket) = self.tickets.get(&key) {
            let (taken, before) = ticket.joined;
            let served = self.taken_up_to(key.0).saturating_sub(taken);
            let estimate = usize::try_from(before.saturating_sub(served)).unwrap_or(usize::MAX);
            ahead.all = ahead.all.max(estimate);
        }
        ahead
    }

    /// The first that are there, in the order of the line.
    pub(super) fn present(&self) -> impl Iterator<Item = &W> {
        self.tickets.values().take(LOOK_AHEAD).filter_map(|ticket| ticket.waiter.as_ref())
    }

    /// Takes the places of all that did not come back in time.
    pub(super) fn sweep(&mut self, now: Instant) {
        let lost = self.tickets.iter().filter(|(_, ticket)| ticket.is_lost(now));
        for key in lost.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.leave(key);
        }
    }

    /// Tickets taken from the line so far, of that and more urgent purposes.
    fn taken_up_to(&self, purpose: Purpose) -> u64 {
        self.rounds.range(..=purpose).map(|(_, (_, _, taken))| taken).sum()
    }
}

impl<W> Ticket<W> {
    fn is_lost(&self, now: Instant) -> bool {
        self.waiter.is_none() && now > self.back_at + GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Want = Want { count: true, place: true };

    fn join(line: &mut Line<()>, namespace: &str, object: &str, purpose: Purpose, now: Instant) -> Key {
        let key = line.join(namespace, object, purpose, ALL, now).unwrap();
        line.ticket(key).unwrap().waiter = Some(());
        key
    }

    fn served(line: &mut Line<()>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(key) = line.tickets.keys().next().copied() {
            all.push(line.tickets[&key].object.clone());
            line.serve(key);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn purposes_come_in_order_and_namespaces_in_turns() {
        let now = Instant::now();
        let mut line = Line::default();
        for n in 0..3 {
            join(&mut line, "many", &format!("m{n}"), Purpose::Create, now);
        }
        join(&mut line, "few", "f0", Purpose::Create, now);
        join(&mut line, "few", "poll", Purpose::Poll, now);
        join(&mut line, "few", "gone", Purpose::Removal, now);
        assert_eq!(served(&mut line), ["gone", "m0", "f0", "m1", "m2", "poll"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_comes_late_has_its_turn_next_and_no_more_than_its_turn() {
        let now = Instant::now();
        let mut line = Line::default();
        let keys =
            (0..6).map(|n| join(&mut line, "a", &format!("a{n}"), Purpose::Create, now)).collect::<Vec<_>>();
        for key in &keys[..3] {
            line.serve(*key);
        }
        line.leave(keys[5]);
        for n in 0..3 {
            join(&mut line, "b", &format!("b{n}"), Purpose::Create, now);
        }
        assert_eq!(served(&mut line), ["b0", "a3", "b1", "a4", "b2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_has_the_old_place_and_whoever_does_not_loses_it() {
        let now = Instant::now();
        let mut line = Line::default();
        let first = join(&mut line, "a", "first", Purpose::Create, now);
        let second = join(&mut line, "a", "second", Purpose::Create, now);
        line.away(first, now + Duration::from_secs(60));
        let ahead =
            |line: &mut Line<()>, at| line.ahead(second, now + Duration::from_secs(at), |_| true).counts;
        assert_eq!(ahead(&mut line, 10), 0, "what is free now is not kept for one who is away");
        assert_eq!(ahead(&mut line, 56), 1, "it will be back in a moment");
        assert_eq!(line.join("a", "first", Purpose::Create, ALL, now + Duration::from_secs(70)), Some(first));
        assert_eq!(ahead(&mut line, 76), 0, "it did not come");
        assert_eq!(line.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_asks_for_something_more_urgent_moves_ahead_with_the_age_it_has() {
        let now = Instant::now();
        let mut line = Line::default();
        let old = join(&mut line, "a", "a", Purpose::Detail, now);
        let new = line.join("a", "a", Purpose::Removal, ALL, now + Duration::from_secs(9)).unwrap();
        assert!(new < old && line.len() == 1);
        assert_eq!(line.oldest(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_held_by_something_else_holds_nobody_behind_it() {
        let now = Instant::now();
        let mut line = Line::default();
        join(&mut line, "a", "create", Purpose::Create, now);
        let poll = join(&mut line, "a", "poll", Purpose::Poll, now);
        assert_eq!(line.ahead(poll, now, |_| true).counts, 1);
        assert_eq!(line.ahead(poll, now, |purpose| purpose != Purpose::Create).counts, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded_and_far_back_the_place_is_an_estimate() {
        let now = Instant::now();
        let mut line = Line::<()>::default();
        let keys = (0..LIMIT)
            .map(|n| line.join("a", &n.to_string(), Purpose::Create, ALL, now).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(line.join("a", "late", Purpose::Create, ALL, now), None);
        assert_eq!(line.ahead(keys[500], now, |_| true).all, 500);
        assert_eq!(line.ahead(keys[15_000], now, |_| true).all, 15_000);
        for key in &keys[..5_000] {
            line.serve(*key);
        }
        assert_eq!(line.ahead(keys[15_000], now, |_| true).all, 10_000);
        assert!(line.join("a", "late", Purpose::Create, ALL, now).is_some());
        let later = now + Duration::from_secs(60);
        line.sweep(later);
        assert_eq!((line.len(), line.lanes.len(), line.keys.len()), (0, 0, 0), "nobody came back");
    }
}

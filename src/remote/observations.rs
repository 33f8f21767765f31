//! What was last seen of each connector at an API. The newest look wins, whether it came from a list or from a read of one
//! connector; a list that does not show a connector is a reason to ask for it by id, and nothing else.
//!
//! Memory: one entry a connector of the API workspace, about half a kilobyte with its config.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use connectors_api::wire::{ConnectorDetail, ConnectorId, ConnectorState, Provider};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Item;

/// A list shorter than this share of what was there before is an alarm: nothing is concluded from what it lacks.
const ALARM_SHARE: usize = 2;
/// So many connectors that a short list lacks have to be asked for by id, one after the other and without one that is there
/// after all, before it is believed. Even then each of the others is asked for by id before anything follows for it.
const ALARM_SAMPLE: usize = 8;
/// A list that is short of connectors that nobody here knows by id can be checked by nobody: it is believed when all lists of
/// so long a time are as short.
const ALARM_TIME: Duration = Duration::from_mins(10);
/// Below this many connectors a short list is nothing unusual.
const ALARM_FLOOR: usize = 4;

/// A connector as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: Provider,
    /// Its config, as far as the API lets it be read.
    pub config: Map<String, Value>,
    /// The API's word for its state.
    pub state: ConnectorState,
    /// Its risk score.
    pub risk_score: Option<u32>,
    /// Its findings. Only lists tell them.
    pub findings_count: Option<u64>,
    /// Its last scan. Only lists tell it.
    pub last_scan: Option<Timestamp>,
    /// When the request that saw it was begun.
    pub read_at: Instant,
}

impl Observation {
    /// What was seen when `item` was read at that time.
    pub(crate) fn of(item: &Item, read_at: Instant) -> Self {
        Self {
            name: item.name.to_string(),
            provider: item.provider.clone(),
            config: item.config(),
            state: item.state.clone(),
            risk_score: item.risk_score,
            findings_count: item.findings_count,
            last_scan: item.last_scan,
            read_at,
        }
    }
}

/// What is known of one id.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// It was seen.
    Seen(Observation),
    /// A complete list lacked it.
    Missing,
    /// Nobody looked yet.
    Unread,
}

/// What a list changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// The connectors that look different from before, are new, or are missing.
    pub ids: Vec<ConnectorId>,
    /// The list was so much shorter than before that nothing is concluded from what it lacks.
    pub alarm: Option<Alarm>,
}

/// A list that is too short to be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Alarm {
    /// Connectors before.
    pub before: usize,
    /// Connectors now.
    pub now: usize,
}

/// What was last seen, by id.
#[derive(Debug, Default)]
pub struct Observations {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// With the begin of the request that showed it.
    seen: HashMap<ConnectorId, (Arc<Item>, Instant)>,
    missing: HashSet<ConnectorId>,
    /// Whether a complete list was read.
    listed: bool,
    /// What was there before this process looked.
    expected: HashSet<ConnectorId>,
    /// How many were there then, with those that nobody here knows by id.
    expected_count: usize,
    /// Since when all lists are too short.
    alarmed: Option<Instant>,
    /// What the last list lacked, while it is too short to be believed.
    doubted: HashSet<ConnectorId>,
    /// How many of them were asked for by id since, and are not there; 0 again as soon as one is.
    absent: usize,
}

impl Observations {
    /// What was there before this process looked, by a record that outlives it: so many, and among them these. Only the lists
    /// of the begin are compared with it, until one is believed.
    pub fn expect(&self, count: usize, ids: Vec<ConnectorId>) {
        let mut inner = self.inner.lock();
        if !inner.listed {
            inner.expected_count = inner.expected_count.max(count);
            inner.expected = ids.into_iter().collect();
        }
    }

    /// Whether a list was read yet.
    pub fn has_looked(&self) -> bool {
        self.inner.lock().listed
    }

    /// Up to `most` connectors to ask for by id, since the last list lacks them and is too short to be believed.
    pub fn doubted(&self, most: usize) -> Vec<ConnectorId> {
        self.inner.lock().doubted.iter().take(most).cloned().collect()
    }

    /// A connector that a list lacked that is not believed was asked for by id, and is not there.
    pub fn confirm_absent(&self, id: &ConnectorId) {
        let mut inner = self.inner.lock();
        if inner.doubted.remove(id) {
            inner.absent += 1;
            inner.seen.remove(id);
            inner.expected.remove(id);
            inner.expected_count = inner.expected_count.saturating_sub(1);
            inner.missing.insert(id.clone());
        }
    }

    /// What is known of `id`.
    pub fn get(&self, id: &ConnectorId) -> Sight {
        let inner = self.inner.lock();
        match inner.seen.get(id) {
            Some((item, read_at)) => Sight::Seen(Observation::of(item, *read_at)),
            None if inner.missing.contains(id) => Sight::Missing,
            None => Sight::Unread,
        }
    }

    /// Takes over a complete list that was begun at `begun`, and gives it back with what it has in common with what was seen
    /// before shared with that.
    pub fn apply_list(&self, begun: Instant, items: Vec<Item>) -> (Vec<Arc<Item>>, Changes) {
        let mut inner = self.inner.lock();
        inner.listed = true;
        let before = inner.seen.len().max(inner.expected.len()).max(inner.expected_count);
        let mut ids = Vec::new();
        let mut items = items.into_iter().map(Arc::new).collect::<Vec<_>>();
        for item in &mut items {
            inner.missing.remove(&item.id);
            match inner.seen.get_mut(&item.id) {
                Some((_, read_at)) if *read_at > begun => {}
                Some((old, read_at)) => {
                    if item.differs(old) {
                        ids.push(item.id.clone());
                    }
                    if *item == *old {
                        *item = Arc::clone(old);
                    } else {
                        *old = Arc::clone(item);
                    }
                    *read_at = begun;
                }
                None => {
                    ids.push(item.id.clone());
                    inner.seen.insert(item.id.clone(), (Arc::clone(item), begun));
                }
            }
        }
        let listed = items.iter().map(|item| &item.id).collect::<HashSet<_>>();
        let short = before > ALARM_FLOOR && items.len() < before / ALARM_SHARE;
        let known = inner.seen.keys().chain(&inner.expected);
        let doubted = known.filter(|id| short && !listed.contains(id)).cloned().collect::<HashSet<_>>();
        let checked = inner.absent >= ALARM_SAMPLE
            || doubted.is_empty()
                && inner.alarmed.is_some_and(|since| begun.saturating_duration_since(since) >= ALARM_TIME);
        let alarm = (short && !checked).then_some(Alarm { before, now: items.len() });
        if alarm.is_some() {
            inner.alarmed.get_or_insert(begun);
            inner.doubted = doubted;
        } else {
            (inner.absent, inner.doubted, inner.alarmed) = (0, HashSet::new(), None);
            inner.expected_count = 0;
            for id in std::mem::take(&mut inner.expected) {
                if !listed.contains(&id) && inner.missing.insert(id.clone()) {
                    ids.push(id);
                }
            }
            let gone = inner
                .seen
                .iter()
                .filter(|(id, (_, read_at))| *read_at <= begun && !listed.contains(id))
                .map(|(id, _)| id.clone())
                .collect::<Vec<_>>();
            for id in gone {
                inner.seen.remove(&id);
                inner.missing.insert(id.clone());
                ids.push(id);
            }
        }
        drop(listed);
        (items, Changes { ids, alarm })
    }

    /// Takes over a read of one connector that was begun at `begun`.
    pub fn apply_read(&self, begun: Instant, detail: &ConnectorDetail) {
        let mut inner = self.inner.lock();
        inner.missing.remove(&detail.id);
        if inner.doubted.contains(&detail.id) {
            inner.absent = 0;
        }
        let before = inner.seen.get(&detail.id);
        if before.is_some_and(|(_, read_at)| *read_at > begun) {
            return;
        }
        let item = Item::read(detail, before.map(|(item, _)| item.as_ref()));
        inner.seen.insert(detail.id.clone(), (Arc::new(item), begun));
    }

    /// Forgets a connector that is confirmed gone.
    pub fn forget(&self, id: &ConnectorId) {
        let mut inner = self.inner.lock();
        inner.seen.remove(id);
        inner.missing.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use connectors_api::wire::ConnectorItem;

    use super::*;

    fn item(id: &str, state: ConnectorState) -> Item {
        Item::from(ConnectorItem {
            id: ConnectorId::parse(id).unwrap(),
            name: "n".to_owned(),
            provider: Provider::Aws,
            status: state,
            config: Map::new(),
            last_scan: None,
            findings_count: 0,
            risk_score: None,
            created_at: None,
        })
    }

    fn id(text: &str) -> ConnectorId {
        ConnectorId::parse(text).unwrap()
    }

    fn detail(id: &str, state: ConnectorState) -> ConnectorDetail {
        ConnectorDetail {
            id: ConnectorId::parse(id).unwrap(),
            name: "n".to_owned(),
            provider: Provider::Aws,
            status: state,
            config: Map::new(),
            scan_history: Vec::new(),
            risk_score: None,
            created_at: None,
            updated_at: None,
        }
    }

    #[test]
    fn an_unchanged_list_changes_nothing() {
        let observations = Observations::default();
        let start = Instant::now();
        assert_eq!(
            observations.apply_list(start, vec![item("conn-1", ConnectorState::Active)]).1.ids,
            [id("conn-1")]
        );
        let later = start + Duration::from_secs(60);
        assert!(
            observations.apply_list(later, vec![item("conn-1", ConnectorState::Active)]).1.ids.is_empty()
        );
        let changed = observations.apply_list(later, vec![item("conn-1", ConnectorState::Error)]).1;
        assert_eq!(changed.ids, [id("conn-1")]);
    }

    #[test]
    fn a_list_begun_before_a_read_does_not_undo_it() {
        let observations = Observations::default();
        let start = Instant::now();
        observations.apply_read(start + Duration::from_secs(1), &detail("conn-1", ConnectorState::Active));
        observations.apply_list(start, vec![item("conn-1", ConnectorState::PendingTest)]);
        let Sight::Seen(seen) = observations.get(&id("conn-1")) else { panic!("it was read") };
        assert_eq!(seen.state, ConnectorState::Active);
        observations.apply_list(start, Vec::new());
        assert!(
            matches!(observations.get(&id("conn-1")), Sight::Seen(_)),
            "the list was begun before it was there"
        );
    }

    #[test]
    fn a_connector_that_a_later_list_lacks_is_missing_and_may_come_back() {
        let observations = Observations::default();
        let start = Instant::now();
        observations.apply_list(start, vec![item("conn-1", ConnectorState::Active)]);
        let changes = observations.apply_list(start + Duration::from_secs(1), Vec::new()).1;
        assert_eq!((changes.ids, changes.alarm), (vec![id("conn-1")], None));
        assert_eq!(observations.get(&id("conn-1")), Sight::Missing);
        observations.apply_list(start + Duration::from_secs(2), vec![item("conn-1", ConnectorState::Active)]);
        assert!(matches!(observations.get(&id("conn-1")), Sight::Seen(_)));
        assert_eq!(observations.get(&id("conn-2")), Sight::Unread);
    }

    #[test]
    fn nothing_is_concluded_from_a_list_that_is_suddenly_empty() {
        let observations = Observations::default();
        let start = Instant::now();
        let many = (0..10).map(|n| item(&format!("conn-{n}"), ConnectorState::Active)).collect::<Vec<_>>();
        observations.apply_list(start, many);
        let changes = observations.apply_list(start + Duration::from_secs(1), Vec::new()).1;
        assert_eq!(changes.alarm, Some(Alarm { before: 10, now: 0 }));
        assert!(changes.ids.is_empty());
        assert!(matches!(observations.get(&id("conn-3")), Sight::Seen(_)));
    }

    fn items(count: usize) -> Vec<Item> {
        (0..count).map(|n| item(&format!("conn-{n}"), ConnectorState::Active)).collect()
    }

    #[test]
    fn after_a_restart_a_list_is_compared_with_what_the_record_counted() {
        let observations = Observations::default();
        observations.expect(100, vec![id("conn-1"), id("conn-2")]);
        let start = Instant::now();
        let alarm = observations.apply_list(start, items(10)).1.alarm;
        assert_eq!(alarm, Some(Alarm { before: 100, now: 10 }));
        observations.expect(3, Vec::new());
        assert!(
            observations.apply_list(start, items(10)).1.alarm.is_some(),
            "the first list was read already"
        );
        assert_eq!(observations.apply_list(start, items(60)).1.alarm, None, "that is not short");
        assert_eq!(observations.apply_list(start, items(40)).1.alarm, None, "what was there is forgotten");
    }

    #[test]
    fn a_short_list_that_nobody_can_check_by_id_is_believed_when_it_was_short_for_long() {
        let observations = Observations::default();
        observations.expect(100, Vec::new());
        let start = Instant::now();
        let alarm = |after: Duration, count| observations.apply_list(start + after, items(count)).1.alarm;
        assert!(alarm(Duration::ZERO, 0).is_some());
        assert!(alarm(ALARM_TIME / 2, 0).is_some());
        assert!(alarm(ALARM_TIME - Duration::from_secs(1), 2).is_some());
        assert_eq!(alarm(ALARM_TIME, 2), None);
        assert_eq!(alarm(ALARM_TIME * 2, 2), None, "and from then on it is what was there");
    }

    #[test]
    fn the_time_of_a_short_list_begins_anew_after_one_that_is_not_and_is_no_proof_against_what_can_be_asked_for()
     {
        let observations = Observations::default();
        let start = Instant::now();
        let alarm = |minutes, count| {
            observations.apply_list(start + Duration::from_mins(minutes), items(count)).1.alarm
        };
        assert_eq!(alarm(0, 10), None);
        assert!(alarm(1, 0).is_some());
        assert!(alarm(60, 0).is_some(), "each of the ten can be asked for by id");
        assert_eq!(alarm(61, 10), None);
        assert!(alarm(62, 2).is_some());
        for n in 2..8 {
            observations.confirm_absent(&id(&format!("conn-{n}")));
        }
        assert_eq!(alarm(63, 2), None, "four are left of ten, and two of four are not few");
        assert_eq!(observations.get(&id("conn-3")), Sight::Missing);
    }

    #[test]
    fn eight_that_are_asked_for_and_not_there_end_the_alarm() {
        let observations = Observations::default();
        let start = Instant::now();
        observations.apply_list(start, items(100));
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(observations.apply_list(later(1), Vec::new()).1.alarm.is_some());
        for asked in 1..=ALARM_SAMPLE {
            assert!(observations.apply_list(later(2), Vec::new()).1.alarm.is_some(), "{asked}");
            let doubted = observations.doubted(1);
            observations.confirm_absent(&doubted[0]);
        }
        let believed = observations.apply_list(later(3), Vec::new()).1;
        assert_eq!((believed.alarm, believed.ids.len()), (None, 100 - ALARM_SAMPLE));
    }
}

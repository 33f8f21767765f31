//! What was last seen of each connector at an API. The newest look wins, whether it came from a list or from a read of one
//! connector; a list that does not show a connector is a reason to ask for it by id, and nothing else.
//!
//! Memory: one entry a connector of the API workspace, about half a kilobyte with its config.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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
    /// What was there before this process looked.
    expected: HashSet<ConnectorId>,
    /// What the last list lacked, while it is too short to be believed.
    doubted: HashSet<ConnectorId>,
    /// How many of them were asked for by id since, and are not there; 0 again as soon as one is.
    absent: usize,
}

impl Observations {
    /// What was there before this process looked, by a record that outlives it. Only the first list is compared with it.
    pub fn expect(&self, ids: Vec<ConnectorId>) {
        if !self.has_looked() {
            self.inner.lock().expected = ids.into_iter().collect();
        }
    }

    /// Whether anything was seen, or missed, yet.
    pub fn has_looked(&self) -> bool {
        let inner = self.inner.lock();
        !(inner.seen.is_empty() && inner.missing.is_empty() && inner.doubted.is_empty())
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
        let before = inner.seen.len().max(inner.expected.len());
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
        let alarm = (short && inner.absent < ALARM_SAMPLE).then_some(Alarm { before, now: items.len() });
        if alarm.is_some() {
            let known = inner.seen.keys().chain(&inner.expected);
            inner.doubted = known.filter(|id| !listed.contains(id)).cloned().collect();
        } else {
            (inner.absent, inner.doubted) = (0, HashSet::new());
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
}

//! What was last seen of each connector at an API. The newest look wins, whether it came from a list or from a read of one
//! connector; a list that does not show a connector is a reason to ask for it by id, and nothing else.
//!
//! Memory: one entry a connector of the API workspace, about half a kilobyte with its config.

use std::collections::{HashMap, HashSet};

use connectors_api::wire::{ConnectorDetail, ConnectorId, ConnectorItem, ConnectorState, Provider};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;

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
    fn differs(&self, other: &Self) -> bool {
        let Self { name, provider, config, state, risk_score, findings_count, last_scan, read_at: _ } = self;
        *name != other.name
            || *provider != other.provider
            || *config != other.config
            || *state != other.state
            || *risk_score != other.risk_score
            || *findings_count != other.findings_count
            || *last_scan != other.last_scan
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
    seen: HashMap<ConnectorId, Observation>,
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
        let mut inner = self.inner.lock();
        if inner.seen.is_empty() && inner.missing.is_empty() && inner.doubted.is_empty() {
            inner.expected = ids.into_iter().collect();
        }
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
            Some(observation) => Sight::Seen(observation.clone()),
            None if inner.missing.contains(id) => Sight::Missing,
            None => Sight::Unread,
        }
    }

    /// Takes over a complete list that was begun at `begun`.
    pub fn apply_list(&self, begun: Instant, items: &[ConnectorItem]) -> Changes {
        let mut inner = self.inner.lock();
        let before = inner.seen.len().max(inner.expected.len());
        let mut ids = Vec::new();
        let mut listed = HashSet::with_capacity(items.len());
        for item in items {
            listed.insert(&item.id);
            inner.missing.remove(&item.id);
            let new = Observation {
                name: item.name.clone(),
                provider: item.provider.clone(),
                config: item.config.clone(),
                state: item.status.clone(),
                risk_score: item.risk_score,
                findings_count: Some(item.findings_count),
                last_scan: item.last_scan,
                read_at: begun,
            };
            match inner.seen.get_mut(&item.id) {
                Some(old) if old.read_at > begun => {}
                Some(old) => {
                    if old.differs(&new) {
                        ids.push(item.id.clone());
                    }
                    *old = new;
                }
                None => {
                    ids.push(item.id.clone());
                    inner.seen.insert(item.id.clone(), new);
                }
            }
        }
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
                .filter(|(id, observation)| observation.read_at <= begun && !listed.contains(id))
                .map(|(id, _)| id.clone())
                .collect::<Vec<_>>();
            for id in gone {
                inner.seen.remove(&id);
                inner.missing.insert(id.clone());
                ids.push(id);
            }
        }
        Changes { ids, alarm }
    }

    /// Takes over a read of one connector that was begun at `begun`.
    pub fn apply_read(&self, begun: Instant, detail: &ConnectorDetail) {
        let mut inner = self.inner.lock();
        inner.missing.remove(&detail.id);
        if inner.doubted.contains(&detail.id) {
            inner.absent = 0;
        }
        let before = inner.seen.get(&detail.id);
        if before.is_some_and(|old| old.read_at > begun) {
            return;
        }
        // A connector without history has no findings; what it has otherwise, only a list tells.
        let findings_count =
            if detail.scan_history.is_empty() { Some(0) } else { before.and_then(|old| old.findings_count) };
        let observation = Observation {
            name: detail.name.clone(),
            provider: detail.provider.clone(),
            config: detail.config.clone(),
            state: detail.status.clone(),
            risk_score: detail.risk_score,
            findings_count,
            last_scan: before.and_then(|old| old.last_scan),
            read_at: begun,
        };
        inner.seen.insert(detail.id.clone(), observation);
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

    use super::*;

    fn item(id: &str, state: ConnectorState) -> ConnectorItem {
        ConnectorItem {
            id: ConnectorId::parse(id).unwrap(),
            name: "n".to_owned(),
            provider: Provider::Aws,
            status: state,
            config: Map::new(),
            last_scan: None,
            findings_count: 0,
            risk_score: None,
            created_at: None,
        }
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
            observations.apply_list(start, &[item("conn-1", ConnectorState::Active)]).ids,
            [id("conn-1")]
        );
        let later = start + Duration::from_secs(60);
        assert!(observations.apply_list(later, &[item("conn-1", ConnectorState::Active)]).ids.is_empty());
        let changed = observations.apply_list(later, &[item("conn-1", ConnectorState::Error)]);
        assert_eq!(changed.ids, [id("conn-1")]);
    }

    #[test]
    fn a_list_begun_before_a_read_does_not_undo_it() {
        let observations = Observations::default();
        let start = Instant::now();
        observations.apply_read(start + Duration::from_secs(1), &detail("conn-1", ConnectorState::Active));
        observations.apply_list(start, &[item("conn-1", ConnectorState::PendingTest)]);
        let Sight::Seen(seen) = observations.get(&id("conn-1")) else { panic!("it was read") };
        assert_eq!(seen.state, ConnectorState::Active);
        observations.apply_list(start, &[]);
        assert!(
            matches!(observations.get(&id("conn-1")), Sight::Seen(_)),
            "the list was begun before it was there"
        );
    }

    #[test]
    fn a_connector_that_a_later_list_lacks_is_missing_and_may_come_back() {
        let observations = Observations::default();
        let start = Instant::now();
        observations.apply_list(start, &[item("conn-1", ConnectorState::Active)]);
        let changes = observations.apply_list(start + Duration::from_secs(1), &[]);
        assert_eq!((changes.ids, changes.alarm), (vec![id("conn-1")], None));
        assert_eq!(observations.get(&id("conn-1")), Sight::Missing);
        observations.apply_list(start + Duration::from_secs(2), &[item("conn-1", ConnectorState::Active)]);
        assert!(matches!(observations.get(&id("conn-1")), Sight::Seen(_)));
        assert_eq!(observations.get(&id("conn-2")), Sight::Unread);
    }

    #[test]
    fn nothing_is_concluded_from_a_list_that_is_suddenly_empty() {
        let observations = Observations::default();
        let start = Instant::now();
        let many = (0..10).map(|n| item(&format!("conn-{n}"), ConnectorState::Active)).collect::<Vec<_>>();
        observations.apply_list(start, &many);
        let changes = observations.apply_list(start + Duration::from_secs(1), &[]);
        assert_eq!(changes.alarm, Some(Alarm { before: 10, now: 0 }));
        assert!(changes.ids.is_empty());
        assert!(matches!(observations.get(&id("conn-3")), Sight::Seen(_)));
    }
}

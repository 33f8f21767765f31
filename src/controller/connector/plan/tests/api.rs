//! The API of the tests: what it has, and how it takes the next requests.

use std::collections::VecDeque;

use connectors_api::wire::{
    ConnectorCreated, ConnectorDetail, ConnectorId, ConnectorItem, ConnectorState, CreateConnector,
    ScanHistoryEntry, TestOutcome,
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::remote::{Fault, FaultKind, Observation};

use super::fixture;

/// How the API takes a POST.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// Done and answered.
    Created,
    /// Done; the answer is lost.
    CreatedUnheard,
    /// Done, or shown, that many seconds later; the answer is lost.
    CreatedLate(i64),
    /// Not done; the answer says nothing.
    Unheard,
    /// Not done, and said so.
    Refused(FaultKind),
}

/// How the API takes a DELETE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Deletion {
    /// Done and answered.
    Done,
    /// Done; the answer is lost.
    DoneUnheard,
    /// Not done, and no answer.
    Unheard,
    /// Answered as done, and gone that many seconds later.
    Later(i64),
    /// Not done, and said so.
    Refused(FaultKind),
}

/// A connector at the API.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub item: ConnectorItem,
    pub history: Vec<ScanHistoryEntry>,
    /// Whether the object made it.
    pub ours: bool,
    /// Lists and reads do not show it before then.
    pub shown_from: Timestamp,
    /// When an accepted deletion comes true.
    pub gone_at: Option<Timestamp>,
}

/// An API with what it has.
#[derive(Default)]
pub(super) struct Api {
    pub connectors: Vec<Remote>,
    /// What happens to the next POSTs; `Created` afterwards.
    pub answers: VecDeque<Answer>,
    /// What happens to the next DELETEs; `Done` afterwards.
    pub deletions: VecDeque<Deletion>,
    /// What the next tests say; connected afterwards.
    pub tests: VecDeque<Result<TestOutcome, Fault>>,
    /// What every other request gets instead of an answer.
    pub down: Option<FaultKind>,
    /// Lists lack everything.
    pub empty_lists: bool,
    /// Reads lack everything.
    pub hides_reads: bool,
    /// The state after a test, whatever it brings.
    pub pinned: Option<ConnectorState>,
    /// Regions are not written as they were given.
    pub shouts: bool,
    /// A scope's prefixes are not shown.
    pub shows_no_prefixes: bool,
    ids: u32,
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: format!("the API said {kind:?}"), retry_after: None }
}

impl Api {
    /// What exists at `now`, shown or not.
    pub(super) fn alive(&self, now: Timestamp) -> impl Iterator<Item = &Remote> {
        self.connectors.iter().filter(move |it| it.gone_at.is_none_or(|gone| gone > now))
    }

    /// What a list shows.
    pub(super) fn list(&self, now: Timestamp) -> Result<Vec<ConnectorItem>, Fault> {
        self.up()?;
        let shown = self.alive(now).filter(|it| it.shown_from <= now && !self.empty_lists);
        Ok(shown.map(|it| it.item.clone()).collect())
    }

    pub(super) fn read(&self, id: &ConnectorId, now: Timestamp) -> Result<ConnectorDetail, Fault> {
        self.up()?;
        let mut shown = self.alive(now).filter(|it| it.shown_from <= now && !self.hides_reads);
        let found = shown.find(|it| it.item.id == *id);
        let Remote { item, history, .. } = found.ok_or_else(|| fault(FaultKind::NotFound))?;
        Ok(ConnectorDetail {
            id: item.id.clone(),
            name: item.name.clone(),
            provider: item.provider.clone(),
            status: item.status.clone(),
            config: item.config.clone(),
            scan_history: history.clone(),
            risk_score: item.risk_score,
            created_at: item.created_at,
            updated_at: None,
        })
    }

    pub(super) fn create(
        &mut self,
        create: &CreateConnector,
        now: Timestamp,
    ) -> Result<ConnectorCreated, Fault> {
        let answer = self.answers.pop_front().unwrap_or(Answer::Created);
        let later = match answer {
            Answer::Created | Answer::CreatedUnheard => 0,
            Answer::CreatedLate(seconds) => seconds,
            Answer::Unheard => return Err(fault(FaultKind::OutcomeUnknown)),
            Answer::Refused(kind) => return Err(fault(kind)),
        };
        self.ids += 1;
        let mut config = create.readable_config();
        if self.shows_no_prefixes {
            config.remove("prefixes");
        }
        if self.shouts {
            config.insert("region".to_owned(), "EU-WEST-1".into());
        }
        let item = ConnectorItem {
            id: ConnectorId::parse(format!("conn-{}", self.ids)).unwrap(),
            name: create.name.clone(),
            provider: create.config.provider(),
            status: ConnectorState::PendingTest,
            config,
            last_scan: None,
            findings_count: 0,
            risk_score: None,
            created_at: Some(now),
        };
        let created = ConnectorCreated {
            id: item.id.clone(),
            name: item.name.clone(),
            provider: item.provider.clone(),
            status: item.status.clone(),
            created_at: item.created_at,
        };
        self.connectors.push(Remote {
            item,
            history: Vec::new(),
            ours: true,
            shown_from: now + SignedDuration::from_secs(later),
            gone_at: None,
        });
        if answer == Answer::Created { Ok(created) } else { Err(fault(FaultKind::OutcomeUnknown)) }
    }

    pub(super) fn delete(&mut self, id: &ConnectorId, now: Timestamp) -> Result<(), Fault> {
        self.up()?;
        if !self.alive(now).any(|it| it.item.id == *id) {
            return Err(fault(FaultKind::NotFound));
        }
        let deletion = self.deletions.pop_front().unwrap_or(Deletion::Done);
        let gone_at = match deletion {
            Deletion::Done | Deletion::DoneUnheard => now,
            Deletion::Later(seconds) => now + SignedDuration::from_secs(seconds),
            Deletion::Unheard => return Err(fault(FaultKind::OutcomeUnknown)),
            Deletion::Refused(kind) => return Err(fault(kind)),
        };
        self.connectors.iter_mut().filter(|it| it.item.id == *id).for_each(|it| it.gone_at = Some(gone_at));
        if deletion == Deletion::DoneUnheard { Err(fault(FaultKind::OutcomeUnknown)) } else { Ok(()) }
    }

    pub(super) fn test(&mut self, id: &ConnectorId, now: Timestamp) -> Result<TestOutcome, Fault> {
        self.up()?;
        if !self.alive(now).any(|it| it.item.id == *id) {
            return Err(fault(FaultKind::NotFound));
        }
        let outcome = self.tests.pop_front().unwrap_or_else(|| Ok(fixture::connected()))?;
        let state = if outcome.connected { ConnectorState::Active } else { ConnectorState::Error };
        let state = self.pinned.clone().unwrap_or(state);
        let tested = self.connectors.iter_mut().filter(|it| it.item.id == *id);
        tested.for_each(|it| it.item.status = state.clone());
        Ok(outcome)
    }

    /// Puts a connector there that somebody else made.
    pub(super) fn put(&mut self, id: &str, create: &CreateConnector, now: Timestamp) {
        let item = ConnectorItem {
            id: ConnectorId::parse(id).unwrap(),
            name: create.name.clone(),
            provider: create.config.provider(),
            status: ConnectorState::Active,
            config: create.readable_config(),
            last_scan: None,
            findings_count: 0,
            risk_score: None,
            created_at: Some(now),
        };
        self.connectors.push(Remote {
            item,
            history: Vec::new(),
            ours: false,
            shown_from: now,
            gone_at: None,
        });
    }

    fn up(&self) -> Result<(), Fault> {
        self.down.map_or(Ok(()), |kind| Err(fault(kind)))
    }
}

/// What a list says of a connector.
pub(super) fn observation(item: &ConnectorItem) -> Observation {
    Observation {
        name: item.name.clone(),
        provider: item.provider.clone(),
        config: item.config.clone(),
        state: item.status.clone(),
        risk_score: item.risk_score,
        findings_count: Some(item.findings_count),
        last_scan: item.last_scan,
        read_at: Instant::now(),
    }
}

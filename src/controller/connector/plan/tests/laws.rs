//! What must never happen, held against each effect before it is carried out, and what is to be so at the end.

use std::time::Duration;

use connectors_api::wire::{ConfigMatch, ConnectorId, readable_config_matches};
use jiff::Timestamp;

use super::fixture;
use super::world::{Pass, World, since};
use crate::controller::conditions::{CONNECTED, find};
use crate::controller::connector::observed::{Facts, OpenClaim, Request, Survey};
use crate::controller::connector::plan::Note;
use crate::controller::ledger::{self, Ending, LEASE};
use crate::crd::{Claim, ClaimKind, ConnectorStatus, DeletionPolicy, Origin, ReplacementPhase};

impl World {
    /// A POST: after the finalizer, under an acknowledged and young claim that says what is sent, once for each claim, and
    /// never while another connector of this object is there or may yet appear.
    pub(super) fn check_create(&self, request: &Request, claimed: Option<&(String, Timestamp)>) -> Claim {
        assert!(self.object.finalizer, "the finalizer is there before the first POST");
        let (nonce, since_when) = claimed.expect("this pass opened the claim");
        let pace = Duration::try_from(jiff::SignedDuration::from_secs(self.pace)).unwrap();
        assert!(since(*since_when, self.now) <= LEASE + pace, "decided within the lease");
        let open = ledger::of(&self.ledger, ClaimKind::Connector, &self.object.uid).expect("an open claim");
        assert_eq!(open.nonce, *nonce);
        assert_eq!(
            self.status.claim.as_ref(),
            Some(nonce),
            "the object says under which claim it is created"
        );
        assert_eq!(open.subject, request.create.name, "the claim says what is sent");
        assert_eq!(open.config.as_deref(), serde_json::to_string(&request.readable).ok().as_deref());
        assert_eq!(open.identity, self.workspace.as_ref().unwrap().identity);
        assert!(self.posts.iter().all(|post| post.nonce != *nonce), "one POST a claim");
        let mut ours = self.ours();
        if let Some(replacement) = &self.status.replacement
            && replacement.phase == ReplacementPhase::CreatingFirst
        {
            assert_eq!(replacement.sent.as_ref(), Some(&request.sent), "it is recorded what is sent");
            ours.retain(|id| *id != replacement.old_id);
        }
        assert_eq!(ours, Vec::<String>::new(), "a second connector for one object: {:#?}", self.log);
        open.clone()
    }

    /// A claim is closed when what was made under it is in the status, or when nothing was, and nothing can appear.
    /// Closes the claim that was seen open.
    pub(super) fn close(&mut self, nonce: &str, open: Option<OpenClaim>, ending: Ending, pass: &mut Pass) {
        self.check_close(nonce);
        ledger::end(&mut self.ledger, nonce, open.unwrap().claim.claimed_at, ending).unwrap();
        pass.claimed = None;
    }

    fn check_close(&self, nonce: &str) {
        let sent = self.posts.iter().any(|post| post.nonce == nonce);
        let lets_go =
            self.object.deleting && (self.object.abandon || self.policy() == DeletionPolicy::Retain);
        for it in self.api.alive(self.now).filter(|it| it.ours && sent && !lets_go) {
            let known = self.status.ids().any(|id| id == it.item.id.as_str());
            assert!(known, "closed before the id was put down: {:#?}", self.log);
        }
    }

    pub(super) fn check_delete(&self, id: &ConnectorId) {
        let ours = self.api.connectors.iter().any(|it| it.ours && it.item.id == *id);
        let permitted = self.status.replacement.as_ref().and_then(|it| match it.phase {
            ReplacementPhase::Deleting | ReplacementPhase::Switched => Some(it.old_id.clone()),
            ReplacementPhase::RollingBack => it.new_id.clone(),
            ReplacementPhase::Creating | ReplacementPhase::CreatingFirst | ReplacementPhase::Testing => None,
        });
        let replaced = permitted.as_deref() == Some(id.as_str());
        let deleting = self.object.deleting && self.status.ids().any(|own| own == id.as_str());
        assert!(ours && (deleting || replaced), "deleted without being told to: {id} {:#?}", self.log);
        assert!(!self.object.deleting || self.policy() == DeletionPolicy::Delete);
    }

    pub(super) fn check_release(&self) {
        assert!(self.object.deleting);
        let open = ledger::of(&self.ledger, ClaimKind::Connector, &self.object.uid);
        assert!(open.is_none(), "a claim is left open: {open:?}");
        if self.policy() == DeletionPolicy::Delete && !self.object.abandon {
            let left = self.api.alive(self.now).filter(|it| it.ours).count();
            assert_eq!(left, 0, "left at the API: {:#?}", self.log);
        }
    }

    fn policy(&self) -> DeletionPolicy {
        if self.object.observe {
            return DeletionPolicy::Retain;
        }
        self.object.deletion.unwrap_or(match self.status.origin {
            Some(Origin::Adopted) => DeletionPolicy::Retain,
            _ => DeletionPolicy::Delete,
        })
    }

    /// A wish is written down, or given up, or comes true: the last only with the finalizer, and when nobody else has the id or
    /// wants it.
    pub(super) fn check_taking(&self, next: &ConnectorStatus, facts: &Facts) {
        if next.connector_id.is_some() {
            assert_eq!(next.connector_id, self.status.adopting, "what is taken was wished for");
            assert_eq!(facts.survey, Some(Survey::default()), "somebody else has it");
            assert!(self.object.finalizer && facts.created.is_none());
        }
    }

    /// Whose a connector is by what was just written.
    pub(super) fn change_hands(&mut self, note: &Note) {
        let (id, ours) = match note {
            Note::Adopted(id) | Note::Restored(id) => (id, true),
            Note::OnlyObserved(id) => (id, false),
            _ => return,
        };
        let found = self.api.connectors.iter_mut().find(|it| it.item.id.as_str() == id);
        found.expect("it is at the API").ours = ours;
    }

    /// `Ready` for a generation only where what was last seen is what that generation says; and what is said of a connector's
    /// test is not older than the connector.
    pub(super) fn check_truth(&self, status: &ConnectorStatus) {
        let Some(id) = status.connector_id.as_deref() else { return };
        if let (Ok(desired), Ok(secret)) = (&self.desired, &self.secret)
            && fixture::said(status, "Ready").0 == "True"
            && let Some(seen) = self.last_seen(id)
        {
            let asked = fixture::request(desired, secret).readable;
            assert_eq!(
                readable_config_matches(&asked, &seen.config),
                ConfigMatch::Matches,
                "{:#?}",
                self.log
            );
        }
        if self.status.connector_id.as_deref() != Some(id) {
            let connected = find(&status.conditions, CONNECTED).expect("it is said of every connector");
            let since = self.now.duration_since(connected.last_transition_time.0).as_secs();
            assert!(
                since <= self.pace + 1,
                "told of {id} since {since} s, when it was just taken: {:#?}",
                self.log
            );
        }
    }

    /// An object that goes on gives its finalizer up when nothing is claimed any more.
    pub(super) fn check_drop(&self) {
        assert!(self.object.observe && !self.object.deleting);
        let ConnectorStatus { connector_id, replacement, adopting, .. } = &self.status;
        assert_eq!((connector_id, replacement.as_ref(), adopting), (&None, None, &None));
        assert_eq!(ledger::of(&self.ledger, ClaimKind::Connector, &self.object.uid), None);
    }

    /// The connectors at the API that this object made.
    pub(super) fn ours(&self) -> Vec<String> {
        self.api.alive(self.now).filter(|it| it.ours).map(|it| it.item.id.to_string()).collect()
    }

    /// How many connection tests stand in the log.
    pub(super) fn tests_run(&self) -> usize {
        self.log.iter().filter(|word| *word == "test").count()
    }

    /// Exactly one connector, known, tested, and nothing left open.
    pub(super) fn assert_one_and_ready(&self) {
        let ours = self.ours();
        assert_eq!(ours.len(), 1, "{:#?}", self.log);
        assert_eq!(self.status.connector_id.as_deref(), Some(ours[0].as_str()), "{:#?}", self.log);
        assert_eq!(fixture::said(&self.status, "Ready").0, "True", "{:#?} {:#?}", self.status, self.log);
        assert_eq!(self.status.observed_generation, Some(self.object.generation));
        assert_eq!(self.ledger.claims, [], "{:#?}", self.log);
        assert!(self.object.copy.as_ref().is_some_and(|copy| copy.contains(&ours[0])));
    }

    /// The reason of `Ready`.
    pub(super) fn reason(&self) -> String {
        fixture::said(&self.status, "Ready").1.to_owned()
    }

    /// A verdict: `Ready` with that reason and these words, and beside it `Stalled` or `Reconciling` as told.
    pub(super) fn assert_said(&self, ready: &str, reason: &str, beside: &str, words: &str) {
        let (truth, why, message) = fixture::said(&self.status, "Ready");
        assert_eq!((truth, why), (ready, reason), "{message} {:#?}", self.log);
        assert!(message.contains(words), "{message}");
        for kind in ["Stalled", "Reconciling"] {
            let expected = if kind == beside { "True" } else { "" };
            assert_eq!(fixture::said(&self.status, kind).0, expected, "{kind}: {message}");
        }
    }
}

//! What a Connector's plan is made from: everything that was read, and nothing that is decided.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use connectors_api::wire::{ConnectorCreated, ConnectorDetail, ConnectorId, CreateConnector, TestOutcome};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::backup::Sealer;
use super::desired::Desired;
use crate::controller::Blocked;
use crate::controller::ledger::Denied;
use crate::crd::{Claim, ConnectorStatus, DeletionPolicy, WorkspaceKey};
use crate::remote::{Fault, Listing, Sight};

/// Longest value of the annotation that asks for a fresh look that is kept, in characters; the schema's limit.
const REQUEST_LIMIT: usize = 256;

/// What was read for one Connector.
#[derive(Debug)]
pub(super) struct Observed {
    /// The object's metadata.
    pub object: Object,
    /// Its status, as it was read back.
    pub status: ConnectorStatus,
    /// Its spec, parsed.
    pub desired: Result<Desired, Blocked>,
    /// The workspace, as far as it can be used.
    pub workspace: Result<WorkspaceView, Blocked>,
    /// The connector that is only to be read, where the spec says so.
    pub observing: Option<Watched>,
    /// What would be sent, secrets included.
    pub request: Result<Request, Blocked>,
    /// What was last seen of its id.
    pub sight: Sight,
    /// The claim that it has open.
    pub claim: Option<OpenClaim>,
    /// The workspace that the spec names, where the claim is open in another one. `workspace` is then that other one.
    pub elsewhere: Option<WorkspaceKey>,
    /// The ids of the list that other objects of this cluster have.
    pub taken: BTreeSet<String>,
    /// Its own ids that the status of another object names, too.
    pub contested: BTreeSet<String>,
    /// When its turn to create comes, if it has to wait for one.
    pub turn: Option<Timestamp>,
    /// Whether a Scan of it was ever claimed or started.
    pub scanned: bool,
    /// How old a truth may be.
    pub freshness: Duration,
    /// How long the operator has been looking.
    pub uptime: Duration,
    /// The wall clock.
    pub now: Timestamp,
    /// The monotonic clock, at the same moment.
    pub clock: Instant,
    /// What was found out and done in this pass.
    pub facts: Facts,
}

/// An object's metadata, as far as a plan needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has our finalizer.
    pub finalizer: bool,
    /// Whether it is to be let go without asking the API.
    pub abandon: bool,
    /// The value of the annotation that asks for a fresh look.
    pub requested_at: Option<String>,
    /// The value of the annotation that acknowledges updated credentials.
    pub acknowledged: Option<String>,
    /// The annotation that keeps a copy of the id.
    pub copy: Option<String>,
    /// `spec.deletionPolicy`, also of a spec that is not valid.
    pub deletion: Option<DeletionPolicy>,
    /// Whether the connector is only to be read, also by a spec that is not valid.
    pub observe: bool,
}

impl Object {
    /// What asks for a fresh look, as far as a status can keep it: a longer value would make every status invalid.
    pub(super) fn request(&self) -> Option<String> {
        self.requested_at.as_ref().map(|text| text.chars().take(REQUEST_LIMIT).collect())
    }
}

/// A workspace that can be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorkspaceView {
    /// How messages name it.
    pub title: String,
    /// How messages name the Secret with its key.
    pub secret: String,
    /// Today's identity.
    pub identity: String,
    /// Identities of former keys that reach the same API workspace.
    pub former: Vec<String>,
    /// Identities that were given up: what was made under them stays at the API, and is nobody's here.
    pub retired: Vec<String>,
    /// Whether today's key has not shown yet that it reaches the API workspace that ids and claims were made in.
    pub changed: bool,
    /// Why nothing new is created; what was begun is finished.
    pub closed: Option<Blocked>,
    /// Why nothing is done here any more but to finish what was begun, and to delete.
    pub refused: Option<Blocked>,
    /// Something that hinders requests, but not the use of what was read before.
    pub trouble: Option<Blocked>,
    /// Whether what was not created from here may be adopted and observed.
    pub allows_adoption: bool,
    /// What seals the annotation.
    pub sealer: Sealer,
}

/// A connector that is only read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watched {
    /// Its id.
    pub id: ConnectorId,
    /// The highest acceptable risk score.
    pub max_risk_score: Option<i32>,
}

/// Who in the cluster has, wants or may be about to get one id, read from the API server and not from the caches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// The object that has it.
    pub holder: Option<String>,
    /// An older object that is about to take it.
    pub older: Option<String>,
    /// A younger object that is about to take it.
    pub younger: Option<String>,
    /// An object whose create under that name may have made it.
    pub creating: Option<String>,
}

impl WorkspaceView {
    /// Whether an identity is known to reach the same API workspace as today's.
    pub(super) fn knows(&self, identity: &str) -> bool {
        self.identity == identity || self.former.iter().any(|former| former == identity)
    }

    /// Whether what was made under an identity was given up.
    pub(super) fn gave_up(&self, identity: Option<&String>) -> bool {
        identity.is_some_and(|identity| self.retired.contains(identity))
    }
}

/// What would be sent to create the connector. Holds values of Secrets, which `Debug` leaves out; after a quiet look, on which
/// nothing is sent, they may be empty.
pub(super) struct Request {
    /// The body.
    pub create: CreateConnector,
    /// Its config, without secrets.
    pub readable: Map<String, Value>,
    /// Salted digests of what of it stands in the spec, and of all of it.
    pub sent: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { create, readable, sent } = self;
        f.debug_struct("Request")
            .field("name", &create.name)
            .field("readable", readable)
            .field("sent", sent)
            .finish_non_exhaustive()
    }
}

/// An open claim.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenClaim {
    /// What stands in the workspace's status.
    pub claim: Claim,
    /// How long ago this process saw it first.
    pub known_for: Duration,
}

/// What this pass found out and did, in the order of the effects.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// A list that was begun in this pass.
    pub listing: Option<Result<Listing, Fault>>,
    /// Nonce of the claim that this pass opened, and how long ago.
    pub claimed: Option<(String, Duration)>,
    /// Whether that claim's nonce was written into the object's status since it was opened or renewed.
    pub bound: bool,
    /// Who else has the id that is about to be taken.
    pub survey: Option<Survey>,
    /// Why no claim was given.
    pub denied: Option<Denied>,
    /// The create's outcome.
    pub created: Option<Result<ConnectorCreated, Fault>>,
    /// The connection test's outcome.
    pub tested: Option<Result<TestOutcome, Fault>>,
    /// A read of the connector.
    pub read: Option<Result<ConnectorDetail, Fault>>,
    /// The delete's outcome.
    pub deleted: Option<Result<(), Fault>>,
    /// Whether the connector is confirmed gone.
    pub gone: Option<Result<bool, Fault>>,
}

impl Facts {
    /// What a status that was put down in the middle of a pass leaves of it. What was found out about one remote connector
    /// says nothing about another; the claim that the pass holds, and the create that it sent, stay, unless that connector
    /// is lost, or the replacement that it was made for is over: what led to one must not lead to the next.
    pub(crate) fn after_record(&mut self, before: &ConnectorStatus, after: &ConnectorStatus) {
        let lost =
            before.connector_id.is_some() && after.connector_id.is_none() && after.replacement.is_none();
        let over =
            before.replacement.is_some() && after.replacement.is_none() && before.connector_id.is_some();
        if lost || over {
            *self = Self::default();
        } else if before.connector_id != after.connector_id || before.replacement != after.replacement {
            self.tested = None;
            self.read = None;
            self.deleted = None;
            self.gone = None;
            self.survey = None;
        } else if before.adopting != after.adopting {
            // Who else has an id was asked for another one.
            self.survey = None;
        }
    }

    /// What one key showed says nothing of what another one shows: to be called when the workspace's key changes in the middle
    /// of a pass. The claim that the pass holds, and the create that it sent under it, stay.
    pub(super) fn turn_to_another_key(&mut self) {
        *self = Self { claimed: self.claimed.take(), created: self.created.take(), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::FaultKind;

    #[test]
    fn of_what_another_key_showed_only_the_claim_and_its_create_stay() {
        let fault = || Fault { kind: FaultKind::NotFound, message: "none".to_owned(), retry_after: None };
        let mut facts = Facts {
            listing: Some(Err(fault())),
            claimed: Some(("nonce-1".to_owned(), Duration::ZERO)),
            bound: true,
            survey: Some(Survey::default()),
            denied: Some(Denied::Conflict),
            created: Some(Err(fault())),
            tested: Some(Err(fault())),
            read: Some(Err(fault())),
            deleted: Some(Ok(())),
            gone: Some(Ok(true)),
        };
        facts.turn_to_another_key();
        let Facts { listing, claimed, bound, survey, denied, created, tested, read, deleted, gone } = facts;
        assert_eq!(claimed, Some(("nonce-1".to_owned(), Duration::ZERO)));
        assert!(created.is_some() && !bound);
        assert!(listing.is_none() && survey.is_none() && denied.is_none() && tested.is_none());
        assert!(read.is_none() && deleted.is_none() && gone.is_none());
    }
}

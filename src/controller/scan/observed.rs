//! What a Scan's plan is made from: everything that was read, and nothing that is decided.

use std::time::Duration;

use connectors_api::wire::{ConnectorDetail, ConnectorId, ScanRead, ScanStarted, StartScan};
use jiff::Timestamp;

use crate::controller::Blocked;
use crate::controller::ledger::Denied;
use crate::crd::{Claim, ScanSpec, ScanStatus};
use crate::remote::Fault;

/// What was read for one Scan.
#[derive(Debug)]
pub(super) struct Observed {
    /// The object's metadata.
    pub object: Object,
    /// Its spec. The API server sees to it that it never changes.
    pub spec: ScanSpec,
    /// Its status, as it was read back.
    pub status: ScanStatus,
    /// The id of the connector to scan, and today's identity, where it can be scanned.
    pub connector: Result<Target, Blocked>,
    /// The body that starts it.
    pub request: StartScan,
    /// The claim that it has open, and how long ago this process saw it first.
    pub claim: Option<(Claim, Duration)>,
    /// The wall clock.
    pub now: Timestamp,
    /// What was found out and done in this pass.
    pub facts: Facts,
}

/// A connector that can be scanned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Its id.
    pub id: ConnectorId,
    /// The workspace's identity.
    pub identity: String,
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
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The annotation that says that it ran before.
    pub ran: Option<String>,
}

/// What this pass found out and did, in the order of the effects.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// A read of the connector, with its history.
    pub connector: Option<Result<ConnectorDetail, Fault>>,
    /// The claim that this pass opened, and how long ago.
    pub claimed: Option<(String, Duration)>,
    /// Whether that claim's nonce was written into the object's status since it was opened or renewed.
    pub bound: bool,
    /// Why no claim was given.
    pub denied: Option<Denied>,
    /// The start's outcome.
    pub started: Option<Result<ScanStarted, Fault>>,
    /// A read of the scan.
    pub scan: Option<Result<ScanRead, Fault>>,
}

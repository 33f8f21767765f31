//! What a schedule's plan is made from: everything that was read, and nothing that is decided.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::crd::{ScanPhase, ScanScheduleSpec, ScanScheduleStatus};

/// What was read for one schedule.
#[derive(Debug)]
pub(super) struct Observed {
    /// The object's metadata.
    pub object: Object,
    /// Its spec.
    pub spec: ScanScheduleSpec,
    /// Its status, as it was read back.
    pub status: ScanScheduleStatus,
    /// What is around it.
    pub around: Around,
    /// The wall clock.
    pub now: Timestamp,
    /// What was done in this pass.
    pub facts: Facts,
}

/// The objects around a schedule, as the watches tell.
#[derive(Debug)]
pub(super) struct Around {
    /// The names of the connectors to scan; or what is wrong with the selector.
    pub connectors: Result<Vec<String>, String>,
    /// The Scans that the schedule owns.
    pub scans: Vec<Owned>,
}

/// An object's metadata, as far as a plan needs it.
#[derive(Clone, Debug, Default)]
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
    /// The value that asks for a run now, as far as a status can keep it.
    pub request: Option<String>,
}

/// A Scan of the schedule.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was seen.
    pub version: Option<String>,
    /// The connector that it scans.
    pub connector: String,
    /// Where it is.
    pub phase: ScanPhase,
    /// Whether it has a scan at the API.
    pub begun: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Owned {
    /// Whether it stands in the way of another one of the same connector.
    pub(super) fn active(&self) -> bool {
        !self.phase.is_terminal() && !self.deleting
    }
}

/// One connector's turn in a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// The connector.
    pub connector: String,
    /// Its place.
    pub place: String,
    /// The name of its Scan.
    pub name: String,
    /// Whether it is scanned; otherwise it is left out.
    pub starts: bool,
}

/// How a turn went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The Scan is there.
    Made,
    /// An object that is not the schedule's has its name.
    Taken,
    /// None was wanted.
    LeftOut,
}

/// What this pass did.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The turns that were taken, as long as they are not recorded.
    pub turns: Vec<(Turn, Outcome)>,
    /// Whether turns were taken: one batch a pass.
    pub took_turns: bool,
    /// Why a Scan was refused, with all that would have followed it.
    pub refused: Option<String>,
    /// The Scans that were deleted, or are not what they were any more.
    pub deleted: BTreeSet<String>,
}

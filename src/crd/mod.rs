//! The custom resources of group `slim.io`: what users write and what the operator answers. One file per kind.
#![allow(unreachable_pub, reason = "KubeSchema puts a public copy of each struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "printer columns of one type look alike to the lint")]

mod connector;
mod connector_status;
mod manifest;
mod reference;
mod scan;
mod scan_schedule;
mod workspace;

pub use connector::*;
pub use connector_status::*;
pub use manifest::{all, file_name, manifest};
pub use reference::*;
pub use scan::*;
pub use scan_schedule::*;
pub use workspace::*;

/// The API group of every kind.
pub const GROUP: &str = "slim.io";
/// The finalizer of a Connector that something at the API may belong to, and of a workspace that such a Connector needs.
pub const FINALIZER: &str = "slim.io/finalizer";
/// The id, origin and owner of the remote connector: a copy for backups, never the truth.
pub const CONNECTOR_ANNOTATION: &str = "slim.io/connector";
/// UID, id and end of a Scan's remote scan: what keeps a restored Scan from being run again.
pub const SCAN_ANNOTATION: &str = "slim.io/scan";
/// Any new value asks for a fresh look at the API, and a connection test, now.
pub const RECONCILE_ANNOTATION: &str = "slim.io/reconcile-requested-at";
/// `"true"` on an object that is being deleted lets go of the remote connector without asking the API.
pub const ABANDON_ANNOTATION: &str = "slim.io/abandon";
/// On a workspace: accepts that its key or endpoint belongs to another API workspace now; holds the printed digest.
pub const IDENTITY_ACKNOWLEDGED_ANNOTATION: &str = "slim.io/identity-acknowledged";
/// Says that somebody updated the provider's credentials at the API by other means; holds the printed digest.
pub const CREDENTIALS_ACKNOWLEDGED_ANNOTATION: &str = "slim.io/credentials-acknowledged";

/// Any new value on a ScanSchedule asks for a run now.
pub const RUN_REQUESTED_ANNOTATION: &str = "slim.io/run-requested-at";
/// The planned time of a Scan that a schedule made, or the value that asked for it.
pub const SCHEDULED_AT_ANNOTATION: &str = "slim.io/scheduled-at";
/// The schedule that made a Scan, for selectors. Which Scans are its own, it knows by their owner.
pub const SCHEDULE_LABEL: &str = "slim.io/schedule";

#[cfg(test)]
mod tests;

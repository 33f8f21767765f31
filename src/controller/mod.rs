//! One folder per kind, each with its observe, plan and act; beside them what they share.

mod blocked;
mod bulkhead;
mod claims;
mod conditions;
mod connector;
mod context;
mod control;
mod effects;
mod error;
mod index;
mod kept;
mod leadership;
mod ledger;
mod looks;
mod packed;
mod reason;
mod registry;
mod run;
mod scan;
mod schedule;
mod secret;
#[cfg(test)]
mod simulation;
mod turns;
mod watches;
mod workspace;
mod writes;

pub use blocked::Blocked;
pub use context::{Caches, Context, Guarded, Settings};
pub use error::Error;
pub use index::{Index, Link, ObjectKey};
use kept::Kept;
pub use leadership::Leadership;
pub use packed::Packed;
pub use reason::Reason;
pub use run::{Options, RunError, run};
pub use watches::{Objects, Scope};

//! One folder per kind, each with its observe, plan and act; beside them what they share.

mod blocked;
mod claims;
mod conditions;
mod connector;
mod context;
mod error;
mod leadership;
mod ledger;
mod reason;
mod registry;
mod run;
mod scan;
mod secret;
mod workspace;
mod writes;

pub use blocked::Blocked;
pub use context::{Caches, Context, Guarded, Settings, Wakes};
pub use error::Error;
pub use leadership::Leadership;
pub use reason::Reason;
pub use run::{Options, RunError, run};

//! Starts the real parts that tests and the demo run against: a Kubernetes control plane, S3 with STS and IAM, the
//! Connectors API server and the operator.
//!
//! Every part runs as a child process on a free port of loopback, writes its log to a file whose end is shown when a
//! test fails, and is gone when its handle is dropped or the process that holds it dies. What has to be built or
//! installed first lies in a cache of the user's and is made once ([`Parts::prepare`]).

mod aws;
pub mod bins;
pub mod cache;
mod cluster;
mod error;
pub mod faults;
pub mod figures;
pub mod in_memory;
pub mod ledger;
mod operator;
mod parts;
pub mod pii;
pub mod port;
mod process;
mod program;
pub mod progress;
mod rundir;
mod server;
pub mod wait;

pub use aws::{AccessKey, Aws, REGION};
pub use cluster::{ClusterOptions, Output, SharedCluster, TestCluster};
pub use error::{Error, Result};
pub use operator::{Operator, OperatorOptions};
pub use parts::{Kstatus, Parts, Verdict};
pub use process::{Exit, Process, Signal, Spec, tail_of};
pub use rundir::PartDir;
pub use server::{Server, ServerOptions};

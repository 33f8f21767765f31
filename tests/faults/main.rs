//! The shipped binary under faults: a real API server behind a proxy, a ledger double of the Connectors API, and an oracle
//! that reads both without passing through either.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends by a panic")]

mod burst;
mod campaign;
mod conformance;
mod controls;
mod director;
mod drift;
mod oracle;
mod plan;
mod replicas;
mod rig;
mod workload;

//! The operator as its users meet it: a real API server, the self-hosted Connectors API, an object store with STS, and the
//! shipped binaries. Nothing is faked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends by a panic")]

mod adoption;
mod bad_input;
mod differential;
mod kstatus;
mod lab;
mod leaders;
mod namespaced;
mod old_schema;
mod outages;
mod queue;
mod replacement;
mod schedule;
mod security;
mod telemetry;
mod the_loop;
mod workspaces;

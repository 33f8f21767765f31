//! The really started server with the real client, against S3 and STS that enforce authentication.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod aws;
mod contract;
mod recovery;
mod refusals;
mod rig;
mod startup;
mod switch;

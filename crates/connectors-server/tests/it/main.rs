//! The really started server with the real client, against S3 and STS that enforce authentication.

mod aws;
mod contract;
mod recovery;
mod refusals;
mod rig;
mod startup;

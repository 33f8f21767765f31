//! The schemas and their rules, without a cluster: what is refused, in which words, and what is not.

mod connector;
mod connector_update;
mod fixture;
mod scan_schedule;
mod schema;
mod workspace_and_scan;

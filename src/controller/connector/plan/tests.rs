//! The plan against a small world: every branch, and a death between any two steps.

mod absence;
mod adopt;
mod api;
mod crashes;
mod create;
mod create_first;
mod delete;
mod drift;
mod fixture;
mod in_flight;
mod laws;
mod model;
mod recover;
mod replace;
mod replicas;
mod steady;
mod verdict;
mod watch_only;
mod workspace;
mod world;

//! The plan of a Scan against a small world: every branch, and a death between any two steps.

mod crashes;
mod follow;
mod start;
mod world;

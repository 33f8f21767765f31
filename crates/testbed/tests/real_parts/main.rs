//! The testbed's own tests: that its parts are real, start, refuse what they must, and go away.
#![allow(clippy::unwrap_used)] // what tests share panics like the tests themselves

mod aws;
mod cluster;
mod demo;
mod processes;

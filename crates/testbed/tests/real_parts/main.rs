//! The testbed's own tests: that its parts are real, start, refuse what they must, and go away.

mod aws;
mod cluster;
mod processes;

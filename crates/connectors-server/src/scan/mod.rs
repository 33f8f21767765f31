//! Scans: objects are listed, read in chunks, searched for personal data, and weighed into a risk score.
//!
//! Memory is bounded by what runs: a worker holds one chunk of at most 4 MiB and one piece from the
//! network, a scan has at most 16 workers, and at most 4 scans run. The detectors themselves hold
//! nothing between chunks but counts and the first findings' places.

mod chunks;
mod detect;
mod enumerate;
mod job;
mod object;
mod options;
mod risk;
mod runner;
mod worker;

pub(crate) use options::plan;
pub(crate) use runner::Runner;

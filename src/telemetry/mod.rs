//! How the operator is seen from outside: logs, metrics and health.

mod logs;
mod metrics;
mod serve;

pub use logs::{LogFormat, init};
pub use metrics::Metrics;
pub use serve::{Health, serve};

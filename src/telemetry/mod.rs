//! How the operator is seen from outside: logs, metrics and health.

mod budgets;
mod health;
mod logs;
mod metrics;
mod serve;
mod traces;

pub use health::{Health, Watching};
pub use logs::{LogFormat, init};
pub use metrics::Metrics;
pub use serve::serve;
pub use traces::Traces;

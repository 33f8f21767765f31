//! Something that stands in the way, as plans and conditions speak of it.

use std::time::Duration;

use super::Reason;

/// Something stands in the way, and what to do about it. Waiting is no error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blocked {
    /// Why.
    pub reason: Reason,
    /// What happened, and what to do.
    pub message: String,
    /// When to look again by ourselves; otherwise a change of something watched does it.
    pub retry: Option<Duration>,
}

impl Blocked {
    /// Something that a change of a watched object ends.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: None }
    }
}

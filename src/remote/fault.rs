//! Why a request to an API brought nothing, as a plan needs to know it.

use std::time::Duration;

use connectors_api::{Error, ErrorKind};

use super::Full;

/// What a failed request means for what follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// It was not sent: there was no place in the budget.
    NoPlace,
    /// It was not sent: the API could not be reached.
    Unreachable,
    /// It was sent, and may have been carried out.
    OutcomeUnknown,
    /// It had no effect, and there is no usable answer.
    NoAnswer,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 400, 422 and other refusals that will not change by themselves.
    Refused,
    /// 429.
    RateLimited,
}

/// A request that brought nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// What happened, in one sentence without secrets, with status, code and request id.
    pub message: String,
    /// How long the API, or the budget, asks to wait.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Nothing was sent: no workspace gives an API to send it to.
    pub fn nobody_to_ask() -> Self {
        let message = "there is no API to ask at the moment".to_owned();
        Self { kind: FaultKind::Unreachable, message, retry_after: None }
    }

    /// Whether the request certainly had no effect.
    pub fn had_no_effect(&self) -> bool {
        self.kind != FaultKind::OutcomeUnknown
    }
}

impl From<Full> for Fault {
    fn from(full: Full) -> Self {
        // Without the time, which is another one each time that it is asked: conditions must not move with it.
        let message = "the workspace's rate limits leave no request at the moment".to_owned();
        Self { kind: FaultKind::NoPlace, message, retry_after: Some(full.retry_after) }
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let kind = match (error.kind(), error.status()) {
            (ErrorKind::NotSent, _) => FaultKind::Unreachable,
            (ErrorKind::OutcomeUnknown, _) => FaultKind::OutcomeUnknown,
            (ErrorKind::NoAnswer | ErrorKind::Unreadable, _) => FaultKind::NoAnswer,
            (ErrorKind::Refused, Some(401)) => FaultKind::Unauthorized,
            (ErrorKind::Refused, Some(403)) => FaultKind::Forbidden,
            (ErrorKind::Refused, Some(404)) => FaultKind::NotFound,
            (ErrorKind::Refused, Some(409)) => FaultKind::Conflict,
            (ErrorKind::Refused, Some(429)) => FaultKind::RateLimited,
            // A read that is answered by a fault of the service, or sent elsewhere, says nothing about the thing.
            (ErrorKind::Refused, Some(300..=399 | 500..)) => FaultKind::NoAnswer,
            (ErrorKind::Refused, _) => FaultKind::Refused,
        };
        Self { kind, message: error.to_string(), retry_after: error.retry_after() }
    }
}

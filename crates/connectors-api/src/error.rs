//! Why a request did not work, and above all whether it may have had an effect all the same.
//!
//! | what happened | a route that changes something | any other route |
//! |---|---|---|
//! | no connection: DNS, refused, TLS, proxy, connect time limit | `NotSent` | `NotSent` |
//! | connection lost or time limit before an answer | `OutcomeUnknown` | `NoAnswer` |
//! | success whose body is cut off, too large or not understood | `OutcomeUnknown` | `Unreadable` |
//! | success that carries an error envelope | `OutcomeUnknown` | `Refused` |
//! | HTTP 4xx but 408; 307 and 308 | `Refused` | `Refused` |
//! | HTTP 408, 5xx, other 3xx | `OutcomeUnknown`, with the status | `Refused` |
//!
//! A 5xx may come after the commit, a 302 may be the answer to a form that was taken. 307 and 308 say that
//! nothing was done here. No redirect is followed.

use std::fmt;
use std::time::Duration;

use crate::client::RateLimit;
use crate::paths::Route;
use crate::wire::RequestId;

/// What is known about the effect of a request that did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request never left: it had no effect, and may be sent later.
    NotSent,
    /// The service answered that it did not do it: no effect.
    Refused,
    /// The request left and may have had its effect. Look before sending it again.
    OutcomeUnknown,
    /// A request without effects got no answer.
    NoAnswer,
    /// A request without effects was answered, but the answer cannot be read.
    Unreadable,
}

impl ErrorKind {
    /// The kind as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Refused => "refused",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NoAnswer => "no_answer",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A request that did not work. `Display` is one sentence that is fit for a person: bounded, without control
/// characters, and without the credential or any secret of the request.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

/// What an error is made of. All texts are cleaned already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) route: Route,
    pub(crate) kind: ErrorKind,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) rate_limit: RateLimit,
}

impl Error {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Box::new(parts))
    }

    /// What is known about the effect.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Route of the request.
    #[must_use]
    pub fn route(&self) -> Route {
        self.0.route
    }

    /// HTTP status, when there was an answer. Decide by it, not by [`code`](Self::code).
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's code, such as `CONNECTOR_NOT_FOUND` (at most 64 characters). The catalogue is not documented.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The service's message, or else what went wrong on the way (at most 300 characters).
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Id under which the service knows the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.0.request_id.as_ref()
    }

    /// How long the service asks to wait (at most an hour).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The service's counters, as far as it sent them.
    #[must_use]
    pub fn rate_limit(&self) -> RateLimit {
        self.0.rate_limit
    }

    /// Whether the service refused because it does not know the thing (404).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::Refused && self.status() == Some(404)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { route, kind, status, code, message, request_id, retry_after, rate_limit: _ } = &*self.0;
        write!(f, "{route}: ")?;
        f.write_str(match kind {
            ErrorKind::NotSent => "not sent",
            ErrorKind::Refused => "refused",
            ErrorKind::OutcomeUnknown => "the outcome is unknown",
            ErrorKind::NoAnswer => "no answer",
            ErrorKind::Unreadable => "the answer cannot be read",
        })?;
        match (kind, status) {
            (ErrorKind::Refused, Some(status)) => write!(f, " with HTTP {status}")?,
            (_, Some(status)) => write!(f, " after HTTP {status}")?,
            (_, None) => {}
        }
        if let Some(code) = code {
            write!(f, " {code}")?;
        }
        if let Some(message) = message {
            write!(f, ": {message}")?;
        }
        if let Some(id) = request_id {
            write!(f, " (request {id})")?;
        }
        if let Some(wait) = retry_after {
            write!(f, "; the service asks to wait {} s", wait.as_secs())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            route: Route::CreateConnector,
            kind: ErrorKind::Refused,
            status: Some(409),
            code: Some("CONFLICT".to_owned()),
            message: Some("the name is taken".to_owned()),
            request_id: Some("req-1".parse().unwrap()),
            retry_after: None,
            rate_limit: RateLimit::default(),
        }
    }

    #[test]
    fn an_error_is_one_sentence() {
        assert_eq!(
            Error::new(parts()).to_string(),
            "create connector: refused with HTTP 409 CONFLICT: the name is taken (request req-1)"
        );
        let waiting = Parts {
            kind: ErrorKind::OutcomeUnknown,
            status: Some(503),
            code: None,
            message: None,
            request_id: None,
            retry_after: Some(Duration::from_secs(6)),
            ..parts()
        };
        assert_eq!(
            Error::new(waiting).to_string(),
            "create connector: the outcome is unknown after HTTP 503; the service asks to wait 6 s"
        );
    }

    #[test]
    fn only_a_refused_404_means_not_found() {
        assert!(Error::new(Parts { status: Some(404), ..parts() }).is_not_found());
        assert!(!Error::new(parts()).is_not_found());
        assert!(
            !Error::new(Parts { status: Some(404), kind: ErrorKind::Unreadable, ..parts() }).is_not_found()
        );
    }
}

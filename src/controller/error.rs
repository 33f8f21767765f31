//! What can go wrong in a reconcile. Waiting is not among it, and neither is anything that a condition can say.

use std::time::Duration;

/// A reconcile that could not come to its end; it is begun again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused or did not answer.
    #[error("cannot {what}: {source}")]
    Kubernetes {
        /// What was tried.
        what: &'static str,
        /// How it failed.
        source: Box<kube::Error>,
    },
    /// Another writer was first; what was decided is decided again.
    #[error("{what} was written by somebody else meanwhile")]
    Conflict {
        /// What.
        what: &'static str,
    },
    /// This replica does not lead.
    #[error("another replica leads")]
    NotLeading,
    /// The plan did not come to rest. A bug.
    #[error("the plan did not come to rest in {0} steps")]
    Restless(usize),
    /// The reconcile panicked. A bug; it costs this object's turn only.
    #[error("the reconcile panicked")]
    Panicked,
}

impl Error {
    /// Gives an error of the Kubernetes client its meaning.
    pub fn kubernetes(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| match &source {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict { what },
            _ => Self::Kubernetes { what, source: Box::new(source) },
        }
    }

    /// Whether what it was about is not there.
    pub fn is_not_found(&self) -> bool {
        let Self::Kubernetes { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if status.code == 404)
    }

    /// How metrics call it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } => "kubernetes",
            Self::Conflict { .. } => "conflict",
            Self::NotLeading => "not_leading",
            Self::Restless(_) | Self::Panicked => "bug",
        }
    }

    /// The wait after the `failures`-th failure in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        match self {
            Self::Conflict { .. } => Duration::from_millis(100) * (1 + failures.min(20)),
            Self::NotLeading => Duration::from_secs(5),
            // That nobody answers says nothing of the object, and whoever comes back is not to be kept waiting for minutes.
            Self::Kubernetes { source, .. } if !matches!(**source, kube::Error::Api(_)) => {
                Duration::from_secs(1) * 2_u32.saturating_pow(failures.min(4))
            }
            Self::Kubernetes { .. } | Self::Restless(_) | Self::Panicked => {
                (Duration::from_secs(1) * 2_u32.saturating_pow(failures.min(9))).min(Duration::from_mins(5))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_waits_ever_longer_and_who_gets_no_answer_a_quarter_of_a_minute_at_most() {
        let status = kube::core::Status::failure("no", "Forbidden").with_code(403);
        let refused = Error::kubernetes("read")(kube::Error::Api(status.boxed()));
        let unanswered =
            Error::kubernetes("read")(kube::Error::Service(Box::new(std::io::Error::other("no connection"))));
        let waits = |error: &Error| [1, 4, 20].map(|failures| error.wait(failures).as_secs());
        assert_eq!(waits(&refused), [2, 16, 300]);
        assert_eq!(waits(&unanswered), [2, 16, 16]);
    }
}

//! What can go wrong while real parts are prepared, started or asked, each with what a person does next.

use std::path::PathBuf;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a real part is not there or did not do what was asked.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that must be on the machine is not.
    #[error("{what} is missing: {how}")]
    Missing {
        /// The program or setting that was looked for.
        what: String,
        /// How to get it.
        how: String,
    },
    /// A step that prepares a part failed.
    #[error("{step} failed ({reason})\n{hint}\n--- end of {log} ---\n{tail}", log = log.display())]
    Prepare {
        /// The step, as a person would name it.
        step: String,
        /// How its command ended.
        reason: String,
        /// What usually cures it.
        hint: String,
        /// Where its whole output is.
        log: PathBuf,
        /// The last lines of its output.
        tail: String,
    },
    /// A part was started and is not serving.
    #[error("{part} did not start: {reason}\n--- end of {log} ---\n{tail}", log = log.display())]
    Start {
        /// The part's name.
        part: String,
        /// What was waited for, or how it ended.
        reason: String,
        /// Where its whole output is.
        log: PathBuf,
        /// The last lines of its output.
        tail: String,
    },
    /// A running part refused what was asked of it.
    #[error("{asked} was refused: {answer}")]
    Refused {
        /// What was asked.
        asked: String,
        /// The answer, shortened.
        answer: String,
    },
    /// A request to a running part got no answer.
    #[error("{asked} got no answer: {source}")]
    Http {
        /// What was asked.
        asked: String,
        /// Why there was no answer.
        source: reqwest::Error,
    },
    /// The operating system refused a file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something that should not be possible; the text says what.
    #[error("{0}")]
    Bug(String),
}

/// As [`std::fmt::Display`]: a test that unwraps shows the log's end as lines, not as one escaped string.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn http(asked: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        let asked = asked.into();
        move |source| Self::Http { asked, source }
    }

    pub(crate) fn missing(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), how: how.into() }
    }

    /// Whether a port that looked free was taken by somebody else in between: worth another try.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Start { tail, .. } if tail.to_ascii_lowercase().contains("address already in use"))
    }
}

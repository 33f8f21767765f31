//! Identifiers: strings that are never empty, never longer than a bound, and fit to stand in one path segment.
//!
//! The contract shows ids such as `conn-7h2k9q` but promises no pattern, so nothing about their
//! content is assumed beyond what a request line, a log line and a status field need.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id that is accepted, in characters. The samples of the contract have about twelve.
pub const MAX_ID_LENGTH: usize = 256;

/// Longest cursor that is accepted, in characters. A cursor travels in a URL.
pub const MAX_CURSOR_LENGTH: usize = 2048;

/// Why a string is no identifier. Its text does not repeat the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The string is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The string has more characters than the bound.
    #[error("an id of {length} characters is too long; at most {max} are accepted")]
    TooLong {
        /// Characters found.
        length: usize,
        /// Characters accepted.
        max: usize,
    },
    /// The string holds a control character or white space.
    #[error("an id must not hold white space or control characters")]
    Character,
    /// The string is `.` or `..`, which a URL path gives another meaning.
    #[error("an id must not be `.` or `..`")]
    DotSegment,
}

fn check(value: &str, max: usize) -> Result<(), IdError> {
    if value.is_empty() {
        return Err(IdError::Empty);
    }
    let length = value.chars().count();
    if length > max {
        return Err(IdError::TooLong { length, max });
    }
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(IdError::Character);
    }
    if value == "." || value == ".." {
        return Err(IdError::DotSegment);
    }
    Ok(())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a string as an id.
            ///
            /// # Errors
            /// When it is empty, too long, holds white space or control characters, or is a dot segment.
            pub fn parse(value: impl Into<String>) -> Result<Self, IdError> {
                let value = value.into();
                check(&value, $max)?;
                Ok(Self(value))
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::parse(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(value: String) -> Result<Self, IdError> {
                Self::parse(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identifier!(
    /// Id of a connector, `conn-` plus letters and digits in all samples (`docs.slim.io/api-reference/connectors`).
    ConnectorId,
    MAX_ID_LENGTH
);
identifier!(
    /// Id of a scan, `scan-` plus letters and digits in all samples (`docs.slim.io/api-reference/scans`).
    ScanId,
    MAX_ID_LENGTH
);
identifier!(
    /// Id of one request, `req-` plus letters and digits (`docs.slim.io/api-reference`). For logs and support.
    RequestId,
    MAX_ID_LENGTH
);
identifier!(
    /// Where a list resumes (`docs.slim.io/api-reference`, pagination). Opaque: hand it back as it came.
    Cursor,
    MAX_CURSOR_LENGTH
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_as_it_came() {
        let id: ConnectorId = serde_json::from_str(r#""conn-7h2k9q""#).unwrap();
        assert_eq!(id.as_str(), "conn-7h2k9q");
        assert_eq!(id.to_string(), "conn-7h2k9q");
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""conn-7h2k9q""#);
        assert_eq!("weird/é%".parse::<ScanId>().unwrap().as_str(), "weird/é%");
    }

    #[test]
    fn what_cannot_stand_in_a_path_segment_is_no_id() {
        assert_eq!(ConnectorId::parse(""), Err(IdError::Empty));
        assert_eq!(ConnectorId::parse("."), Err(IdError::DotSegment));
        assert_eq!(ConnectorId::parse(".."), Err(IdError::DotSegment));
        assert_eq!(ConnectorId::parse("a b"), Err(IdError::Character));
        assert_eq!(ConnectorId::parse("a\nb"), Err(IdError::Character));
        assert!(ConnectorId::parse("...").is_ok());
    }

    #[test]
    fn an_id_is_bounded_in_length() {
        assert!(ConnectorId::parse("é".repeat(MAX_ID_LENGTH)).is_ok());
        let error = ConnectorId::parse("é".repeat(MAX_ID_LENGTH + 1)).unwrap_err();
        assert_eq!(error.to_string(), "an id of 257 characters is too long; at most 256 are accepted");
        assert!(serde_json::from_str::<ConnectorId>(&format!("\"{}\"", "x".repeat(300))).is_err());
        assert!(Cursor::parse("x".repeat(300)).is_ok());
    }
}

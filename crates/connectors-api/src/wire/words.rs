//! The contract's enumerations, open at the end: a word that nobody documented stays a readable word.
//!
//! Reading never fails on a word and does not mind its case. An empty word reads as `unknown`, and so
//! does an absent one in answers. Writing uses the documented spelling.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest undocumented word that is kept, in characters; the rest is cut off.
const MAX_WORD_LENGTH: usize = 64;

/// What stands for a word that is not there.
const UNKNOWN: &str = "unknown";

/// An undocumented word, made fit for a log line and a status field.
fn other(word: &str) -> String {
    let word: String = word.trim().chars().filter(|c| !c.is_control()).take(MAX_WORD_LENGTH).collect();
    if word.is_empty() { UNKNOWN.to_owned() } else { word }
}

macro_rules! open_words {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $also:literal)*, )+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant, )+
            /// A word outside the documented ones, as it came (bounded); `unknown` when none came.
            Other(String),
        }

        impl $name {
            /// The documented words, in the spelling of the wire.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in the spelling of the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $word, )+
                    Self::Other(word) => word,
                }
            }

            /// Whether the word is one of the documented ones.
            #[must_use]
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Other(_))
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                let trimmed = word.trim();
                $(
                    if trimmed.eq_ignore_ascii_case($word) $(|| trimmed.eq_ignore_ascii_case($also))* {
                        return Self::$variant;
                    }
                )+
                Self::Other(other(trimmed))
            }
        }

        impl FromStr for $name {
            type Err = Infallible;

            fn from_str(word: &str) -> Result<Self, Infallible> {
                Ok(Self::from(word))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(UNKNOWN.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }
    };
}

open_words!(
    /// Cloud of a connector (`docs.slim.io/api-reference/connectors`).
    Provider {
        /// Amazon Web Services: S3.
        Aws = "aws",
        /// Google Cloud Storage.
        Gcp = "gcp",
        /// Azure Blob Storage.
        Azure = "azure",
    }
);

open_words!(
    /// State of a connector, the API's `status` (`docs.slim.io/api-reference/connectors`).
    ///
    /// The list filter documents `active`, `disconnected` and `error`; create answers `pending_test`.
    ConnectorState {
        /// Usable: its credentials worked when they were last tried.
        Active = "active",
        /// Disconnected by a person; history and findings are kept. No endpoint sets it.
        Disconnected = "disconnected",
        /// The service could not use it, for example because a secret expired.
        Error = "error",
        /// Created and not tested yet.
        PendingTest = "pending_test",
    }
);

open_words!(
    /// State of a scan (`docs.slim.io/api-reference/scans`, `docs.slim.io/scanning`).
    ScanState {
        /// The job is set up.
        Created = "created",
        /// It waits for workers within the tier's limits.
        Queued = "queued",
        /// Workers process files.
        Running = "running",
        /// Paused by a person. Not printed on any page, but pause and resume exist in the dashboard.
        Paused = "paused",
        /// All files are done and the findings are stored.
        Completed = "completed",
        /// A fatal error ended it, such as credentials or infrastructure.
        Failed = "failed",
        /// Stopped by a person. The American spelling `canceled` reads as this too.
        Cancelled = "cancelled" | "canceled",
    }
);

open_words!(
    /// Kind of a scan (`docs.slim.io/api-reference/scans`).
    ScanType {
        /// Everything in scope, whatever was scanned earlier.
        Full = "full",
        /// What is new or changed since the last completed scan.
        Incremental = "incremental",
    }
);

impl ScanState {
    /// Whether the scan is over for good. An unknown word is not terminal: the caller's own deadline
    /// has to end the waiting.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_words_read_and_write_in_their_spelling() {
        for word in ConnectorState::WORDS {
            let state: ConnectorState = serde_json::from_str(&format!("\"{word}\"")).unwrap();
            assert!(state.is_known(), "{word}");
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(Provider::WORDS, ["aws", "gcp", "azure"]);
        assert_eq!("Incremental".parse::<ScanType>().unwrap(), ScanType::Incremental);
    }

    #[test]
    fn an_undocumented_word_stays_readable() {
        let state: ConnectorState = serde_json::from_str(r#""testing""#).unwrap();
        assert_eq!(state, ConnectorState::Other("testing".to_owned()));
        assert_eq!(state.to_string(), "testing");
        assert_eq!(serde_json::to_string(&state).unwrap(), r#""testing""#);
    }

    #[test]
    fn an_absent_word_reads_as_unknown() {
        assert_eq!(serde_json::from_str::<ScanState>("\"\"").unwrap().as_str(), "unknown");
        assert_eq!(ScanState::default().as_str(), "unknown");
    }

    #[test]
    fn an_undocumented_word_is_bounded_and_holds_no_control_characters() {
        let word = Provider::from(format!("a\u{1b}[31m{}", "x".repeat(500)).as_str());
        assert_eq!(word.as_str().chars().count(), MAX_WORD_LENGTH);
        assert!(word.as_str().starts_with("a[31mxxx"));
    }

    #[test]
    fn three_states_end_a_scan_and_both_spellings_of_cancelled_are_read() {
        let terminal: Vec<_> =
            ScanState::WORDS.iter().filter(|w| ScanState::from(**w).is_terminal()).copied().collect();
        assert_eq!(terminal, ["completed", "failed", "cancelled"]);
        assert_eq!(ScanState::from("canceled"), ScanState::Cancelled);
        assert!(!ScanState::from("stopping").is_terminal());
    }
}

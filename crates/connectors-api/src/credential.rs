//! The credential of one workspace: checked once, sent in one header, and taken out of every text that is shown.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Longest credential that is accepted, in bytes; an ID token has one to two thousand.
const MAX_CREDENTIAL_LENGTH: usize = 16 * 1024;

/// What is shown in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Why a text cannot be a credential. The text is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nothing there.
    #[error("the credential is empty")]
    Empty,
    /// It ends in a line break, as `echo` writes one.
    #[error("the credential ends in a line break; write it without one, for example with printf or echo -n")]
    TrailingLineBreak,
    /// White space, a control character or something beyond ASCII is in it.
    #[error(
        "the credential holds white space, a control character or a letter beyond ASCII, which no key has"
    )]
    Character,
    /// Longer than any key or token.
    #[error("the credential is longer than {MAX_CREDENTIAL_LENGTH} bytes")]
    TooLong,
}

/// A credential that can be sent. Its form is not judged: prefixes of keys are not uniform.
pub(crate) struct Credential {
    header: HeaderValue,
    secret: SecretString,
}

impl Credential {
    /// Takes what stands after `Bearer`.
    pub(crate) fn parse(secret: SecretString) -> Result<Self, CredentialError> {
        let text = secret.expose_secret();
        if text.trim().is_empty() {
            return Err(CredentialError::Empty);
        }
        if text.len() > MAX_CREDENTIAL_LENGTH {
            return Err(CredentialError::TooLong);
        }
        if text.trim_end_matches(['\r', '\n']).len() < text.len() {
            return Err(CredentialError::TrailingLineBreak);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CredentialError::Character);
        }
        let mut header =
            HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| CredentialError::Character)?;
        header.set_sensitive(true);
        Ok(Self { header, secret })
    }

    /// The value of the `Authorization` header, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

/// Makes text from outside fit to be shown: without the secrets of this request, on one line, and short.
#[derive(Clone, Copy)]
pub(crate) struct Redactor<'a> {
    credential: &'a Credential,
    others: &'a [&'a SecretString],
}

impl<'a> Redactor<'a> {
    /// For a request that carried the credential, and these secrets in its body.
    pub(crate) fn new(credential: &'a Credential, others: &'a [&'a SecretString]) -> Self {
        Self { credential, others }
    }

    /// Whether the text holds a secret.
    pub(crate) fn finds_in(&self, text: &str) -> bool {
        self.secrets().any(|secret| text.contains(secret))
    }

    /// The text without secrets and control characters, at most `max` characters long.
    pub(crate) fn clean(&self, text: &str, max: usize) -> String {
        // Control characters go first: they could split a secret.
        let visible: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let visible: String = visible.chars().filter(|c| !c.is_control()).collect();
        let mut clean = self.secrets().fold(visible, |text, secret| text.replace(secret, REDACTED));
        clean = without_bearer(&clean.split_whitespace().collect::<Vec<_>>());
        if clean.chars().count() > max {
            clean = clean.chars().take(max.saturating_sub(1)).collect();
            clean.push('…');
        }
        clean
    }

    fn secrets(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(&self.credential.secret)
            .chain(self.others.iter().copied())
            .map(|secret| secret.expose_secret())
            .filter(|secret| !secret.is_empty())
    }
}

/// A service that echoes a part of the header would slip through a search for the whole secret.
fn without_bearer(words: &[&str]) -> String {
    let mut after_bearer = false;
    let shown: Vec<&str> = words
        .iter()
        .map(|word| {
            let shown = if after_bearer { REDACTED } else { word };
            after_bearer = word.trim_matches(|c: char| !c.is_alphanumeric()).eq_ignore_ascii_case("bearer");
            shown
        })
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> Result<Credential, CredentialError> {
        Credential::parse(SecretString::from(text))
    }

    #[test]
    fn any_key_without_white_space_is_a_credential() {
        for key in ["sk_live_abc123", "x", "eyJhbGciOi.eyJzdWIi.c2ln-_~+/="] {
            assert_eq!(credential(key).unwrap().header().to_str().unwrap(), format!("Bearer {key}"));
        }
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused_without_repeating_it() {
        for (text, error) in [
            ("", CredentialError::Empty),
            (" \n", CredentialError::Empty),
            ("sk_live_canary\n", CredentialError::TrailingLineBreak),
            ("sk_live_canary\r\n", CredentialError::TrailingLineBreak),
            ("sk_live\ncanary", CredentialError::Character),
            ("canary key", CredentialError::Character),
            ("canaryé", CredentialError::Character),
            (&"canary".repeat(5000), CredentialError::TooLong),
        ] {
            let found = credential(text).unwrap_err();
            assert_eq!(found, error);
            assert!(!found.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_credential_is_not_printed() {
        let credential = credential("canary").unwrap();
        assert!(!format!("{credential:?} {:?}", credential.header()).contains("canary"));
    }

    #[test]
    fn text_is_cleaned_of_secrets_control_characters_and_length() {
        let credential = credential("canary-key").unwrap();
        let other = SecretString::from("canary-ext");
        let others = [&other];
        let redactor = Redactor::new(&credential, &others);
        let clean = |text: &str| redactor.clean(text, 60);
        assert_eq!(clean("key canary-key, id canary-ext."), "key [redacted], id [redacted].");
        assert_eq!(clean("can\u{0}ary-key\tand\r\nmore\u{1b}[31m"), "[redacted] and more[31m");
        assert_eq!(
            clean("header 'Authorization: Bearer canary-k' is bad"),
            "header 'Authorization: Bearer [redacted] is bad"
        );
        let long = clean(&"é".repeat(100));
        assert_eq!(long.chars().count(), 60);
        assert!(long.ends_with('…'));
        assert!(redactor.finds_in("x-canary-ext-x") && !redactor.finds_in("canary"));
    }
}

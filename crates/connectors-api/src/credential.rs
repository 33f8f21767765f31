//! The credential of one workspace: checked once, sent in one header, and taken out of every text that is shown, in whichever
//! common encoding it comes back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Longest credential that is accepted, in bytes; an ID token has one to two thousand.
const MAX_CREDENTIAL_LENGTH: usize = 16 * 1024;

/// Shortest encoded form that is looked for, in bytes: a shorter one stands in innocent words too.
const MIN_ENCODED_LENGTH: usize = 8;

/// Keys of an answer whose words are shown.
const SHOWN: [&str; 2] = ["status", "provider"];

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
pub(crate) struct Redactor {
    forms: Vec<SecretString>,
}

impl Redactor {
    /// For a request that carried the credential, and these secrets in its body.
    pub(crate) fn new(credential: &Credential, others: &[&SecretString]) -> Self {
        let all = std::iter::once(&credential.secret).chain(others.iter().copied());
        Self { forms: all.flat_map(|secret| forms(secret.expose_secret())).collect() }
    }

    /// Whether the text holds a secret.
    pub(crate) fn finds_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| memmem::find(text.as_bytes(), form.expose_secret().as_bytes()).is_some())
    }

    /// The text without secrets and control characters, at most `max` characters long.
    pub(crate) fn clean(&self, text: &str, max: usize) -> String {
        // Control characters go first: they could split a secret.
        let visible: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let visible: String = visible.chars().filter(|c| !c.is_control()).collect();
        let clean = self.without_secrets(visible);
        let mut clean = without_bearer(&clean.split_whitespace().collect::<Vec<_>>());
        if clean.chars().count() > max {
            clean = clean.chars().take(max.saturating_sub(1)).collect();
            clean.push('…');
        }
        clean
    }

    /// Takes the secrets out of the words of an answer that are shown as they came. Names and ids stay as they are, since they
    /// are compared and sent again.
    pub(crate) fn scrub(&self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub(value)),
            Value::Object(values) => values.iter_mut().for_each(|(key, value)| match value {
                Value::String(word) if SHOWN.contains(&key.as_str()) && self.finds_in(word) => {
                    *word = self.without_secrets(std::mem::take(word));
                }
                value => self.scrub(value),
            }),
            _ => {}
        }
    }

    fn without_secrets(&self, text: String) -> String {
        self.forms.iter().fold(text, |text, form| text.replace(form.expose_secret(), REDACTED))
    }
}

/// How a secret may stand in a text: as it is, and as hex, URLs and base64 write it.
fn forms(secret: &str) -> Vec<SecretString> {
    if secret.is_empty() {
        return Vec::new();
    }
    let hex = |upper: bool| secret.bytes().map(|b| two_digits(b, upper)).collect::<String>();
    let escaped = |upper: bool| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let escape = |b: u8| {
            if plain(b) { char::from(b).to_string() } else { format!("%{}", two_digits(b, upper)) }
        };
        secret.bytes().map(escape).collect::<String>()
    };
    let mut encoded = vec![hex(false), hex(true), escaped(false), escaped(true)];
    // Base64 writes a text in three ways, by where it begins. What depends on its neighbours is left out.
    for (before, spoilt) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        let whole = |text: String| text[spoilt..text.len() - usize::from(bytes.len() % 3 != 0)].to_owned();
        encoded.push(whole(STANDARD_NO_PAD.encode(&bytes)));
        encoded.push(whole(URL_SAFE_NO_PAD.encode(&bytes)));
    }
    encoded.retain(|form| form != secret && form.len() >= MIN_ENCODED_LENGTH);
    encoded.sort_unstable();
    encoded.dedup();
    std::iter::once(secret.to_owned()).chain(encoded).map(SecretString::from).collect()
}

fn two_digits(byte: u8, upper: bool) -> String {
    if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }
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
        let redactor = Redactor::new(&credential, &[&other]);
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
    #[test]
    fn a_secret_is_found_in_every_form_that_it_is_written_in() {
        let secret = "sk_live+canary/51c0ffee=";
        let redactor = Redactor::new(&credential(secret).unwrap(), &[]);
        let hex = secret.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        let mut written = vec![
            secret.to_owned(),
            hex.to_uppercase(),
            hex,
            "sk_live%2Bcanary%2F51c0ffee%3D".to_owned(),
            "sk_live%2bcanary%2f51c0ffee%3d".to_owned(),
        ];
        for before in ["", "a", "Bearer ", "user:x"] {
            for after in ["", "!", "??"] {
                let text = format!("{before}{secret}{after}");
                written.extend([STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
            }
        }
        for text in written {
            let clean = redactor.clean(&format!("<{text}>"), 300);
            assert!(redactor.finds_in(&text) && clean.contains(REDACTED), "{text}");
            assert!(clean.len() <= REDACTED.len() + 20, "{text} leaves {clean}");
            let mut answer = serde_json::json!([{"status": text, "history": [{"status": text}], "id": text}]);
            redactor.scrub(&mut answer);
            assert_eq!(answer.to_string().matches(&text).count(), 1, "{answer}");
            assert_eq!(answer[0]["id"], text, "an id is sent again as it came");
        }
    }

    #[test]
    fn the_forms_of_a_short_secret_do_not_spoil_innocent_words() {
        let other = SecretString::from("ab");
        let redactor = Redactor::new(&credential("long-enough-key").unwrap(), &[&other]);
        assert_eq!(redactor.clean("YWI and 6162", 60), "YWI and 6162");
    }
}

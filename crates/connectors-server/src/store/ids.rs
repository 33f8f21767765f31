//! New identifiers and API keys: random, lower-case base 36, with a prefix that says what they name.
//!
//! An id begins with its time of creation, so that sorting by id is sorting by age and a page cursor
//! that holds an id stays valid when that row is deleted.

use jiff::Timestamp;
use rand::Rng;
use secrecy::SecretString;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Characters of an id that hold its time: enough for milliseconds until the year 5188.
const TIME_CHARS: usize = 9;

/// Random characters of an id: 56 bits.
const RANDOM_CHARS: usize = 11;

/// Random characters of an API key: 191 bits.
const KEY_CHARS: usize = 37;

/// What an id names. The prefixes of connectors, scans and requests are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    Connector,
    Scan,
    Request,
    Workspace,
    Key,
}

impl IdKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Connector => "conn-",
            Self::Scan => "scan-",
            Self::Request => "req-",
            Self::Workspace => "ws-",
            Self::Key => "key-",
        }
    }
}

/// A new id of this kind.
pub(crate) fn new_id(kind: IdKind) -> String {
    let mut id = String::with_capacity(kind.prefix().len() + TIME_CHARS + RANDOM_CHARS);
    id.push_str(kind.prefix());
    let mut millis = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let mut time = [0u8; TIME_CHARS];
    for slot in time.iter_mut().rev() {
        *slot = ALPHABET[(millis % 36) as usize];
        millis /= 36;
    }
    id.extend(time.iter().map(|&b| char::from(b)));
    push_random(&mut id, RANDOM_CHARS);
    id
}

/// A new API key. It is shown once and kept only as a hash.
pub(crate) fn new_api_key() -> SecretString {
    let mut key = String::from("sk_live_");
    push_random(&mut key, KEY_CHARS);
    SecretString::from(key)
}

fn push_random(text: &mut String, chars: usize) {
    // `rng()` is a cryptographically secure generator that the operating system seeds.
    let mut rng = rand::rng();
    for _ in 0..chars {
        // 252 is the largest multiple of 36 in a byte: taking only what is below it leaves no bias.
        let byte = loop {
            let byte = (rng.next_u32() & 0xff) as u8;
            if byte < 252 {
                break byte;
            }
        };
        text.push(char::from(ALPHABET[usize::from(byte % 36)]));
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn ids_have_their_prefix_and_only_lower_case_letters_and_digits() {
        for (kind, prefix) in [
            (IdKind::Connector, "conn-"),
            (IdKind::Scan, "scan-"),
            (IdKind::Request, "req-"),
            (IdKind::Workspace, "ws-"),
            (IdKind::Key, "key-"),
        ] {
            let id = new_id(kind);
            let rest = id.strip_prefix(prefix).unwrap();
            assert_eq!(rest.len(), TIME_CHARS + RANDOM_CHARS);
            assert!(rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{id}");
        }
    }

    #[test]
    fn a_later_id_sorts_after_an_earlier_one() {
        let first = new_id(IdKind::Connector);
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert!(first < new_id(IdKind::Connector));
    }

    #[test]
    fn a_thousand_ids_and_keys_of_one_moment_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id(IdKind::Scan)).collect();
        assert_eq!(ids.len(), 1000);
        let keys: std::collections::HashSet<_> =
            (0..1000).map(|_| new_api_key().expose_secret().to_owned()).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|k| k.starts_with("sk_live_") && k.len() == 8 + KEY_CHARS));
    }
}

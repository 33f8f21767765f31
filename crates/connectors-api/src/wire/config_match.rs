//! Compares a configuration that was sent with one that was read, on what can be compared and no more.
//!
//! Reads may leave out or mask what create accepts, so absence is never a difference.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keys of `config` whose values are secrets: never compared, recorded or printed.
pub const SECRET_KEYS: [&str; 2] = ["external_id", "client_secret"];

/// Keys whose arrays are sets: a service may give them back in another order.
const SET_KEYS: [&str; 3] = ["buckets", "prefixes", "file_types"];

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigMatch {
    /// No key that can be compared differs.
    Matches,
    /// These keys, in alphabetical order, are on both sides and differ.
    Differs {
        /// The keys, never their values.
        keys: Vec<String>,
    },
}

impl ConfigMatch {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_match(&self) -> bool {
        matches!(self, Self::Matches)
    }
}

/// Compares what was sent with what was read.
///
/// Only keys on both sides count. A value that is `null` or empty text counts as absent, one made of asterisks as
/// masked; neither differs. The scope's arrays are compared as sets. Secrets are not compared.
#[must_use]
pub fn readable_config_matches(sent: &Map<String, Value>, read: &Map<String, Value>) -> ConfigMatch {
    let mut keys: Vec<String> = sent
        .iter()
        .filter(|(key, _)| !SECRET_KEYS.contains(&key.as_str()))
        .filter_map(|(key, sent)| Some((key, sent, read.get(key)?)))
        .filter(|(key, sent, read)| is_shown(sent) && is_shown(read) && !same(key, sent, read))
        .map(|(key, _, _)| key.clone())
        .collect();
    keys.sort_unstable();
    if keys.is_empty() { ConfigMatch::Matches } else { ConfigMatch::Differs { keys } }
}

/// The configuration without the keys that hold secrets.
#[must_use]
pub fn without_secrets(mut config: Map<String, Value>) -> Map<String, Value> {
    for key in SECRET_KEYS {
        config.remove(key);
    }
    config
}

/// Whether the value says something: it is neither absent nor masked.
fn is_shown(value: &Value) -> bool {
    match value {
        Value::Null => false,
        // True of the empty text too.
        Value::String(text) => !text.trim().chars().all(|c| c == '*'),
        _ => true,
    }
}

fn same(key: &str, sent: &Value, read: &Value) -> bool {
    match (sent, read) {
        (Value::Array(sent), Value::Array(read)) if SET_KEYS.contains(&key) => {
            // A masked entry hides which one it is, so the array as a whole cannot be compared.
            !read.iter().all(is_shown) || texts(sent) == texts(read)
        }
        _ => sent == read,
    }
}

fn texts(values: &[Value]) -> BTreeSet<String> {
    values.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compare(sent: Value, read: Value) -> ConfigMatch {
        let (Value::Object(sent), Value::Object(read)) = (sent, read) else { panic!("objects only") };
        readable_config_matches(&sent, &read)
    }

    fn differs(keys: &[&str]) -> ConfigMatch {
        ConfigMatch::Differs { keys: keys.iter().map(|&k| k.to_owned()).collect() }
    }

    #[test]
    fn what_is_left_out_on_either_side_is_no_difference() {
        let sent = json!({"role_arn": "a", "region": "eu-west-1", "prefixes": ["x/"]});
        assert!(compare(sent.clone(), json!({"role_arn": "a"})).is_match());
        assert!(compare(sent.clone(), json!({})).is_match());
        assert!(compare(sent.clone(), json!({"role_arn": null, "region": ""})).is_match());
        assert!(compare(sent, json!({"role_arn": "a", "shape": "round"})).is_match());
    }

    #[test]
    fn masked_values_and_secrets_never_differ() {
        let sent = json!({"external_id": "one", "client_secret": "two", "client_id": "three"});
        assert!(
            compare(sent.clone(), json!({"external_id": "1", "client_secret": "2", "client_id": "***"}))
                .is_match()
        );
        assert!(compare(sent.clone(), json!({"client_id": "********"})).is_match());
        assert_eq!(compare(sent, json!({"client_id": "thr***"})), differs(&["client_id"]));
        assert!(compare(json!({"buckets": ["a"]}), json!({"buckets": ["***"]})).is_match());
    }

    #[test]
    fn scope_is_compared_as_sets() {
        let sent = json!({"buckets": ["a", "b"], "prefixes": ["x/"], "file_types": ["csv", "json"]});
        let turned = json!({"buckets": ["b", "a", "a"], "prefixes": ["x/"], "file_types": ["json", "csv"]});
        assert!(compare(sent.clone(), turned).is_match());
        assert_eq!(compare(sent.clone(), json!({"buckets": ["a"]})), differs(&["buckets"]));
        assert_eq!(compare(sent, json!({"buckets": []})), differs(&["buckets"]));
        assert_eq!(compare(json!({"other": ["a", "b"]}), json!({"other": ["b", "a"]})), differs(&["other"]));
    }

    #[test]
    fn the_keys_that_differ_are_named_in_order() {
        let found = compare(
            json!({"region": "eu-west-1", "a": 1, "role_arn": "x"}),
            json!({"region": "eu-west-2", "a": 2, "role_arn": "x"}),
        );
        assert_eq!(found, differs(&["a", "region"]));
    }

    #[test]
    fn secrets_are_taken_out() {
        let Value::Object(config) = json!({"external_id": "x", "client_secret": "y", "region": "z"}) else {
            panic!()
        };
        assert_eq!(Value::Object(without_secrets(config)), json!({"region": "z"}));
    }
}

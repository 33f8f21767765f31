//! What of its storage a connector covers: buckets, prefixes, file types.

use connectors_api::Scope;
use serde_json::{Map, Value};

/// The scope in a stored configuration.
pub(crate) fn scope_of(config: &Map<String, Value>) -> Scope {
    Scope {
        buckets: strings(config, "buckets"),
        prefixes: strings(config, "prefixes"),
        file_types: strings(config, "file_types"),
    }
}

fn strings(config: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = config.get(key).and_then(Value::as_array);
    list.map(|items| items.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
}

/// Whether a key ends in one of these extensions, whatever their case. No extensions: every key does.
pub(crate) fn has_type(key: &str, file_types: &[String]) -> bool {
    if file_types.is_empty() {
        return true;
    }
    let name = key.rsplit('/').next().unwrap_or(key);
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| file_types.iter().any(|t| t.eq_ignore_ascii_case(extension)))
}

/// Prefixes without those that lie under another one, so that no key is listed twice. None: the whole bucket.
pub(crate) fn distinct_prefixes(prefixes: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut sorted: Vec<&String> = prefixes.iter().collect();
    sorted.sort();
    for prefix in sorted {
        if !kept.iter().any(|k| prefix.starts_with(k.as_str())) {
            kept.push(prefix.clone());
        }
    }
    if kept.is_empty() {
        kept.push(String::new());
    }
    kept
}

/// What lies under both sets of prefixes; an empty set is everything. `None` when nothing does.
pub(crate) fn common_prefixes(a: &[String], b: &[String]) -> Option<Vec<String>> {
    if a.is_empty() || b.is_empty() {
        return Some(if a.is_empty() { b.to_vec() } else { a.to_vec() });
    }
    let both: Vec<String> = a
        .iter()
        .flat_map(|a| b.iter().map(move |b| (a, b)))
        .filter_map(|(a, b)| match (a.starts_with(b.as_str()), b.starts_with(a.as_str())) {
            (true, _) => Some(a.clone()),
            (_, true) => Some(b.clone()),
            _ => None,
        })
        .collect();
    (!both.is_empty()).then_some(both)
}

/// File types that are in both sets; an empty set is everything. `None` when none is.
pub(crate) fn common_types(a: &[String], b: &[String]) -> Option<Vec<String>> {
    if a.is_empty() || b.is_empty() {
        return Some(if a.is_empty() { b.to_vec() } else { a.to_vec() });
    }
    let both: Vec<String> =
        a.iter().filter(|a| b.iter().any(|b| b.eq_ignore_ascii_case(a))).cloned().collect();
    (!both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_extension_is_that_of_the_last_segment_and_its_case_does_not_matter() {
        let types = list(&["csv", "json"]);
        assert!(has_type("a/b/People.CSV", &types));
        assert!(has_type("x.tar.json", &types));
        assert!(!has_type("a.csv/readme", &types));
        assert!(!has_type("csv", &types));
        assert!(has_type("anything", &[]));
    }

    #[test]
    fn a_prefix_under_another_one_is_not_listed_twice() {
        assert_eq!(distinct_prefixes(&list(&["b/", "a/b/", "a/", "a/"])), list(&["a/", "b/"]));
        assert_eq!(distinct_prefixes(&[]), list(&[""]));
    }

    #[test]
    fn options_only_ever_narrow_the_scope() {
        assert_eq!(common_prefixes(&list(&["a/"]), &list(&["a/x/", "b/"])), Some(list(&["a/x/"])));
        assert_eq!(common_prefixes(&list(&["a/x/"]), &list(&["a/"])), Some(list(&["a/x/"])));
        assert_eq!(common_prefixes(&[], &list(&["b/"])), Some(list(&["b/"])));
        assert_eq!(common_prefixes(&list(&["a/"]), &list(&["b/"])), None);
        assert_eq!(common_types(&list(&["csv"]), &list(&["CSV", "json"])), Some(list(&["csv"])));
        assert_eq!(common_types(&list(&["csv"]), &list(&["json"])), None);
    }
}

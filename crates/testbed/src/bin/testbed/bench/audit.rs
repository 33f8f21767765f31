//! Who wrote what to Kubernetes, from the API server's own audit log.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Every write that was answered, by whom and to what; nothing else.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
";

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// `connectors`, `connectors/status`, `events`, …
    pub(super) resource: String,
    pub(super) name: String,
}

/// The writes of `user` from byte `from` of the log on.
pub(super) fn writes(log: &Path, user: &str, from: u64) -> std::io::Result<Vec<Write>> {
    let bytes = std::fs::read(log)?;
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..]);
    Ok(text.lines().filter_map(|line| write(line, user)).collect())
}

/// How many of them there were, by resource.
pub(super) fn by_resource(writes: &[Write]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for write in writes {
        *counts.entry(write.resource.as_str()).or_insert(0) += 1;
    }
    counts
}

fn write(line: &str, user: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["user"]["username"] != user {
        return None;
    }
    let object = &event["objectRef"];
    let resource = object["resource"].as_str()?;
    let resource = match object["subresource"].as_str() {
        Some(part) => format!("{resource}/{part}"),
        None => resource.to_owned(),
    };
    Some(Write { resource, name: object["name"].as_str().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_writes_of_the_one_user_count_and_half_a_line_does_not() {
        let line = |user: &str, subresource: &str| {
            format!(
                r#"{{"user":{{"username":"{user}"}},"objectRef":{{"resource":"connectors","name":"c"{subresource}}}}}"#
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let mine = line("me", r#","subresource":"status""#);
        std::fs::write(&log, format!("{}\n{mine}\n{}\n{{\"user\":", line("me", ""), line("you", "")))
            .unwrap();
        let found = writes(&log, "me", 0).unwrap();
        assert_eq!(by_resource(&found), BTreeMap::from([("connectors", 1), ("connectors/status", 1)]));
        let later = writes(&log, "me", line("me", "").len() as u64).unwrap();
        assert_eq!(by_resource(&later), BTreeMap::from([("connectors/status", 1)]));
    }
}

//! The live table: one row a resource, made from what the API server says, and from nothing else.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

const HEADER: [&str; 8] = ["RESOURCE", "PROVIDER", "STATE", "READY", "RISK", "FINDINGS", "LAST SCAN", "AGE"];
/// Shown where a resource does not say.
const NOTHING: &str = "-";

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// All columns but the last two.
    cells: [String; 6],
    last_scan: Option<Timestamp>,
    created: Option<Timestamp>,
}

impl Row {
    /// A row of a Connector, a Scan or a workspace.
    pub(super) fn of(object: &Value) -> Self {
        let kind = object["kind"].as_str().unwrap_or_default();
        let status = &object["status"];
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let (provider, state) = match kind {
            "Scan" => (String::new(), scan_state(status)),
            "Connector" => (provider(object), text(&status["state"])),
            _ => (String::new(), String::new()),
        };
        let last_scan = if kind == "Scan" { &status["completionTime"] } else { &status["lastScanTime"] };
        Self {
            cells: [
                format!("{}/{name}", kind.to_lowercase()),
                provider,
                state,
                ready(object),
                text(&status["riskScore"]),
                text(&status["findingsCount"]),
            ],
            last_scan: time(last_scan),
            created: time(&object["metadata"]["creationTimestamp"]),
        }
    }

    fn columns(&self, now: Timestamp) -> [String; 8] {
        let [resource, provider, state, ready, risk, findings] = self.cells.clone();
        let ago = |at: Option<Timestamp>| at.map(|at| age(since(at, now)));
        let last_scan = ago(self.last_scan).map_or_else(String::new, |ago| format!("{ago} ago"));
        [resource, provider, state, ready, risk, findings, last_scan, ago(self.created).unwrap_or_default()]
            .map(|cell| if cell.is_empty() { NOTHING.to_owned() } else { cell })
    }
}

/// The table as lines, without trailing spaces.
pub(super) fn render(rows: &[Row], now: Timestamp) -> Vec<String> {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| row.columns(now)));
    aligned(&lines)
}

/// Columns padded to their widest cell.
pub(super) fn aligned<const N: usize>(lines: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    lines
        .iter()
        .map(|line| {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("   ").trim_end().to_owned()
        })
        .collect()
}

/// The condition `name` of an object, if it is there.
pub(super) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

/// `True`, or `False (Reason)`.
fn ready(object: &Value) -> String {
    let Some(condition) = condition(object, "Ready") else { return String::new() };
    let (status, reason) = (text(&condition["status"]), text(&condition["reason"]));
    if status == "True" || reason.is_empty() { status } else { format!("{status} ({reason})") }
}

/// The phase, and how far it is while it runs.
fn scan_state(status: &Value) -> String {
    let phase = text(&status["phase"]);
    let progress = &status["progress"];
    match (phase.as_str(), progress["percent"].as_i64(), progress["filesProcessed"].as_i64()) {
        ("Running", Some(percent), Some(files)) => format!("{phase} {percent}%, {files} files"),
        ("Running", Some(percent), None) => format!("{phase} {percent}%"),
        _ => phase,
    }
}

fn provider(object: &Value) -> String {
    ["aws", "gcp", "azure"]
        .into_iter()
        .find(|name| object["spec"].get(name).is_some())
        .unwrap_or_default()
        .to_owned()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.as_second() - at.as_second()).unwrap_or(0))
}

/// As kubectl says it.
fn age(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..120 => format!("{secs}s"),
        secs @ 120..7200 => format!("{}m", secs / 60),
        secs => format!("{}h", secs / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_that_nothing_is_known_of_yet_shows_dashes() {
        let object = json!({"kind": "Connector", "metadata": {"name": "c"}, "spec": {"aws": {}}});
        let lines = render(&[Row::of(&object)], Timestamp::UNIX_EPOCH);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["connector/c", "aws", "-", "-", "-", "-", "-", "-"]
        );
    }

    #[test]
    fn a_connector_shows_what_its_status_says_and_why_it_is_not_ready() {
        let object = json!({
            "kind": "Connector",
            "metadata": {"name": "c", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"gcp": {}},
            "status": {
                "state": "error", "riskScore": 0, "findingsCount": 12, "lastScanTime": "1970-01-01T00:00:30Z",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ConnectionFailed"}],
            },
        });
        let line = render(&[Row::of(&object)], "1970-01-01T00:03:00Z".parse().unwrap()).remove(1);
        let parts: Vec<&str> = line.split("   ").map(str::trim).filter(|part| !part.is_empty()).collect();
        assert_eq!(
            parts,
            ["connector/c", "gcp", "error", "False (ConnectionFailed)", "0", "12", "2m ago", "3m"],
            "{line}"
        );
    }

    #[test]
    fn a_running_scan_shows_how_far_it_is() {
        let status = json!({"phase": "Running", "progress": {"percent": 40, "filesProcessed": 120}});
        assert_eq!(scan_state(&status), "Running 40%, 120 files");
        assert_eq!(scan_state(&json!({"phase": "Completed", "progress": {"percent": 100}})), "Completed");
    }

    #[test]
    fn ages_of_clocks_that_disagree_are_not_negative() {
        assert_eq!(since("1970-01-01T00:01:00Z".parse().unwrap(), Timestamp::UNIX_EPOCH), Duration::ZERO);
    }
}

//! Connectors as the API answers them, and the body of a create as a server reads it.
//!
//! `docs.slim.io/api-reference/connectors`. List, read and create answer different sets of fields,
//! so each has its own type.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tolerant;
use super::{ConnectorId, ConnectorState, Provider, ScanId, ScanState};

/// One item of `GET /connectors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectorItem {
    /// Id, unique in the workspace and beyond.
    pub id: ConnectorId,
    /// Name. Whether names are unique is not documented.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub name: String,
    /// Cloud.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub provider: Provider,
    /// State.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ConnectorState,
    /// Configuration as far as the service shows it: secrets and more may be missing or masked. Compare with
    /// [`readable_config_matches`](super::readable_config_matches), never with `==`.
    #[serde(default, deserialize_with = "tolerant::object")]
    pub config: Map<String, Value>,
    /// When the newest scan was (its start, in the samples); `None` before the first.
    #[serde(default, with = "tolerant::time")]
    pub last_scan: Option<Timestamp>,
    /// Findings of the newest scan.
    #[serde(default, deserialize_with = "tolerant::count")]
    pub findings_count: u64,
    /// Risk, 0 (none) to 100; `None` before the first scan, which a service may also write as 0.
    #[serde(default, deserialize_with = "tolerant::optional_small_count")]
    pub risk_score: Option<u32>,
    /// When it was created. Whole seconds in the samples. `None` only when the service does not say.
    #[serde(default, with = "tolerant::time")]
    pub created_at: Option<Timestamp>,
}

/// Answer of `GET /connectors/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectorDetail {
    /// Id.
    pub id: ConnectorId,
    /// Name.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub name: String,
    /// Cloud.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub provider: Provider,
    /// State.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ConnectorState,
    /// Configuration as far as the service shows it; see [`ConnectorItem::config`].
    #[serde(default, deserialize_with = "tolerant::object")]
    pub config: Map<String, Value>,
    /// Scans of this connector. Length and order are not documented: sort by `started_at` yourself.
    #[serde(default, deserialize_with = "tolerant::list")]
    pub scan_history: Vec<ScanHistoryEntry>,
    /// Risk, 0 to 100; see [`ConnectorItem::risk_score`].
    #[serde(default, deserialize_with = "tolerant::optional_small_count")]
    pub risk_score: Option<u32>,
    /// When it was created.
    #[serde(default, with = "tolerant::time")]
    pub created_at: Option<Timestamp>,
    /// When it last changed; in the samples the end of the newest scan.
    #[serde(default, with = "tolerant::time")]
    pub updated_at: Option<Timestamp>,
}

/// One scan in the history of a connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanHistoryEntry {
    /// Id of the scan.
    pub scan_id: ScanId,
    /// State of the scan.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ScanState,
    /// When it started; `None` while it waits.
    #[serde(default, with = "tolerant::time")]
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` while it has not.
    #[serde(default, with = "tolerant::time")]
    pub completed_at: Option<Timestamp>,
    /// Files read.
    #[serde(default, deserialize_with = "tolerant::count")]
    pub files_processed: u64,
    /// Findings in them.
    #[serde(default, deserialize_with = "tolerant::count")]
    pub findings_count: u64,
}

/// Body of `POST /connectors` as a server takes it: the keys are known, their validity is not.
///
/// The client's side of it is [`CreateConnector`](super::CreateConnector). `Debug` shows the keys of
/// `config` without their values, since some of them are secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateConnectorRequest {
    /// Name.
    pub name: String,
    /// Cloud; any word.
    pub provider: Provider,
    /// Keys that depend on the provider, unchecked.
    pub config: Map<String, Value>,
}

impl fmt::Debug for CreateConnectorRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, provider, config } = self;
        f.debug_struct("CreateConnectorRequest")
            .field("name", name)
            .field("provider", provider)
            .field("config", &config.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Answer of `POST /connectors`. The configuration is not echoed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorCreated {
    /// Id that the service gave.
    pub id: ConnectorId,
    /// Name as sent.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub name: String,
    /// Cloud as sent.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub provider: Provider,
    /// `pending_test` in the sample.
    #[serde(default, deserialize_with = "tolerant::word")]
    pub status: ConnectorState,
    /// When it was created, on the service's clock.
    #[serde(default, with = "tolerant::time")]
    pub created_at: Option<Timestamp>,
}

/// Answer of `DELETE /connectors/{id}`. Deletion takes history and findings along and cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorDeleted {
    /// Id of what was deleted; `None` when the service does not repeat it.
    #[serde(default, deserialize_with = "tolerant::optional", skip_serializing_if = "Option::is_none")]
    pub id: Option<ConnectorId>,
    /// Whether it was deleted. Confirm by a read all the same: deletion may be slow.
    #[serde(default, deserialize_with = "tolerant::flag")]
    pub deleted: bool,
}

/// Answer of `POST /connectors/{id}/test`: whether the credentials can list what is in scope. No scan starts.
///
/// A service may also answer a failed test with an error envelope; that arrives as an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestOutcome {
    /// Outcome. A service that does not say so did not connect.
    #[serde(default, deserialize_with = "tolerant::flag")]
    pub connected: bool,
    /// Buckets that could be listed. Compare them with what was asked for.
    #[serde(default, deserialize_with = "tolerant::list")]
    pub buckets_accessible: Vec<String>,
    /// Objects seen.
    #[serde(default, deserialize_with = "tolerant::count")]
    pub sample_objects: u64,
    /// Duration of the check, in milliseconds.
    #[serde(default, deserialize_with = "tolerant::count")]
    pub latency_ms: u64,
    /// Why it failed, as a stable word. Only `connectors-server` sends it; absent after a success.
    #[serde(default, deserialize_with = "tolerant::optional_text", skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The same as a sentence for a person, without secrets. Only `connectors-server` sends it.
    #[serde(default, deserialize_with = "tolerant::optional_text", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(extra: &str) -> ConnectorItem {
        serde_json::from_str(&format!(r#"{{"id":"conn-1"{extra}}}"#)).unwrap()
    }

    #[test]
    fn a_list_item_in_the_documented_shape_reads_and_writes_back_the_same() {
        let json = serde_json::json!({
            "id": "conn-7h2k9q", "name": "Billing archive", "provider": "aws", "status": "active",
            "config": {"role_arn": "arn:aws:iam::210987654321:role/BillingReader", "region": "eu-west-1",
                       "buckets": ["billing-2023", "billing-2024"]},
            "last_scan": "2025-02-03T04:00:00Z", "findings_count": 318, "risk_score": 41,
            "created_at": "2025-01-20T09:30:00Z"
        });
        let item: ConnectorItem = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(item.provider, Provider::Aws);
        assert_eq!(item.status, ConnectorState::Active);
        assert_eq!((item.findings_count, item.risk_score), (318, Some(41)));
        assert_eq!(serde_json::to_value(&item).unwrap(), json);
    }

    #[test]
    fn a_connector_that_was_never_scanned_reads_in_every_way_to_write_it() {
        let absent = item("");
        assert_eq!((absent.last_scan, absent.risk_score, absent.findings_count), (None, None, 0));
        assert_eq!(item(r#","last_scan":null,"risk_score":null,"findings_count":null"#), absent);
        assert_eq!(item(r#","last_scan":"","risk_score":"","findings_count":"""#), absent);
        let zeros = item(r#","last_scan":0,"risk_score":0,"findings_count":0"#);
        assert_eq!(zeros, ConnectorItem { risk_score: Some(0), ..absent });
    }

    #[test]
    fn unknown_keys_and_undocumented_words_are_no_obstacle() {
        let item =
            item(r#","provider":"oracle","status":"testing","colour":"blue","config":{"containers":["a"]}"#);
        assert_eq!(item.provider.as_str(), "oracle");
        assert_eq!(item.status.as_str(), "testing");
        assert_eq!(item.config["containers"][0], "a");
    }

    #[test]
    fn an_item_without_a_usable_id_is_an_error() {
        for bad in [r#"{"name":"x"}"#, r#"{"id":""}"#, r#"{"id":null}"#, r#"{"id":7}"#] {
            assert!(serde_json::from_str::<ConnectorItem>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_read_has_history_and_its_config_may_be_empty() {
        let detail: ConnectorDetail = serde_json::from_str(
            r#"{"id":"conn-1","name":"n","provider":"gcp","status":"active","config":null,"risk_score":41.0,
                "scan_history":[{"scan_id":"scan-0a1","status":"running","started_at":"2025-02-03T04:00:00.5+00:00",
                                 "completed_at":"","files_processed":"902","findings_count":null}],
                "created_at":"2025-01-20T09:30:00Z","updated_at":null}"#,
        )
        .unwrap();
        assert!(detail.config.is_empty());
        let scan = &detail.scan_history[0];
        assert_eq!((scan.completed_at, scan.files_processed, scan.findings_count), (None, 902, 0));
        assert_eq!(scan.status, ScanState::Running);
        assert_eq!(detail.risk_score, Some(41));
        for none in ["", r#","scan_history":null"#, r#","scan_history":"""#, r#","scan_history":0"#] {
            let json = format!(r#"{{"id":"conn-1"{none}}}"#);
            assert!(
                serde_json::from_str::<ConnectorDetail>(&json).unwrap().scan_history.is_empty(),
                "{none}"
            );
        }
    }

    #[test]
    fn a_create_answer_needs_nothing_but_its_id() {
        let created: ConnectorCreated = serde_json::from_str(r#"{"id":"conn-3m8x1z"}"#).unwrap();
        assert_eq!(created.id.as_str(), "conn-3m8x1z");
        assert_eq!(created.status.as_str(), "unknown");
        assert!(serde_json::from_str::<ConnectorCreated>("{}").is_err());
    }

    #[test]
    fn a_failed_test_may_carry_cause_and_message() {
        let outcome: TestOutcome = serde_json::from_str(
            r#"{"connected":false,"buckets_accessible":null,"cause":"external_id_refused","message":"wrong external id"}"#,
        )
        .unwrap();
        assert!(!outcome.connected);
        assert!(outcome.buckets_accessible.is_empty());
        assert_eq!(outcome.cause.as_deref(), Some("external_id_refused"));
        let passed: TestOutcome = serde_json::from_str(
            r#"{"connected":true,"buckets_accessible":["b"],"sample_objects":902,"latency_ms":131}"#,
        )
        .unwrap();
        let written = serde_json::to_value(&passed).unwrap();
        assert_eq!(written.as_object().unwrap().len(), 4, "no cause or message after a success: {written}");
    }

    #[test]
    fn a_delete_answer_may_be_empty() {
        let deleted: ConnectorDeleted = serde_json::from_str(r#"{"id":"conn-1","deleted":true}"#).unwrap();
        assert!(deleted.deleted);
        assert_eq!(
            serde_json::from_str::<ConnectorDeleted>("{}").unwrap(),
            ConnectorDeleted { id: None, deleted: false }
        );
    }

    #[test]
    fn the_debug_output_of_a_create_body_has_no_values() {
        let body: CreateConnectorRequest = serde_json::from_str(
            r#"{"name":"n","provider":"azure","config":{"client_secret":"canary-9f2","tenant_id":"t"}}"#,
        )
        .unwrap();
        let debug = format!("{body:?}");
        assert!(debug.contains("client_secret") && !debug.contains("canary-9f2"), "{debug}");
    }

    #[test]
    fn a_create_body_that_lacks_a_key_says_which() {
        let missing =
            |json: &str| serde_json::from_str::<CreateConnectorRequest>(json).unwrap_err().to_string();
        assert!(missing(r#"{"provider":"aws","config":{}}"#).starts_with("missing field `name`"));
        assert!(missing(r#"{"name":"n","config":{}}"#).starts_with("missing field `provider`"));
        assert!(missing(r#"{"name":"n","provider":"aws"}"#).starts_with("missing field `config`"));
    }
}

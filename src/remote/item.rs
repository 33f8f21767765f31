//! One connector as the API shows it, kept small: there may be ten thousand of them, and most are looked at only when they
//! change.

use connectors_api::wire::{ConnectorDetail, ConnectorId, ConnectorItem, ConnectorState, Provider};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A connector of a list, or of a read.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its id.
    pub id: ConnectorId,
    /// Its name.
    pub name: Box<str>,
    /// Its provider.
    pub provider: Provider,
    /// The API's word for its state.
    pub state: ConnectorState,
    /// As JSON text: a tenth of what the parsed one takes.
    config: Box<str>,
    /// Its risk score.
    pub risk_score: Option<u32>,
    /// Its findings. Only lists tell them.
    pub findings_count: Option<u64>,
    /// Its last scan. Only lists tell it.
    pub last_scan: Option<Timestamp>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
}

impl Item {
    /// What a read shows, with what only lists tell as it was `before`.
    pub(super) fn read(detail: &ConnectorDetail, before: Option<&Self>) -> Self {
        // A connector without history has no findings; what it has otherwise, only a list tells.
        let findings_count =
            if detail.scan_history.is_empty() { Some(0) } else { before.and_then(|old| old.findings_count) };
        Self {
            id: detail.id.clone(),
            name: detail.name.as_str().into(),
            provider: detail.provider.clone(),
            state: detail.status.clone(),
            config: text(detail.config.clone()),
            risk_score: detail.risk_score,
            findings_count,
            last_scan: before.and_then(|old| old.last_scan),
            created_at: detail.created_at,
        }
    }

    /// Its config, as far as the API lets it be read.
    pub fn config(&self) -> Map<String, Value> {
        serde_json::from_str(&self.config).unwrap_or_default()
    }

    /// Whether it looks different from what was seen of it before.
    pub(super) fn differs(&self, before: &Self) -> bool {
        let Self {
            id: _,
            name,
            provider,
            state,
            config,
            risk_score,
            findings_count,
            last_scan,
            created_at: _,
        } = self;
        *name != before.name
            || *provider != before.provider
            || *config != before.config
            || *state != before.state
            || *risk_score != before.risk_score
            || *findings_count != before.findings_count
            || *last_scan != before.last_scan
    }
}

impl From<ConnectorItem> for Item {
    fn from(item: ConnectorItem) -> Self {
        let ConnectorItem {
            id,
            name,
            provider,
            status,
            config,
            last_scan,
            findings_count,
            risk_score,
            created_at,
        } = item;
        Self {
            id,
            name: name.into(),
            provider,
            state: status,
            config: text(config),
            risk_score,
            findings_count: Some(findings_count),
            last_scan,
            created_at,
        }
    }
}

fn text(config: Map<String, Value>) -> Box<str> {
    Value::Object(config).to_string().into()
}

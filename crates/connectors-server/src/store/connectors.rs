//! Connectors of one workspace.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::FromRow;

use super::error::unique_as;
use super::{IdKind, StoreError, WorkspaceScope, count, new_id, now_ms, time};

/// A connector to be created: its configuration already split into what a read may show and what it may not.
#[derive(Debug)]
pub(crate) struct NewConnector {
    pub(crate) name: String,
    pub(crate) provider: &'static str,
    pub(crate) config: Map<String, Value>,
    pub(crate) secrets: Map<String, Value>,
}

/// A connector without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConnectorRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(crate) config: Map<String, Value>,
    pub(crate) last_scan: Option<Timestamp>,
    pub(crate) findings_count: u64,
    pub(crate) risk_score: Option<u32>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A connector with all that is needed to reach its storage.
#[derive(Clone)]
pub(crate) struct ConnectorTarget {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) config: Map<String, Value>,
    pub(crate) secrets: Map<String, Value>,
}

/// Which connectors a list shows.
#[derive(Debug, Default)]
pub(crate) struct ConnectorFilter {
    pub(crate) provider: Option<String>,
    pub(crate) state: Option<String>,
}

impl std::fmt::Debug for ConnectorTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectorTarget").field("id", &self.id).field("provider", &self.provider).finish()
    }
}

#[derive(FromRow)]
struct Raw {
    id: String,
    name: String,
    provider: String,
    state: String,
    config: String,
    last_scan_ms: Option<i64>,
    findings_count: i64,
    risk_score: Option<i64>,
    created_ms: i64,
    updated_ms: i64,
}

impl Raw {
    fn read(self) -> Result<ConnectorRow, StoreError> {
        Ok(ConnectorRow {
            config: object("config", &self.id, &self.config)?,
            id: self.id,
            name: self.name,
            provider: self.provider,
            state: self.state,
            last_scan: self.last_scan_ms.map(time),
            findings_count: count(self.findings_count),
            risk_score: self.risk_score.and_then(|score| u32::try_from(score).ok()),
            created_at: time(self.created_ms),
            updated_at: time(self.updated_ms),
        })
    }
}

pub(super) fn object(what: &'static str, id: &str, json: &str) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Unreadable { what, id: id.to_owned() })
}

impl WorkspaceScope {
    /// Creates a connector that waits for its first test.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when another one of the workspace has this name.
    pub(crate) async fn create_connector(&self, new: NewConnector) -> Result<ConnectorRow, StoreError> {
        let NewConnector { name, provider, config, secrets } = new;
        let (id, now) = (new_id(IdKind::Connector), now_ms());
        let mut write = self.store.write().await?;
        sqlx::query(
            "INSERT INTO connectors
                (id, workspace_id, name, provider, state, config, secrets, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, 'pending_test', $5, $6, $7, $7)",
        )
        .bind(&id)
        .bind(&self.workspace_id)
        .bind(&name)
        .bind(provider)
        .bind(Value::Object(config.clone()).to_string())
        .bind(Value::Object(secrets).to_string())
        .bind(now)
        .execute(write.conn())
        .await
        .map_err(|error| unique_as(error, StoreError::NameTaken))?;
        write.commit().await?;
        Ok(ConnectorRow {
            id,
            name,
            provider: provider.to_owned(),
            state: "pending_test".to_owned(),
            config,
            last_scan: None,
            findings_count: 0,
            risk_score: None,
            created_at: time(now),
            updated_at: time(now),
        })
    }

    /// Up to `limit` connectors whose id comes after `after`, the oldest first.
    pub(crate) async fn connectors(
        &self,
        filter: &ConnectorFilter,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>, StoreError> {
        let rows: Vec<Raw> = sqlx::query_as(
            "SELECT id, name, provider, state, config, last_scan_ms, findings_count, risk_score, created_ms, updated_ms
             FROM connectors
             WHERE workspace_id = $1 AND id > $2
               AND ($3 IS NULL OR provider = $3) AND ($4 IS NULL OR state = $4)
             ORDER BY id LIMIT $5",
        )
        .bind(&self.workspace_id)
        .bind(after)
        .bind(&filter.provider)
        .bind(&filter.state)
        .bind(i64::from(limit))
        .fetch_all(&self.store.readers)
        .await?;
        rows.into_iter().map(Raw::read).collect()
    }

    /// One connector.
    pub(crate) async fn connector(&self, id: &str) -> Result<Option<ConnectorRow>, StoreError> {
        let row: Option<Raw> = sqlx::query_as(
            "SELECT id, name, provider, state, config, last_scan_ms, findings_count, risk_score, created_ms, updated_ms
             FROM connectors WHERE workspace_id = $1 AND id = $2",
        )
        .bind(&self.workspace_id)
        .bind(id)
        .fetch_optional(&self.store.readers)
        .await?;
        row.map(Raw::read).transpose()
    }

    /// One connector with its secrets.
    pub(crate) async fn connector_target(&self, id: &str) -> Result<Option<ConnectorTarget>, StoreError> {
        #[derive(FromRow)]
        struct Target {
            provider: String,
            config: String,
            secrets: String,
        }
        let row: Option<Target> = sqlx::query_as(
            "SELECT provider, config, secrets FROM connectors WHERE workspace_id = $1 AND id = $2",
        )
        .bind(&self.workspace_id)
        .bind(id)
        .fetch_optional(&self.store.readers)
        .await?;
        let Some(Target { provider, config, secrets }) = row else { return Ok(None) };
        Ok(Some(ConnectorTarget {
            config: object("config", id, &config)?,
            secrets: object("secrets", id, &secrets)?,
            id: id.to_owned(),
            provider,
        }))
    }

    /// Deletes a connector with its scans and findings. Answers whether it was there.
    pub(crate) async fn delete_connector(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.store.write().await?;
        let done = sqlx::query("DELETE FROM connectors WHERE workspace_id = $1 AND id = $2")
            .bind(&self.workspace_id)
            .bind(id)
            .execute(write.conn())
            .await?;
        write.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps what a test found out. Answers whether the connector is still there.
    pub(crate) async fn record_test(&self, id: &str, connected: bool) -> Result<bool, StoreError> {
        let state = if connected { "active" } else { "error" };
        let mut write = self.store.write().await?;
        // An unchanged state is not a change: `updated_at` stays.
        let done = sqlx::query(
            "UPDATE connectors
             SET updated_ms = CASE WHEN state = $3 THEN updated_ms ELSE $4 END, state = $3
             WHERE workspace_id = $1 AND id = $2",
        )
        .bind(&self.workspace_id)
        .bind(id)
        .bind(state)
        .bind(now_ms())
        .execute(write.conn())
        .await?;
        write.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

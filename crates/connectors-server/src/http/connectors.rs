//! The six connector routes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use connectors_api::{
    ConnectorCreated, ConnectorDeleted, ConnectorDetail, ConnectorId, ConnectorItem, ConnectorState,
    Provider, ScanHistoryEntry, ScanId, ScanOptions, ScanStarted, ScanState, ScanType, TestOutcome,
};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Api;
use super::body::{json_object, optional_json_object};
use super::envelope::Reply;
use super::error::ApiError;
use super::paging::PageRequest;
use super::path::Id;
use super::validate;
use crate::scan;
use crate::storage::scope_of;
use crate::store::{Caller, ConnectorFilter, ConnectorRow, Role, ScanRow, StoreError};

type Answer = Result<Reply, ApiError>;

pub(super) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Answer {
    let scope = caller.at_least(Role::Viewer, "list connectors")?;
    // An empty parameter is one that is not there.
    let query: HashMap<String, String> = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let text = |key: &str| query.get(key).map(String::as_str);
    let page = PageRequest::read(text("limit"), text("cursor"))?;
    let filter = ConnectorFilter {
        provider: one_of("provider", text("provider"), Provider::WORDS)?,
        state: one_of("status", text("status"), ConnectorState::WORDS)?,
    };
    let mut rows = scope.connectors(&filter, &page.after, page.limit + 1).await?;
    let pagination = page.cut(&mut rows, |row| &row.id);
    Reply::page(rows.into_iter().map(item).collect::<Result<Vec<_>, _>>()?, pagination)
}

pub(super) async fn create(caller: Caller, request: Request) -> Answer {
    let scope = caller.at_least(Role::Admin, "create connectors")?;
    let new = validate::connector(json_object(request).await?)?;
    let name = new.name.clone();
    let row = scope.create_connector(new).await.map_err(|error| match error {
        StoreError::NameTaken => ApiError::name_conflict(&name),
        other => other.into(),
    })?;
    Reply::created(ConnectorCreated {
        id: connector_id(&row.id)?,
        name: row.name,
        provider: Provider::from(row.provider.as_str()),
        status: ConnectorState::from(row.state.as_str()),
        created_at: Some(row.created_at),
    })
}

pub(super) async fn read(caller: Caller, Id(id): Id) -> Answer {
    let scope = caller.at_least(Role::Viewer, "read connectors")?;
    let row = scope.connector(&id).await?.ok_or_else(|| ApiError::no_connector(&id))?;
    let scans = scope.scan_history(&id).await?;
    Reply::ok(ConnectorDetail {
        id: connector_id(&row.id)?,
        name: row.name,
        provider: Provider::from(row.provider.as_str()),
        status: ConnectorState::from(row.state.as_str()),
        config: row.config,
        scan_history: scans.into_iter().map(history).collect::<Result<_, _>>()?,
        risk_score: row.risk_score,
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
    })
}

pub(super) async fn delete(State(api): State<Arc<Api>>, caller: Caller, Id(id): Id) -> Answer {
    let scope = caller.at_least(Role::Admin, "delete connectors")?;
    if scope.connector(&id).await?.is_none() {
        return Err(ApiError::no_connector(&id));
    }
    if !scope.delete_connector(&id).await? {
        return Err(ApiError::no_connector(&id));
    }
    // After the deletion, so that a failed one leaves the scan running. What the scan still writes finds no rows.
    api.runner.forget(&id);
    Reply::ok(ConnectorDeleted { id: Some(connector_id(&id)?), deleted: true })
}

pub(super) async fn test(State(api): State<Arc<Api>>, caller: Caller, Id(id): Id) -> Answer {
    let scope = caller.at_least(Role::Editor, "test connectors")?;
    let target = scope.connector_target(&id).await?.ok_or_else(|| ApiError::no_connector(&id))?;
    let probe = Box::pin(api.clouds.probe(&target)).await;
    let connected = probe.failure.is_none();
    if !scope.record_test(&id, connected).await? {
        return Err(ApiError::no_connector(&id));
    }
    if let Some(failure) = &probe.failure {
        tracing::info!(connector = %id, cause = failure.cause.as_str(), "test failed");
    }
    Reply::ok(TestOutcome {
        connected,
        buckets_accessible: probe.buckets,
        sample_objects: probe.objects,
        latency_ms: u64::try_from(probe.latency.as_millis()).unwrap_or(u64::MAX),
        cause: probe.failure.as_ref().map(|f| f.cause.as_str().to_owned()),
        message: probe.failure.map(|f| f.message),
    })
}

pub(super) async fn start_scan(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id,
    request: Request,
) -> Answer {
    let scope = caller.at_least(Role::Editor, "start scans")?;
    let row = scope.connector(&id).await?.ok_or_else(|| ApiError::no_connector(&id))?;
    let (kind, options) = scan_request(optional_json_object(request).await?)?;
    if row.state != "active" {
        return Err(ApiError::not_active(&row.state));
    }
    let plan = scan::plan(&kind, &options, &scope_of(&row.config)).map_err(|message| {
        let field = message.split([':', ' ']).next().unwrap_or("options").to_owned();
        ApiError::invalid(&field, message)
    })?;
    let Some(scan) = scope.create_scan(&id, plan).await? else {
        // It changed, or went, between the two.
        let row = scope.connector(&id).await?.ok_or_else(|| ApiError::no_connector(&id))?;
        return Err(ApiError::not_active(&row.state));
    };
    api.runner.wake();
    Reply::created(ScanStarted {
        scan_id: scan_id(&scan.id)?,
        connector_id: Some(connector_id(&id)?),
        status: ScanState::Queued,
        created_at: Some(scan.created_at),
    })
}

/// Type and options of a scan, every key and type checked, none of them required.
fn scan_request(body: Map<String, Value>) -> Result<(ScanType, ScanOptions), ApiError> {
    validate::no_unknown_keys("", &body, &["type", "options"])?;
    let kind = match body.get("type") {
        None | Some(Value::Null) => ScanType::Full,
        Some(Value::String(word)) => ScanType::from(word.as_str()),
        Some(_) => return Err(ApiError::invalid("type", "type must be a text")),
    };
    let options = match body.get("options") {
        None | Some(Value::Null) => ScanOptions::default(),
        Some(Value::Object(options)) => {
            validate::no_unknown_keys(
                "options.",
                options,
                &["max_files", "max_workers", "file_types", "prefixes", "llm_assist", "timeout_minutes"],
            )?;
            // One by one, so that the message names the key.
            for (key, value) in options {
                let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
                if serde_json::from_value::<ScanOptions>(alone).is_err() {
                    let field = format!("options.{key}");
                    return Err(ApiError::invalid(
                        &field,
                        format!("{field} has the wrong type or is out of range"),
                    ));
                }
            }
            serde_json::from_value(Value::Object(options.clone()))
                .map_err(|_| ApiError::invalid("options", "options cannot be read"))?
        }
        Some(_) => return Err(ApiError::invalid("options", "options must be an object")),
    };
    Ok((kind, options))
}

fn one_of(key: &str, value: Option<&str>, words: &[&str]) -> Result<Option<String>, ApiError> {
    match value {
        Some(word) if !words.contains(&word) => {
            Err(ApiError::invalid(key, format!("{key} must be one of {}", words.join(", "))))
        }
        word => Ok(word.map(str::to_owned)),
    }
}

fn item(row: ConnectorRow) -> Result<ConnectorItem, ApiError> {
    Ok(ConnectorItem {
        id: connector_id(&row.id)?,
        name: row.name,
        provider: Provider::from(row.provider.as_str()),
        status: ConnectorState::from(row.state.as_str()),
        config: row.config,
        last_scan: row.last_scan,
        findings_count: row.findings_count,
        risk_score: row.risk_score,
        created_at: Some(row.created_at),
    })
}

fn history(scan: ScanRow) -> Result<ScanHistoryEntry, ApiError> {
    Ok(ScanHistoryEntry {
        files_processed: scan.processed(),
        scan_id: scan_id(&scan.id)?,
        status: ScanState::from(scan.state.as_str()),
        started_at: scan.started_at,
        completed_at: scan.completed_at,
        findings_count: scan.findings_count,
    })
}

fn connector_id(id: &str) -> Result<ConnectorId, ApiError> {
    ConnectorId::parse(id).map_err(|_| ApiError::internal())
}

pub(super) fn scan_id(id: &str) -> Result<ScanId, ApiError> {
    ScanId::parse(id).map_err(|_| ApiError::internal())
}

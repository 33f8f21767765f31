//! The contract's routes on the ledger: one request in, one answer out, nothing of HTTP but the status.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connectors_api::Route;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::book::{Book, Deed, Held};
use super::switches::{Listing, Readable, Switches, TestAnswer};

/// Keys of `config` whose values a read does not tell.
const SECRET: [&str; 2] = ["external_id", "client_secret"];
/// Keys of `config` in the vendor's sample of a list.
const SAMPLE: [&str; 3] = ["role_arn", "region", "buckets"];

/// A request as far as the routes care.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) route: Route,
    pub(super) id: String,
    pub(super) query: HashMap<String, String>,
    pub(super) body: Option<Value>,
}

impl Asked {
    /// Which route it is; `None` for none of the contract's.
    pub(super) fn parse(method: &str, path: &str, query: Option<&str>, body: &[u8]) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix("/api/v1/")?.split('/').collect();
        let (route, id) = match (method, parts.as_slice()) {
            ("GET", ["connectors"]) => (Route::ListConnectors, ""),
            ("POST", ["connectors"]) => (Route::CreateConnector, ""),
            ("GET", ["connectors", id]) => (Route::ReadConnector, *id),
            ("DELETE", ["connectors", id]) => (Route::DeleteConnector, *id),
            ("POST", ["connectors", id, "test"]) => (Route::TestConnector, *id),
            ("POST", ["connectors", id, "scan"]) => (Route::StartScan, *id),
            ("GET", ["scans", id]) => (Route::ReadScan, *id),
            _ => return None,
        };
        let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Some(Self { route, id: id.to_owned(), query, body: serde_json::from_slice(body).ok() })
    }

    /// The name in the body.
    pub(super) fn name(&self) -> Option<&str> {
        self.body.as_ref()?.get("name")?.as_str()
    }
}

/// An answer before it is put on the wire.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) json: Value,
    /// The id of what was created.
    pub(super) id: Option<String>,
}

impl Reply {
    pub(super) fn ok(status: u16, data: Value) -> Self {
        Self { status, json: json!({"status": "success", "data": data}), id: None }
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = json!({"code": code, "message": message, "details": {}});
        Self { status, json: json!({"status": "error", "error": error}), id: None }
    }

    fn unknown(id: &str) -> Self {
        let message = format!("connector {id} is not known in this workspace");
        Self::error(404, connectors_api::CONNECTOR_NOT_FOUND, &message)
    }
}

/// Does what is asked.
pub(super) fn answer(asked: &Asked, workspace: &str, book: &mut Book, switches: &Switches) -> Reply {
    let id = asked.id.as_str();
    match asked.route {
        Route::ListConnectors => list(asked, workspace, book, switches),
        Route::CreateConnector => create(asked, workspace, book, switches),
        Route::ReadConnector => match book.find(workspace, id) {
            Some(held) if held.readable(switches.delete_takes) => Reply::ok(200, detail(held, switches)),
            _ => Reply::unknown(id),
        },
        Route::DeleteConnector => {
            let known = book.find(workspace, id).is_some();
            if book.delete(workspace, id, Deed::Deleted) || (known && switches.second_delete_succeeds) {
                Reply::ok(200, json!({"id": id, "deleted": true}))
            } else {
                Reply::unknown(id)
            }
        }
        Route::TestConnector => test(id, workspace, book, switches),
        Route::StartScan => match book.start_scan(workspace, id) {
            Some(scan) => Reply::ok(
                201,
                json!({"scan_id": scan.id, "connector_id": id, "status": scan.state,
                       "created_at": time(scan.started_at, switches)}),
            ),
            None => Reply::unknown(id),
        },
        Route::ReadScan => {
            let scan = book.live().flat_map(|held| &held.scans).find(|scan| scan.id == id);
            match scan.filter(|_| switches.reads_scans) {
                Some(scan) => Reply::ok(200, json!({"scan_id": scan.id, "status": scan.state})),
                None => Reply::error(404, "SCAN_NOT_FOUND", "this scan is not known in this workspace"),
            }
        }
        Route::StartParallelScan => Reply::error(404, "NOT_FOUND", "there is no such route"),
    }
}

fn create(asked: &Asked, workspace: &str, book: &mut Book, switches: &Switches) -> Reply {
    let text = |key: &str| asked.body.as_ref().and_then(|body| body.get(key)).and_then(Value::as_str);
    let config = asked.body.as_ref().and_then(|body| body.get("config")).and_then(Value::as_object);
    let (Some(name), Some(provider), Some(config)) = (text("name"), text("provider"), config) else {
        return Reply::error(400, "INVALID_PARAMETERS", "name, provider and config are required");
    };
    if switches.unique_names && book.has_name(workspace, name) {
        let message = format!("a connector with the name {name:?} exists in this workspace");
        return Reply::error(409, "CONNECTOR_NAME_CONFLICT", &message);
    }
    let state = &switches.created_state;
    let held = book.create(workspace, name, provider, config.clone(), state, Deed::Created);
    let data = json!({"id": held.id, "name": held.name, "provider": held.provider, "status": held.state,
                      "created_at": time(held.created_at, switches)});
    Reply { id: Some(held.id), ..Reply::ok(201, data) }
}

fn test(id: &str, workspace: &str, book: &mut Book, switches: &Switches) -> Reply {
    let Some(held) = book.find(workspace, id).filter(|held| held.lives()) else { return Reply::unknown(id) };
    let buckets = held.config.get("buckets").cloned().unwrap_or_else(|| json!([]));
    let connected = switches.test == TestAnswer::Connected;
    let state = if connected { "active" } else { "error" };
    if switches.test_moves_state && held.state != state {
        book.change(id, |held| state.clone_into(&mut held.state));
    }
    match switches.test {
        TestAnswer::Connected => Reply::ok(
            200,
            json!({"connected": true, "buckets_accessible": buckets, "sample_objects": 1, "latency_ms": 1}),
        ),
        TestAnswer::Refused => Reply::ok(
            200,
            json!({"connected": false, "buckets_accessible": [], "sample_objects": 0, "latency_ms": 1,
                   "cause": "access_denied", "message": "the role cannot be assumed"}),
        ),
        TestAnswer::Envelope(status) => Reply::error(status, "TEST_FAILED", "the test could not be run"),
    }
}

fn list(asked: &Asked, workspace: &str, book: &mut Book, switches: &Switches) -> Reply {
    let limit = match asked.query.get("limit").map_or(Ok(20), |text| text.parse::<usize>()) {
        Ok(limit) if (1..=100).contains(&limit) => limit.min(switches.most_a_page),
        _ => return Reply::error(400, "INVALID_PARAMETERS", "limit must be a number from 1 to 100"),
    };
    let after = match asked.query.get("cursor").filter(|cursor| !cursor.is_empty()) {
        None => String::new(),
        Some(cursor) => match decode(cursor) {
            Some(id) => id,
            None => return Reply::error(400, "INVALID_CURSOR", "cursor is not one that was given out here"),
        },
    };
    let empty = match switches.list {
        Listing::Empty => true,
        Listing::Flapping if after.is_empty() => !book.lists_once_more(),
        _ => false,
    };
    let filter = |key: &str| asked.query.get(key).filter(|value| !value.is_empty()).cloned();
    let (provider, state) = (filter("provider"), filter("status"));
    let wanted = |held: &&Held| {
        !empty
            && held.listed(switches.list_lag, switches.delete_takes)
            && provider.as_ref().is_none_or(|provider| *provider == held.provider)
            && state.as_ref().is_none_or(|state| *state == held.state)
    };
    let mut page: Vec<&Held> = if switches.newest_first {
        book.before(workspace, &after).filter(wanted).take(limit + 1).collect()
    } else {
        book.after(workspace, &after).filter(wanted).take(limit + 1).collect()
    };
    let more = page.len() > limit && switches.list != Listing::FirstPage;
    page.truncate(limit);
    let mut pagination = json!({"limit": limit, "has_more": more});
    // With the last but one as cursor the last comes again; a page of one would never end.
    let back = usize::from(switches.list == Listing::Overlapping && limit > 1);
    if let Some(last) = page.iter().rev().nth(back).filter(|_| more) {
        pagination["next_cursor"] = encode(&last.id).into();
    }
    let items = page.into_iter().map(|held| item(held, switches)).collect::<Vec<_>>();
    let mut reply = Reply::ok(200, Value::Array(items));
    reply.json["pagination"] = pagination;
    reply
}

fn item(held: &Held, switches: &Switches) -> Value {
    let last_scan = held.scans.last().map(|scan| time(scan.started_at, switches));
    json!({
        "id": held.id, "name": held.name, "provider": held.provider, "status": held.state,
        "config": readable(&held.config, switches.readable), "last_scan": last_scan,
        "findings_count": held.findings_count, "risk_score": held.risk_score,
        "created_at": time(held.created_at, switches),
    })
}

fn detail(held: &Held, switches: &Switches) -> Value {
    let mut detail = json!({
        "id": held.id, "name": held.name, "provider": held.provider, "status": held.state,
        "config": readable(&held.config, switches.readable), "risk_score": held.risk_score,
        "created_at": time(held.created_at, switches), "updated_at": time(held.updated_at, switches),
    });
    if switches.scan_history {
        let scans = held.scans.iter().map(|scan| {
            json!({"scan_id": scan.id, "status": scan.state, "started_at": time(scan.started_at, switches),
                   "completed_at": null, "files_processed": 0, "findings_count": 0})
        });
        detail["scan_history"] = scans.collect();
    }
    detail
}

fn readable(config: &Map<String, Value>, readable: Readable) -> Value {
    let keep = |key: &str| match readable {
        Readable::WithoutSecrets => !SECRET.contains(&key),
        Readable::Sample => SAMPLE.contains(&key),
        Readable::Masked => true,
        Readable::Nothing => false,
    };
    let kept = config.iter().filter(|(key, _)| keep(key)).map(|(key, value)| {
        let shown = if SECRET.contains(&key.as_str()) { "***".into() } else { value.clone() };
        (key.clone(), shown)
    });
    Value::Object(kept.collect())
}

pub(super) fn time(at: Timestamp, switches: &Switches) -> String {
    if switches.fractions { format!("{at:.3}") } else { format!("{at:.0}") }
}

fn encode(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"last_id": id}).to_string())
}

fn decode(cursor: &str) -> Option<String> {
    let inside: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    inside["last_id"].as_str().map(str::to_owned)
}

//! A Connectors API in memory, with a ledger that is only ever added to, and a switch for each open question of the contract
//! that makes a difference to a client.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// How this service answers what the contract leaves open.
#[derive(Clone, Debug, Default)]
pub(super) struct Manners {
    /// A name is had once.
    pub unique_names: bool,
    /// Reads show the first three keys of a config only.
    pub shows_little: bool,
    /// How long a new connector is missing from lists.
    pub list_lag: Duration,
    /// Whether it is missing from reads as long.
    pub read_lag: bool,
    /// How long a deleted connector is still shown.
    pub delete_lag: Duration,
    /// Connection tests fail.
    pub tests_fail: bool,
}

/// A connector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub name: String,
    pub provider: String,
    pub config: Map<String, Value>,
    pub state: &'static str,
    pub created_at: Timestamp,
    listed_from: Instant,
    /// When it goes, once a deletion was accepted.
    pub gone_at: Option<Instant>,
    /// The UID of the object that asked for it; none for what is not ours.
    pub owner: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Created { id: String, owner: Option<String> },
    Deleted { id: String },
}

/// The service.
#[derive(Debug, Default)]
pub(super) struct Api {
    pub manners: Manners,
    pub items: BTreeMap<String, Item>,
    pub ledger: Vec<Entry>,
    /// Requests that changed something or asked to, tests included.
    pub mutations: u64,
}

/// Status and body of an answer.
pub(super) type Answered = (u16, Value);

impl Api {
    /// One request, whole.
    pub(super) fn handle(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        owner: Option<&str>,
        now: Timestamp,
    ) -> Answered {
        self.settle();
        let parts = path.trim_start_matches("/api/v1/").split('/').collect::<Vec<_>>();
        if method != "GET" {
            self.mutations += 1;
        }
        match (method, parts.as_slice()) {
            ("GET", ["connectors"]) => self.list(),
            ("POST", ["connectors"]) => self.create(body, owner, now),
            ("GET", ["connectors", id]) => match self.readable(id) {
                Some(item) => success(200, self.shown(id, item, &json!({ "scan_history": [] }))),
                None => refusal(404, "not_found"),
            },
            ("DELETE", ["connectors", id]) => self.delete(id),
            ("POST", ["connectors", id, "test"]) => self.test(id),
            _ => refusal(404, "not_found"),
        }
    }

    /// A connector that somebody else made.
    pub(super) fn plant(&mut self, id: &str, name: &str, config: Map<String, Value>, now: Timestamp) {
        let item = Item {
            name: name.to_owned(),
            provider: "aws".to_owned(),
            config,
            state: "active",
            created_at: now,
            listed_from: Instant::now(),
            gone_at: None,
            owner: None,
        };
        self.items.insert(id.to_owned(), item);
    }

    /// Those that are there, whether or not they are shown yet.
    pub(super) fn alive(&mut self) -> &BTreeMap<String, Item> {
        self.settle();
        &self.items
    }

    /// Somebody deletes one in the dashboard.
    pub(super) fn lose(&mut self, id: &str) {
        if self.items.remove(id).is_some() {
            self.ledger.push(Entry::Deleted { id: id.to_owned() });
        }
    }

    fn settle(&mut self) {
        let now = Instant::now();
        self.items.retain(|_, item| item.gone_at.is_none_or(|gone_at| gone_at > now));
    }

    fn readable(&self, id: &str) -> Option<&Item> {
        let listed = |item: &&Item| !self.manners.read_lag || item.listed_from <= Instant::now();
        self.items.get(id).filter(listed)
    }

    fn list(&self) -> Answered {
        let now = Instant::now();
        let shown = self.items.iter().filter(|(_, item)| item.listed_from <= now);
        let more = json!({ "last_scan": null, "findings_count": 0 });
        let items = shown.map(|(id, item)| self.shown(id, item, &more)).collect::<Vec<_>>();
        let body =
            json!({ "status": "success", "data": items, "pagination": { "limit": 100, "has_more": false } });
        (200, body)
    }

    fn shown(&self, id: &str, item: &Item, more: &Value) -> Value {
        let mut config = item.config.clone();
        for secret in ["external_id", "client_secret"] {
            config.remove(secret);
        }
        if self.manners.shows_little {
            config = config.into_iter().take(3).collect();
        }
        let mut shown = json!({ "id": id, "name": item.name, "provider": item.provider, "status": item.state,
            "config": config, "risk_score": null, "created_at": seconds(item.created_at) });
        if let (Some(shown), Some(more)) = (shown.as_object_mut(), more.as_object()) {
            shown.extend(more.clone());
        }
        shown
    }

    fn create(&mut self, body: &Value, owner: Option<&str>, now: Timestamp) -> Answered {
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        if self.manners.unique_names && self.items.values().any(|item| item.name == name) {
            return refusal(409, "name_taken");
        }
        let id = format!("conn-{:05}", self.ledger.len() + 1);
        let item = Item {
            name: name.clone(),
            provider: body["provider"].as_str().unwrap_or_default().to_owned(),
            config: body["config"].as_object().cloned().unwrap_or_default(),
            state: "pending_test",
            created_at: now,
            listed_from: Instant::now() + self.manners.list_lag,
            gone_at: None,
            owner: owner.map(str::to_owned),
        };
        let answer = json!({ "id": id, "name": name, "provider": item.provider, "status": item.state,
            "created_at": seconds(now) });
        self.ledger.push(Entry::Created { id: id.clone(), owner: item.owner.clone() });
        self.items.insert(id, item);
        success(201, answer)
    }

    fn delete(&mut self, id: &str) -> Answered {
        let lag = self.manners.delete_lag;
        let Some(item) = self.items.get_mut(id) else { return refusal(404, "not_found") };
        if item.gone_at.is_none() {
            self.ledger.push(Entry::Deleted { id: id.to_owned() });
            item.gone_at = Some(Instant::now() + lag);
        }
        self.settle();
        success(200, json!({ "id": id, "deleted": true }))
    }

    fn test(&mut self, id: &str) -> Answered {
        let connected = !self.manners.tests_fail;
        let Some(item) = self.items.get_mut(id) else { return refusal(404, "not_found") };
        item.state = if connected { "active" } else { "error" };
        let buckets = if connected { json!(["b"]) } else { json!([]) };
        success(
            200,
            json!({ "connected": connected, "buckets_accessible": buckets, "sample_objects": 3, "latency_ms": 5 }),
        )
    }
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

fn success(code: u16, data: Value) -> Answered {
    (code, json!({ "status": "success", "data": data }))
}

pub(super) fn refusal(code: u16, word: &str) -> Answered {
    (code, json!({ "status": "error", "error": { "code": word, "message": word } }))
}

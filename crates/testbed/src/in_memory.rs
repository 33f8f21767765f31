//! An API server in memory, as far as the operator uses one: versions, conflicts, finalizers, the status subresource,
//! generations. That it answers as the real one does, a test against the real one shows (`tests/it/differential.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Resource, namespace (empty where there is none), name.
pub type Key = (String, String, String);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// An object, a list or a `Status`.
    pub body: Value,
}

/// One event of the history that watches tell.
#[derive(Clone, Debug)]
pub struct Change {
    /// What changed.
    pub key: Key,
    /// Whether it is gone.
    pub deleted: bool,
    /// How it is since, or was at its end.
    pub object: Arc<Value>,
}

/// The objects, and the history of their changes.
#[derive(Debug, Default)]
pub struct Cluster {
    /// What there is.
    pub objects: BTreeMap<Key, Value>,
    /// Every change, in order.
    pub log: Vec<Change>,
    /// Custom resources whose default status is shown and not stored yet: their first write is one in any case.
    unstored: BTreeSet<Key>,
    version: u64,
    uids: u64,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The plural name of the kind.
    pub resource: String,
    /// Empty for what is in none, and for all of them.
    pub namespace: String,
    /// None for the whole collection.
    pub name: Option<String>,
    /// Whether it is the status subresource.
    pub status: bool,
}

impl Target {
    /// What a path names; none: nothing that is served.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        match parts.next()? {
            "api" => parts.nth(0)?,
            "apis" => parts.nth(1)?,
            _ => return None,
        };
        let rest = parts.collect::<Vec<_>>();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, sub) = match rest {
            [resource] => (resource, None, None),
            [resource, name] => (resource, Some(name), None),
            [resource, name, sub] => (resource, Some(name), Some(*sub)),
            _ => return None,
        };
        Some(Self {
            resource: (*resource).to_owned(),
            namespace: namespace.to_owned(),
            name: name.map(|name| (*name).to_owned()),
            status: sub == Some("status"),
        })
    }

    /// The object's key.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.resource.clone(), self.namespace.clone(), self.name.clone().unwrap_or_default())
    }
}

/// Ours have a status that only its subresource writes, and a generation.
fn is_custom(resource: &str) -> bool {
    matches!(resource, "connectors" | "scans" | "workspaces" | "clusterworkspaces")
}

impl Cluster {
    /// One request, whole: what it finds and what it changes belong together.
    pub fn handle(&mut self, method: &str, path: &str, body: Value, now: Timestamp) -> Answer {
        let Some(target) = Target::parse(path) else { return failure(404, "NotFound", path) };
        match (method, &target.name) {
            ("GET", None) => self.list(&target),
            ("GET", Some(_)) => match self.objects.get(&target.key()) {
                Some(found) => Answer { code: 200, body: found.clone() },
                None => failure(404, "NotFound", path),
            },
            ("POST", None) => self.create(&target, body, now),
            // Only a patch of a custom resource may leave open which version it is for.
            ("PUT", Some(_))
                if is_custom(&target.resource)
                    && self.objects.contains_key(&target.key())
                    && body["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) =>
            {
                failure(422, "Invalid", path)
            }
            ("PUT", Some(_)) => self.update(&target, Some(409), |_| body, path),
            ("PATCH", Some(_)) => self.update(
                &target,
                // To a patch the UID is a field like others: that of the status leaves it alone, that of the whole may not
                // change it.
                if target.status { None } else { Some(422) },
                |old| {
                    let mut new = old.clone();
                    merge(&mut new, body);
                    new
                },
                path,
            ),
            ("DELETE", Some(_)) => self.delete(&target, &body, now, path),
            _ => failure(405, "MethodNotAllowed", path),
        }
    }

    fn list(&self, target: &Target) -> Answer {
        let items = self
            .objects
            .iter()
            .filter(|((resource, namespace, _), _)| {
                *resource == target.resource
                    && (target.namespace.is_empty() || *namespace == target.namespace)
            })
            .map(|(_, object)| object.clone())
            .collect::<Vec<_>>();
        let body = json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": self.version.to_string() },
            "items": items });
        Answer { code: 200, body }
    }

    fn create(&mut self, target: &Target, mut object: Value, now: Timestamp) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (target.resource.clone(), target.namespace.clone(), name);
        if self.objects.contains_key(&key) {
            return failure(409, "AlreadyExists", &key.2);
        }
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return failure(422, "Invalid", &key.2);
        };
        for ours in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            metadata.remove(ours);
        }
        self.uids += 1;
        metadata.insert("uid".to_owned(), format!("00000000-0000-4000-8000-{:012}", self.uids).into());
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        metadata.insert("creationTimestamp".to_owned(), second.to_string().into());
        if !target.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), target.namespace.clone().into());
        }
        if is_custom(&target.resource) {
            metadata.insert("generation".to_owned(), 1.into());
            object["status"] = untouched();
        }
        tidy(&mut object["metadata"]);
        let stored = self.store(key.clone(), object);
        if is_custom(&target.resource) {
            self.unstored.insert(key);
        }
        Answer { code: 201, body: stored }
    }

    fn update(
        &mut self,
        target: &Target,
        other_uid: Option<u16>,
        change: impl FnOnce(&Value) -> Value,
        path: &str,
    ) -> Answer {
        let key = target.key();
        let Some(old) = self.objects.get(&key).cloned() else { return failure(404, "NotFound", path) };
        let sent = change(&old);
        let given = |field: &str| sent["metadata"][field].as_str().filter(|text| !text.is_empty());
        let differs =
            |field: &str| given(field).is_some_and(|given| old["metadata"][field].as_str() != Some(given));
        if differs("resourceVersion") {
            return failure(409, "Conflict", path);
        }
        match other_uid.filter(|_| differs("uid")) {
            Some(422) => return failure(422, "Invalid", path),
            Some(code) => return failure(code, "Conflict", path),
            None => {}
        }
        let custom = is_custom(&key.0);
        let mut new = if custom && target.status {
            let mut new = old.clone();
            let status = sent.get("status").filter(|status| !status.is_null()).cloned();
            put(&mut new, "status", Some(status.unwrap_or_else(untouched)));
            new
        } else {
            let mut new = sent;
            if custom {
                put(&mut new, "status", old.get("status").cloned());
            }
            for fixed in [
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "generation",
            ] {
                let kept = old["metadata"].get(fixed).cloned();
                put(&mut new["metadata"], fixed, kept);
            }
            new
        };
        put(&mut new["metadata"], "resourceVersion", old["metadata"].get("resourceVersion").cloned());
        tidy(&mut new["metadata"]);
        let deleting = old["metadata"].get("deletionTimestamp").is_some();
        let finalizers =
            |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if deleting && finalizers(&new).iter().any(|finalizer| !finalizers(&old).contains(finalizer)) {
            return failure(422, "Invalid", path);
        }
        if new == old && !self.unstored.contains(&key) {
            return Answer { code: 200, body: old };
        }
        if custom && content(&new) != content(&old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            new["metadata"]["generation"] = generation.into();
        }
        if deleting && finalizers(&new).is_empty() {
            // Its end is a version of its own, which only watches tell: with the object as it was stored last.
            self.remove(&key, old);
            return Answer { code: 200, body: new };
        }
        Answer { code: 200, body: self.store(key, new) }
    }

    fn delete(&mut self, target: &Target, options: &Value, now: Timestamp, path: &str) -> Answer {
        let key = target.key();
        let Some(mut object) = self.objects.get(&key).cloned() else { return failure(404, "NotFound", path) };
        for guard in ["resourceVersion", "uid"] {
            let given = options["preconditions"][guard].as_str();
            if given.is_some_and(|given| object["metadata"][guard].as_str() != Some(given)) {
                return failure(409, "Conflict", path);
            }
        }
        if object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            return Answer { code: 200, body: self.remove(&key, object) };
        }
        if object["metadata"].get("deletionTimestamp").is_none() {
            let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
            object["metadata"]["deletionTimestamp"] = second.to_string().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if is_custom(&key.0) {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                object["metadata"]["generation"] = generation.into();
            }
            object = self.store(key, object);
        }
        Answer { code: 200, body: object }
    }

    fn store(&mut self, key: Key, mut object: Value) -> Value {
        self.unstored.remove(&key);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let change = Change { key: key.clone(), deleted: false, object: Arc::new(object.clone()) };
        self.log.push(change);
        self.objects.insert(key, object.clone());
        object
    }

    fn remove(&mut self, key: &Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.remove(key);
        self.unstored.remove(key);
        let change = Change { key: key.clone(), deleted: true, object: Arc::new(object.clone()) };
        self.log.push(change);
        object
    }
}

/// The schema's default of every status.
fn untouched() -> Value {
    json!({ "observedGeneration": -1 })
}

/// Everything whose change is a new generation.
fn content(object: &Value) -> Map<String, Value> {
    let mut content = object.as_object().cloned().unwrap_or_default();
    for other in ["metadata", "status"] {
        content.remove(other);
    }
    content
}

/// What is empty is left out.
fn tidy(metadata: &mut Value) {
    let Some(metadata) = metadata.as_object_mut() else { return };
    metadata.retain(|_, value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null => false,
        _ => true,
    });
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    match value {
        Some(value) => drop(object.insert(field.to_owned(), value)),
        None => drop(object.remove(field)),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// An answer that says what was wrong.
#[must_use]
pub fn failure(code: u16, reason: &str, what: &str) -> Answer {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": format!("{reason}: {what}"), "code": code });
    Answer { code, body }
}

//! The API server in memory that the simulation runs on answers as the real one does: the same requests, drawn by lot, go to
//! both, and codes, generations, versions, conflicts, finalizers, the status subresource and the watches are compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use testbed::TestCluster;
use testbed::in_memory::Cluster;

/// Sequences of requests, each in a namespace of its own.
const SEQUENCES: u64 = 12;
/// Requests of one sequence.
const REQUESTS: usize = 80;
const NAMES: [&str; 2] = ["one", "two"];
/// A custom resource with a status, and a kind without.
const RESOURCES: [&str; 2] = ["workspaces", "secrets"];

/// A version or a UID, as both call it.
type Pair = (String, String);

/// What is known of one object: every version of it, oldest first, and its UIDs.
#[derive(Default)]
struct Known {
    versions: Vec<Pair>,
    uids: Vec<Pair>,
}

/// Both servers, and what was seen of them.
struct Both {
    real: Client,
    memory: Cluster,
    namespace: String,
    known: BTreeMap<(String, String), Known>,
    history: Vec<String>,
}

/// A request, with what differs between the two left open.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    resource: &'static str,
    name: &'static str,
    status: bool,
    body: Value,
    /// Which version the request holds on to, counted from the newest one; none: none.
    version: Option<usize>,
    /// The same of its UIDs.
    uid: Option<usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_in_memory_answers_as_the_real_one_does() {
    let cluster = TestCluster::start().await.unwrap();
    cluster.install_crds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let mut codes = BTreeMap::<(&str, u16), usize>::new();
    for seed in 0..SEQUENCES {
        let namespace = cluster.create_namespace("differential").await.unwrap();
        let real = Client::try_from(config.clone()).unwrap();
        let mut both =
            Both { real, memory: Cluster::default(), namespace, known: BTreeMap::new(), history: Vec::new() };
        let mut rng = SmallRng::seed_from_u64(seed);
        let begun = both.begin().await;
        for _ in 0..REQUESTS {
            let asked = both.draw(&mut rng);
            let code = both.ask(asked).await;
            *codes.entry(code).or_default() += 1;
        }
        both.compare_watches(&begun).await;
    }
    // What never occurred was never compared.
    for occurs in [
        ("POST", 201),
        ("POST", 409),
        ("GET", 200),
        ("GET", 404),
        ("PUT", 200),
        ("PUT", 404),
        ("PUT", 409),
        ("PUT", 422),
        ("PATCH", 200),
        ("PATCH", 404),
        ("PATCH", 409),
        ("PATCH", 422),
        ("DELETE", 200),
        ("DELETE", 404),
        ("DELETE", 409),
    ] {
        assert!(codes.contains_key(&occurs), "{occurs:?} never occurred: {codes:?}");
    }
}

impl Both {
    fn path(&self, resource: &str, name: &str) -> String {
        let group = if resource == "secrets" { "api/v1" } else { "apis/slim.io/v1alpha1" };
        let path = format!("/{group}/namespaces/{}/{resource}/{name}", self.namespace);
        path.trim_end_matches('/').to_owned()
    }

    /// The versions at which the watches of the real one begin.
    async fn begin(&self) -> Vec<String> {
        let mut begun = Vec::new();
        for resource in RESOURCES {
            let (code, list) = self.send("GET", &self.path(resource, ""), &Value::Null).await;
            assert_eq!(code, 200, "{list}");
            begun.push(list["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
        }
        begun
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let request =
            Request::builder().method(method).uri(path).header("Content-Type", kind).body(Body::from(bytes));
        let answer = self.real.send(request.unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap())
    }

    fn draw(&self, rng: &mut SmallRng) -> Asked {
        let resource = RESOURCES[usize::from(rng.random_bool(0.3))];
        let name = NAMES.choose(rng).unwrap();
        let guard = |rng: &mut SmallRng| rng.random_bool(0.6).then(|| usize::from(rng.random_bool(0.3)));
        let custom = resource == "workspaces";
        let (method, status) = match rng.random_range(0..14) {
            0..=2 => ("POST", false),
            3 => ("GET", false),
            4..=5 => ("PUT", false),
            6 => ("PUT", custom),
            7..=9 => ("PATCH", false),
            10 => ("PATCH", custom),
            11 => ("LIST", false),
            _ => ("DELETE", false),
        };
        let body = match method {
            "POST" | "PUT" => whole(rng, resource, name),
            "PATCH" => patch(rng, resource),
            _ => Value::Null,
        };
        let guarded = matches!(method, "PUT" | "PATCH" | "DELETE");
        let version = if guarded { guard(rng) } else { None };
        let uid = if guarded && rng.random_bool(0.3) { guard(rng) } else { None };
        Asked { method, resource, name, status, body, version, uid }
    }

    /// Asks both, and compares what they say. The request's method and code.
    async fn ask(&mut self, asked: Asked) -> (&'static str, u16) {
        let key = (asked.resource.to_owned(), asked.name.to_owned());
        let (real_body, memory_body) = self.bodies(&asked, &key);
        let at = |of: &str| format!("{}{of}", self.path(asked.resource, asked.name));
        let (method, path) = match asked.method {
            "POST" | "LIST" => (asked.method.replace("LIST", "GET"), self.path(asked.resource, "")),
            other => (other.to_owned(), at(if asked.status { "/status" } else { "" })),
        };
        let (code, real) = self.send(&method, &path, &real_body).await;
        let memory = self.memory.handle(&method, &path, memory_body, jiff::Timestamp::now());
        self.history.push(format!("{method} {path} {real_body} -> {code}, in memory {}", memory.code));
        let story = || self.story();
        assert_eq!(code, memory.code, "{}\n{real}\n{}", story(), memory.body);
        if asked.method == "LIST" {
            assert_eq!(views(&real), views(&memory.body), "{}", story());
        } else if code < 300 && real["kind"] != "Status" {
            assert_eq!(view(&real), view(&memory.body), "{}", story());
            self.learn(key, &real, &memory.body);
        }
        (asked.method, code)
    }

    /// The request's body for each of the two, with its own versions and UIDs.
    fn bodies(&self, asked: &Asked, key: &(String, String)) -> (Value, Value) {
        let pick = |pairs: fn(&Known) -> &Vec<Pair>, back: Option<usize>| {
            let pairs = pairs(self.known.get(key)?);
            pairs.len().checked_sub(1 + back?).map(|index| pairs[index].clone())
        };
        let version = pick(|known| &known.versions, asked.version);
        let uid = pick(|known| &known.uids, asked.uid);
        let (mut real, mut memory) = (asked.body.clone(), asked.body.clone());
        for (field, pair) in [("resourceVersion", version), ("uid", uid)] {
            let Some((theirs, ours)) = pair else { continue };
            let place = if asked.method == "DELETE" { "preconditions" } else { "metadata" };
            real[place][field] = theirs.into();
            memory[place][field] = ours.into();
        }
        (real, memory)
    }

    /// The last requests and their codes.
    fn story(&self) -> String {
        let changes =
            self.memory.log.iter().rev().take(2).map(|change| format!("in memory: {}", change.object));
        let asked = self.history[self.history.len().saturating_sub(12)..].iter().cloned();
        asked.chain(changes).collect::<Vec<_>>().join("\n")
    }

    /// A version moves on in both or in neither, and only upwards.
    fn learn(&mut self, key: (String, String), real: &Value, memory: &Value) {
        let part = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let story = self.story();
        let known = self.known.entry(key).or_default();
        let uid = (part(real, "uid"), part(memory, "uid"));
        match known.uids.iter().find(|(real, memory)| *real == uid.0 || *memory == uid.1) {
            Some(found) => assert_eq!(*found, uid, "one object, one UID: {story}"),
            None => known.uids.push(uid),
        }
        let version = (part(real, "resourceVersion"), part(memory, "resourceVersion"));
        let number = |text: &str| text.parse::<u64>().unwrap();
        if let Some((theirs, ours)) = known.versions.last() {
            assert_eq!(*theirs == version.0, *ours == version.1, "{story}");
            assert!(number(theirs) <= number(&version.0) && number(ours) <= number(&version.1));
        }
        if known.versions.last() != Some(&version) {
            known.versions.push(version);
        }
    }

    /// Both tell the same changes in the same order.
    async fn compare_watches(&self, begun: &[String]) {
        for (resource, begun) in RESOURCES.iter().zip(begun) {
            let mut there = BTreeMap::new();
            let changes = self.memory.log.iter().filter(|change| change.key.0 == *resource);
            let told = changes
                .map(|change| {
                    let new = there.insert(&change.key, change.deleted).unwrap_or(true);
                    let word = match (change.deleted, new) {
                        (true, _) => "DELETED",
                        (false, true) => "ADDED",
                        (false, false) => "MODIFIED",
                    };
                    (word, view(&change.object))
                })
                .collect::<Vec<_>>();
            let kind = if *resource == "secrets" {
                ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"))
            } else {
                ApiResource::from_gvk(&GroupVersionKind::gvk("slim.io", "v1alpha1", "Workspace"))
            };
            let api = Api::<DynamicObject>::namespaced_with(self.real.clone(), &self.namespace, &kind);
            let events = api.watch(&WatchParams::default(), begun).await.unwrap().take(told.len());
            let events = tokio::time::timeout(Duration::from_secs(30), events.try_collect::<Vec<_>>());
            let events = events.await.expect("as many events as in memory").unwrap();
            let real = events.into_iter().map(|event| match event {
                WatchEvent::Added(object) => ("ADDED", view(&serde_json::to_value(object).unwrap())),
                WatchEvent::Modified(object) => ("MODIFIED", view(&serde_json::to_value(object).unwrap())),
                WatchEvent::Deleted(object) => ("DELETED", view(&serde_json::to_value(object).unwrap())),
                other => panic!("{other:?}"),
            });
            for (number, (real, told)) in real.zip(told).enumerate() {
                assert_eq!(real, told, "event {number} of {resource}: {}", self.story());
            }
        }
    }
}

/// What is compared of an object: all but versions, UIDs and times.
fn view(object: &Value) -> Value {
    let mut view = object.clone();
    let meta = view["metadata"].as_object_mut().unwrap();
    for own in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
        meta.remove(own);
    }
    if let Some(deleted) = meta.get_mut("deletionTimestamp") {
        *deleted = "set".into();
    }
    view
}

fn views(list: &Value) -> Vec<Value> {
    let items = list["items"].as_array().unwrap().iter();
    let named = items.map(|item| {
        let mut view = view(item);
        // Items of lists of the real one leave out what the list says.
        view.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
        view
    });
    named.collect()
}

fn one(rng: &mut SmallRng, of: [&str; 2]) -> String {
    of[rng.random_range(0..2)].to_owned()
}

fn spec(rng: &mut SmallRng) -> Value {
    // With everything that the schema would fill in.
    json!({ "endpoint": "https://api.slim.io", "pollInterval": one(rng, ["1m", "2m"]),
        "auth": { "apiKey": { "secretRef": { "name": "key", "key": "k" } } },
        "rateLimits": { "requestsPerMinute": 60, "requestsPerHour": 1000, "createsPerHour": rng.random_range(20..23),
            "concurrentRequests": 10 } })
}

fn status(rng: &mut SmallRng) -> Value {
    json!({ "observedGeneration": rng.random_range(0..3), "identity": one(rng, ["a", "b"]) })
}

fn metadata(rng: &mut SmallRng) -> Value {
    let mut metadata = json!({});
    if rng.random_bool(0.5) {
        metadata["labels"] = json!({ "colour": one(rng, ["red", "blue"]) });
    }
    if rng.random_bool(0.5) {
        let both = [json!(["slim.io/a"]), json!(["slim.io/a", "slim.io/b"]), json!([])];
        metadata["finalizers"] = both.choose(rng).cloned().unwrap();
    }
    metadata
}

/// A whole object, as somebody might send it.
fn whole(rng: &mut SmallRng, resource: &str, name: &str) -> Value {
    let mut metadata = metadata(rng);
    metadata["name"] = name.into();
    if resource == "secrets" {
        return json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
            "data": { "k": one(rng, ["YQ==", "Yg=="]) } });
    }
    let mut object = json!({ "apiVersion": "slim.io/v1alpha1", "kind": "Workspace", "metadata": metadata,
        "spec": spec(rng) });
    if rng.random_bool(0.5) {
        object["status"] = status(rng);
    }
    object
}

fn patch(rng: &mut SmallRng, resource: &str) -> Value {
    let mut patch = json!({});
    if rng.random_bool(0.6) {
        patch["metadata"] = metadata(rng);
        if rng.random_bool(0.2) {
            patch["metadata"]["labels"] = Value::Null;
        }
        if rng.random_bool(0.2) {
            patch["metadata"]["annotations"] = json!({ "note": one(rng, ["x", "y"]), "gone": null });
        }
    }
    if resource == "secrets" {
        patch["data"] = json!({ "k": one(rng, ["YQ==", "Yg=="]) });
        return patch;
    }
    if rng.random_bool(0.4) {
        patch["spec"] = json!({ "pollInterval": one(rng, ["1m", "2m"]) });
    }
    if rng.random_bool(0.6) {
        patch["status"] = status(rng);
    }
    patch
}

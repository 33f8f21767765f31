//! What people do while faults happen: they apply, edit, delete and recreate objects, rotate Secrets and keys, and work at the
//! API's dashboard. They act at the API server's newest state, and keep to the rules of the schema.

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::process::ENDPOINT;
use crate::crd::{AwsSource, Connector, ConnectorScope, ConnectorSpec, SecretKeyRef};
use testbed::in_memory::Cluster;

const NAMES: [&str; 3] = ["lake", "pond", "well"];
const BUCKETS: [&str; 3] = ["first", "second", "third"];

/// So many connectors that nobody believes a list without any of them. Of fewer, or of one that was never listed, a client can
/// only assume that they are listed in time.
pub(super) const ENOUGH_TO_MISS: usize = 7;

/// The people.
pub(super) struct Users {
    /// How many of the names are used.
    pub names: usize,
    /// What the Secret holds by now.
    pub external_id: String,
    rotated: u32,
    /// Which key the workspace has, and whether anybody changes it.
    key: usize,
    changes_keys: bool,
}

fn connector_path(name: &str) -> String {
    format!("/apis/slim.io/v1alpha1/namespaces/team/connectors/{name}")
}

impl Users {
    /// Sets up the namespace: a workspace, its key, and a Secret.
    pub(super) fn begin(
        names: usize,
        changes_keys: bool,
        concurrent: u32,
        cluster: &mut Cluster,
        now: Timestamp,
    ) -> Self {
        let users = Self { names, external_id: "ext-00000000".to_owned(), rotated: 0, key: 0, changes_keys };
        let workspace = json!({ "apiVersion": "slim.io/v1alpha1", "kind": "Workspace", "metadata": { "name": "ws" },
            "spec": { "endpoint": ENDPOINT, "auth": { "apiKey": { "secretRef": { "name": "key", "key": "k" } } },
                "pollInterval": "1m", "rateLimits": { "requestsPerMinute": 100_000, "requestsPerHour": 1_000_000,
                    "createsPerHour": 10_000, "concurrentRequests": concurrent } } });
        let path = "/apis/slim.io/v1alpha1/namespaces/team/workspaces";
        cluster.handle("POST", path, workspace, now);
        users.write_secret("key", "key-0", cluster, now);
        users.write_secret("ext", "ext-00000000", cluster, now);
        users
    }

    fn write_secret(&self, name: &str, value: &str, cluster: &mut Cluster, now: Timestamp) {
        let data = k8s_openapi::ByteString(value.as_bytes().to_vec());
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "k": data } });
        let path = "/api/v1/namespaces/team/secrets";
        if cluster.handle("POST", path, secret.clone(), now).code == 409 {
            cluster.handle("PATCH", &format!("{path}/{name}"), secret, now);
        }
    }

    /// One thing that somebody does; in a word.
    pub(super) fn act(
        &mut self,
        rng: &mut SmallRng,
        cluster: &mut Cluster,
        api: &mut Api,
        now: Timestamp,
    ) -> String {
        let name = NAMES[rng.random_range(0..self.names)];
        let key = ("connectors".to_owned(), "team".to_owned(), name.to_owned());
        let Some(object) = cluster.objects.get(&key).cloned() else {
            cluster.handle("POST", connector_path("").trim_end_matches('/'), self.connector(name, rng), now);
            return format!("create {name}");
        };
        let spec = |patch: Value, cluster: &mut Cluster| {
            cluster.handle("PATCH", &connector_path(name), json!({ "spec": patch }), now);
        };
        match rng.random_range(0..14) {
            0..=3 => {
                cluster.handle("DELETE", &connector_path(name), Value::Null, now);
                format!("delete {name}")
            }
            4..=6 => {
                let mut patch = json!({ "scope": { "buckets": [BUCKETS.choose(rng)] } });
                // The schema refuses it otherwise.
                if object["spec"]["deletionPolicy"] == "Retain" {
                    patch["replacePolicy"] = "Recreate".into();
                }
                spec(patch.clone(), cluster);
                format!("edit {name} {patch}")
            }
            7 => {
                let policy = [json!("Retain"), json!("Delete"), Value::Null].choose(rng).cloned();
                spec(json!({ "deletionPolicy": policy }), cluster);
                format!("deletionPolicy of {name} {policy:?}")
            }
            8 => {
                let policy = ["Never", "Recreate"].choose(rng);
                spec(json!({ "replacePolicy": policy }), cluster);
                format!("replacePolicy of {name} {policy:?}")
            }
            9 => {
                let suspend = object["spec"]["suspend"] != true;
                spec(json!({ "suspend": suspend }), cluster);
                format!("suspend {name} {suspend}")
            }
            10 => {
                self.rotated += 1;
                self.external_id = format!("ext-{:08}", self.rotated);
                self.write_secret("ext", &self.external_id.clone(), cluster, now);
                "rotate the external id".to_owned()
            }
            11 => {
                let patch = json!({ "metadata": { "annotations": { "slim.io/reconcile-requested-at": now.to_string() } } });
                cluster.handle("PATCH", &connector_path(name), patch, now);
                format!("request {name}")
            }
            12 => {
                if self.changes_keys {
                    self.change_key(cluster, now);
                }
                format!("key {}", self.key)
            }
            _ => {
                let ours = api.alive().iter().filter(|(_, item)| item.owner.is_some());
                let ours = ours.map(|(id, _)| id.clone()).collect::<Vec<_>>();
                let Some(id) = ours.choose(rng) else { return "nothing".to_owned() };
                api.lose(id);
                format!("delete {id} in the dashboard")
            }
        }
    }

    /// Somebody puts the other key of the same API workspace into the Secret.
    pub(super) fn change_key(&mut self, cluster: &mut Cluster, now: Timestamp) {
        self.key = 1 - self.key;
        self.write_secret("key", &format!("key-{}", self.key), cluster, now);
    }

    /// Everybody consents to what is needed.
    pub(super) fn settle(&mut self, cluster: &mut Cluster, now: Timestamp) {
        for name in NAMES {
            let patch = json!({ "spec": { "suspend": false, "replacePolicy": "Recreate" } });
            cluster.handle("PATCH", &connector_path(name), patch, now);
        }
    }

    fn connector(&self, name: &str, rng: &mut SmallRng) -> Value {
        let secret = rng.random_bool(0.5);
        let mut spec = serde_json::from_value::<ConnectorSpec>(json!({
            "workspaceRef": { "kind": "Workspace", "name": "ws" } }))
        .unwrap();
        spec.aws = Some(AwsSource {
            role_arn: "arn:aws:iam::123456789012:role/SlimIOScanner".to_owned(),
            external_id: (!secret).then(|| format!("ext-{:08x}", rng.next_u32())),
            external_id_secret_ref: secret
                .then(|| SecretKeyRef { name: "ext".to_owned(), key: "k".to_owned() }),
            region: "eu-west-1".to_owned(),
        });
        let buckets = vec![(*BUCKETS.choose(rng).unwrap_or(&"first")).to_owned()];
        spec.scope = Some(ConnectorScope { buckets, ..ConnectorScope::default() });
        let mut object = serde_json::to_value(Connector::new(name, spec)).unwrap();
        // What an API server would not get from a person.
        object.as_object_mut().map(|object| object.remove("status"));
        object
    }
}

/// Connectors that somebody else made, some of a name that one of ours will bear.
pub(super) fn plant(rng: &mut SmallRng, api: &mut Api, now: Timestamp) {
    for n in 0..[0, 1, ENOUGH_TO_MISS].choose(rng).copied().unwrap_or(0) {
        let config = json!({ "role_arn": "arn:aws:iam::999999999999:role/Other", "region": "eu-west-1", "buckets": ["x"] });
        let config = config.as_object().cloned().unwrap_or_else(Map::new);
        let name =
            if n == 0 && !api.manners.unique_names { "team.lake".to_owned() } else { format!("other {n}") };
        api.plant(&format!("theirs-{n}"), &name, config, now);
    }
}

//! What must never be seen, checked at every request and write from outside, and what must be true at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::api::{Api, Entry};
use super::wire::Op;
use crate::crd::FINALIZER;
use testbed::in_memory::{Cluster, Key};

/// The first thing that must not be seen, with the invariant that it breaks.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub violation: Option<String>,
    /// Objects that were let go with what they had left at the API.
    pub retained: BTreeSet<String>,
    observed: BTreeMap<String, i64>,
    /// Objects whose connector was found again: what it was given is not known by its hash any more.
    found_again: BTreeSet<String>,
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn finalizer(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|it| it == FINALIZER))
}

fn connectors(cluster: &Cluster) -> impl Iterator<Item = &Value> {
    cluster.objects.iter().filter(|(key, _)| key.0 == "connectors").map(|(_, object)| object)
}

fn of<'a>(cluster: &'a Cluster, owner: &str) -> Option<&'a Value> {
    connectors(cluster).find(|object| uid(object) == owner)
}

impl Oracle {
    pub(super) fn report(&mut self, invariant: &str, what: impl std::fmt::Display) {
        if self.violation.is_none() {
            self.violation = Some(format!("{invariant}: {what}"));
        }
    }

    /// A request to the API has left. `under_way`: all that have left and were not answered for yet.
    pub(super) fn leaves<'a>(
        &mut self,
        op: &Op,
        under_way: impl Iterator<Item = &'a Op>,
        cluster: &Cluster,
        api: &Api,
    ) {
        let owner = op.owner.clone().unwrap_or_default();
        let object = of(cluster, &owner);
        if op.method == "POST" && op.path.ends_with("/connectors") {
            let name = op.body["name"].as_str().unwrap_or_default();
            let bound = object.map(|object| &object["status"]["claim"]);
            let claimed =
                cluster.objects.iter().filter(|(key, _)| key.0 == "workspaces").any(|(_, workspace)| {
                    let claims = workspace["status"]["claims"].as_array();
                    claims.is_some_and(|all| {
                        all.iter().any(|claim| {
                            claim["uid"] == owner.as_str()
                                && claim["subject"] == name
                                && bound.is_none_or(|bound| *bound == claim["nonce"])
                        })
                    })
                });
            if !claimed {
                self.report("S5", format!("POST of {name} for {owner} without an open claim that it names"));
            }
            if under_way
                .filter(|other| other.path == op.path && other.method == op.method && other.owner == op.owner)
                .count()
                > 1
            {
                self.report("S6", format!("a second POST in flight for {owner}"));
            }
            if !object.is_some_and(finalizer) {
                self.report("S11", format!("POST for {owner}, which has no finalizer"));
            }
        }
        if op.method == "DELETE" {
            let id = op.path.rsplit('/').next().unwrap_or_default();
            let made = api.ledger.iter().any(|entry| {
                matches!(entry, Entry::Created { id: made, owner: by } if made == id && by.as_deref() == Some(&owner))
            });
            // Another leader may have brought it to its end meanwhile: what the API server showed last counts.
            let last = cluster.log.iter().rev().find(|change| uid(&change.object) == owner);
            let asked = last.map(|change| &change.object).is_some_and(|object| {
                let replacement = &object["status"]["replacement"];
                object["metadata"].get("deletionTimestamp").is_some()
                    || replacement["oldId"] == id
                    || replacement["newId"] == id
            });
            if !made || !asked {
                self.report(
                    "S3",
                    format!("DELETE of {id} for {owner} (made for it: {made}; asked for: {asked})"),
                );
            }
        }
    }

    /// The API took a request.
    pub(super) fn committed(&mut self, cluster: &Cluster, api: &mut Api) {
        let mut owned = BTreeMap::<String, usize>::new();
        for item in api.alive().values() {
            if let Some(owner) = &item.owner {
                *owned.entry(owner.clone()).or_default() += 1;
            }
        }
        for (owner, count) in owned {
            let two = of(cluster, &owner).is_some_and(|object| {
                object["spec"]["replacePolicy"] == "CreateFirst"
                    || object["status"]["replacement"].is_object()
            });
            if count > 1 + usize::from(two) {
                self.report("S1", format!("{count} live connectors for {owner}"));
            }
        }
    }

    /// The operator's write to Kubernetes took effect. `in_flight`: owners of POSTs that may still commit.
    pub(super) fn wrote(
        &mut self,
        key: &Key,
        before: Option<&Value>,
        cluster: &Cluster,
        api: &mut Api,
        in_flight: &BTreeSet<String>,
    ) {
        let Some(before) = before else { return };
        let after = cluster.objects.get(key);
        if after.is_some_and(|after| after.get("spec") != before.get("spec")) {
            self.report("S13", format!("the spec of {key:?} was written"));
        }
        if key.0 != "connectors" {
            return;
        }
        let owner = uid(before).to_owned();
        if let Some(after) = after {
            let generation = after["metadata"]["generation"].as_i64().unwrap_or(0);
            let observed = after["status"]["observedGeneration"].as_i64().unwrap_or(-1);
            let last = self.observed.insert(owner.clone(), observed).unwrap_or(-1);
            if observed > generation || observed < last {
                self.report(
                    "S9",
                    format!("observedGeneration of {owner} went from {last} to {observed} at {generation}"),
                );
            }
            let id = &after["status"]["connectorId"];
            if id.is_string() && after["status"]["sent"].is_null() {
                self.found_again.insert(owner.clone());
            }
            if id.is_string()
                && connectors(cluster)
                    .any(|other| uid(other) != owner && other["status"]["connectorId"] == *id)
            {
                self.report("S8", format!("{id} belongs to two objects"));
            }
        }
        if finalizer(before) && !after.is_some_and(finalizer) {
            let policy = before["spec"]["deletionPolicy"].as_str();
            let adopted = before["status"]["origin"] == "Adopted";
            let abandoned = before["metadata"]["annotations"]["slim.io/abandon"] == "true";
            if policy == Some("Retain") || policy.is_none() && adopted || abandoned {
                self.retained.insert(owner);
                return;
            }
            let left = api
                .alive()
                .iter()
                .find(|(_, item)| item.owner.as_ref() == Some(&owner) && item.gone_at.is_none());
            if let Some((id, _)) = left {
                self.report("S11", format!("{owner} was let go while {id} is at the API"));
            }
            if in_flight.contains(&owner) {
                self.report("S11", format!("{owner} was let go while a POST for it may still commit"));
            }
        }
    }

    /// What is not as it should be when everything has come to rest. `secret`: what the external id is by now.
    pub(super) fn unfinished(&self, cluster: &Cluster, api: &mut Api, secret: &str) -> Option<String> {
        let mut ids = BTreeSet::new();
        for object in connectors(cluster) {
            let meta = &object["metadata"];
            let name = meta["name"].as_str().unwrap_or_default();
            if meta.get("deletionTimestamp").is_some() {
                return Some(format!("L2: {name} is still being deleted: {}", said(object)));
            }
            let ready = object["status"]["conditions"].as_array().and_then(|all| {
                all.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            });
            // Somebody else's, or one that was let go, is in the way: that takes a person.
            let in_the_way = |item: &super::api::Item| {
                let retained = item.owner.as_ref().is_none_or(|owner| self.retained.contains(owner));
                item.name == format!("team.{name}") && retained
            };
            let said_so =
                ["AlreadyExists", "NameConflict"].iter().any(|reason| said(object).contains(reason));
            if said_so && api.alive().values().any(in_the_way) {
                continue;
            }
            if ready.is_none_or(|ready| ready["observedGeneration"] != meta["generation"])
                || object["status"]["observedGeneration"] != meta["generation"]
            {
                return Some(format!("L1: {name} is not Ready at its generation: {}", said(object)));
            }
            let id = object["status"]["connectorId"].as_str().unwrap_or_default();
            let Some(item) = api.alive().get(id) else {
                return Some(format!("S9: {name} is Ready and {id} is not at the API"));
            };
            let aws = &object["spec"]["aws"];
            let external = aws["externalId"].as_str().unwrap_or(secret);
            if item.name != format!("team.{name}")
                || item.config.get("role_arn") != aws.get("roleArn")
                || item.config.get("external_id").and_then(Value::as_str) != Some(external)
                    && !self.found_again.contains(uid(object))
                || item.config.get("buckets") != object["spec"]["scope"].get("buckets")
            {
                return Some(format!("S9: {name} is Ready and {id} is not what it asks for: {item:?}"));
            }
            ids.insert(id.to_owned());
        }
        let retained = &self.retained;
        let stray = api.alive().iter().find(|(id, item)| {
            item.owner.as_ref().is_some_and(|owner| !ids.contains(*id) && !retained.contains(owner))
        });
        if let Some((id, item)) = stray {
            return Some(format!("S2: {id} of {:?} belongs to nobody", item.owner));
        }
        let open = cluster.objects.iter().find(|(key, object)| {
            key.0 == "workspaces" && object["status"]["claims"].as_array().is_some_and(|all| !all.is_empty())
        });
        open.map(|(_, workspace)| format!("L4: a claim is still open: {}", workspace["status"]["claims"]))
    }
}

fn said(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    format!("{} {} {}", ready["status"], ready["reason"], ready["message"])
}

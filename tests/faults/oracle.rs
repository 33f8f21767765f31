//! What must hold, read from the API server and from the ledger, never through the proxy.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testbed::SharedCluster;
use testbed::ledger::{Deed, Moment, Stage};

use crate::rig::Rig;

/// How long nothing may happen for it to count as rest: three polls.
const REST: Duration = Duration::from_secs(4);
/// How long rest may take. A claim that nobody needs any more is closed two minutes after it was first seen, and whoever dies
/// as it is closed leaves it to a successor, who sees it first then.
const RESTLESS: Duration = Duration::from_mins(5);

/// What the world has to be like in the end.
pub(crate) struct Expected {
    /// The Connectors that are there, and ready.
    pub(crate) ready: Vec<String>,
    /// How many creates there were, least and most.
    pub(crate) creates: (usize, usize),
    /// How many connectors of ours stay at the API without a Connector.
    pub(crate) retained: usize,
}

/// A mutation is about to be done: S3, S5 and S11.
pub(crate) async fn mutation(
    cluster: &SharedCluster,
    namespace: &str,
    moment: &Moment,
) -> Result<(), String> {
    if moment.stage != Stage::Received {
        return Ok(());
    }
    let base = format!("/apis/slim.io/v1alpha1/namespaces/{namespace}");
    let read = async |path: String| {
        cluster.get(&path).await.map_err(|error| format!("the oracle is blind: {error}"))
    };
    let all = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    match moment.route {
        connectors_api::Route::CreateConnector => {
            let name = moment.name.as_deref().unwrap_or_default();
            let workspace = read(format!("{base}/workspaces/w")).await?;
            let claims = workspace["status"]["claims"].as_array().cloned().unwrap_or_default();
            let Some(claim) = claims.iter().find(|claim| claim["subject"] == name) else {
                return Err(format!("S5: a POST of {name:?} without a claim"));
            };
            let connectors = read(format!("{base}/connectors")).await?;
            let owner = all(&connectors).into_iter().find(|it| it["metadata"]["uid"] == claim["uid"]);
            match owner {
                Some(owner) if owner["status"]["claim"] != claim["nonce"] => {
                    Err(format!("S5: a POST of {name:?} under a claim that its Connector does not name"))
                }
                Some(owner)
                    if owner["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()) =>
                {
                    Ok(())
                }
                // One that was forced away, or freed in good order, in the moment between claim and POST.
                _ => {
                    Err(format!("S11: a POST of {name:?}, and no Connector with a finalizer that claimed it"))
                }
            }
        }
        connectors_api::Route::DeleteConnector => {
            let id = moment.id.as_deref().unwrap_or_default();
            let connectors = read(format!("{base}/connectors")).await?;
            let allowed = all(&connectors).into_iter().any(|it| {
                let status = &it["status"];
                let replacement = &status["replacement"];
                let owns = [&status["connectorId"], &replacement["oldId"], &replacement["newId"]]
                    .iter()
                    .any(|it| **it == id);
                owns && (it["metadata"]["deletionTimestamp"].is_string() || replacement.is_object())
            });
            if allowed {
                Ok(())
            } else {
                Err(format!("S3: a DELETE of {id}, which no Connector that goes or is replaced owns"))
            }
        }
        _ => Ok(()),
    }
}

/// Whether it is there, ready, and judged as it is.
pub(crate) fn is_ready(connector: Option<&Value>) -> bool {
    let Some(connector) = connector else { return false };
    let generation = &connector["metadata"]["generation"];
    let ready = connector["status"]["conditions"].as_array().into_iter().flatten();
    ready
        .into_iter()
        .any(|it| it["type"] == "Ready" && it["status"] == "True" && it["observedGeneration"] == *generation)
        && connector["status"]["observedGeneration"] == *generation
}

/// What is wrong in the end; nothing when all holds.
pub(crate) async fn verdict(rig: &Rig, expected: &Expected) -> Vec<String> {
    let mut wrong = rig.director.violations();
    if let Err(restless) = rest(rig).await {
        wrong.push(restless);
    }
    if let Some(exit) = rig.operator.lock().await.process().exit() {
        wrong.push(format!("the operator is not there: it {exit}"));
    }
    let connectors = match rig.cluster.get(&rig.path("connectors")).await {
        Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
        Err(error) => return vec![format!("the oracle is blind: {error}")],
    };
    let names: BTreeSet<&str> = connectors.iter().filter_map(|it| it["metadata"]["name"].as_str()).collect();
    if names != expected.ready.iter().map(String::as_str).collect() {
        wrong.push(format!("L1/L2: there are {names:?} in place of {:?}", expected.ready));
    }
    for connector in &connectors {
        let name = &connector["metadata"]["name"];
        if !is_ready(Some(connector)) {
            wrong.push(format!("L1: {name} is not ready: {}", connector["status"]["conditions"]));
        }
        if connector["metadata"]["labels"]["team"] != "of-a-user"
            || connector["spec"]["gcp"]["projectId"] != "acme-lake-42"
        {
            wrong.push(format!("S13: spec or labels of {name} were written"));
        }
    }
    let ids: Vec<&str> = connectors.iter().filter_map(|it| it["status"]["connectorId"].as_str()).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    if distinct.len() != ids.len() {
        wrong.push(format!("S8: one id for two: {ids:?}"));
    }
    let live = rig.ledger.live();
    let ours: Vec<_> = live.iter().filter(|held| held.id != rig.foreign).collect();
    let orphans = ours.iter().filter(|held| !distinct.contains(held.id.as_str())).count();
    if orphans != expected.retained {
        wrong.push(format!(
            "S2: {orphans} connectors without an owner, {} retained: {ours:?}",
            expected.retained
        ));
    }
    if distinct.iter().any(|id| !ours.iter().any(|held| held.id == *id)) {
        wrong.push(format!("S9: an id that is not at the API: {ids:?}"));
    }
    for connector in &connectors {
        let held = ours.iter().find(|held| connector["status"]["connectorId"] == held.id.as_str());
        if held.is_some_and(|held| held.config.get("buckets") != Some(&connector["spec"]["scope"]["buckets"]))
        {
            wrong.push(format!("S9: {} is not what is at the API", connector["metadata"]["name"]));
        }
    }
    let creates = rig.ledger.count(Deed::Created);
    if creates < expected.creates.0 || creates > expected.creates.1 {
        wrong.push(format!("S1: {creates} creates, expected {:?}", expected.creates));
    }
    if !live.iter().any(|held| held.id == rig.foreign && held.updated_at == held.created_at) {
        wrong.push("S4: a connector that is not ours was changed".to_owned());
    }
    wrong
}

/// S14: no claim is open, and nothing is written and nothing mutated for a while.
async fn rest(rig: &Rig) -> Result<(), String> {
    let mutations = || {
        use connectors_api::Route::{CreateConnector, DeleteConnector, StartScan, TestConnector};
        [CreateConnector, DeleteConnector, StartScan, TestConnector].map(|route| rig.ledger.requests(route))
    };
    let begun = tokio::time::Instant::now();
    loop {
        let (writes, before) = (rig.writes(), mutations());
        tokio::time::sleep(REST).await;
        let workspace = rig
            .cluster
            .get(&format!("{}/w", rig.path("workspaces")))
            .await
            .map_err(|error| error.to_string())?;
        let claims = &workspace["status"]["claims"];
        let open = claims.as_array().is_some_and(|claims| !claims.is_empty());
        if writes == rig.writes() && before == mutations() && !open {
            return Ok(());
        }
        if begun.elapsed() > RESTLESS {
            let calls = rig.proxy.calls();
            let last: Vec<String> = calls
                .iter()
                .filter(|call| call.verb.writes())
                .rev()
                .take(6)
                .map(ToString::to_string)
                .collect();
            return Err(format!("S14: no rest; claims {claims}; last writes {last:?}"));
        }
    }
}

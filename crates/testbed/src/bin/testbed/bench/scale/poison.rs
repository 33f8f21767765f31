//! How much longer others wait for their connector while there are some whose create always fails.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use testbed::figures::{Figures, quantile};
use testbed::{Error, Result};

use super::rig::{LOOK, POISON, Rig, conditions, connector, connectors};

/// Connectors that always fail.
const POISONED: usize = 20;
/// Connectors that are made one after another before, and again while those fail.
const OTHERS: usize = 50;
/// The most that the others' p99 may grow.
const MOST: f64 = 2.0;

/// The others' p99 with poison, by that without.
pub(super) async fn measure(rig: &Rig, figures: &mut Figures) -> Result<()> {
    eprintln!("{OTHERS} connectors, one after another");
    let before = others(rig, "before").await?;
    eprintln!("the same beside {POISONED} that always fail");
    for index in 0..POISONED {
        apply(rig, &format!("{POISON}{index}")).await?;
    }
    let begun = Instant::now();
    while rig.count("slimio_resources{kind=\"Connector\",reason=\"CreateOutcomeUnknown\"}").await? < POISONED
    {
        if begun.elapsed().as_secs() > 60 {
            return Err(Error::Bug("what is poisoned did not fail".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    let beside = others(rig, "beside").await?;
    let (p99, poisoned) = (quantile(&before, 0.99), quantile(&beside, 0.99));
    figures.add(format!("apply to Ready, p99 of {OTHERS} one after another"), "s", p99, None);
    figures.add(format!("  beside {POISONED} whose create always fails"), "s", poisoned, None);
    figures.add("  times as long", "", poisoned / p99, Some(MOST));
    for index in 0..POISONED {
        remove(rig, &format!("{POISON}{index}"), true).await?;
    }
    for index in 0..OTHERS {
        remove(rig, &format!("before-{index}"), false).await?;
        remove(rig, &format!("beside-{index}"), false).await?;
    }
    Ok(())
}

/// Seconds from apply to Ready of each.
async fn others(rig: &Rig, which: &str) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for index in 0..OTHERS {
        let (name, begun) = (format!("{which}-{index}"), Instant::now());
        apply(rig, &name).await?;
        loop {
            let object = rig.cluster.get(&format!("{}/{name}", connectors())).await?;
            if conditions(&object).any(|it| it["type"] == "Ready" && it["status"] == "True") {
                break;
            }
            if begun.elapsed().as_secs() > 60 {
                return Err(Error::Refused { asked: name, answer: object["status"].to_string() });
            }
            tokio::time::sleep(LOOK / 5).await;
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

async fn apply(rig: &Rig, name: &str) -> Result<()> {
    let mut body = connector(0);
    body["metadata"]["name"] = json!(name);
    body["spec"]["scope"]["buckets"] = json!([name]);
    body["spec"]["deletionPolicy"] = json!("Delete");
    rig.cluster.request(Method::POST, &connectors(), Some(&body)).await.map(drop)
}

/// Takes it away again, also where its create's outcome is not known.
async fn remove(rig: &Rig, name: &str, abandoned: bool) -> Result<()> {
    if abandoned {
        let args = ["annotate", "connector", name, "--namespace=bench", "slim.io/abandon=true"];
        let output = rig.cluster.kubectl(&args).await?;
        if !output.success {
            return Err(Error::Refused { asked: format!("to let {name} go"), answer: output.stderr });
        }
    }
    rig.cluster.request(Method::DELETE, &format!("{}/{name}", connectors()), None).await.map(drop)
}

//! What a plan asks of the operator, step by step, and what the world has to be like afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::ledger::{Deed, Listing, TestAnswer};

use crate::oracle::{Expected, is_ready};
use crate::plan::{Action, At, Workload};
use crate::rig::Rig;

/// Above two minutes, after which an outcome counts as settled, and a busy machine's share.
const PATIENCE: Duration = Duration::from_secs(360);

/// Runs it: the beginning in peace, then with these triggers.
pub(crate) async fn run(
    workload: Workload,
    rig: &Rig,
    triggers: &[(At, Action)],
) -> Result<Expected, String> {
    let ready = async |name: &str| rig.until(name, PATIENCE, is_ready).await;
    let gone = async |name: &str| rig.until(name, PATIENCE, |it| it.is_none()).await;
    let arm = || rig.director.arm(triggers);
    // A key that was refused is put right by a person, once it was refused.
    let mended = async || {
        if triggers.iter().any(|(_, action)| matches!(action, Action::Refused(401 | 403))) {
            until_all_went_wrong(rig).await;
            rig.write_key("second-key").await;
        }
    };
    let one = |creates| Expected { ready: vec!["a".to_owned()], creates, retained: 0 };
    let none = |creates| Expected { ready: Vec::new(), creates, retained: 0 };
    match workload {
        Workload::Create => {
            arm();
            rig.create("a", "one").await;
            mended().await;
            ready("a").await?;
            Ok(one((1, 1)))
        }
        Workload::CreateThenDelete => {
            arm();
            rig.create("a", "one").await;
            // Once it has begun; a Connector that nobody touched has nothing to go wrong.
            rig.until("a", PATIENCE, |it| it.is_none_or(|it| it["metadata"]["finalizers"].is_array()))
                .await?;
            rig.delete("a").await;
            gone("a").await?;
            Ok(none((0, 1)))
        }
        Workload::Delete => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.delete("a").await;
            mended().await;
            gone("a").await?;
            Ok(none((1, 1)))
        }
        Workload::Recreate => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.edit("a", |spec| spec["scope"]["buckets"] = json!(["two"])).await;
            ready("a").await?;
            Ok(one((2, 2)))
        }
        Workload::CreateFirst | Workload::CreateFirstReverted | Workload::CreateFirstDeleted => {
            rig.create("a", "one").await;
            rig.edit("a", |spec| spec["replacePolicy"] = json!("CreateFirst")).await;
            ready("a").await?;
            let connects = workload == Workload::CreateFirst;
            rig.ledger
                .set(|switches| switches.test = if connects { switches.test } else { TestAnswer::Refused });
            arm();
            rig.edit("a", |spec| {
                spec["scope"]["buckets"] = json!(["two"]);
                spec["displayName"] = json!("renamed");
            })
            .await;
            if connects {
                ready("a").await?;
                return Ok(one((2, 2)));
            }
            rig.until("a", PATIENCE, |it| {
                it.is_some_and(|it| it["status"]["replacement"]["phase"] == "Testing")
            })
            .await?;
            if workload == Workload::CreateFirstDeleted {
                rig.delete("a").await;
                gone("a").await?;
                return Ok(none((2, 2)));
            }
            rig.edit("a", |spec| {
                spec["scope"]["buckets"] = json!(["one"]);
                spec["displayName"] = Value::Null;
            })
            .await;
            ready("a").await?;
            Ok(one((2, 2)))
        }
        Workload::EditAndBack => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.edit("a", |spec| spec["scope"]["buckets"] = json!(["two"])).await;
            rig.edit("a", |spec| spec["scope"]["buckets"] = json!(["one"])).await;
            ready("a").await?;
            Ok(one((1, 3)))
        }
        Workload::SameNameAgain => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.delete("a").await;
            gone("a").await?;
            rig.create("a", "two").await;
            ready("a").await?;
            Ok(one((2, 2)))
        }
        Workload::KeyRotated => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.write_key("second-key").await;
            rig.create("b", "two").await;
            ready("b").await?;
            ready("a").await?;
            rig.delete("a").await;
            gone("a").await?;
            Ok(Expected { ready: vec!["b".to_owned()], creates: (2, 2), retained: 0 })
        }
        Workload::SuspendThenRetain => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            rig.edit("a", |spec| spec["suspend"] = json!(true)).await;
            rig.edit("a", |spec| spec["scope"]["buckets"] = json!(["two"])).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            if rig.ledger.count(Deed::Created) != 1 {
                return Err("a suspended Connector was replaced".to_owned());
            }
            rig.edit("a", |spec| spec["suspend"] = json!(false)).await;
            ready("a").await?;
            rig.edit("a", |spec| spec["deletionPolicy"] = json!("Retain")).await;
            ready("a").await?;
            rig.delete("a").await;
            gone("a").await?;
            Ok(Expected { retained: 1, ..none((2, 2)) })
        }
        Workload::ListEmptied | Workload::ListFlaps => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            let lying = if workload == Workload::ListFlaps { Listing::Flapping } else { Listing::Empty };
            rig.ledger.set(|switches| switches.list = lying);
            tokio::time::sleep(Duration::from_secs(5)).await;
            rig.create("b", "two").await;
            ready("b").await?;
            if rig.ledger.count(Deed::Created) != 2 || rig.ledger.count(Deed::Deleted) != 0 {
                return Err("something was done on the strength of an empty list".to_owned());
            }
            rig.delete("a").await;
            gone("a").await?;
            rig.ledger.set(|switches| switches.list = Listing::True);
            ready("b").await?;
            Ok(Expected { ready: vec!["b".to_owned()], creates: (2, 2), retained: 0 })
        }
        Workload::DeleteLater => {
            rig.create("a", "one").await;
            ready("a").await?;
            arm();
            until_all_went_wrong(rig).await;
            // What was just begun anew has its first list behind it.
            tokio::time::sleep(Duration::from_secs(2)).await;
            rig.delete("a").await;
            gone("a").await?;
            Ok(none((1, 1)))
        }
        Workload::Twenty => {
            arm();
            let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
            for name in &names {
                rig.create(name, "one").await;
            }
            for name in &names {
                ready(name).await?;
            }
            Ok(Expected { ready: names, creates: (20, 20), retained: 0 })
        }
    }
}

async fn until_all_went_wrong(rig: &Rig) {
    let begun = tokio::time::Instant::now();
    while rig.director.left() > 0 && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

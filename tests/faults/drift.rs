//! A connector that somebody changes at the API: seen at the next poll, and answered as the policy says.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::ledger::{Deed, HeldScan, Switches};

use crate::oracle::{Expected, is_ready, verdict};
use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(120);

/// A ready connector, and its id.
async fn ready() -> (Rig, String) {
    let rig = Rig::start("drift", Switches { unique_names: false, ..Switches::default() }).await;
    rig.create("a", "one").await;
    rig.until("a", PATIENCE, is_ready).await.unwrap();
    let id = rig.read("a").await.unwrap()["status"]["connectorId"].as_str().unwrap().to_owned();
    (rig, id)
}

fn says(connector: Option<&Value>, kind: &str, reason: &str) -> bool {
    let conditions = connector.map_or(&Value::Null, |it| &it["status"]["conditions"]);
    conditions.as_array().into_iter().flatten().any(|it| it["type"] == kind && it["reason"] == reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_at_the_api_is_made_anew_where_that_is_consented_to() {
    let (rig, id) = ready().await;
    assert!(rig.ledger.change(&id, |held| held.config["project_id"] = json!("somebody-elses")));
    rig.until("a", PATIENCE, |it| {
        it.is_some_and(|it| it["status"]["connectorId"] != id.as_str() && is_ready(Some(it)))
    })
    .await
    .unwrap();
    let expected = Expected { ready: vec!["a".to_owned()], creates: (2, 2), retained: 0 };
    assert_eq!(verdict(&rig, &expected).await, Vec::<String>::new());
    assert_eq!(
        rig.ledger.live().iter().filter(|held| held.config["project_id"] == "somebody-elses").count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_at_the_api_is_only_said_where_something_would_be_lost_and_over_when_it_is_changed_back()
 {
    let (rig, id) = ready().await;
    rig.edit("a", |spec| spec["replacePolicy"] = json!("Never")).await;
    let scan =
        HeldScan { id: "scan-1".to_owned(), state: "completed".to_owned(), started_at: Timestamp::now() };
    assert!(rig.ledger.change(&id, |held| (held.findings_count, held.scans) = (3, vec![scan])));
    rig.until("a", PATIENCE, |it| it.is_some_and(|it| it["status"]["findingsCount"] == 3)).await.unwrap();
    let given = rig.ledger.live().into_iter().find(|held| held.id == id).unwrap().config;
    for key in ["project_id", "buckets"] {
        assert!(rig.ledger.change(&id, |held| held.config[key] = json!("somebody-elses")));
        rig.until("a", PATIENCE, |it| says(it, "Ready", "Drifted") && says(it, "Stalled", "Drifted"))
            .await
            .unwrap();
        let told = rig.read("a").await.unwrap()["status"]["conditions"].to_string();
        assert!(told.contains(&format!("{key} was changed at the API")), "{told}");
        assert!(!told.contains("somebody-elses"), "what somebody wrote there is not repeated: {told}");
        assert!(rig.ledger.change(&id, |held| held.config = given.clone()));
        rig.until("a", PATIENCE, is_ready).await.unwrap();
    }
    assert_eq!(rig.ledger.count(Deed::Created), 1);
}

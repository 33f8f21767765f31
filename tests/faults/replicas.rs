//! Two replicas that both think they lead still make exactly one connector for one resource (S16).

use std::time::Duration;

use futures::future::join_all;
use testbed::ledger::Switches;

use crate::oracle::{Expected, is_ready, verdict};
use crate::plan::{Action, At};
use crate::rig::Rig;

/// Past the lease of fifteen seconds, and long enough for the other to act.
const FROZEN: u64 = 25;
const PATIENCE: Duration = Duration::from_secs(360);

fn switches() -> Switches {
    Switches { unique_names: false, ..Switches::default() }
}

/// The leader freezes at this point of its first create, the other one takes over, and the first wakes up and goes on.
async fn frozen_at(point: &str) -> Result<(), String> {
    let rig = Rig::start_with("frozen", switches(), true).await;
    let (_proxy, _second) = rig.another_operator(true).await;
    rig.director.arm(&[(At::Named(point.to_owned(), 0), Action::Freeze(FROZEN))]);
    rig.create("a", "one").await;
    rig.until("a", PATIENCE, is_ready).await?;
    // The first one may still sleep.
    tokio::time::sleep(Duration::from_secs(FROZEN)).await;
    let wrong = verdict(&rig, &Expected { ready: vec!["a".to_owned()], creates: (1, 1), retained: 0 }).await;
    if rig.director.left() > 0 {
        return Err(format!("{point}: nobody was frozen there"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{point}: {}\n{}", wrong.join("; "), rig.log().await)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_that_wakes_up_under_another_makes_nothing_twice() {
    let points = [
        "patch connectors: acknowledged",
        "update workspaces/status: acknowledged",
        "create_connector: received",
        "create_connector: done",
    ];
    let ended = join_all(points.map(frozen_at)).await;
    let wrong: Vec<String> = ended.into_iter().filter_map(Result::err).collect();
    eprintln!("two replicas: {} plans run, {} failed", points.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_without_an_election_make_twenty_connectors_for_twenty() {
    let rig = Rig::start("both", switches()).await;
    let (_proxy, _second) = rig.another_operator(false).await;
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    for name in &names {
        rig.create(name, "one").await;
    }
    for name in &names {
        rig.until(name, PATIENCE, is_ready).await.unwrap();
    }
    let wrong = verdict(&rig, &Expected { ready: names, creates: (20, 20), retained: 0 }).await;
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("; "), rig.log().await);
}

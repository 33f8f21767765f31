//! A quick API is a fault too: an answer that comes before the watch event tempts to create twice.

use std::time::{Duration, Instant};

use connectors_api::Route;
use futures::{StreamExt, stream};
use testbed::ledger::{Deed, Switches};

use crate::oracle::is_ready;
use crate::rig::Rig;

/// So many connectors at once, with answers after so long: exactly as many creates.
async fn burst(count: usize, delay: Duration) {
    let switches = Switches { unique_names: false, delay, ..Switches::default() };
    let rig = Rig::start("burst", switches).await;
    let begun = Instant::now();
    stream::iter(0..count).for_each_concurrent(8, async |n| rig.create(&format!("c{n}"), "one").await).await;
    let path = rig.path("connectors");
    loop {
        let list = rig.cluster.get(&path).await.unwrap();
        let items = list["items"].as_array().unwrap();
        let ready = items.iter().filter(|it| is_ready(Some(it))).count();
        if ready == count {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(900),
            "{ready} of {count} are ready after {:?}",
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    eprintln!(
        "{count} connectors, answers after {delay:?}: ready after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(rig.ledger.count(Deed::Created), count);
    assert_eq!(rig.ledger.requests(Route::CreateConnector), count as u64, "nor was one asked for in vain");
    assert_eq!(rig.ledger.live().len(), count + 1, "theirs and the one that is not ours");
    assert_eq!(rig.director.violations(), Vec::<String>::new());
}

/// An unoptimised operator makes about ten a second on two busy cores, so the test command has the smaller burst.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_connectors_at_once_are_as_many_creates_however_quick_the_answers() {
    let all = std::env::var("SLIMIO_CAMPAIGN").is_ok_and(|it| it == "all");
    let (count, delays): (usize, &[u64]) = if all { (1000, &[0, 5, 20]) } else { (200, &[0]) };
    for delay in delays {
        burst(count, Duration::from_millis(*delay)).await;
    }
}

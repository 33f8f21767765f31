//! `bench scale`: memory, processor time, calm and speed with 1,000 and 10,000 connectors. The API is the ledger double in this
//! process, which answers after a set time and counts; the workspace's limits are set high, so that they bound nothing.

mod poison;
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connectors_api::Route;
use testbed::figures::{Figures, quantile};
use testbed::{Error, Result};

use super::audit;
use rig::{Pace, Rig, float};

const FEW: usize = 1_000;
/// Times that as many connectors are applied at once, each time under other circumstances.
const BURSTS: usize = 3;
/// Memory is read when so much time has passed without anything to do.
const SETTLE: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(10);
/// Nothing happened for so long: it is quiet.
const QUIET: Duration = Duration::from_secs(4);
/// The most that 1,000 connectors may take from apply to Ready.
const AT_ONCE: f64 = 30.0;

/// Measures into `figures`, so that what was measured is there when a later phase fails.
pub(super) async fn measure(root: &Path, many: usize, figures: &mut Figures) -> Result<()> {
    if many <= BURSTS * FEW {
        return Err(Error::Bug(format!("scale ends with more than {} connectors", BURSTS * FEW)));
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    figures.note("the workspace's limits are set so high that they bound nothing; the API is a double in the bench's process");
    figures.note(format!(
        "API server, etcd, operator and bench share the machine, whose load was {load} before; times are looked at every {} ms",
        rig::LOOK.as_millis()
    ));
    let mut rig = Rig::start(root).await?;

    burst(&rig, 0, "answers after 50 ms", figures).await?;
    rig.pace(Pace::After(Duration::ZERO));
    tokio::time::sleep(SETTLE).await;
    figures.add(format!("operator RSS, {FEW} connectors"), "MiB", rig.rss()?, Some(45.0));
    let rest = rig.rest(REST / 2).await?;
    let polls = REST.as_secs_f64() / 2.0 / POLL.as_secs_f64();
    let an_hour = (float(rest.lists + rest.others) / polls).round() * 6.0;
    figures.add(
        format!("API requests an hour, {FEW} connectors, ten-minute poll (from {polls:.0} polls of 10 s)"),
        "requests",
        an_hour,
        Some(60.0),
    );
    poison::measure(&rig, figures).await?;
    rig.pace(Pace::Mixed);
    burst(&rig, 1, "answers after 0, 5 and 20 ms", figures).await?;
    rig.pace(Pace::After(Duration::from_millis(50)));
    {
        let _spinning = Spinning::start();
        burst(&rig, 2, "answers after 50 ms, all cores taken", figures).await?;
    }
    rig.pace(Pace::After(Duration::ZERO));

    let before = BURSTS * FEW;
    eprintln!("{} more, answers at once", many - before);
    let took = rig.grow(before, many).await?;
    figures.add(format!("{} more at once, all Ready, answers at once", many - before), "s", took, None);
    figures.add("creates at the API beyond one each", "creates", rig.surplus(many), Some(0.0));
    at_rest(&rig, many, figures).await?;

    eprintln!("Secrets and remote states change");
    let rotated = rig.rotated().await?;
    figures.add(format!("rotated Secret to status, {many}, p50"), "s", quantile(&rotated, 0.5), None);
    figures.add(format!("rotated Secret to status, {many}, p99"), "s", quantile(&rotated, 0.99), Some(10.0));
    rig.poll_every("10s").await?;
    let changed = rig.changed().await?;
    figures.add("list that shows a change to status, p50", "s", quantile(&changed, 0.5), None);
    figures.add("list that shows a change to status, p99", "s", quantile(&changed, 0.99), Some(1.0));
    restart(&mut rig, many, figures).await
}

/// Another 1,000 at once.
async fn burst(rig: &Rig, number: usize, how: &str, figures: &mut Figures) -> Result<()> {
    let (from, to) = (number * FEW, (number + 1) * FEW);
    eprintln!("{FEW} connectors at once, {how}");
    let (ticks, lists) = (rig.ticks()?, rig.ledger.requests(Route::ListConnectors));
    let took = rig.grow(from, to).await?;
    figures.add(format!("{FEW} applied at once, all Ready, {how}"), "s", took, Some(AT_ONCE));
    figures.add("  its creates at the API beyond one each", "creates", rig.surplus(to), Some(0.0));
    let seconds = float(rig.ticks()? - ticks) / 100.0;
    figures.add("  its processor time in the operator", "s", seconds, None);
    let lists = rig.ledger.requests(Route::ListConnectors) - lists;
    figures.add("  its list requests at the API", "requests", float(lists), None);
    Ok(())
}

async fn at_rest(rig: &Rig, many: usize, figures: &mut Figures) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    figures.add(format!("operator RSS, {many} connectors"), "MiB", rig.rss()?, Some(100.0));
    rig.poll_every("1m").await?;
    tokio::time::sleep(SETTLE).await;
    eprintln!("{} s of rest", REST.as_secs());
    let rest = rig.rest(REST).await?;
    figures.add(format!("processor at rest, {many}, poll of 1 min"), "mcores", rest.millicores, Some(50.0));
    figures.add(
        format!("writes an hour at rest, the Lease apart (from {} s)", REST.as_secs()),
        "writes",
        float(rest.writes.len() as u64) * 3600.0 / REST.as_secs_f64(),
        Some(0.0),
    );
    let pages = float(many.div_ceil(100) as u64);
    figures.add(format!("list requests a poll, {many}"), "requests", float(rest.lists), Some(pages));
    figures.add("other API requests at rest", "requests", float(rest.others), Some(0.0));
    if !rest.writes.is_empty() {
        figures.note(format!("at rest it wrote {:?}", audit::by_resource(&rest.writes)));
    }
    Ok(())
}

async fn restart(rig: &mut Rig, many: usize, figures: &mut Figures) -> Result<()> {
    eprintln!("a restart with {many}");
    rig.poll_every("10m").await?;
    tokio::time::sleep(QUIET).await;
    let (deeds, lists) = (rig.ledger.entries().len(), rig.ledger.requests(Route::ListConnectors));
    let all = rig.ledger.all_requests();
    let took = rig.restart(many).await?;
    figures.add(format!("restart to quiet, {many}"), "s", took, Some(30.0));
    let mutations = float((rig.ledger.entries().len() - deeds) as u64);
    figures.add("mutations at the API by the restart", "mutations", mutations, Some(0.0));
    let lists = rig.ledger.requests(Route::ListConnectors) - lists;
    let pages = float(many.div_ceil(100) as u64);
    figures.add("list requests by the restart", "requests", float(lists), Some(pages + 1.0));
    let others = rig.ledger.all_requests() - all - lists;
    figures.add("other API requests by the restart", "requests", float(others), Some(0.0));
    tokio::time::sleep(SETTLE).await;
    figures.add(format!("operator RSS, {many}, after the restart"), "MiB", rig.rss()?, Some(100.0));
    Ok(())
}

/// Takes every core, until it is dropped.
struct Spinning(Arc<AtomicBool>);

impl Spinning {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

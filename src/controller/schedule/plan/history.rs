//! Which Scans of a schedule go: of those that ended, what is above the limits; of those that did not begin, what a newer one
//! replaces. One that runs is never deleted.

use std::collections::BTreeMap;

use super::Doomed;
use crate::controller::schedule::observed::{Observed, Owned, Turn};
use crate::crd::{ConcurrencyPolicy, ScanPhase, ScanScheduleStatus};

/// Scans that have not begun at the API and whose connector's turn comes anew.
pub(super) fn replaced(o: &Observed, turns: &[Turn]) -> Vec<Doomed> {
    if o.spec.concurrency_policy != ConcurrencyPolicy::Replace {
        return Vec::new();
    }
    let waiting = o.around.scans.iter().filter(|scan| scan.active() && !scan.begun && !gone(o, scan));
    let replaced = waiting.filter(|scan| {
        turns.iter().any(|turn| turn.starts && turn.connector == scan.connector && turn.name != scan.name)
    });
    // It may begin any moment; then it is another version, and stays.
    replaced.map(|scan| Doomed { version: scan.version.clone(), ..doomed(scan) }).collect()
}

/// Scans that ended and are more than the limits allow.
pub(super) fn outlived(o: &Observed, status: &ScanScheduleStatus) -> Vec<Doomed> {
    // What the run at hand made stays until its end: its turn may not be put down yet, and would be taken again.
    let running = status.run.as_ref().filter(|run| !run.finished).map(|run| run.time);
    let mut ended = BTreeMap::<(&str, bool), Vec<&Owned>>::new();
    for scan in
        o.around.scans.iter().filter(|scan| scan.phase.is_terminal() && !scan.deleting && !gone(o, scan))
    {
        if running.is_none_or(|since| scan.created.is_some_and(|created| created < since)) {
            ended.entry((&scan.connector, scan.phase == ScanPhase::Completed)).or_default().push(scan);
        }
    }
    let mut all = Vec::new();
    for ((_, completed), mut scans) in ended {
        let limit =
            if completed { o.spec.successful_scans_history_limit } else { o.spec.failed_scans_history_limit };
        scans.sort_by_key(|scan| std::cmp::Reverse((scan.created, &scan.name)));
        all.extend(scans.into_iter().skip(usize::try_from(limit).unwrap_or(0)));
    }
    all.sort_by_key(|scan| (scan.created, &scan.name));
    all.into_iter().map(doomed).collect()
}

fn gone(o: &Observed, scan: &Owned) -> bool {
    o.facts.deleted.contains(&scan.name)
}

fn doomed(scan: &Owned) -> Doomed {
    Doomed { name: scan.name.clone(), uid: scan.uid.clone(), version: None }
}

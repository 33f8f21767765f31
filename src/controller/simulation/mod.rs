//! The operator's real observe, plan and act against a Kubernetes API and a Connectors API in memory, in virtual time, with
//! everything that can go wrong: lost answers, crashes, stale caches, two leaders, odd clocks. One seed is one run.

mod api;
mod calm;
mod fate;
mod oracle;
mod process;
mod stories;
mod storm;
mod users;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::controller::connector::wrong::Variant;
use world::Outcome;

/// Runs of a plain `cargo test`; `cargo xtask test` asks for many more.
const RUNS: u64 = 80;

#[test]
#[allow(clippy::print_stdout, reason = "says how many runs there were and which faults occurred")]
fn no_run_breaks_an_invariant() {
    let begun = Instant::now();
    if let Some(seed) = setting("SIMULATION_SEED") {
        let outcome = world::run(seed, Variant::Right);
        println!("{}", outcome.trace.join("\n"));
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    let runs = setting("SIMULATION_RUNS").unwrap_or(RUNS);
    let first = setting("SIMULATION_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut failed, mut counts) = (Vec::new(), BTreeMap::<&str, u64>::new());
    std::thread::scope(|scope| {
        let workers = (0..threads).map(|_| {
            scope.spawn(|| {
                let (mut failed, mut counts) = (Vec::new(), BTreeMap::<&str, u64>::new());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return (failed, counts);
                    }
                    let Outcome { violation, counts: more, .. } = world::run(seed, Variant::Right);
                    for (name, count) in more {
                        *counts.entry(name).or_default() += count;
                    }
                    failed.extend(violation.map(|violation| (seed, violation)));
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            let (more, counted) = worker.join().unwrap();
            failed.extend(more);
            for (name, count) in counted {
                *counts.entry(name).or_default() += count;
            }
        }
    });
    let ran = format!("simulation: {runs} runs from seed {first} in {:?}; {counts:?}", begun.elapsed());
    println!("{ran}");
    leave("simulation", &ran);
    failed.sort();
    let shown = failed
        .iter()
        .take(12)
        .map(|(seed, what)| format!("SIMULATION_SEED={seed}: {what}"))
        .collect::<Vec<_>>();
    assert!(failed.is_empty(), "{} of {runs} runs failed:\n{}", failed.len(), shown.join("\n"));
    for fault in FAULTS {
        assert!(counts.contains_key(fault), "{fault} never occurred");
    }
}

/// Each has to occur, or the runs prove less than they seem to.
const FAULTS: [&str; 14] = [
    "429",
    "5xx though committed",
    "answer lost",
    "answer slow",
    "clock step",
    "committed late",
    "conflict",
    "crash",
    "empty list",
    "leadership",
    "request lost",
    "silence",
    "unreachable",
    "user",
];

#[test]
fn one_seed_gives_the_same_run_again() {
    for seed in [1, 2, 3, 44, 555] {
        let (first, again) = (world::run(seed, Variant::Right), world::run(seed, Variant::Right));
        assert_eq!(first.trace, again.trace, "seed {seed}");
        assert_eq!(first.hash, again.hash, "seed {seed}");
    }
}

/// Runs in which a wrong variant has to be caught.
const CAUGHT_WITHIN: u64 = 400;

#[test]
fn every_wrong_variant_is_caught_by_an_invariant_that_it_breaks() {
    let expected: [(Variant, &[&str]); 8] = [
        (Variant::IdOnlyInMemory, &["S1", "S2", "S3", "L1", "S11"]),
        (Variant::NoClaim, &["S5"]),
        (Variant::Unbound, &["S5"]),
        (Variant::FinalizerAfterPost, &["S11"]),
        (Variant::ReleasedWhenDeleteSent, &["S11", "S2"]),
        (Variant::FailedDeleteIsDone, &["S11", "S2", "S1"]),
        (Variant::PostRetried, &["S1", "S6"]),
        (Variant::LostIsFailed, &["S1", "S2", "S6"]),
    ];
    for (variant, invariants) in expected {
        let breaks =
            |violation: &String| invariants.contains(&violation.split(':').next().unwrap_or_default());
        let caught =
            (0..CAUGHT_WITHIN).any(|seed| world::run(seed, variant).violation.as_ref().is_some_and(breaks));
        assert!(caught, "{variant:?} broke none of {invariants:?} in {CAUGHT_WITHIN} runs");
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Leaves a line for whoever runs all tests: the test runner itself shows nothing of a test that passes.
pub(super) fn leave(name: &str, line: &str) {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(3).unwrap().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("ran-{name}.txt")), line).unwrap();
}

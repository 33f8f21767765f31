//! One run: everything that happens in it is drawn from one seed, and everything that is drawn is in its trace.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::api::{Api, Manners};
use super::oracle::Oracle;
use super::process::Process;
use super::users::{self, Users};
use super::wire::{Op, Reply, Server, Shared};
use crate::clock::virtual_time;
use crate::controller::connector::wrong::Variant;
use testbed::in_memory::{Cluster, Target};

/// The longest time after which something shows in lists.
const LONGEST_LAG: u64 = 40;
/// Most lines of a trace that are kept.
const TRACE_LIMIT: usize = 3000;

/// How a run ended.
pub(super) struct Outcome {
    pub violation: Option<String>,
    pub hash: u64,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
}

/// An answer that is on its way back.
pub(super) struct Answered {
    pub reply: oneshot::Sender<Reply>,
    pub with: Reply,
}

/// What there is in one run.
pub(super) struct World {
    pub rng: SmallRng,
    pub cluster: Cluster,
    pub api: Api,
    pub wire: Shared,
    pub replicas: Vec<Process>,
    processes: u64,
    pub variant: Variant,
    pub users: Users,
    pub oracle: Oracle,
    pub faults: f64,
    /// Requests that will be carried out though nobody waits for them any more.
    pub late: Vec<(Instant, Op)>,
    pub answered: Vec<Answered>,
    /// Senders of answers that never come.
    pub silent: Vec<oneshot::Sender<Reply>>,
    pub writes: u64,
    hasher: DefaultHasher,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
}

/// The run of a seed.
pub(super) fn run(seed: u64, variant: Variant) -> Outcome {
    in_virtual_time(seed, async {
        let mut world = World::drawn(seed, variant);
        world.storm().await;
        if world.oracle.violation.is_none() {
            world.calm().await;
        }
        Outcome {
            violation: world.oracle.violation.take(),
            hash: world.hasher.finish(),
            trace: world.trace,
            counts: world.counts,
        }
    })
}

/// Runs something on this thread alone, with clocks that go only when they are told to, and lots that `seed` repeats.
pub(super) fn in_virtual_time<T>(seed: u64, run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread needs nothing that could be missing");
    runtime.block_on(async {
        virtual_time::begin(Timestamp::from_second(1_800_000_000).unwrap_or_default());
        crate::chance::seeded::begin(seed);
        run.await
    })
}

impl World {
    /// One in which everything that is not said elsewhere is drawn.
    fn drawn(seed: u64, variant: Variant) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let lag = |rng: &mut SmallRng| {
            Duration::from_secs(if rng.random_bool(0.5) { 0 } else { rng.random_range(1..LONGEST_LAG) })
        };
        let manners = Manners {
            unique_names: rng.random_bool(0.3),
            shows_little: rng.random_bool(0.3),
            list_lag: lag(&mut rng),
            read_lag: rng.random_bool(0.3),
            delete_lag: lag(&mut rng),
            tests_fail: rng.random_bool(0.1),
        };
        let mut api = Api { manners, ..Api::default() };
        users::plant(&mut rng, &mut api, crate::clock::now());
        let (names, concurrent) = (rng.random_range(1..=3), rng.random_range(1..=8));
        let changes_keys = rng.random_bool(0.25);
        let mut cluster = Cluster::default();
        let users = Users::begin(names, changes_keys, concurrent, &mut cluster, crate::clock::now());
        let faults = *[0.0, 0.1, 0.3].choose(&mut rng).unwrap_or(&0.1);
        let mut world = Self::of(rng, cluster, api, users, variant);
        world.faults = faults;
        let replicas = if world.rng.random_bool(0.4) { 2 } else { 1 };
        for _ in 0..replicas {
            let process = world.process(replicas > 1);
            if replicas > 1 && world.rng.random_bool(0.7) {
                process.leadership.set(Some(Instant::now() + Duration::from_secs(3600)));
            }
            world.replicas.push(process);
        }
        world
    }

    /// One in which nothing goes wrong by itself, and every replica thinks that it leads.
    pub(super) fn still(replicas: usize) -> Self {
        let mut cluster = Cluster::default();
        let users = Users::begin(1, false, 8, &mut cluster, crate::clock::now());
        let rng = SmallRng::seed_from_u64(0);
        let mut world = Self::of(rng, cluster, Api::default(), users, Variant::Right);
        for _ in 0..replicas {
            let process = world.process(false);
            world.replicas.push(process);
        }
        world
    }

    fn of(rng: SmallRng, cluster: Cluster, api: Api, users: Users, variant: Variant) -> Self {
        Self {
            rng,
            cluster,
            api,
            wire: Shared::default(),
            replicas: Vec::new(),
            processes: 0,
            variant,
            users,
            oracle: Oracle::default(),
            faults: 0.0,
            late: Vec::new(),
            answered: Vec::new(),
            silent: Vec::new(),
            writes: 0,
            hasher: DefaultHasher::new(),
            trace: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// A process that begins now.
    pub(super) fn process(&mut self, elected: bool) -> Process {
        self.processes += 1;
        Process::start(self.processes, &self.wire, self.variant, elected)
    }

    /// Something happened that is part of the trace.
    pub(super) fn note(&mut self, count: &'static str, line: impl Into<String>) {
        let line = line.into();
        line.hash(&mut self.hasher);
        *self.counts.entry(count).or_default() += 1;
        if self.trace.len() < TRACE_LIMIT {
            self.trace.push(format!("{} {count}: {line}", crate::clock::now()));
        }
    }

    /// Lets everything go on that can, until all wait for something that the schedule decides.
    pub(super) async fn settle(&mut self) {
        let mut idle = 0;
        while idle < 2 {
            let before = self.wire.lock().ops.len();
            for index in 0..self.replicas.len() {
                for (key, word) in self.replicas[index].poll() {
                    self.note("ended", format!("{}/{} {word}", key.0, key.2));
                    if word == "bug" {
                        self.oracle.report("L1", format!("{} did not come to rest in one pass", key.2));
                    }
                }
            }
            tokio::task::yield_now().await;
            let woken = self.replicas.iter().any(Process::is_woken);
            idle = if woken || self.wire.lock().ops.len() != before { 0 } else { idle + 1 };
        }
        self.notice();
    }

    /// Shows the oracle what has left since the last look.
    fn notice(&mut self) {
        let mut wire = self.wire.lock();
        let new = wire.ops.iter_mut().filter(|(_, op)| !op.noticed).map(|(number, op)| {
            op.noticed = true;
            *number
        });
        for number in new.collect::<Vec<_>>() {
            let op = &wire.ops[&number];
            if op.server == Server::Api {
                let under_way = wire.ops.values().chain(self.late.iter().map(|(_, op)| op));
                self.oracle.leaves(op, under_way, &self.cluster, &self.api);
            }
        }
    }

    /// Owners of POSTs that may still be carried out.
    fn in_flight(&self) -> BTreeSet<String> {
        let wire = self.wire.lock();
        let all = wire.ops.values().chain(self.late.iter().map(|(_, op)| op));
        all.filter(|op| op.method == "POST" && op.path.ends_with("/connectors"))
            .filter_map(|op| op.owner.clone())
            .collect()
    }

    /// Carries a request out, and gives its answer.
    pub(super) fn carry_out(&mut self, op: &Op) -> (u16, Value) {
        let now = crate::clock::now();
        match op.server {
            Server::Kubernetes => {
                let key = Target::parse(&op.path).map(|target| target.key()).unwrap_or_default();
                let before = self.cluster.objects.get(&key).cloned();
                let answer = self.cluster.handle(&op.method, &op.path, op.body.clone(), now);
                if op.method != "GET" {
                    self.writes += 1;
                    let in_flight = self.in_flight();
                    self.oracle.wrote(&key, before.as_ref(), &self.cluster, &mut self.api, &in_flight);
                }
                (answer.code, answer.body)
            }
            Server::Api => {
                let answer = self.api.handle(&op.method, &op.path, &op.body, op.owner.as_deref(), now);
                if op.method != "GET" {
                    self.oracle.committed(&self.cluster, &mut self.api);
                }
                answer
            }
        }
    }

    /// Time goes on. What was sent and has to be carried out by then is.
    pub(super) async fn advance(&mut self, by: Duration) {
        let end = Instant::now() + by;
        // Nothing that was sent may be carried out later than assumed.
        let waiting = if by > Duration::from_secs(10) { self.waiting_posts() } else { Vec::new() };
        for number in waiting {
            self.decide(number, false);
        }
        self.settle().await;
        while let Some(index) = self.late.iter().position(|(at, _)| *at <= end) {
            let (at, op) = self.late.remove(index);
            tokio::time::advance(at.saturating_duration_since(Instant::now())).await;
            let answer = self.carry_out(&op);
            self.note("committed late", format!("{} {}", op.path, answer.0));
            self.settle().await;
        }
        tokio::time::advance(end.saturating_duration_since(Instant::now())).await;
    }

    pub(super) fn waiting_posts(&self) -> Vec<u64> {
        let wire = self.wire.lock();
        let posts = wire.ops.iter().filter(|(_, op)| op.server == Server::Api && op.method == "POST");
        posts.map(|(number, _)| *number).collect()
    }
}

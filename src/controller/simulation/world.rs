//! One run: everything that happens in it is drawn from one seed, and everything that is drawn is in its trace.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use connectors_api::client::Undelivered;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::api::{Api, Item, Manners, refusal};
use super::cluster::{Cluster, Target, failure};
use super::oracle::Oracle;
use super::process::Process;
use super::users::{self, Users};
use super::wire::{Op, Reply, Server, Shared};
use crate::clock::virtual_time;
use crate::controller::connector::wrong::Variant;

/// A POST that was sent is carried out within this time or never. With the longest lag of the list it stays below the time
/// after which recovery rests on it, counted from a claim that may be a lease old when it is sent.
const COMMITS_WITHIN: Duration = Duration::from_secs(50);
const LONGEST_LAG: u64 = 40;
/// Everything is as it should be within this time after the last fault.
const SETTLES_WITHIN: Duration = Duration::from_hours(3);
/// Most lines of a trace that are kept.
const TRACE_LIMIT: usize = 3000;

/// How a run ended.
pub(super) struct Outcome {
    pub violation: Option<String>,
    pub hash: u64,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
}

/// What can happen next.
#[derive(Clone, Copy)]
enum Step {
    /// Something becomes of a request.
    Decide,
    /// A reconcile begins.
    Begin,
    /// A watch tells its next event.
    Hear,
    /// A slow answer comes.
    Answer,
    User,
    Time,
    Crash,
    Leadership,
    Clock,
}

/// An answer that is on its way back.
struct Answered {
    reply: oneshot::Sender<Reply>,
    with: Reply,
}

struct World {
    rng: SmallRng,
    cluster: Cluster,
    api: Api,
    wire: Shared,
    replicas: Vec<Process>,
    processes: u64,
    variant: Variant,
    users: Users,
    oracle: Oracle,
    faults: f64,
    /// Requests that will be carried out though nobody waits for them any more.
    late: Vec<(Instant, Op)>,
    answered: Vec<Answered>,
    /// Senders of answers that never come.
    silent: Vec<oneshot::Sender<Reply>>,
    writes: u64,
    hasher: DefaultHasher,
    trace: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

/// The run of a seed.
pub(super) fn run(seed: u64, variant: Variant) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread needs nothing that could be missing");
    runtime.block_on(async {
        virtual_time::begin(Timestamp::from_second(1_800_000_000).unwrap_or_default());
        crate::chance::seeded::begin(seed);
        let mut world = World::new(seed, variant);
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

impl World {
    fn new(seed: u64, variant: Variant) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let now = crate::clock::now();
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
        users::plant(&mut rng, &mut api, now);
        let mut cluster = Cluster::default();
        let (names, concurrent) = (rng.random_range(1..=3), rng.random_range(1..=8));
        let changes_keys = rng.random_bool(0.25);
        let users = Users::begin(names, changes_keys, concurrent, &mut cluster, now);
        let faults = *[0.0, 0.1, 0.3].choose(&mut rng).unwrap_or(&0.1);
        let mut world = Self {
            rng,
            cluster,
            api,
            wire: Shared::default(),
            replicas: Vec::new(),
            processes: 0,
            variant,
            users,
            oracle: Oracle::default(),
            faults,
            late: Vec::new(),
            answered: Vec::new(),
            silent: Vec::new(),
            writes: 0,
            hasher: DefaultHasher::new(),
            trace: Vec::new(),
            counts: BTreeMap::new(),
        };
        let replicas = if world.rng.random_bool(0.4) { 2 } else { 1 };
        for _ in 0..replicas {
            let process = world.process(replicas > 1);
            world.replicas.push(process);
        }
        world
    }

    fn process(&mut self, elected: bool) -> Process {
        self.processes += 1;
        let process = Process::start(self.processes, &self.wire, self.variant, elected);
        if elected && self.rng.random_bool(0.7) {
            process.leadership.set(Some(Instant::now() + Duration::from_secs(3600)));
        }
        process
    }

    fn note(&mut self, count: &'static str, line: impl Into<String>) {
        let line = line.into();
        line.hash(&mut self.hasher);
        *self.counts.entry(count).or_default() += 1;
        if self.trace.len() < TRACE_LIMIT {
            self.trace.push(format!("{} {count}: {line}", crate::clock::now()));
        }
    }

    /// Lets everything go on that can, until all wait for something that the schedule decides.
    async fn settle(&mut self) {
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
    fn carry_out(&mut self, op: &Op) -> (u16, Value) {
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

    /// Decides what becomes of a request.
    fn decide(&mut self, number: u64, faulty: bool) {
        let Some(mut op) = self.wire.lock().ops.remove(&number) else { return };
        let what = format!("{:?} {} {}", op.server, op.method, op.path);
        let Some(reply) = op.reply.take() else { return };
        // What the API makes is where most is at stake.
        let creates = op.server == Server::Api && op.method == "POST" && op.path.ends_with("/connectors");
        let rate = if creates && self.faults > 0.0 { 0.5 } else { self.faults };
        let fate = if faulty && self.rng.random_bool(rate) { self.rng.random_range(1..=9) } else { 0 };
        let api = op.server == Server::Api;
        let broken = Err(Undelivered::Broken);
        let with = match fate {
            1 => {
                self.carry_out(&op);
                self.note("answer lost", what);
                broken
            }
            2 => {
                self.note("request lost", what);
                broken
            }
            3 => {
                let with = self.carry_out(&op);
                self.note("answer slow", format!("{what} {}", with.0));
                self.answered.push(Answered { reply, with: Ok(with) });
                return;
            }
            4 if api && op.method == "POST" => {
                let at =
                    Instant::now() + Duration::from_secs(self.rng.random_range(0..COMMITS_WITHIN.as_secs()));
                self.note("late commit", what);
                self.late.push((at, op));
                self.silent.push(reply);
                return;
            }
            5 if api => {
                self.note("unreachable", what);
                Err(Undelivered::Unreachable)
            }
            6 => {
                self.carry_out(&op);
                self.note("5xx though committed", what);
                Ok(if api { refusal(503, "unavailable") } else { of(failure(500, "InternalError", "")) })
            }
            7 => {
                self.note("429", what);
                Ok(if api { refusal(429, "slow_down") } else { of(failure(429, "TooManyRequests", "")) })
            }
            8 if api
                && op.path.ends_with("/connectors")
                && op.method == "GET"
                && self.api.items.len() >= users::ENOUGH_TO_MISS =>
            {
                self.note("empty list", what);
                Ok((
                    200,
                    json!({ "status": "success", "data": [], "pagination": { "limit": 100, "has_more": false } }),
                ))
            }
            8 if !api && op.method != "GET" => {
                self.note("conflict", what);
                Ok(of(failure(409, "Conflict", "")))
            }
            9 if api => {
                self.carry_out(&op);
                self.note("silence", what);
                self.silent.push(reply);
                return;
            }
            _ => {
                let with = self.carry_out(&op);
                self.note("done", format!("{what} {}", with.0));
                Ok(with)
            }
        };
        // Whoever asked may be gone.
        let _ = reply.send(with);
    }

    /// A process dies. What it had sent arrives, is lost, or arrives later.
    fn crash(&mut self, index: usize) {
        let elected = self.replicas.len() > 1;
        let dead = self.replicas[index].number;
        let busy = self.replicas[index].busy();
        let fresh = self.process(elected);
        self.replicas[index] = fresh;
        self.note("crash", format!("process {dead} with {busy} under way"));
        let numbers = self
            .wire
            .lock()
            .ops
            .iter()
            .filter(|(_, op)| op.process == dead)
            .map(|(number, _)| *number)
            .collect::<Vec<_>>();
        for number in numbers {
            match self.rng.random_range(0..3) {
                0 => drop(self.wire.lock().ops.remove(&number)),
                1 => self.decide(number, false),
                _ => {}
            }
        }
    }

    async fn advance(&mut self, by: Duration) {
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

    fn waiting_posts(&self) -> Vec<u64> {
        let wire = self.wire.lock();
        let posts = wire.ops.iter().filter(|(_, op)| op.server == Server::Api && op.method == "POST");
        posts.map(|(number, _)| *number).collect()
    }

    /// Everything happens at once.
    async fn storm(&mut self) {
        let steps = self.rng.random_range(40..220);
        for _ in 0..steps {
            if self.oracle.violation.is_some() {
                return;
            }
            self.step().await;
            self.settle().await;
        }
    }

    async fn step(&mut self) {
        let replica = self.rng.random_range(0..self.replicas.len());
        let waiting = self.wire.lock().ops.len();
        let due = self.replicas[replica].due();
        let behind = self.replicas[replica].behind(&self.cluster);
        let two = self.replicas.len() > 1;
        // Whatever can happen now, with its weight.
        let possible = [
            (Step::Decide, if waiting > 0 { 60 } else { 0 }),
            (Step::Begin, if due.is_empty() { 0 } else { 30 }),
            (Step::Hear, if behind.is_empty() { 0 } else { 20 }),
            (Step::Answer, if self.answered.is_empty() { 0 } else { 4 }),
            (Step::User, 5),
            (Step::Time, if waiting > 0 { 4 } else { 12 }),
            (Step::Crash, if self.faults > 0.0 { 2 } else { 0 }),
            (Step::Leadership, if two { 3 } else { 0 }),
            (Step::Clock, if self.faults > 0.0 { 1 } else { 0 }),
        ];
        let Ok((step, _)) = possible.choose_weighted(&mut self.rng, |(_, weight)| *weight) else { return };
        match step {
            Step::Decide => {
                let number = self.wire.lock().ops.keys().copied().choose(&mut self.rng);
                if let Some(number) = number {
                    self.decide(number, true);
                }
            }
            Step::Begin => {
                if let Some(key) = due.choose(&mut self.rng) {
                    self.replicas[replica].begin(key);
                    self.note("begun", format!("{replica} {}/{}", key.0, key.2));
                }
            }
            Step::Hear => {
                if let Some(resource) = behind.choose(&mut self.rng) {
                    self.replicas[replica].hear(resource, &self.cluster);
                    self.note("heard", format!("{replica} {resource}"));
                }
            }
            Step::User => {
                let now = crate::clock::now();
                let line = self.users.act(&mut self.rng, &mut self.cluster, &mut self.api, now);
                self.note("user", line);
            }
            Step::Time => {
                let waits = [50, 1_000, 5_000, 16_000, 31_000, 70_000, 130_000];
                let millis = *waits.choose(&mut self.rng).unwrap_or(&50);
                self.note("time", millis.to_string());
                self.advance(Duration::from_millis(millis)).await;
            }
            Step::Answer => {
                let index = self.rng.random_range(0..self.answered.len());
                let Answered { reply, with } = self.answered.swap_remove(index);
                self.note("slow answer came", index.to_string());
                let _ = reply.send(with);
            }
            Step::Crash => self.crash(replica),
            Step::Leadership => {
                let leads = self.rng.random_bool(0.6);
                let until = leads.then(|| Instant::now() + Duration::from_secs(3600));
                self.replicas[replica].leadership.set(until);
                self.note("leadership", format!("{replica} {leads}"));
            }
            Step::Clock => {
                let step = self.rng.random_range(-20..=20);
                self.replicas[replica].clock = SignedDuration::from_secs(step);
                self.note("clock step", format!("{replica} {step}"));
            }
        }
    }

    /// No more faults and no more edits: everything comes to rest, and stays there.
    async fn calm(&mut self) {
        let theirs = self.theirs();
        self.api.manners.tests_fail = false;
        for Answered { reply, with } in std::mem::take(&mut self.answered) {
            let _ = reply.send(with);
        }
        self.silent.clear();
        let now = crate::clock::now();
        self.users.settle(&mut self.cluster, now);
        // One replica stays. The others die with what they have under way.
        while self.replicas.len() > 1 {
            let last = self.replicas.len() - 1;
            self.crash(last);
            self.replicas.pop();
        }
        self.replicas[0].leadership.set(Some(Instant::now() + Duration::from_hours(1000)));
        let end = Instant::now() + SETTLES_WITHIN;
        let mut unfinished = None;
        let mut keys_changed = Instant::now();
        while Instant::now() < end && self.oracle.violation.is_none() {
            self.rest().await;
            unfinished = self.oracle.unfinished(&self.cluster, &mut self.api, &self.users.external_id);
            if unfinished.is_none() && self.late.is_empty() {
                break;
            }
            // What was made under one key may be known by that one only, and a person has to put it back.
            if unfinished.as_ref().is_some_and(|what| what.contains("IdentityChanged"))
                && Instant::now() > keys_changed + Duration::from_mins(10)
            {
                self.users.change_key(&mut self.cluster, crate::clock::now());
                keys_changed = Instant::now();
            }
            self.go_on().await;
        }
        if let Some(what) = unfinished.filter(|_| self.oracle.violation.is_none()) {
            let (invariant, what) = what.split_once(": ").unwrap_or(("L1", &what));
            self.oracle.report(invariant, format!("after {SETTLES_WITHIN:?} of calm, {what}"));
        }
        // The poll that is under way may still tell something; from then on there is nothing to say.
        for minute in 0..12 {
            let (writes, mutations) = (self.writes, self.api.mutations);
            self.advance(Duration::from_mins(1)).await;
            self.rest().await;
            if minute >= 2
                && self.oracle.violation.is_none()
                && (self.writes > writes || self.api.mutations > mutations)
            {
                self.oracle.report("S14", "something is written or changed although everything is at rest");
            }
        }
        if let Some(what) = self.oracle.unfinished(&self.cluster, &mut self.api, &self.users.external_id) {
            self.oracle.report("L1", format!("it does not stay: {what}"));
        }
        if self.theirs() != theirs {
            self.oracle.report("S4", "what is not ours is not as it was");
        }
    }

    fn theirs(&self) -> BTreeMap<String, Item> {
        self.api
            .items
            .iter()
            .filter(|(_, item)| item.owner.is_none())
            .map(|(id, item)| (id.clone(), item.clone()))
            .collect()
    }

    /// Time goes on to the next turn of anybody.
    async fn go_on(&mut self) {
        let now = Instant::now();
        let turns =
            self.replicas.iter().filter_map(Process::next_due).chain(self.late.iter().map(|(at, _)| *at));
        let next = turns.min().unwrap_or(now + Duration::from_mins(1));
        self.advance(
            next.saturating_duration_since(now).clamp(Duration::from_millis(10), Duration::from_mins(30)),
        )
        .await;
    }

    /// Everything that can be done now is done.
    async fn rest(&mut self) {
        for _ in 0..2000 {
            self.settle().await;
            let numbers = self.wire.lock().ops.keys().copied().collect::<Vec<_>>();
            if let Some(number) = numbers.first() {
                self.decide(*number, false);
                continue;
            }
            let mut moved = false;
            for index in 0..self.replicas.len() {
                for resource in self.replicas[index].behind(&self.cluster) {
                    self.replicas[index].hear(resource, &self.cluster);
                    moved = true;
                }
                for key in self.replicas[index].due() {
                    self.replicas[index].begin(&key);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        self.oracle.report("L1", "it does not come to rest");
    }
}

fn of(answer: super::cluster::Answer) -> (u16, Value) {
    (answer.code, answer.body)
}

//! The storm: whatever can happen next, drawn by its weight, with faults and edits in between.

use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio::time::Instant;

use super::world::{Answered, World};

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

impl World {
    /// Everything happens at once.
    pub(super) async fn storm(&mut self) {
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
}

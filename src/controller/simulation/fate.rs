//! What becomes of a request on its way, and of what a process had sent when it died.

use std::time::Duration;

use connectors_api::client::Undelivered;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::refusal;
use super::users;
use super::wire::Server;
use super::world::{Answered, World};
use testbed::in_memory::failure;

/// A POST that was sent is carried out within this time or never. With the longest lag of the list it stays below the time
/// after which recovery rests on it, counted from a claim that may be a lease old when it is sent.
const COMMITS_WITHIN: Duration = Duration::from_secs(50);

impl World {
    /// Decides what becomes of a request.
    pub(super) fn decide(&mut self, number: u64, faulty: bool) {
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
    pub(super) fn crash(&mut self, index: usize) {
        let elected = self.replicas.len() > 1;
        let dead = self.replicas[index].number;
        let busy = self.replicas[index].busy();
        let fresh = self.process(elected);
        if elected && self.rng.random_bool(0.7) {
            fresh.leadership.set(Some(Instant::now() + Duration::from_secs(3600)));
        }
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
}

fn of(answer: testbed::in_memory::Answer) -> (u16, Value) {
    (answer.code, answer.body)
}

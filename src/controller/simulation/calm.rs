//! The calm after the storm: no more faults and no more edits, and everything comes to rest as it should be, and stays there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::api::Item;
use super::process::Process;
use super::world::{Answered, World};

/// Everything is as it should be within this time after the last fault.
const SETTLES_WITHIN: Duration = Duration::from_hours(3);

impl World {
    /// No more faults and no more edits: everything comes to rest, and stays there.
    pub(super) async fn calm(&mut self) {
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
    pub(super) async fn rest(&mut self) {
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

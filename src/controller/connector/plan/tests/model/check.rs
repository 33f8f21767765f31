//! The model as the checker sees it: what may happen in a state, what must hold in it, and that it comes to rest.

use std::sync::atomic::Ordering::Relaxed;

use stateright::Property;

use super::look::uid;
use super::marks::{self, broken};
use super::remote::commit;
use super::state::{Conn, LONG, Marks, Next, Recorded, Replica, SHORT, State, Stored, Wake, print};
use super::step::{is_write, nothing_can_commit_after, pass_by, tidy};
use super::{Action, Model, Outcome};
use crate::controller::conditions::{READY, is_true};
use crate::crd::ConnectorStatus;

/// Steps without a fault after which a world has to be at rest.
const REST: usize = 400;

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let status = ConnectorStatus { observed_generation: Some(-1), ..ConnectorStatus::default() };
        let object = Stored {
            uid: 1,
            spec: 0,
            generation: 1,
            deleting: false,
            finalizer: false,
            copy: None,
            status: Recorded::new(status, 0),
        };
        // Somebody else's connector, of the same name and another config.
        let foreign = Conn { id: 99, spec: 1, uid: 0, tested: true, going: false, age: super::state::CAP };
        vec![State {
            object: Some(object),
            before: None,
            ledger: Vec::new(),
            remote: if self.bounds.edits == 0 { vec![foreign] } else { Vec::new() },
            made: 0,
            late: None,
            swapped: false,
            replicas: vec![Replica::fresh(); self.replicas],
            left: self.bounds,
            happened: Marks::default(),
            broken: Marks::default(),
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.broken != Marks::default() {
            return;
        }
        for (r, replica) in s.replicas.iter().enumerate() {
            match &replica.pass {
                None => {
                    actions.push(Action::Start(r));
                    if s.left.stale > 0 && s.before.is_some() {
                        actions.push(Action::StartStale(r));
                    }
                }
                Some(pass) => {
                    actions.push(Action::Act(r, Outcome::Done));
                    outcomes(s, &pass.next, |outcome| actions.push(Action::Act(r, outcome)));
                    if s.left.freezes > 0 && nothing_can_commit_after(s, LONG, Some(r)) {
                        actions.push(Action::Oversleep(r));
                    }
                    if s.left.crashes > 0 {
                        actions.push(Action::Crash(r));
                    }
                }
            }
        }
        let idle = s.replicas.iter().all(|replica| replica.pass.is_none());
        if s.left.freezes > 0 && !idle && nothing_can_commit_after(s, SHORT, None) {
            actions.push(Action::Freeze);
        }
        if idle && s.late.is_none() {
            actions.push(Action::Wait);
        }
        if s.late.is_some() {
            actions.extend([Action::Commit, Action::NeverCommit]);
        }
        let live = s.object.as_ref().filter(|object| !object.deleting);
        if live.is_some_and(|object| object.spec == 0) && s.left.edits > 0 {
            actions.push(Action::Edit);
        }
        if live.is_some() && s.left.deletes > 0 {
            actions.push(Action::Delete);
        }
        if s.object.is_none() && s.left.anew > 0 {
            actions.push(Action::Anew);
        }
        if s.left.vanish > 0 && s.remote.iter().any(|conn| conn.uid != 0) {
            actions.push(Action::Vanish);
        }
        let bound =
            s.object.as_ref().is_some_and(|object| object.status.id().is_some()) || !s.ledger.is_empty();
        if s.left.swaps > 0 && bound {
            actions.push(Action::Swap);
        }
        if s.swapped {
            actions.push(Action::SwapBack);
        }
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        let mut next = s.clone();
        self.step(&mut next, action);
        self.happened.fetch_or(std::mem::take(&mut next.happened).0, Relaxed);
        (next != *s).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties =
            vec![Property::always("it comes to rest, with what was asked for", |model: &Self, s| {
                s.broken != Marks::default() || model.rests(s).is_ok()
            })];
        properties.extend(broken::ALL.iter().map(|(_, words, holds)| Property::always(words, *holds)));
        let expected = marks::ALL.iter().filter(|(bit, ..)| self.expects.contains(bit));
        properties.extend(expected.map(|(_, words, holds)| Property::sometimes(words, *holds)));
        properties
    }
}

/// How a request may end, but for the ordinary way.
fn outcomes(s: &State, next: &Next, mut may: impl FnMut(Outcome)) {
    let left = s.left;
    match next {
        Next::Create => {
            if left.lost > 0 {
                may(Outcome::Lost);
                may(Outcome::NotDone);
            }
            if left.late > 0 {
                may(Outcome::Late);
            }
        }
        Next::Delete(_) if left.lost > 0 => {
            [Outcome::Lost, Outcome::NotDone, Outcome::Late].into_iter().for_each(may);
        }
        // What a POST made is listed within that time: that is assumed.
        Next::List if left.lies > 0 && s.ledger.iter().all(|entry| !entry.posted || entry.age < LONG) => {
            may(Outcome::Lie);
        }
        Next::Read(_) if left.lies > 0 => may(Outcome::Lie),
        // The role of the edited spec is not there yet.
        Next::Test(_) if left.fails > 0 && s.object.as_ref().is_some_and(Stored::is_replaced) => {
            may(Outcome::Fails);
        }
        next if is_write(next) && left.lost > 0 => may(Outcome::Lost),
        _ => {}
    }
}

impl Model {
    pub(super) fn step(&self, s: &mut State, action: Action) {
        match action {
            Action::Start(r) => {
                self.start(s, r, false);
            }
            Action::StartStale(r) => {
                s.left.stale -= 1;
                self.start(s, r, true);
                s.before = None;
            }
            Action::Act(r, outcome) => {
                match (outcome, &s.replicas[r].pass.as_ref().unwrap().next) {
                    (Outcome::Late, Next::Create) => s.left.late -= 1,
                    (Outcome::Lost | Outcome::NotDone | Outcome::Late, _) => s.left.lost -= 1,
                    (Outcome::Lie, _) => s.left.lies -= 1,
                    (Outcome::Fails, _) => s.left.fails -= 1,
                    (Outcome::Done, _) => {}
                }
                self.act(s, r, outcome);
            }
            Action::Crash(r) => {
                s.left.crashes -= 1;
                s.happened.put(marks::CRASH);
                let claimed = s.replicas[r].pass.as_ref().is_some_and(|pass| pass.found.claimed.is_some());
                if claimed {
                    s.happened.put(marks::CRASH_CLAIMED);
                }
                s.replicas[r] = Replica::fresh();
            }
            Action::Freeze => {
                s.left.freezes -= 1;
                pass_by(s, SHORT);
            }
            Action::Oversleep(r) => {
                s.left.freezes -= 1;
                s.happened.put(marks::OVERSLEPT);
                pass_by(s, LONG);
                self.decide(s, r);
            }
            Action::Wait => pass_by(s, LONG),
            Action::Commit => {
                let late = s.late.take().unwrap();
                s.happened.put(marks::LATE_COMMIT);
                commit(s, late.conn);
            }
            Action::NeverCommit => s.late = None,
            Action::Edit => {
                s.left.edits -= 1;
                if !s.ledger.is_empty() {
                    s.happened.put(marks::EDIT_CLAIMED);
                }
                let was = s.object.clone().unwrap();
                let object = s.object.as_mut().unwrap();
                (object.spec, object.generation) = (1, object.generation + 1);
                self.wrote(s, was);
            }
            Action::Delete => {
                s.left.deletes -= 1;
                if !s.ledger.is_empty() {
                    s.happened.put(marks::DELETED_CLAIMED);
                }
                let was = s.object.clone().unwrap();
                let object = s.object.as_mut().unwrap();
                if object.finalizer {
                    object.deleting = true;
                    object.generation += 1;
                } else {
                    s.object = None;
                }
                self.wrote(s, was);
            }
            Action::Anew => {
                s.left.anew -= 1;
                s.happened.put(marks::ANEW);
                let was = self.untouched();
                s.object = Some(Stored { uid: 2, ..was.clone() });
                self.wrote(s, was);
            }
            Action::Vanish => {
                s.left.vanish -= 1;
                s.happened.put(marks::VANISHED);
                s.remote.retain(|conn| conn.uid == 0);
            }
            Action::Swap => {
                s.left.swaps -= 1;
                s.happened.put(marks::SWAPPED);
                swap(s, true);
            }
            Action::SwapBack => swap(s, false),
        }
        if s.replicas.iter().filter(|replica| replica.pass.is_some()).count() > 1 {
            s.happened.put(marks::BOTH);
        }
        if s.left.stale == 0 {
            s.before = None;
        }
        tidy(s);
    }

    fn untouched(&self) -> Stored {
        use stateright::Model as _;
        self.init_states().remove(0).object.unwrap()
    }

    /// Whether the state comes to rest without further faults, and what it is then.
    pub(super) fn rests(&self, from: &State) -> Result<(), String> {
        let mut way = Vec::new();
        let mut s = from.clone();
        for _ in 0..REST {
            s.happened = Marks::default();
            let mark = print(&s);
            if self.good.lock().contains(&mark) {
                self.good.lock().extend(way);
                return Ok(());
            }
            way.push(mark);
            match self.fair(&s) {
                Some(next) if next.broken != Marks::default() => {
                    return Err("something breaks on the way".to_owned());
                }
                Some(next) => s = next,
                None => {
                    self.at_rest(&s)?;
                    self.good.lock().extend(way);
                    return Ok(());
                }
            }
        }
        Err(format!("no rest in {REST} steps"))
    }

    /// The next step where nothing goes wrong and everybody has a turn; none: the state is at rest.
    fn fair(&self, s: &State) -> Option<State> {
        let mut next = s.clone();
        if s.late.is_some() {
            next.late = None;
            return Some(next);
        }
        if s.swapped {
            swap(&mut next, false);
            return Some(next);
        }
        if let Some(r) = s.replicas.iter().position(|replica| replica.pass.is_some()) {
            self.step(&mut next, Action::Act(r, Outcome::Done));
            return Some(next);
        }
        if let Some(r) = s.replicas.iter().position(|replica| replica.wake == Wake::Now) {
            self.step(&mut next, Action::Start(r));
            return Some(next);
        }
        self.step(&mut next, Action::Wait);
        let waited = next.clone();
        for r in 0..self.replicas {
            if next.replicas[r].wake == Wake::Now {
                self.step(&mut next, Action::Start(r));
            }
        }
        next.happened = s.happened;
        if next == *s { None } else { Some(waited) }
    }

    fn at_rest(&self, s: &State) -> Result<(), String> {
        if !s.ledger.is_empty() {
            return Err("a claim stays open".to_owned());
        }
        let foreign = s.made_by(0).count();
        if foreign != usize::from(self.bounds.edits == 0) {
            return Err("somebody else's connector is gone".to_owned());
        }
        let alive = s.object.as_ref().map(|object| object.uid);
        if let Some(orphan) = s.remote.iter().find(|conn| conn.uid != 0 && Some(conn.uid) != alive) {
            return Err(format!("{} stays behind, made by {}", orphan.id, uid(orphan.uid)));
        }
        let Some(object) = &s.object else { return Ok(()) };
        if object.deleting {
            return Err("the object is not let go".to_owned());
        }
        let made = s.made_by(object.uid).collect::<Vec<_>>();
        let [one] = made.as_slice() else { return Err(format!("{} connectors", made.len())) };
        let status = &object.status.status;
        let kept = status.failed_replacement.is_some() && object.status.id() == Some(one.id);
        if kept && one.spec != object.spec {
            return Ok(());
        }
        if object.status.id() != Some(one.id) || one.spec != object.spec {
            return Err("the connector is not the object's".to_owned());
        }
        if !is_true(&status.conditions, READY)
            || status.observed_generation != Some(object.generation.into())
            || !object.finalizer
            || object.copy.is_none()
            || status.replacement.is_some()
        {
            return Err("the connector is there, and the object does not say so".to_owned());
        }
        Ok(())
    }

    /// What happens from here without further faults, for a person.
    pub(super) fn story(&self, from: &State) -> String {
        let mut lines = vec![format!("{from:?}"), format!("{:?}", self.rests(from))];
        let mut s = from.clone();
        for _ in 0..60 {
            let decided = s.replicas.iter().map(|replica| replica.pass.as_ref().map(|pass| &pass.next));
            lines.push(format!("  {:?}", decided.collect::<Vec<_>>()));
            match self.fair(&s) {
                Some(next) => s = next,
                None => break,
            }
        }
        lines.push(format!("{s:?}"));
        lines.join("\n")
    }
}

fn swap(s: &mut State, swapped: bool) {
    s.swapped = swapped;
    for replica in &mut s.replicas {
        replica.seen.clear();
        replica.missing.clear();
        replica.wake = Wake::Now;
    }
}

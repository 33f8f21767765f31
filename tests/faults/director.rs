//! Watches every point that passes at either side, and lets things go wrong when it is their turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use testbed::Operator;
use testbed::Signal;
use testbed::faults::{Call, KubeFault, KubeStage};
use testbed::ledger::{Fault, Moment, Stage};
use tokio::sync::Notify;

use crate::plan::{Action, At};

pub(crate) type SharedOperator = Arc<tokio::sync::Mutex<Operator>>;

#[derive(Default)]
pub(crate) struct Director {
    state: Mutex<State>,
    operator: OnceLock<SharedOperator>,
    /// Told when the operator is to be started again.
    pub(crate) down: Notify,
}

#[derive(Default)]
struct State {
    armed: bool,
    triggers: VecDeque<(At, Action)>,
    steps: usize,
    named: BTreeMap<String, usize>,
    trace: Vec<String>,
    hit: Vec<String>,
    violations: Vec<String>,
}

impl Director {
    pub(crate) fn watches(&self, operator: &SharedOperator) {
        assert!(self.operator.set(Arc::clone(operator)).is_ok(), "one operator for one director");
    }

    /// From now on points count, and these go wrong.
    pub(crate) fn arm(&self, triggers: &[(At, Action)]) {
        let mut state = self.lock();
        state.armed = true;
        state.triggers = triggers.iter().cloned().collect();
    }

    /// The steps that passed since it was armed.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The points at which something went wrong.
    pub(crate) fn hit(&self) -> Vec<String> {
        self.lock().hit.clone()
    }

    /// How many triggers never had their turn.
    pub(crate) fn left(&self) -> usize {
        self.lock().triggers.len()
    }

    pub(crate) fn violated(&self, what: String) {
        self.lock().violations.push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// A stage of a request to Kubernetes.
    pub(crate) async fn kube(&self, call: &Call, stage: KubeStage) -> Option<KubeFault> {
        let counts = call.verb.writes() && call.resource != "leases" && call.resource != "events";
        let first = stage == KubeStage::Sent;
        let name = format!("{call}: {}", if first { "sent" } else { "acknowledged" });
        match self.act(&name, counts).await? {
            Action::Kill if first => Some(KubeFault::Dropped),
            Action::AnswerLost | Action::CutOff => Some(KubeFault::AnswerLost),
            Action::Lost => Some(KubeFault::Dropped),
            Action::Refused(code) => Some(KubeFault::Refused(code)),
            Action::Late => Some(KubeFault::Delayed(Duration::from_secs(2))),
            Action::EventHeld => Some(KubeFault::Holds(0, Duration::from_secs(5))),
            Action::EventSwallowed => Some(KubeFault::Swallows(0)),
            Action::WatchSilent => Some(KubeFault::Holds(0, Duration::from_secs(3600))),
            Action::WatchCut => Some(KubeFault::CutAfter(0)),
            Action::WatchGone => Some(KubeFault::Gone),
            Action::OlderList => Some(KubeFault::Older),
            _ => None,
        }
    }

    /// A stage of a request to the Connectors API.
    pub(crate) async fn remote(&self, moment: &Moment) -> Option<Fault> {
        let stage = match moment.stage {
            Stage::Received => "received",
            Stage::Done => "done",
            Stage::Answered => "answered",
        };
        let label = moment.route.label();
        let counts = moment.route.mutates() || label == "test_connector";
        match self.act(&format!("{label}: {stage}"), counts).await? {
            Action::Kill if moment.stage == Stage::Received => Some(Fault::NotDone),
            Action::AnswerLost => Some(Fault::AnswerLost),
            Action::Lost => Some(Fault::NotDone),
            Action::Refused(code) => Some(Fault::Status { code, done: false, header: None }),
            Action::DoneButRefused(code) => Some(Fault::Status { code, done: true, header: None }),
            Action::Html => Some(Fault::Body("<html><body>bad gateway</body></html>".to_owned())),
            Action::CutOff => Some(Fault::ResetAfter(90)),
            Action::Late => Some(Fault::Late(Duration::from_secs(2))),
            // To where nobody listens: the port of "discard".
            Action::Redirected => Some(Fault::Redirect("http://127.0.0.1:9/api/v1/connectors".to_owned())),
            Action::Dripped => Some(Fault::Drip(Duration::from_secs(1))),
            Action::Endless => Some(Fault::Endless),
            _ => None,
        }
    }

    /// Counts a point; acts on the operator when it is its turn, and says what else is to go wrong.
    async fn act(&self, name: &str, counts: bool) -> Option<Action> {
        let action = self.turn(name, counts)?;
        let operator = self.operator.get()?;
        match action {
            Action::Kill | Action::KillAfterSending => {
                operator.lock().await.kill().await;
                self.down.notify_one();
            }
            Action::Terminate => {
                // Not waited for: it may well wait for this very request itself.
                operator.lock().await.process().signal(Signal::Terminate);
                self.down.notify_one();
            }
            Action::Freeze(seconds) => {
                operator.lock().await.process().signal(Signal::Freeze);
                let operator = Arc::clone(operator);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    operator.lock().await.process().signal(Signal::Continue);
                });
            }
            _ => {}
        }
        Some(action)
    }

    fn turn(&self, name: &str, counts: bool) -> Option<Action> {
        let mut state = self.lock();
        if !state.armed {
            return None;
        }
        let step = state.steps;
        if counts {
            state.steps += 1;
            state.trace.push(name.to_owned());
        }
        let seen = state.named.entry(name.to_owned()).or_default();
        let nth = *seen;
        *seen += 1;
        let due = match &state.triggers.front()?.0 {
            At::Step(wanted) => counts && *wanted == step,
            At::Named(wanted, which) => wanted == name && *which == nth,
        };
        let (_, action) = due.then(|| state.triggers.pop_front()).flatten()?;
        state.hit.push(name.to_owned());
        state.steps = 0;
        state.named.clear();
        Some(action)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! The real plan in a model checker: every state that one connector, one or two replicas and a bounded number of faults
//! can lead to, and from each of them the way to rest.
//!
//! What is assumed is what the design assumes: a POST commits and is listed within `SETTLED_AFTER` of its claim, or never.

mod check;
mod look;
mod marks;
mod remote;
mod state;
mod step;
mod wrong;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use stateright::{Checker, HasDiscoveries, Model as _};

use crate::controller::simulation::leave;
use crate::crd::ReplacePolicy;
use marks::*;
use state::{Budget, Marks};

/// The identity of the key of another workspace of the API.
const SECOND_KEY: &str = "identity-2";

/// What is explored.
struct Model {
    /// Which faults may come.
    bounds: Budget,
    /// Processes that all believe to lead.
    replicas: usize,
    replace: ReplacePolicy,
    /// What is wrong on purpose.
    wrong: Option<Wrong>,
    /// What has to occur somewhere, or the model shows nothing.
    expects: &'static [u8],
    /// States from which the way to rest is known.
    good: Mutex<HashSet<u64>>,
    /// What occurred somewhere.
    happened: AtomicU64,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// Done and answered.
    Done,
    /// Done; the answer is lost.
    Lost,
    /// Not done; the answer is lost.
    NotDone,
    /// Done later; a POST's answer is lost.
    Late,
    /// Answered as if nothing were there.
    Lie,
    /// A test that fails.
    Fails,
}

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// A replica looks at the object.
    Start(usize),
    /// A replica looks at the object as it was before its last write.
    StartStale(usize),
    /// A replica does what it decided.
    Act(usize, Outcome),
    Crash(usize),
    /// More than a lease goes by.
    Freeze,
    /// A replica sleeps past every limit before it decides.
    Oversleep(usize),
    /// More than the time in which anything can commit goes by.
    Wait,
    Commit,
    NeverCommit,
    Edit,
    Delete,
    Anew,
    Vanish,
    Swap,
    SwapBack,
}

/// A wrong variant of the plan, or of what carries it out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrong {
    ClaimWithoutGuard,
    OneNotFoundAsGone,
    ListAsAbsence,
    FinalizerAfterPost,
    FinalizerGoesWithTheDelete,
    PostAgainOnLostAnswer,
    IdInMemoryOnly,
    KeyedByName,
    CreateFromTheCache,
    NoWaitForWhatMayCommit,
    AnyKeyBelieved,
    RenewalForgotten,
}

impl Model {
    fn new(bounds: Budget, replicas: usize, expects: &'static [u8]) -> Self {
        Self {
            bounds,
            replicas,
            replace: ReplacePolicy::Never,
            wrong: None,
            expects,
            good: Mutex::default(),
            happened: AtomicU64::default(),
        }
    }

    fn happened(&self) -> Marks {
        Marks(self.happened.load(Relaxed))
    }

    /// Explores everything, and fails with the shortest way to what must not be.
    #[allow(clippy::print_stdout, reason = "says how many states there were")]
    fn holds(self, name: &str) {
        let started = std::time::Instant::now();
        let checker = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let model = checker.model();
        let ran =
            format!("model of {name}: {} states in {:?}", checker.unique_state_count(), started.elapsed());
        println!("{ran}");
        for property in model.properties() {
            let found = checker.discovery(property.name);
            if property.expectation.discovery_is_failure() {
                if let Some(path) = found {
                    let last = path.last_state().clone();
                    let story = model.story(&last);
                    panic!("{name}: not held: {}\n{:?}\n{story}", property.name, path.into_actions());
                }
            } else {
                assert!(found.is_some(), "{name}: never seen: {}", property.name);
            }
        }
        leave(&format!("model-{}", name.replace(' ', "-")), &ran);
    }

    /// Explores until something that must not be is found, and says what.
    fn fails(self) -> Vec<&'static str> {
        let checker = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let properties = checker.model().properties();
        let failures = properties.iter().filter(|property| property.expectation.discovery_is_failure());
        failures.map(|property| property.name).filter(|name| checker.discovery(name).is_some()).collect()
    }
}

/// No fault at all.
const CALM: Budget = Budget {
    crashes: 0,
    lost: 0,
    late: 0,
    stale: 0,
    edits: 0,
    deletes: 0,
    anew: 0,
    vanish: 0,
    lies: 0,
    freezes: 0,
    fails: 0,
    swaps: 0,
};

/// One more of a fault where `cargo xtask test` asks for all states, and none in a plain `cargo test`, which has to be quick.
fn more() -> u8 {
    u8::from(std::env::var("MODEL_BOUNDS").is_ok_and(|bounds| bounds == "whole"))
}

#[test]
fn a_create_and_its_deletion_survive_crashes_and_lost_answers() {
    let bounds = Budget { crashes: 1 + more(), lost: 1 + more(), late: 1, deletes: 1, ..CALM };
    let expects = &[
        CRASH,
        CRASH_CLAIMED,
        POST_UNHEARD,
        POST_NOT_DONE,
        LATE_COMMIT,
        WRITE_UNHEARD,
        DELETE_UNHEARD,
        DELETED_CLAIMED,
        RECOVERED,
        RELEASED,
    ];
    Model::new(bounds, 1, expects).holds("create and delete");
}

#[test]
fn an_edit_at_any_time_ends_in_what_the_spec_says() {
    let bounds = Budget { crashes: 1, lost: 1, late: 1, edits: 1, deletes: more(), ..CALM };
    let expects = &[CRASH_CLAIMED, POST_UNHEARD, LATE_COMMIT, EDIT_CLAIMED, RECOVERED, REPLACED];
    Model::new(bounds, 1, expects).holds("edit and replacement");
}

#[test]
fn a_replacement_that_creates_first_ends_with_the_new_one_or_the_old_one() {
    let bounds = Budget { crashes: 1, lost: 1, edits: 1, fails: 4, ..CALM };
    let expects = &[CRASH_CLAIMED, POST_UNHEARD, EDIT_CLAIMED, RECOVERED, REPLACED, ROLLED_BACK];
    let create_first = Model { replace: ReplacePolicy::CreateFirst, ..Model::new(bounds, 1, expects) };
    create_first.holds("replacement that creates first");
}

#[test]
fn a_deletion_in_the_middle_of_a_replacement_covers_both() {
    let bounds = Budget { crashes: more(), late: 1, edits: 1, deletes: 1, ..CALM };
    let expects = &[LATE_COMMIT, EDIT_CLAIMED, DELETED_CLAIMED, REPLACED, RELEASED];
    let create_first = Model { replace: ReplacePolicy::CreateFirst, ..Model::new(bounds, 1, expects) };
    create_first.holds("replacement and deletion");
}

#[test]
fn a_connector_deleted_by_somebody_else_is_made_again_and_a_lie_makes_nothing() {
    let bounds = Budget { crashes: more(), lost: 1, vanish: 1, lies: 1, deletes: 1, ..CALM };
    let expects = &[POST_UNHEARD, VANISHED, MADE_AGAIN, LIE, RELEASED];
    Model::new(bounds, 1, expects).holds("deletion out of band");
}

#[test]
fn an_object_of_the_same_name_gets_nothing_of_the_one_before() {
    let bounds = Budget { crashes: 1, lost: 1, late: 1, deletes: 1, anew: 1, ..CALM };
    let expects = &[CRASH_CLAIMED, POST_UNHEARD, LATE_COMMIT, DELETED_CLAIMED, RELEASED, ANEW];
    Model::new(bounds, 1, expects).holds("same name");
}

#[test]
fn two_replicas_that_both_lead_make_one_connector() {
    let bounds = Budget { lost: more(), stale: more(), deletes: 1, ..CALM };
    let expects = &[BOTH, CONFLICT, RELEASED];
    Model::new(bounds, 2, expects).holds("two leaders");
}

#[test]
fn the_key_of_another_workspace_neither_creates_nor_deletes() {
    let bounds = Budget { crashes: more(), lost: 1, swaps: 1, deletes: 1, ..CALM };
    let expects = &[SWAPPED, POST_UNHEARD, RECOVERED, RELEASED];
    Model::new(bounds, 1, expects).holds("another key");
}

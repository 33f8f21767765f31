//! The decision about the lease in a model checker: two replicas of which one's clock runs a third faster than the
//! other's, whose requests and answers take any time or are lost, and which die, freeze and stop; a lease that somebody else
//! takes or deletes.
//!
//! A frozen replica needs no step of its own: whatever a replica does next may come after any time.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use stateright::{Checker, HasDiscoveries, Model as _, Property};
use tokio::time::Instant;

use super::{BELIEVED, Decision, LEASE, Watched, decide};
use crate::controller::simulation::leave;

/// Ages are counted in seconds of a replica's own clock, and stop here: the lease is over.
const CAP: u8 = 16;
/// How far each replica's clock goes in one step of time.
const PACES: [u8; 2] = [3, 4];
/// Steps of time in which the slowest clock sees the end of what is believed.
const DOUBT: u8 = 4;
/// Steps of time without a fault after which one has to lead.
const REST: usize = 8;

static NOW: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_hours(1));

fn seconds(time: Duration) -> u8 {
    u8::try_from(time.as_secs()).unwrap_or(CAP).min(CAP)
}

/// Who holds the lease.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Holder {
    Replica(usize),
    /// Given back.
    Nobody,
    /// Somebody who is none of the two.
    Stranger,
}

/// Where a replica's attempt at the lease stands. `asked`: how long ago it was begun.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Phase {
    Idle,
    /// About to write. `current`: nobody wrote the lease since it was read.
    Writing {
        asked: u8,
        current: bool,
    },
    Answered {
        asked: u8,
        written: bool,
    },
    /// About to give the lease back.
    Releasing {
        current: bool,
    },
    Stopped,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Replica {
    phase: Phase,
    /// Whether the lease is as this replica last saw it change, and how long ago that was.
    watched: Option<(bool, u8)>,
    /// How much longer it believes to lead.
    belief: u8,
    /// A write whose answer it does not wait for any more.
    stray: Option<bool>,
}

impl Replica {
    fn fresh() -> Self {
        Self { phase: Phase::Idle, watched: None, belief: 0, stray: None }
    }
}

/// Which faults are still to come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Budget {
    crashes: u8,
    lost: u8,
    stops: u8,
    steals: u8,
    deletions: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct State {
    lease: Option<Holder>,
    replicas: [Replica; 2],
    /// How many steps of time ago somebody else wrote the lease.
    meddled: Option<u8>,
    left: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Read(usize),
    Write(usize),
    Answer(usize),
    Lose(usize),
    Stray(usize),
    Crash(usize),
    Stop(usize),
    Steal,
    Delete,
    /// Time goes by.
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// The holder believes to lead for as long as the others leave it alone.
    BelievesToTheEnd,
    /// The time is counted from when the answer came.
    CountsFromTheAnswer,
    /// The lease is written whoever wrote it meanwhile.
    WritesWithoutGuard,
    /// What counts is for how long the lease is known, and not for how long it is unchanged.
    CountsFromTheFirstLook,
}

macro_rules! seen {
    ($($name:ident = $bit:literal, $words:literal;)*) => {
        $(const $name: u32 = 1 << $bit;)*
        const SEEN: &[(u32, &str)] = &[$(($name, $words),)*];
    };
}

seen! {
    TAKEN_OVER = 0, "a silent holder's lease is taken over";
    REFUSED = 1, "two write, and one is refused";
    EXPIRED = 2, "a holder that is not heard of stops believing before its lease is over";
    HANDED_OVER = 3, "a lease that was given back is taken at once";
    MADE_ANEW = 4, "a lease that was deleted is made anew";
    TOO_LATE = 5, "an answer comes when nothing is to be believed any more";
    BOTH = 6, "two believe to lead, for a moment, after somebody else wrote the lease";
    STRAYED = 7, "a write comes true when nobody waits for it any more";
}

struct Model {
    bounds: Budget,
    wrong: Option<Wrong>,
    seen: AtomicU32,
    /// States from which one is known to lead in the end.
    good: Mutex<HashSet<State>>,
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replicas = [Replica::fresh(), Replica::fresh()];
        vec![State { lease: None, replicas, meddled: None, left: self.bounds }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        let left = s.left;
        for (r, replica) in s.replicas.iter().enumerate() {
            actions.extend(next(replica, r));
            if left.lost > 0 && !matches!(replica.phase, Phase::Idle | Phase::Stopped) {
                actions.push(Action::Lose(r));
            }
            if replica.stray.is_some() {
                actions.push(Action::Stray(r));
            }
            if left.crashes > 0 && replica.phase != Phase::Stopped {
                actions.push(Action::Crash(r));
            }
            if left.stops > 0 && replica.phase == Phase::Idle {
                actions.push(Action::Stop(r));
            }
        }
        if left.steals > 0 && s.lease.is_some() {
            actions.push(Action::Steal);
        }
        if left.deletions > 0 && s.lease.is_some() {
            actions.push(Action::Delete);
        }
        actions.push(Action::Tick);
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        let mut next = s.clone();
        self.step(&mut next, action);
        (next != *s).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, s: &State| {
                believers(s) <= 1 || s.meddled.is_some_and(|ago| ago < DOUBT)
            }),
            Property::always("one leads in the end, and stays", |model: &Self, s: &State| model.settles(s)),
        ]
    }
}

const ONE: &str = "one believes to lead, unless somebody else wrote the lease";

fn believers(s: &State) -> usize {
    s.replicas.iter().filter(|replica| replica.belief > 0).count()
}

/// What a replica does next where nothing goes wrong.
fn next(replica: &Replica, r: usize) -> Option<Action> {
    Some(match replica.phase {
        Phase::Idle => Action::Read(r),
        Phase::Writing { .. } | Phase::Releasing { .. } => Action::Write(r),
        Phase::Answered { .. } => Action::Answer(r),
        Phase::Stopped => return None,
    })
}

impl Model {
    fn new(bounds: Budget, wrong: Option<Wrong>) -> Self {
        Self { bounds, wrong, seen: AtomicU32::new(0), good: Mutex::default() }
    }

    fn saw(&self, bit: u32) {
        self.seen.fetch_or(bit, Relaxed);
    }

    fn step(&self, s: &mut State, action: Action) {
        match action {
            Action::Read(r) => self.read(s, r),
            Action::Write(r) => self.write(s, r),
            Action::Answer(r) => {
                let Phase::Answered { asked, written } = s.replicas[r].phase else { return };
                let lasts = match self.wrong {
                    Some(Wrong::BelievesToTheEnd) => seconds(LEASE).saturating_sub(asked),
                    Some(Wrong::CountsFromTheAnswer) => seconds(BELIEVED),
                    _ => seconds(BELIEVED).saturating_sub(asked),
                };
                if written && lasts == 0 {
                    self.saw(TOO_LATE);
                }
                s.replicas[r].belief = if written { lasts } else { 0 };
                s.replicas[r].phase = Phase::Idle;
            }
            Action::Lose(r) => {
                s.left.lost -= 1;
                let replica = &mut s.replicas[r];
                replica.phase = match replica.phase {
                    Phase::Releasing { .. } => Phase::Stopped,
                    Phase::Writing { current, .. } => {
                        replica.stray = Some(current);
                        Phase::Idle
                    }
                    _ => Phase::Idle,
                };
            }
            Action::Stray(r) => {
                if s.replicas[r].stray.take() == Some(true) {
                    self.saw(STRAYED);
                    wrote(s, Some(Holder::Replica(r)));
                }
            }
            Action::Crash(r) => {
                s.left.crashes -= 1;
                s.replicas[r] = Replica { stray: s.replicas[r].stray, ..Replica::fresh() };
            }
            Action::Stop(r) => {
                s.left.stops -= 1;
                // Only who leads has something to give back, and it acts no more before it does.
                let leads = std::mem::take(&mut s.replicas[r].belief) > 0;
                let held = leads && s.lease == Some(Holder::Replica(r));
                s.replicas[r].phase = if held { Phase::Releasing { current: true } } else { Phase::Stopped };
            }
            Action::Steal => {
                s.left.steals -= 1;
                s.meddled = Some(0);
                wrote(s, Some(Holder::Stranger));
            }
            Action::Delete => {
                s.left.deletions -= 1;
                s.meddled = Some(0);
                wrote(s, None);
            }
            Action::Tick => {
                s.meddled = s.meddled.map(|ago| (ago + 1).min(DOUBT));
                for (r, pace) in PACES.into_iter().enumerate() {
                    let holds = s.lease == Some(Holder::Replica(r));
                    let replica = &mut s.replicas[r];
                    if replica.belief > 0 && replica.belief <= pace && holds {
                        self.saw(EXPIRED);
                    }
                    replica.belief = replica.belief.saturating_sub(pace);
                    if let Some((_, age)) = &mut replica.watched {
                        *age = (*age + pace).min(CAP);
                    }
                    match &mut replica.phase {
                        Phase::Writing { asked, .. } | Phase::Answered { asked, .. } => {
                            // Beyond this an answer changes nothing.
                            *asked = (*asked + pace).min(seconds(LEASE));
                        }
                        Phase::Idle | Phase::Releasing { .. } | Phase::Stopped => {}
                    }
                }
            }
        }
        if believers(s) > 1 {
            self.saw(BOTH);
        }
    }

    /// The replica reads the lease, and the real decision is made.
    fn read(&self, s: &mut State, r: usize) {
        let version = |current: bool| s.lease.filter(|_| current).map(|_| "now".to_owned());
        let mut watched = match s.replicas[r].watched {
            None => Watched::default(),
            Some((true, age)) => {
                Watched { version: version(true), since: Some(*NOW - Duration::from_secs(age.into())) }
            }
            Some((false, age)) => Watched {
                version: Some("then".to_owned()),
                since: Some(*NOW - Duration::from_secs(age.into())),
            },
        };
        let first = watched.since;
        let mut unchanged = watched.look(version(true), *NOW);
        if self.wrong == Some(Wrong::CountsFromTheFirstLook) {
            watched.since = first.or(watched.since);
            unchanged = watched.since.map_or(unchanged, |since| NOW.saturating_duration_since(since));
        }
        let since = watched.since.map_or(Duration::ZERO, |since| NOW.saturating_duration_since(since));
        s.replicas[r].watched = Some((true, seconds(since)));
        let name = |holder| match holder {
            Holder::Replica(0) => "a",
            Holder::Replica(_) => "b",
            Holder::Nobody => "",
            Holder::Stranger => "stranger",
        };
        let decision = decide(s.lease.map(name), LEASE, unchanged, name(Holder::Replica(r)));
        match (decision, s.lease) {
            (Decision::Acquire, Some(Holder::Replica(_) | Holder::Stranger)) => self.saw(TAKEN_OVER),
            (Decision::Acquire, Some(Holder::Nobody)) => self.saw(HANDED_OVER),
            (Decision::Acquire, None) if s.meddled.is_some() => self.saw(MADE_ANEW),
            _ => {}
        }
        if decision == Decision::Wait {
            s.replicas[r].belief = 0;
            s.replicas[r].phase = Phase::Idle;
        } else {
            s.replicas[r].phase = Phase::Writing { asked: 0, current: true };
        }
    }

    fn write(&self, s: &mut State, r: usize) {
        match s.replicas[r].phase {
            Phase::Writing { asked, current } => {
                let written = current || self.wrong == Some(Wrong::WritesWithoutGuard);
                if written {
                    wrote(s, Some(Holder::Replica(r)));
                } else {
                    self.saw(REFUSED);
                }
                s.replicas[r].phase = Phase::Answered { asked, written };
            }
            Phase::Releasing { current } => {
                s.replicas[r].phase = Phase::Stopped;
                if current {
                    wrote(s, Some(Holder::Nobody));
                }
            }
            _ => {}
        }
    }

    /// Whether one leads after a while in which nothing goes wrong, and goes on to.
    fn settles(&self, from: &State) -> bool {
        if from
            .replicas
            .iter()
            .all(|replica| matches!(replica.phase, Phase::Stopped | Phase::Releasing { .. }))
        {
            return true;
        }
        let calm = Self::new(self.bounds, self.wrong);
        let (mut s, mut way) = (from.clone(), Vec::new());
        for round in 0..REST + 3 {
            for r in 0..2 {
                calm.step(&mut s, Action::Stray(r));
                // To its end, from wherever it stands.
                for _ in 0..8 {
                    if let Some(action) = next(&s.replicas[r], r) {
                        calm.step(&mut s, action);
                    }
                    if s.replicas[r].phase == Phase::Idle {
                        break;
                    }
                }
            }
            if round >= REST && believers(&s) != 1 {
                return false;
            }
            calm.step(&mut s, Action::Tick);
            if self.good.lock().contains(&s) {
                break;
            }
            way.push(s.clone());
        }
        self.good.lock().extend(way);
        true
    }

    fn check(self) -> impl Checker<Self> {
        self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
    }
}

/// The lease is another one now: what was read before is not current any more.
fn wrote(s: &mut State, lease: Option<Holder>) {
    s.lease = lease;
    for replica in &mut s.replicas {
        if let Some((current, _)) = &mut replica.watched {
            *current = false;
        }
        if let Some(current) = &mut replica.stray {
            *current = false;
        }
        if let Phase::Writing { current, .. } | Phase::Releasing { current } = &mut replica.phase {
            *current = false;
        }
    }
}

const CALM: Budget = Budget { crashes: 0, lost: 0, stops: 0, steals: 0, deletions: 0 };

#[allow(clippy::print_stdout, reason = "says how many states there were")]
fn holds(name: &str, bounds: Budget, expects: u32) {
    let started = std::time::Instant::now();
    let checker = Model::new(bounds, None).check();
    let ran = format!(
        "model of the lease, {name}: {} states in {:?}",
        checker.unique_state_count(),
        started.elapsed()
    );
    println!("{ran}");
    for property in checker.model().properties() {
        if let Some(path) = checker.discovery(property.name) {
            panic!("{}: {:?}\n{:?}", property.name, path.last_state().clone(), path.into_actions());
        }
    }
    let seen = checker.model().seen.load(Relaxed);
    let missing = SEEN.iter().filter(|(bit, _)| expects & bit & !seen != 0).collect::<Vec<_>>();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    leave(&format!("model-lease-{}", name.replace(' ', "-")), &ran);
}

#[test]
fn one_leads_whoever_dies_and_whatever_is_lost() {
    let bounds = Budget { crashes: 2, lost: 1, ..CALM };
    holds("deaths and losses", bounds, TAKEN_OVER | REFUSED | EXPIRED | TOO_LATE | STRAYED);
}

#[test]
fn one_leads_when_the_other_stops() {
    let bounds = Budget { lost: 1, stops: 1, ..CALM };
    holds("hand over", bounds, TAKEN_OVER | REFUSED | EXPIRED | HANDED_OVER);
}

#[test]
fn one_leads_soon_after_somebody_else_took_or_deleted_the_lease() {
    let bounds = Budget { steals: 1, deletions: 1, ..CALM };
    holds("stolen and deleted", bounds, TAKEN_OVER | MADE_ANEW | BOTH);
}

#[test]
fn a_wrong_way_to_believe_to_count_or_to_write_is_caught() {
    let variants = [
        Wrong::BelievesToTheEnd,
        Wrong::CountsFromTheAnswer,
        Wrong::WritesWithoutGuard,
        Wrong::CountsFromTheFirstLook,
    ];
    for wrong in variants {
        let broken = Model::new(CALM, Some(wrong)).check().discoveries();
        assert!(!broken.is_empty(), "{wrong:?} was not caught");
    }
}

//! A plan: a workload, the points at which something goes wrong, and what does. Plain data, printed as one line.

use std::fmt;
use std::time::Duration;

use testbed::ledger::{Listing, Readable, Switches};

/// What is asked of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Workload {
    /// One connector is applied.
    Create,
    /// One is applied and deleted at once.
    CreateThenDelete,
    /// A ready one is deleted.
    Delete,
    /// A ready one with `replacePolicy: Recreate` gets another scope.
    Recreate,
    /// A ready one with `replacePolicy: CreateFirst` gets another scope and name.
    CreateFirst,
    /// The same, edited back while the new one does not connect.
    CreateFirstReverted,
    /// The same, deleted while the new one does not connect.
    CreateFirstDeleted,
    /// A ready one is edited, and edited back at once.
    EditAndBack,
    /// A ready one is deleted and another one of the same name applied as soon as it is gone.
    SameNameAgain,
    /// The API key is exchanged for another of the same workspace, and a ready connector is deleted.
    KeyRotated,
    /// A ready one is suspended, resumed, told to be retained, and deleted.
    SuspendThenRetain,
    /// Twenty are applied at once.
    Twenty,
    /// The API lists nothing, with 200, while one is ready, another is applied and the first is deleted.
    ListEmptied,
    /// The same while every second list is empty.
    ListFlaps,
    /// A ready one is deleted once all that is to go wrong has gone wrong.
    DeleteLater,
}

impl Workload {
    pub(crate) const ALL: [Self; 15] = [
        Self::Create,
        Self::CreateThenDelete,
        Self::Delete,
        Self::Recreate,
        Self::CreateFirst,
        Self::CreateFirstReverted,
        Self::CreateFirstDeleted,
        Self::EditAndBack,
        Self::SameNameAgain,
        Self::KeyRotated,
        Self::SuspendThenRetain,
        Self::Twenty,
        Self::ListEmptied,
        Self::ListFlaps,
        Self::DeleteLater,
    ];
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// SIGKILL, and a new start. What was only sent by then never arrives.
    Kill,
    /// SIGKILL, and a new start. What was sent by then arrives all the same.
    KillAfterSending,
    /// SIGTERM, and a new start.
    Terminate,
    /// SIGSTOP, and SIGCONT so many seconds later.
    Freeze(u64),
    /// Carried out, and the connection is reset before the answer.
    AnswerLost,
    /// Not carried out, and the connection is reset.
    Lost,
    /// Not carried out, and answered with this status.
    Refused(u16),
    /// Carried out at the Connectors API, and answered with this status.
    DoneButRefused(u16),
    /// Carried out, and answered with a page of HTML.
    Html,
    /// Carried out, and cut off within the answer's body.
    CutOff,
    /// Not carried out, and sent elsewhere.
    Redirected,
    /// Carried out, and answered a byte a second.
    Dripped,
    /// Carried out, and answered without end.
    Endless,
    /// Carried out two seconds late.
    Late,
    /// A watch whose first event comes five seconds late.
    EventHeld,
    /// A watch whose first event is never told.
    EventSwallowed,
    /// A watch that stays open and tells nothing.
    WatchSilent,
    /// A watch that ends before its first event.
    WatchCut,
    /// A watch that is told that its version is too old.
    WatchGone,
    /// A list as it was when it was first asked for.
    OlderList,
}

/// Where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum At {
    /// At the n-th of all writes and mutations, each of which has several stages.
    Step(usize),
    /// At the n-th point of this name.
    Named(String, usize),
}

/// A way to be a Connectors API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Api {
    /// As `connectors-server`, but for names, which need not be unique: a second connector is made, and seen, where it
    /// would otherwise be refused.
    Plain,
    /// Names are unique.
    UniqueNames,
    /// Reads tell little of the configuration.
    SampleConfig,
    /// Reads tell nothing of it.
    NoConfig,
    /// Lists are three seconds behind.
    LaggingList,
    /// Newest first, three a page, and the last of each page comes again on the next.
    MovingPages,
    /// Bare answers: no metadata, no scan history, times with fractions.
    Bare,
    /// States that nobody documented, and tests that move none.
    UnknownStates,
    /// A deletion takes three seconds, and a second one succeeds.
    SlowDelete,
    /// Answers after 50 ms.
    Slow,
}

impl Api {
    pub(crate) const OTHERS: [Self; 9] = [
        Self::UniqueNames,
        Self::SampleConfig,
        Self::NoConfig,
        Self::LaggingList,
        Self::MovingPages,
        Self::Bare,
        Self::UnknownStates,
        Self::SlowDelete,
        Self::Slow,
    ];

    pub(crate) fn switches(self) -> Switches {
        let plain = Switches { unique_names: false, ..Switches::default() };
        let three = Duration::from_secs(3);
        match self {
            Self::Plain => plain,
            Self::UniqueNames => Switches { unique_names: true, ..plain },
            Self::SampleConfig => Switches { readable: Readable::Sample, ..plain },
            Self::NoConfig => Switches { readable: Readable::Nothing, ..plain },
            Self::LaggingList => Switches { list_lag: three, ..plain },
            Self::MovingPages => {
                Switches { most_a_page: 3, newest_first: true, list: Listing::Overlapping, ..plain }
            }
            Self::Bare => Switches { metadata: false, scan_history: false, fractions: true, ..plain },
            Self::UnknownStates => {
                Switches { created_state: "warming_up".to_owned(), test_moves_state: false, ..plain }
            }
            Self::SlowDelete => Switches { delete_takes: three, second_delete_succeeds: true, ..plain },
            Self::Slow => Switches { delay: Duration::from_millis(50), ..plain },
        }
    }
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    /// How the Connectors API answers where the contract leaves it open.
    pub(crate) api: Api,
    /// One after the other; each is counted from the one before.
    pub(crate) triggers: Vec<(At, Action)>,
    /// Whether the operator has to be elected.
    pub(crate) elects: bool,
}

impl Plan {
    /// Nothing goes wrong.
    pub(crate) fn calm(workload: Workload) -> Self {
        Self { workload, api: Api::Plain, triggers: Vec::new(), elects: false }
    }

    pub(crate) fn one(workload: Workload, at: At, action: Action) -> Self {
        Self { triggers: vec![(at, action)], ..Self::calm(workload) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.workload)?;
        if self.api != Api::Plain {
            write!(f, " at an API of kind {:?}", self.api)?;
        }
        if self.elects {
            f.write_str(" elected")?;
        }
        for (at, action) in &self.triggers {
            match at {
                At::Step(nth) => write!(f, ", {action:?} at step {nth}")?,
                At::Named(name, nth) => write!(f, ", {action:?} at {name:?} no. {nth}")?,
            }
        }
        Ok(())
    }
}

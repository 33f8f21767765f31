//! A plan: a workload, the points at which something goes wrong, and what does. Plain data, printed as one line.

use std::fmt;

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
}

impl Workload {
    pub(crate) const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateThenDelete,
        Self::Delete,
        Self::Recreate,
        Self::EditAndBack,
        Self::SameNameAgain,
        Self::KeyRotated,
        Self::SuspendThenRetain,
        Self::Twenty,
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
    /// Carried out two seconds late.
    Late,
}

/// Where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum At {
    /// At the n-th of all writes and mutations, each of which has several stages.
    Step(usize),
    /// At the n-th point of this name.
    Named(String, usize),
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    /// One after the other; each is counted from the one before.
    pub(crate) triggers: Vec<(At, Action)>,
}

impl Plan {
    /// Nothing goes wrong.
    pub(crate) fn calm(workload: Workload) -> Self {
        Self { workload, triggers: Vec::new() }
    }

    pub(crate) fn one(workload: Workload, at: At, action: Action) -> Self {
        Self { workload, triggers: vec![(at, action)] }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.workload)?;
        for (at, action) in &self.triggers {
            match at {
                At::Step(nth) => write!(f, ", {action:?} at step {nth}")?,
                At::Named(name, nth) => write!(f, ", {action:?} at {name:?} no. {nth}")?,
            }
        }
        Ok(())
    }
}

//! What a request is for, and with that its right to the budget.

use std::fmt;

/// What a request is for, in the order in which the budget serves them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Purpose {
    /// Deleting a connector, and seeing that it is gone.
    Removal,
    /// Answering what somebody changed or asked for.
    Edit,
    /// Creating a connector, with the look before it and whatever finds it again.
    Create,
    /// Starting a scan. The vendor meters scans apart.
    ScanStart,
    /// A connection test that a create, a change or a failure asks for, and the read after it.
    Test,
    /// Following a scan that runs. The vendor meters scans apart.
    ScanRead,
    /// Reading one connector of which the list shows a change.
    Detail,
    /// Reading the list once a poll.
    Poll,
    /// A connection test that is repeated only because its interval is over.
    Interval,
}

/// Requests that the API counts together: one that is refused for its number says nothing of those of another meter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Meter {
    /// `POST /connectors`, of which there are few an hour.
    Creates,
    /// Starting and reading scans.
    Scans,
    /// Everything else.
    Rest,
}

impl Meter {
    /// Every meter.
    pub(super) const ALL: [Self; 3] = [Self::Creates, Self::Scans, Self::Rest];

    /// The meter of a route.
    pub(super) fn of(route: &str) -> Self {
        match route {
            "create" => Self::Creates,
            "start_scan" | "read_scan" => Self::Scans,
            _ => Self::Rest,
        }
    }
}

/// How an object that asks stands: it can raise or lower the right of everything that is asked for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// It is being deleted.
    Leaving,
    /// Somebody changed it, or asked for a fresh look.
    Edited,
    /// It was made or tested only just, and what is read now belongs to that.
    Settling,
    /// Nothing of that.
    #[default]
    Ordinary,
    /// Only an interval is over.
    Idle,
}

/// On whose behalf requests are sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asker {
    /// The object's namespace: namespaces take turns.
    pub namespace: String,
    /// The object's UID: it keeps its place while it is away.
    pub object: String,
    /// How it stands.
    pub standing: Standing,
}

impl Asker {
    /// The purpose of a request that would by itself be for `purpose`.
    pub(super) fn purpose(&self, purpose: Purpose) -> Purpose {
        match self.standing {
            Standing::Leaving => Purpose::Removal,
            Standing::Edited => purpose.min(Purpose::Edit),
            Standing::Settling => purpose.min(Purpose::Test),
            Standing::Idle if purpose == Purpose::Test => Purpose::Interval,
            Standing::Ordinary | Standing::Idle => purpose,
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creates => "creates",
            Self::Scans => "scans",
            Self::Rest => "requests",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_and_edits_raise_everything_asked_for_their_object_and_an_interval_lowers_its_test() {
        let with = |standing| Asker { standing, ..Asker::default() };
        for (standing, asked, expected) in [
            (Standing::Leaving, Purpose::Detail, Purpose::Removal),
            (Standing::Edited, Purpose::Test, Purpose::Edit),
            (Standing::Edited, Purpose::Removal, Purpose::Removal),
            (Standing::Ordinary, Purpose::Test, Purpose::Test),
            (Standing::Settling, Purpose::Detail, Purpose::Test),
            (Standing::Settling, Purpose::Create, Purpose::Create),
            (Standing::Idle, Purpose::Test, Purpose::Interval),
            (Standing::Idle, Purpose::Detail, Purpose::Detail),
        ] {
            assert_eq!(with(standing).purpose(asked), expected, "{standing:?} {asked:?}");
        }
    }

    #[test]
    fn the_order_is_deletions_edits_creates_tests_background_and_intervals_last() {
        let order = [
            Purpose::Removal,
            Purpose::Edit,
            Purpose::Create,
            Purpose::Test,
            Purpose::Detail,
            Purpose::Poll,
            Purpose::Interval,
        ];
        assert!(order.is_sorted());
    }
}

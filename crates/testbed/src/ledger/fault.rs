//! Faults of one exchange with the double, and the moments of an exchange at which a test can act.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use connectors_api::Route;
use futures::future::BoxFuture;

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Done, and the connection is reset before a byte of the answer.
    AnswerLost,
    /// Not done, and the connection is reset.
    NotDone,
    /// Nothing happens for so long; then it is done and answered, whether anybody still waits or not.
    Late(Duration),
    /// Done, and the connection is reset after so many bytes of the answer, head included.
    ResetAfter(usize),
    /// This status with an error envelope; done all the same where `done`.
    Status {
        /// The HTTP status.
        code: u16,
        /// Whether what was asked is done before.
        done: bool,
        /// A header of the answer, such as `Retry-After`.
        header: Option<(String, String)>,
    },
    /// Done, and answered with this body and status 200.
    Body(String),
    /// A 307 to this address.
    Redirect(String),
    /// Done; the answer comes byte by byte, so long apart.
    Drip(Duration),
    /// Done; the answer's body never ends.
    Endless,
}

/// A fault, and the requests that it befalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Which requests.
    pub route: Route,
    /// How many of them, from now on, go well before.
    pub after: u32,
    /// How many of them it befalls.
    pub times: u32,
    /// What befalls them.
    pub fault: Fault,
}

impl Injection {
    /// Befalls the next request of that route.
    #[must_use]
    pub fn next(route: Route, fault: Fault) -> Self {
        Self { route, after: 0, times: 1, fault }
    }

    /// Whether it befalls this request; counts it either way.
    pub(super) fn befalls(&mut self, route: Route) -> bool {
        if self.route != route || self.times == 0 {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The request is here whole, and nothing was done.
    Received,
    /// What was asked is done; no answer has left.
    Done,
    /// The answer was handed to the network.
    Answered,
}

/// One moment of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What was asked.
    pub route: Route,
    /// How far it is.
    pub stage: Stage,
    /// The connector's (or scan's) id: of the path, or of what was created.
    pub id: Option<String>,
    /// The name in the body of a create.
    pub name: Option<String>,
}

/// Called at every moment; the exchange goes on when it has ended. What it answers to [`Stage::Received`] befalls the
/// request.
#[derive(Clone)]
pub(super) struct Hook(pub(super) Arc<dyn Fn(Moment) -> BoxFuture<'static, Option<Fault>> + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_injection_befalls_the_requests_it_names_and_no_others() {
        let mut injection =
            Injection { route: Route::CreateConnector, after: 1, times: 2, fault: Fault::AnswerLost };
        let hit: Vec<bool> = (0..4).map(|_| injection.befalls(Route::CreateConnector)).collect();
        assert_eq!(hit, [false, true, true, false]);
        let mut other = Injection::next(Route::ListConnectors, Fault::NotDone);
        assert!(!other.befalls(Route::ReadConnector));
        assert!(other.befalls(Route::ListConnectors), "another route's request did not count");
    }
}

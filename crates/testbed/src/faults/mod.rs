//! A proxy between the operator and the Kubernetes API that knows what passes through it and can make any of it go wrong.
//!
//! The other side needs none: the ledger double ([`crate::ledger`]) makes its own answers go wrong, and a proxy could do
//! nothing that it cannot.

mod call;
mod kube;
mod watch;

pub use call::{Call, Verb};
pub use kube::{KubeProxy, KubeStage};

use std::time::Duration;

/// What goes wrong with one request to the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KubeFault {
    /// It never arrives: the connection is reset.
    Dropped,
    /// It is carried out, and the connection is reset in place of an answer.
    AnswerLost,
    /// It arrives so much later.
    Delayed(Duration),
    /// It never arrives, and this status is answered.
    Refused(u16),
    /// A list as it was answered to the first request for it.
    Older,
    /// A watch in which the first so many events pass and the next is swallowed.
    Swallows(usize),
    /// A watch in which the first so many events pass and what follows is held so long.
    Holds(usize, Duration),
    /// A watch that is cut after so many events.
    CutAfter(usize),
    /// A watch that answers 410 as its first event, as when its version is too old.
    Gone,
}

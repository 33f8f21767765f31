//! Wrong variants of the pieces that decide and act: each is a mistake that operators are known to make. The simulation has
//! to catch every one of them; one that it does not catch shows a hole in the simulation.

use std::time::Duration;

use super::{Own, reconcile_with};
use crate::controller::{Context, Error};
use crate::crd::Connector;

/// Which pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Variant {
    /// Our own.
    Right,
}

/// A pass with the pieces of that variant.
pub(in crate::controller) async fn reconcile(
    variant: Variant,
    cached: &Connector,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    match variant {
        Variant::Right => reconcile_with(&Own, cached, ctx).await,
    }
}

//! The documentation against the repository: the reference is what the CRDs say, and every link leads somewhere.
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod links;
mod reference;
mod schema;

use std::path::{Path, PathBuf};

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

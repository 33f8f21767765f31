//! Writes `docs/reference.md` anew from `crds/`: by the test that compares the two, so that they cannot differ in method.

use crate::step::{cargo, run as step};

/// Reads `crds/` as it lies there: `cargo xtask crds` comes first.
pub(crate) fn run() -> Result<(), String> {
    // The whole workspace, so that nothing is built with other features than everything else.
    let mut command = cargo(&["test", "--quiet", "--workspace", "--test", "docs", "reference"]);
    step("reference", command.env("SLIMIO_WRITE_REFERENCE", "1"))
}

//! Writes `crds/` anew from the operator's types.

use crate::step::{build_programs, program, run as step};

/// Builds the operator and lets it write its own definitions.
pub(crate) fn run() -> Result<(), String> {
    build_programs()?;
    step("crds", program("slimio-operator", None)?.args(["crds", "--dir", "crds"]))
}

//! Developer tasks of the workspace: `cargo xtask demo | test | crds | bench`.
fn main() {}

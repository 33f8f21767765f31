//! The SlimIO operator's command line.
fn main() {}

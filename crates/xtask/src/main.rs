//! Developer tasks of the workspace: `cargo xtask demo | test | campaign | crds | reference | bench`.

mod bench;
mod campaign;
mod crds;
mod demo;
mod reference;
mod step;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  demo [--once]   real parts, the operator, example resources, live; --once ends when the main job is done
  test [--quick]  format, clippy, unit tests, integration tests on real parts; --quick: what needs no control plane
  campaign        every fault at every step of every workload, and pairs of crashes: hours; leaves a report
  crds            write crds/ anew from the operator's types
  reference       write docs/reference.md anew from crds/
  bench <name>    measure in a release build (loop, scale)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["demo"] => demo::run(false),
        ["demo", "--once"] => demo::run(true),
        ["test"] => test::run(false),
        ["test", "--quick"] => test::run(true),
        ["campaign"] => campaign::run(),
        ["crds"] => crds::run(),
        ["reference"] => reference::run(),
        ["bench", name] => bench::run(name),
        ["help" | "-h" | "--help"] => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => Err(USAGE.to_owned()),
        other => Err(format!("unknown task: {}\n\n{USAGE}", other.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The checkout.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).map_or(manifest.clone(), |path| path.to_path_buf())
}

//! One command of the preparation: its output goes to the entry's log, progress is read from there.

use std::path::Path;
use std::time::Duration;

use crate::process::{Spec, TAIL_LINES};
use crate::progress::Progress;
use crate::{Error, Result};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Runs `spec` to its end. `show` gets what was written since the start, each time it grew.
pub(super) fn run(
    title: &str,
    spec: Spec,
    log: &Path,
    hint: &str,
    mut show: impl FnMut(&mut Progress, &str),
) -> Result<()> {
    let before = std::fs::metadata(log).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
    let process = spec.spawn()?;
    let mut progress = Progress::new(title);
    let exit = loop {
        std::thread::sleep(LOOK);
        let text = process.log();
        show(&mut progress, text.get(before..).unwrap_or_default());
        if let Some(exit) = process.exit() {
            break exit;
        }
    };
    if exit.is_success() {
        progress.finish("done");
        return Ok(());
    }
    drop(progress);
    Err(Error::Prepare {
        step: title.to_owned(),
        reason: exit.to_string(),
        hint: hint.to_owned(),
        log: log.to_path_buf(),
        tail: tail(&process.log()),
    })
}

/// The last lines of the output, without the requests that `go mod download -x` traces.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("# ")).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

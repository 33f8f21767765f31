//! Shows that a long step is alive: one line in place on a terminal, elsewhere a line every twenty seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a step reports where there is no terminal.
const QUIET_INTERVAL: Duration = Duration::from_secs(20);

/// One long step, reported on standard error.
#[derive(Debug)]
pub struct Progress {
    title: String,
    terminal: bool,
    started: Instant,
    shown: Option<Instant>,
    drawn: bool,
}

impl Progress {
    /// Starts the clock of a step; nothing is printed before the first [`Progress::update`].
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { title: title.into(), terminal, started: Instant::now(), shown: None, drawn: false }
    }

    /// Says how far the step is.
    pub fn update(&mut self, state: &str) {
        if self.terminal {
            let line = fit(&format!("{}: {state}", self.title), width());
            write_stderr(&format!("\r\x1b[2K{line}"));
            self.drawn = true;
        } else if self.shown.is_none_or(|shown| shown.elapsed() >= QUIET_INTERVAL) {
            write_stderr(&format!("{}: {state}\n", self.title));
            self.shown = Some(Instant::now());
        }
    }

    /// Says where the step is and, from its share done so far, how long the rest takes at this speed.
    pub fn update_share(&mut self, done: usize, total: usize, unit: &str) {
        let done = done.min(total);
        let left = match remaining(self.started.elapsed(), done, total) {
            Some(left) => format!(", about {} left", rough(left)),
            None => String::new(),
        };
        self.update(&format!("{done} of {total} {unit}{left}"));
    }

    /// Ends the step with a line that stays.
    pub fn finish(mut self, state: &str) {
        self.clear();
        write_stderr(&format!("{}: {state} ({})\n", self.title, rough(self.started.elapsed())));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            write_stderr("\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Time left at the speed so far; none while the share done says too little.
fn remaining(elapsed: Duration, done: usize, total: usize) -> Option<Duration> {
    if done * 50 < total || elapsed < Duration::from_secs(2) {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // counts of packages
    Some(elapsed.mul_f64((total - done) as f64 / done as f64))
}

/// A duration as a person says it.
#[must_use]
pub fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        secs @ 10..90 => format!("{secs} s"),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}

/// `line`, cut so that it does not wrap (a wrapped line cannot be redrawn in place).
fn fit(line: &str, width: usize) -> String {
    line.chars().take(width.saturating_sub(1)).collect()
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20))
}

fn write_stderr(text: &str) {
    // Progress that cannot be written is not worth failing for.
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_speed_so_far_and_waits_for_a_sample() {
        assert_eq!(remaining(Duration::from_secs(60), 500, 2000), Some(Duration::from_secs(180)));
        assert_eq!(remaining(Duration::from_secs(60), 0, 2000), None);
        assert_eq!(remaining(Duration::from_secs(1), 500, 2000), None);
        assert_eq!(remaining(Duration::from_secs(60), 2000, 2000), Some(Duration::ZERO));
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        assert_eq!(rough(Duration::from_millis(3640)), "3.6 s");
        assert_eq!(rough(Duration::from_secs(45)), "45 s");
        assert_eq!(rough(Duration::from_secs(372)), "6 min 12 s");
    }

    #[test]
    fn a_line_is_cut_to_the_terminal() {
        assert_eq!(fit("control plane: 812 of 1790", 14), "control plane");
    }
}

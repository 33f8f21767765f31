//! Shows the table: redrawn in place on a terminal; elsewhere printed again whenever something in it changed.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;

use super::table::{self, Row};

/// Where the table stands.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    drawn: usize,
    shown: Vec<Row>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), drawn: 0, shown: Vec::new() }
    }

    /// Shows these rows.
    pub(super) fn show(&mut self, rows: &[Row], now: Timestamp) {
        if !self.terminal && self.shown == rows {
            return;
        }
        let mut out = String::new();
        if self.terminal && self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let lines = table::render(rows, now);
        let width = if self.terminal { width() } else { usize::MAX };
        for line in &lines {
            let line: String = line.chars().take(width).collect();
            out.push_str(if self.terminal { "\x1b[2K" } else { "" });
            out.push_str(&line);
            out.push('\n');
        }
        if self.terminal {
            // What a longer table left below.
            out.push_str("\x1b[J");
        } else {
            out.push('\n');
        }
        self.drawn = lines.len();
        self.shown = rows.to_vec();
        let mut stdout = std::io::stdout().lock();
        // A closed pipe is noticed by the next print of the demo itself.
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// A line that wrapped could not be redrawn in place.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col).max(40))
}

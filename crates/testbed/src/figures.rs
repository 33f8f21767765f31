//! The figures of one bench: a table for people and `target/bench/<name>.json` for comparison, with where and how they
//! were measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Error, Result};

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    /// The most it should be.
    aim: Option<f64>,
}

/// What one bench measured.
#[derive(Clone, Debug)]
pub struct Figures {
    name: String,
    command: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

impl Figures {
    /// The figures of the bench `name`, measured by this command.
    #[must_use]
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { name: name.into(), command: command.into(), figures: Vec::new(), notes: Vec::new() }
    }

    /// Adds a value that should be at most `aim`, or that has no aim.
    pub fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64, aim: Option<f64>) {
        self.figures.push(Figure { name: name.into(), unit, value, aim });
    }

    /// Adds what a reader has to know beside the numbers.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The table, with notes, machine, commit and command below.
    #[must_use]
    pub fn table(&self, root: &Path) -> String {
        let mut rows = vec![["FIGURE", "VALUE", "UNIT", "AIM", "RATIO", "MET"].map(str::to_owned)];
        rows.extend(self.figures.iter().map(|figure| {
            let aim = figure.aim.map_or_else(|| "-".to_owned(), |aim| format!("at most {}", number(aim)));
            let met = figure.met().map_or("-", |met| if met { "yes" } else { "NO" });
            let ratio = figure.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            [figure.name.clone(), number(figure.value), figure.unit.to_owned(), aim, ratio, met.to_owned()]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut lines: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells: Vec<String> =
                    row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
                cells.join("  ").trim_end().to_owned()
            })
            .collect();
        lines.extend(self.notes.iter().map(|note| format!("* {note}")));
        lines.push(format!("machine: {}\ncommit: {}\ncommand: {}", machine(), commit(root), self.command));
        lines.join("\n")
    }

    /// Writes the JSON below `root` and says where.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, root: &Path) -> Result<PathBuf> {
        let folder = root.join("target/bench");
        std::fs::create_dir_all(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        let path = folder.join(format!("{}.json", self.name));
        let text = format!("{:#}\n", self.json(&machine(), &commit(root)));
        std::fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    fn json(&self, machine: &str, commit: &str) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let Figure { name, unit, value, aim } = figure;
                json!({"name": name, "unit": unit, "value": value, "aim": aim, "ratio": figure.ratio(), "met": figure.met()})
            })
            .collect();
        json!({"machine": machine, "commit": commit, "command": self.command, "figures": figures, "notes": self.notes})
    }
}

impl Figure {
    /// How many times the aim it is; none where the aim is nothing at all.
    fn ratio(&self) -> Option<f64> {
        self.aim.filter(|aim| *aim > 0.0).map(|aim| self.value / aim)
    }

    fn met(&self) -> Option<bool> {
        self.aim.map(|aim| self.value <= aim)
    }
}

/// The `share` quantile of the values (nearest rank); 0 for none.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Counts of a bench are far below where a float or the cast loses anything.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Whole numbers without a fraction, others with two digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!(
        "{} {}, {cores} cores, {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        model.unwrap_or("unknown CPU")
    )
}

/// The commit, with `-dirty` when the checkout differs from it.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_met_up_to_its_aim_and_one_without_an_aim_is_neither() {
        let mut figures = Figures::new("loop", "cargo xtask bench loop");
        figures.add("at the aim", "MiB", 25.0, Some(25.0));
        figures.add("above it", "MiB", 25.5, Some(25.0));
        figures.add("free", "s", 3.0, None);
        let json = figures.json("m", "c");
        let met: Vec<&Value> =
            json["figures"].as_array().unwrap().iter().map(|figure| &figure["met"]).collect();
        assert_eq!(met, [&json!(true), &json!(false), &Value::Null]);
        let table = figures.table(Path::new("."));
        assert!(table.contains("above it    25.50  MiB   at most 25  1.02   NO"), "{table}");
        assert!(table.contains("command: cargo xtask bench loop"), "{table}");
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 10.0);
        assert_eq!(quantile(&values, 0.95), 19.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
        assert_eq!(quantile(&[], 0.95), 0.0);
    }
}

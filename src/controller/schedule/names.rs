//! What follows from a name alone: how a Scan of a run is called, and where in the run its connector stands. Whoever
//! reckons it, and however often, comes to the same, so that no Scan is started twice.

use std::time::Duration;

use crate::controller::connector::digest;
use crate::crd::ScanRun;

/// Longest name of an object.
const LONGEST_NAME: usize = 253;
/// Longest value of a label.
const LONGEST_LABEL: usize = 63;
/// Hexadecimal digits that tell long names apart.
const TELLING: usize = 10;

/// The name of a run's Scan; with the connector where there are several.
pub(super) fn scan_name(schedule: &str, run: &ScanRun, connector: Option<&str>) -> String {
    let mut tail = match &run.request {
        None => format!("-{}", run.time.as_second().div_euclid(60)),
        Some(request) => format!("-now-{}", short(&["request", request])),
    };
    if let Some(connector) = connector {
        tail = format!("{tail}-{}", short(&["connector", connector]));
    }
    cut(schedule, LONGEST_NAME - tail.len()) + &tail
}

/// The schedule's name, as a label can hold it.
pub(super) fn label(schedule: &str) -> String {
    cut(schedule, LONGEST_LABEL)
}

/// A connector's place in the runs of a schedule.
pub(super) fn place(schedule_uid: &str, connector: &str) -> String {
    digest(&["place in the run", schedule_uid, connector])[..16].to_owned()
}

/// How long after the run's begin that place is reached.
pub(super) fn offset(place: &str, spread: Duration) -> Duration {
    let share = u64::from_str_radix(place, 16).unwrap_or(0);
    let seconds = (u128::from(spread.as_secs()) * u128::from(share)) >> 64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn cut(name: &str, length: usize) -> String {
    if name.len() <= length {
        return name.to_owned();
    }
    let kept = name.chars().take(length.saturating_sub(TELLING + 1)).collect::<String>();
    format!("{}-{}", kept.trim_end_matches(['-', '.']), short(&["schedule", name]))
}

fn short(parts: &[&str]) -> String {
    digest(parts)[..TELLING].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn run(second: i64, request: Option<&str>) -> ScanRun {
        ScanRun {
            time: Timestamp::from_second(second).unwrap(),
            request: request.map(str::to_owned),
            started: 0,
            skipped: 0,
            position: None,
            finished: false,
            name_taken: None,
        }
    }

    #[test]
    fn a_name_says_whose_it_is_and_for_when() {
        assert_eq!(scan_name("nightly", &run(1_800_000_000, None), None), "nightly-30000000");
        let one = scan_name("nightly", &run(1_800_000_000, None), Some("lake"));
        let other = scan_name("nightly", &run(1_800_000_000, None), Some("pond"));
        assert!(one.starts_with("nightly-30000000-") && one != other, "{one} {other}");
        let requested = scan_name("nightly", &run(1_800_000_000, Some("2027-01-15 08:00")), None);
        assert_eq!(requested, scan_name("nightly", &run(5, Some("2027-01-15 08:00")), None));
        assert!(requested.starts_with("nightly-now-") && requested.len() == 22, "{requested}");
    }

    #[test]
    fn names_at_the_limit_stay_names_and_stay_apart() {
        let long = |end: &str| format!("{}{end}", "a.-b".repeat(63));
        for connector in [None, Some("lake")] {
            let name = scan_name(&long("x"), &run(1_800_000_000, None), connector);
            assert!(name.len() <= 253 && !name.contains(".-3") && !name.contains("--"), "{name}");
            assert_ne!(name, scan_name(&long("y"), &run(1_800_000_000, None), connector));
        }
        assert!(label(&long("x")).len() <= 63 && label(&long("x")) != label(&long("y")));
        assert_eq!(label("nightly"), "nightly");
    }

    #[test]
    fn places_are_spread_evenly_and_never_move() {
        let hour = Duration::from_hours(1);
        let all = (0..1000).map(|n| offset(&place("uid", &format!("c{n}")), hour)).collect::<Vec<_>>();
        assert_eq!(all[0], offset(&place("uid", "c0"), hour));
        assert!(all.iter().all(|offset| *offset < hour));
        for quarter in 0..4 {
            let (from, until) = (hour / 4 * quarter, hour / 4 * (quarter + 1));
            let within = all.iter().filter(|offset| (from..until).contains(*offset)).count();
            assert!((180..320).contains(&within), "{within} of 1000 in quarter {quarter}");
        }
        assert_eq!(offset(&place("uid", "c0"), Duration::ZERO), Duration::ZERO);
    }
}

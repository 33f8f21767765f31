//! Reads `Retry-After`, in seconds or as a date, into a wait that is never longer than an hour.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Longest wait that is believed. The longest window that the vendor publishes is an hour.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The wait that the header asks for; `None` when it makes no sense.
///
/// A date is measured from the answer's own `Date` where there is one, since the two clocks may differ, and else
/// from `now`. A date that has passed asks for no wait.
pub(crate) fn parse(retry_after: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let wait = Duration::try_from_secs_f64(seconds);
        return match wait {
            Ok(wait) => Some(wait.min(MAX_WAIT)),
            // So many seconds that they do not fit, rather than a negative number or none at all.
            Err(_) if seconds > 0.0 => Some(MAX_WAIT),
            Err(_) => None,
        };
    }
    let until = http_date(text)?;
    let from = date.and_then(http_date).unwrap_or(now);
    let wait = Duration::try_from(until.duration_since(from)).unwrap_or(Duration::ZERO);
    Some(wait.min(MAX_WAIT))
}

/// A date in the preferred form of RFC 9110, `Tue, 10 Feb 2026 11:20:01 GMT`.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text.trim()).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<u64> {
        let now = "2026-02-10T11:20:00Z".parse().unwrap();
        parse(text, None, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_read_and_capped() {
        assert_eq!(wait("6"), Some(6));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("1.5"), Some(1));
        assert_eq!(wait("86400"), Some(3600));
        assert_eq!(wait("99999999999999999999999999"), Some(3600));
    }

    #[test]
    fn a_date_is_read_and_capped() {
        assert_eq!(wait("Tue, 10 Feb 2026 11:20:30 GMT"), Some(30));
        assert_eq!(wait("Tue, 10 Feb 2026 23:20:30 GMT"), Some(3600));
        assert_eq!(wait("Tue, 10 Feb 2026 11:19:00 GMT"), Some(0));
    }

    #[test]
    fn a_date_is_measured_from_the_answers_own_clock() {
        let now = "2031-01-01T00:00:00Z".parse().unwrap();
        let date = Some("Tue, 10 Feb 2026 11:20:00 GMT");
        assert_eq!(parse("Tue, 10 Feb 2026 11:20:45 GMT", date, now), Some(Duration::from_secs(45)));
        assert_eq!(parse("Tue, 10 Feb 2026 11:20:45 GMT", Some("noon"), now), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_asks_for_nothing() {
        for text in ["", "soon", "-5", "NaN", "inf-", "Tue, 99 Feb 2026 11:20:30 GMT", "2026-02-10T11:20:30Z"]
        {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}

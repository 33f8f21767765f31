//! What comes with every answer beside its value: status, request id, and the service's rate counters.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap};

use super::retry_after::http_date;

use crate::wire::RequestId;

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// HTTP status, 200 to 299.
    pub status: u16,
    /// Id under which the service knows the request, for logs and support.
    pub request_id: Option<RequestId>,
    /// The service's counters, as far as it sent them.
    pub rate_limit: RateLimit,
}

impl<T> Answer<T> {
    /// The same answer with another value.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        let Self { value, status, request_id, rate_limit } = self;
        Answer { value: change(value), status, request_id, rate_limit }
    }
}

/// The `X-RateLimit-*` headers (`docs.slim.io/api-reference/rate-limits`): sent by some endpoints, never required.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// `X-RateLimit-Limit`: ceiling of the current window, in requests.
    pub limit: Option<u64>,
    /// `X-RateLimit-Remaining`: what is left of it.
    pub remaining: Option<u64>,
    /// `X-RateLimit-Reset`: when the window starts anew, on the service's clock.
    pub reset: Option<Timestamp>,
    /// How long that is from the answer on, by the service's own clock where it tells it (`Date`). A time that has passed
    /// is no wait.
    pub reset_after: Option<Duration>,
}

/// Name of the header that carries the ceiling.
pub const RATE_LIMIT_LIMIT: &str = "x-ratelimit-limit";
/// Name of the header that carries what is left.
pub const RATE_LIMIT_REMAINING: &str = "x-ratelimit-remaining";
/// Name of the header that carries the Unix time of the next window.
pub const RATE_LIMIT_RESET: &str = "x-ratelimit-reset";
/// Name of the header in which a request id is looked for, beside `metadata.request_id`. Not documented.
pub const REQUEST_ID: &str = "x-request-id";

impl RateLimit {
    pub(crate) fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let number = |name: &str| text(headers, name)?.trim().parse::<u64>().ok();
        let reset = number(RATE_LIMIT_RESET).and_then(|seconds| i64::try_from(seconds).ok());
        let reset = reset.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let from = text(headers, DATE.as_str()).and_then(http_date).unwrap_or(now);
        Self {
            limit: number(RATE_LIMIT_LIMIT),
            remaining: number(RATE_LIMIT_REMAINING),
            reset,
            reset_after: reset.and_then(|reset| Duration::try_from(reset.duration_since(from)).ok()),
        }
    }
}

/// The text of a header, when it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn rate_counters_are_read_where_they_are_sent() {
        let all = headers(&[
            (RATE_LIMIT_LIMIT, "60"),
            (RATE_LIMIT_REMAINING, "0"),
            (RATE_LIMIT_RESET, "1770722400"),
        ]);
        let now = "2026-02-10T11:19:00Z".parse().unwrap();
        let read = RateLimit::read(&all, now);
        assert_eq!((read.limit, read.remaining), (Some(60), Some(0)));
        assert_eq!(read.reset.unwrap().to_string(), "2026-02-10T11:20:00Z");
        assert_eq!(read.reset_after, Some(Duration::from_secs(60)));
        assert_eq!(RateLimit::read(&HeaderMap::new(), now), RateLimit::default());
    }

    #[test]
    fn the_next_window_is_measured_by_the_services_own_clock() {
        let all = headers(&[(RATE_LIMIT_RESET, "1770722400"), ("date", "Tue, 10 Feb 2026 11:19:30 GMT")]);
        let now = "2031-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(RateLimit::read(&all, now).reset_after, Some(Duration::from_secs(30)));
        let passed = headers(&[(RATE_LIMIT_RESET, "1770722400")]);
        assert_eq!(RateLimit::read(&passed, now).reset_after, None);
    }

    #[test]
    fn odd_rate_counters_are_ignored() {
        let odd = headers(&[(RATE_LIMIT_LIMIT, "many"), (RATE_LIMIT_RESET, "99999999999999999999")]);
        assert_eq!(RateLimit::read(&odd, Timestamp::UNIX_EPOCH), RateLimit::default());
    }
}

//! Reading what may come in several shapes: counts, shares, times, lists and texts that may be empty.
//!
//! The public pages do not say how an empty value is written (a connector that was never scanned, a
//! scan that has not ended), so `null`, an absent key (`#[serde(default)]` at the field), `""` and `0`
//! are all read as "nothing". A value that is there and makes no sense is an error, never a guess.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Whether the value is one of the ways to write "nothing".
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// A non-negative number, also as a float or a numeric string.
fn to_number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| format!("expected a number that is not negative, found {}", kind(value)))
}

/// A non-negative whole number; a fraction is rounded, since a service may compute a mean.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be finite and not negative"
)]
fn to_count(value: &Value) -> Result<u64, String> {
    match value.as_u64() {
        Some(count) => Ok(count),
        None => to_number(value).map(|number| number.round() as u64),
    }
}

/// What kind of value this is, for messages: values themselves may be secret or long.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "another number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A count; nothing reads as 0.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_empty(&value) { Ok(0) } else { to_count(&value).map_err(D::Error::custom) }
}

/// A count that may be missing; here 0 is a count.
pub(super) fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_empty(&value) && !value.is_number() {
        return Ok(None);
    }
    to_count(&value).map(Some).map_err(D::Error::custom)
}

/// As [`optional_count`], for small numbers such as a score.
pub(super) fn optional_small_count<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    optional_count(deserializer)?
        .map(|count| u32::try_from(count).map_err(|_| D::Error::custom("the number is too large")))
        .transpose()
}

/// A share or percentage; nothing reads as 0.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_empty(&value) { Ok(0.0) } else { to_number(&value).map_err(D::Error::custom) }
}

/// A boolean, also as the words `true` and `false`; nothing reads as false.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Ok(false),
        value if is_empty(&value) => Ok(false),
        value => Err(D::Error::custom(format!("expected true or false, found {}", kind(&value)))),
    }
}

/// A word of an enumeration; nothing reads as its default.
pub(super) fn word<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text; `null` reads as empty.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text that may be missing; an empty one reads as missing.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty()))
}

/// A list; nothing reads as an empty one.
pub(super) fn list<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(items) => {
            items.into_iter().map(|item| serde_json::from_value(item).map_err(D::Error::custom)).collect()
        }
        value if is_empty(&value) => Ok(Vec::new()),
        value => Err(D::Error::custom(format!("expected an array, found {}", kind(&value)))),
    }
}

/// A free JSON object; nothing reads as an empty one.
pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Object(map) => Ok(map),
        value if is_empty(&value) => Ok(Map::new()),
        value => Err(D::Error::custom(format!("expected an object, found {}", kind(&value)))),
    }
}

/// A part that may be missing, such as the progress of a scan that has not started, or an id.
pub(super) fn optional<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_empty(&value) {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(D::Error::custom)
}

/// A part that only decorates an answer: whatever cannot be read is treated as missing.
pub(super) fn decoration<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Times: written as whole seconds in UTC, read as any RFC 3339 time; nothing reads as `None`.
pub(super) mod time {
    use jiff::Timestamp;
    use jiff::civil::DateTime;
    use jiff::tz::TimeZone;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    // The signature is serde's.
    #[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(in crate::wire) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time.as_ref().map(|t| Timestamp::from_second(t.as_second())) {
            None => serializer.serialize_none(),
            Some(Ok(whole)) => serializer.collect_str(&whole),
            Some(Err(error)) => Err(serde::ser::Error::custom(error)),
        }
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        match Value::deserialize(deserializer)? {
            value if super::is_empty(&value) => Ok(None),
            Value::String(text) => {
                parse(text.trim()).map(Some).ok_or_else(|| D::Error::custom("expected an RFC 3339 time"))
            }
            value => {
                Err(D::Error::custom(format!("expected an RFC 3339 time, found {}", super::kind(&value))))
            }
        }
    }

    /// The contract's times are in UTC, so one without an offset is taken as UTC.
    fn parse(text: &str) -> Option<Timestamp> {
        text.parse().ok().or_else(|| {
            let civil: DateTime = text.parse().ok()?;
            Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde::{Deserialize, Serialize};

    use crate::wire::ScanState;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        #[serde(deserialize_with = "super::count")]
        count: u64,
        #[serde(deserialize_with = "super::optional_small_count")]
        score: Option<u32>,
        #[serde(deserialize_with = "super::share")]
        share: f64,
        #[serde(deserialize_with = "super::flag")]
        flag: bool,
        #[serde(with = "super::time")]
        time: Option<Timestamp>,
        #[serde(deserialize_with = "super::list")]
        list: Vec<String>,
        #[serde(deserialize_with = "super::word")]
        word: ScanState,
    }

    fn read(json: &str) -> Result<Sample, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn every_way_to_write_nothing_reads_as_nothing() {
        let nothing = Sample::default();
        assert_eq!(read("{}").unwrap(), nothing);
        for empty in ["null", "\"\"", "\" \""] {
            let json = format!(
                r#"{{"count":{empty},"score":{empty},"share":{empty},"flag":{empty},"time":{empty},"list":{empty},"word":{empty}}}"#
            );
            assert_eq!(read(&json).unwrap(), nothing, "{empty}");
        }
        let zeros = read(r#"{"count":0,"score":0,"share":0,"flag":0,"time":0,"list":0}"#).unwrap();
        assert_eq!(zeros, Sample { score: Some(0), ..nothing });
    }

    #[test]
    fn numbers_may_be_floats_or_texts() {
        let sample = read(r#"{"count":318.0,"score":"41","share":"0.25"}"#).unwrap();
        assert_eq!((sample.count, sample.score, sample.share), (318, Some(41), 0.25));
        assert_eq!(read(r#"{"score":41.6}"#).unwrap().score, Some(42));
        assert_eq!(read(r#"{"count":18446744073709551615}"#).unwrap().count, u64::MAX);
    }

    #[test]
    fn a_number_that_makes_no_sense_is_an_error_that_does_not_repeat_the_value() {
        for bad in ["-1", "\"-1\"", "\"many\"", "true", "[]", "\"NaN\""] {
            let error = read(&format!(r#"{{"count":{bad}}}"#)).unwrap_err();
            assert!(error.starts_with("expected a number that is not negative"), "{bad}: {error}");
            assert!(!error.contains("many"), "{error}");
        }
        assert!(read(r#"{"score":99999999999}"#).unwrap_err().starts_with("the number is too large"));
        assert!(read(r#"{"list":{}}"#).unwrap_err().starts_with("expected an array, found an object"));
        assert!(read(r#"{"flag":"maybe"}"#).unwrap_err().starts_with("expected true or false, found a text"));
    }

    #[test]
    fn times_may_have_fractions_and_offsets_and_are_written_in_whole_seconds() {
        let expected: Timestamp = "2025-02-03T04:00:00Z".parse().unwrap();
        for text in [
            "2025-02-03T04:00:00Z",
            "2025-02-03T06:00:00+02:00",
            "2025-02-03T04:00:00.000Z",
            "2025-02-03t04:00:00z",
            "2025-02-03T04:00:00",
        ] {
            let sample = read(&format!(r#"{{"time":"{text}"}}"#)).unwrap();
            assert_eq!(sample.time, Some(expected), "{text}");
        }
        let fraction = read(r#"{"time":"2025-02-02T23:00:00.987654-05:00"}"#).unwrap();
        let written = serde_json::to_value(&fraction).unwrap();
        assert_eq!(written["time"], "2025-02-03T04:00:00Z");
        assert!(read(r#"{"time":"yesterday"}"#).unwrap_err().starts_with("expected an RFC 3339 time"));
        assert!(read(r#"{"time":1738555200}"#).is_err());
    }
}

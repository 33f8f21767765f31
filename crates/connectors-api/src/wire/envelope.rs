//! The envelope around every successful answer, and where a list goes on.
//!
//! `docs.slim.io/api-reference`. `metadata` is promised there and missing in most samples, so it is optional and
//! never a reason to refuse an answer.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::tolerant;
use super::{Cursor, RequestId};

/// `status` of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvelopeStatus {
    /// It worked; `data` is there. Also what an absent status means.
    #[default]
    Success,
    /// It did not work; `error` is there.
    Error,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// `success`.
    #[serde(default)]
    pub status: EnvelopeStatus,
    /// What was asked for; an array in lists.
    pub data: T,
    /// Only in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// Request id and time.
    #[serde(default, deserialize_with = "tolerant::decoration", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// `metadata` of an envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Id of the request, for logs and support.
    #[serde(deserialize_with = "tolerant::decoration", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// When it was answered, on the service's clock.
    #[serde(with = "tolerant::time", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// `pagination` of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pagination {
    /// Page size in force; 0 when the service does not say.
    pub limit: u32,
    /// Where the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
    /// Whether more follows. When the service does not say, a cursor means yes.
    pub has_more: bool,
}

impl Pagination {
    /// Default page size of `GET /connectors`.
    pub const DEFAULT_LIMIT: u32 = 20;
    /// Greatest page size of `GET /connectors`.
    pub const MAX_LIMIT: u32 = 100;

    /// Where the next page begins, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<&Cursor> {
        self.next_cursor.as_ref().filter(|_| self.has_more)
    }
}

impl<'de> Deserialize<'de> for Pagination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Raw {
            #[serde(deserialize_with = "tolerant::optional_small_count")]
            limit: Option<u32>,
            #[serde(deserialize_with = "tolerant::optional")]
            next_cursor: Option<Cursor>,
            has_more: Value,
        }
        let Raw { limit, next_cursor, has_more } = Raw::deserialize(deserializer)?;
        let has_more = match has_more {
            Value::Null => next_cursor.is_some(),
            value => tolerant::flag(value).map_err(serde::de::Error::custom)?,
        };
        Ok(Self { limit: limit.unwrap_or_default(), next_cursor, has_more })
    }
}

impl<T> Envelope<T> {
    /// An answer with one thing.
    #[must_use]
    pub fn new(data: T, metadata: Option<Metadata>) -> Self {
        Self { status: EnvelopeStatus::Success, data, pagination: None, metadata }
    }

    /// An answer with one page of a list.
    #[must_use]
    pub fn page(data: T, pagination: Pagination, metadata: Option<Metadata>) -> Self {
        Self { status: EnvelopeStatus::Success, data, pagination: Some(pagination), metadata }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pagination(json: &str) -> Pagination {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_envelope_reads_with_and_without_metadata() {
        let plain: Envelope<Value> = serde_json::from_str(r#"{"status":"success","data":{"a":1}}"#).unwrap();
        assert_eq!(plain.metadata, None);
        assert!(serde_json::from_str::<Envelope<Value>>(r#"{"data":{}}"#).is_ok());
        assert!(serde_json::from_str::<Envelope<ConnectorIdOnly>>(r#"{"status":"success"}"#).is_err());
        let full: Envelope<Value> = serde_json::from_str(
            r#"{"status":"success","data":{},"metadata":{"request_id":"req-4d5e6f","timestamp":"2025-02-10T11:20:01.5Z","x":1}}"#,
        )
        .unwrap();
        assert_eq!(full.metadata.unwrap().request_id.unwrap().as_str(), "req-4d5e6f");
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its reading matters")]
    struct ConnectorIdOnly {
        id: String,
    }

    #[test]
    fn odd_metadata_is_no_reason_to_refuse_an_answer() {
        for odd in
            ["null", "\"\"", "7", "[]", "{\"request_id\":7}", "{\"request_id\":\"\",\"timestamp\":\"\"}"]
        {
            let json = format!(r#"{{"status":"success","data":1,"metadata":{odd}}}"#);
            let envelope: Envelope<u8> = serde_json::from_str(&json).unwrap();
            assert_eq!(envelope.metadata.and_then(|m| m.request_id), None, "{odd}");
        }
    }

    #[test]
    fn a_list_goes_on_only_with_a_cursor_and_more() {
        let more = pagination(r#"{"limit":2,"next_cursor":"abc","has_more":true}"#);
        assert_eq!(more.next().unwrap().as_str(), "abc");
        assert_eq!(pagination(r#"{"limit":2,"next_cursor":"abc"}"#).next().unwrap().as_str(), "abc");
        for last in [
            r#"{"limit":20,"has_more":false}"#,
            r#"{"limit":20,"has_more":false,"next_cursor":"abc"}"#,
            r#"{"limit":20,"has_more":true,"next_cursor":null}"#,
            r#"{"limit":20,"has_more":true,"next_cursor":""}"#,
            r#"{"limit":null}"#,
            "{}",
        ] {
            assert_eq!(pagination(last).next(), None, "{last}");
        }
    }

    #[test]
    fn the_last_page_is_written_without_a_cursor() {
        let page = Envelope::page(
            Vec::<u8>::new(),
            Pagination { limit: 20, next_cursor: None, has_more: false },
            None,
        );
        assert_eq!(
            serde_json::to_value(&page).unwrap(),
            json!({"status": "success", "data": [], "pagination": {"limit": 20, "has_more": false}})
        );
    }
}

//! The body of a refusal: written in one shape, read in three, and never needed to understand the refusal.
//!
//! `docs.slim.io/api-reference` (full shape), `docs.slim.io/api-reference/rate-limits` (short and flat shapes).
//! Gateways also answer HTML or nothing. The HTTP status is the authority; the body decorates it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tolerant;
use super::{EnvelopeStatus, Metadata, RequestId};

/// Documented code of a 404.
pub const CONNECTOR_NOT_FOUND: &str = "CONNECTOR_NOT_FOUND";

/// Documented code of a 429.
pub const RATE_LIMIT_EXCEEDED: &str = "RATE_LIMIT_EXCEEDED";

/// A refusal in the documented full shape, as a server writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEnvelope {
    /// `error`.
    pub status: EnvelopeStatus,
    /// What is wrong.
    pub error: ErrorObject,
    /// Request id and time.
    #[serde(default, deserialize_with = "tolerant::decoration", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// `error` of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorObject {
    /// Upper snake case. The catalogue is not documented: branch on the HTTP status.
    #[serde(deserialize_with = "tolerant::text")]
    pub code: String,
    /// Text for a person.
    #[serde(deserialize_with = "tolerant::text")]
    pub message: String,
    /// More, as an object; its content is not documented.
    #[serde(deserialize_with = "tolerant::object")]
    pub details: Map<String, Value>,
}

impl ErrorEnvelope {
    /// A refusal in the full shape.
    #[must_use]
    pub fn new(error: ErrorObject, metadata: Option<Metadata>) -> Self {
        Self { status: EnvelopeStatus::Error, error, metadata }
    }
}

/// What a refusal's body says, whatever its shape. Texts are as the service wrote them: unbounded, untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorReport {
    /// The service's code.
    pub code: Option<String>,
    /// The service's message; `None` for HTML and empty bodies.
    pub message: Option<String>,
    /// Id of the request.
    pub request_id: Option<RequestId>,
}

impl ErrorReport {
    /// Reads a body in any of the three shapes. What is none of them gives an empty report.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let request_id = body
            .get("metadata")
            .and_then(|metadata| metadata.get("request_id"))
            .and_then(Value::as_str)
            .and_then(|id| RequestId::parse(id).ok());
        let (code, message) = match body.get("error") {
            Some(Value::Object(error)) => (text(error.get("code")), text(error.get("message"))),
            Some(flat @ Value::String(_)) => (None, text(Some(flat))),
            _ => (None, None),
        };
        // Frameworks in front of a service answer `{"message": ...}`.
        let message = message.or_else(|| text(body.get("message")));
        Self { code, message, request_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Option<String>, Option<String>, Option<String>) {
        let ErrorReport { code, message, request_id } = ErrorReport::read(body.as_bytes());
        (code, message, request_id.map(String::from))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_full_shape_is_read() {
        let body = r#"{"status":"error","error":{"code":"CONNECTOR_NOT_FOUND","message":"conn-nope is not known","details":{}},
            "metadata":{"request_id":"req-77aa88","timestamp":"2025-02-10T11:21:00Z"}}"#;
        assert_eq!(
            read(body),
            (some("CONNECTOR_NOT_FOUND"), some("conn-nope is not known"), some("req-77aa88"))
        );
    }

    #[test]
    fn the_short_shape_is_read() {
        let body = r#"{"status":"error","error":{"code":"RATE_LIMIT_EXCEEDED","message":"slow down"}}"#;
        assert_eq!(read(body), (some("RATE_LIMIT_EXCEEDED"), some("slow down"), None));
    }

    #[test]
    fn the_flat_shape_is_read() {
        assert_eq!(read(r#"{"error":"Too many requests"}"#), (None, some("Too many requests"), None));
        assert_eq!(read(r#"{"message":"Forbidden"}"#), (None, some("Forbidden"), None));
    }

    #[test]
    fn whatever_else_comes_gives_an_empty_report() {
        for body in [
            "",
            "<html><h1>502</h1></html>",
            "null",
            "[]",
            "{}",
            r#"{"error":null}"#,
            r#"{"error":{"code":7}}"#,
        ] {
            assert_eq!(read(body), (None, None, None), "{body}");
        }
        assert_eq!(ErrorReport::read(&[0xff, 0xfe]), ErrorReport::default());
        assert_eq!(ErrorReport::read(&[b'['; 100_000]), ErrorReport::default(), "nesting is bounded");
    }

    #[test]
    fn a_server_writes_the_full_shape() {
        let error = ErrorObject {
            code: CONNECTOR_NOT_FOUND.to_owned(),
            message: "no such connector".to_owned(),
            details: Map::new(),
        };
        assert_eq!(
            serde_json::to_value(ErrorEnvelope::new(error, None)).unwrap(),
            serde_json::json!({"status": "error",
                "error": {"code": "CONNECTOR_NOT_FOUND", "message": "no such connector", "details": {}}})
        );
    }
}

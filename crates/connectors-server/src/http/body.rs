//! Request bodies: JSON objects of bounded size that arrive in bounded time.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Most bytes of a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Longest a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A body that must be a JSON object.
pub(super) struct JsonObject(pub(super) Map<String, Value>);

/// A body that is a JSON object or nothing.
pub(super) struct OptionalJsonObject(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(ApiError::media_type());
        }
        object(&read(&parts.headers, body).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for OptionalJsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        if !is_json(&parts.headers) {
            return Err(ApiError::media_type());
        }
        object(&bytes).map(Self)
    }
}

/// `application/json`, with parameters or a suffix (`application/problem+json`).
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    // What is announced as too large is not even begun.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(ApiError::too_large(BODY_LIMIT));
    }
    match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(ApiError::too_large(BODY_LIMIT)),
        Ok(Err(_)) => Err(ApiError::not_json("the body broke off")),
        Err(_) => Err(ApiError::too_slow()),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

/// The parser's own message may repeat a value, and a value may be a secret: only the place is told.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::not_json("the body must be a JSON object")),
        Err(error) => Err(ApiError::not_json(format!(
            "the body is not JSON: it breaks at line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

//! Request bodies: JSON objects of bounded size that arrive in bounded time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::error::ApiError;

/// Most bytes of a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Longest a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The body, which must be a JSON object.
pub(super) async fn json_object(request: Request) -> Result<Map<String, Value>, ApiError> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(ApiError::media_type());
    }
    object(&read(body).await?)
}

/// The body, which must be a JSON object or nothing.
pub(super) async fn optional_json_object(request: Request) -> Result<Map<String, Value>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_json(&parts.headers) {
        return Err(ApiError::media_type());
    }
    object(&bytes)
}

/// `application/json`, with parameters or a suffix (`application/problem+json`).
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let whole = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::not_json("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > BODY_LIMIT {
                return Err(ApiError::too_large(BODY_LIMIT));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    tokio::time::timeout(BODY_TIME, whole).await.map_err(|_| ApiError::too_slow())??;
    Ok(bytes)
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

//! The one place where answers get their envelope, their request id, and their line in the log.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use connectors_api::{Envelope, ErrorEnvelope, ErrorObject, Metadata, Pagination, RequestId};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::drain::drained;
use super::error::ApiError;
use crate::store::{IdKind, new_id};

/// Header with the id that `metadata.request_id` has too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is found out about a request on its way in, for its line in the log.
#[derive(Debug, Default)]
pub(super) struct RequestNotes {
    pub(super) workspace: OnceLock<String>,
}

/// A success. As a response it is an empty one that carries itself.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: StatusCode,
    data: Value,
    pagination: Option<Pagination>,
}

impl Reply {
    /// 200 with one thing.
    pub(super) fn ok(data: impl Serialize) -> Result<Self, ApiError> {
        Self::of(StatusCode::OK, data, None)
    }

    /// 201 with what was created.
    pub(super) fn created(data: impl Serialize) -> Result<Self, ApiError> {
        Self::of(StatusCode::CREATED, data, None)
    }

    /// 200 with a page of a list.
    pub(super) fn page(data: impl Serialize, pagination: Pagination) -> Result<Self, ApiError> {
        Self::of(StatusCode::OK, data, Some(pagination))
    }

    fn of(
        status: StatusCode,
        data: impl Serialize,
        pagination: Option<Pagination>,
    ) -> Result<Self, ApiError> {
        let data = serde_json::to_value(data).map_err(|error| {
            tracing::error!(%error, "an answer cannot be written");
            ApiError::internal()
        })?;
        Ok(Self { status, data, pagination })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Limits the requests under way, wraps the answer, writes the log line.
pub(super) async fn wrap(State(slots): State<Arc<Semaphore>>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = new_id(IdKind::Request);
    let notes = Arc::new(RequestNotes::default());
    request.extensions_mut().insert(notes.clone());
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |p| p.as_str().to_owned());
    let response = match slots.try_acquire() {
        Ok(_slot) => next.run(request.map(drained)).await,
        Err(_) => ApiError::busy().into_response(),
    };
    let response = written(response, &id);
    tracing::info!(
        method = %method,
        route = %route,
        status = response.status().as_u16(),
        ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        request_id = %id,
        workspace = notes.workspace.get().map_or("-", String::as_str),
        "request"
    );
    response
}

fn written(mut response: Response, id: &str) -> Response {
    let metadata =
        Some(Metadata { request_id: RequestId::parse(id).ok(), timestamp: Some(Timestamp::now()) });
    let body = if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        match error.status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        let ApiError { status: _, code, message, details } = error;
        serde_json::to_vec(&ErrorEnvelope::new(
            ErrorObject { code: code.to_owned(), message, details },
            metadata,
        ))
    } else if let Some(Reply { status: _, data, pagination }) = response.extensions_mut().remove::<Reply>() {
        let envelope = match pagination {
            Some(pagination) => Envelope::page(data, pagination, metadata),
            None => Envelope::new(data, metadata),
        };
        serde_json::to_vec(&envelope)
    } else {
        // `/healthz`, which has no envelope.
        return response;
    };
    // Values, texts and numbers in memory have no way to fail.
    *response.body_mut() = Body::from(body.unwrap_or_default());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

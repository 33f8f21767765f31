//! Every refusal: an HTTP status, a stable code, a sentence for a person. Nothing of the server's inside.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use connectors_api::CONNECTOR_NOT_FOUND;
use serde_json::{Map, Value};

use crate::store::StoreError;

/// A refusal. As a response it is an empty one that carries itself; the envelope around it is written in one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Upper snake case, part of the API.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) details: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Map::new() }
    }

    /// Something in the request is wrong; `field` says what.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![(field.to_owned(), message.into())])
    }

    /// Several things in the request are wrong.
    pub(crate) fn invalid_fields(problems: Vec<(String, String)>) -> Self {
        let message = problems.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
        let fields = problems.into_iter().map(|(field, message)| (field, Value::String(message))).collect();
        let mut error = Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETERS", message);
        error.details.insert("fields".to_owned(), Value::Object(fields));
        error
    }

    pub(crate) fn not_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_JSON", message)
    }

    pub(crate) fn bad_cursor() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_CURSOR",
            "cursor is not one that this server gave out; begin again without it",
        )
    }

    pub(crate) fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "send the body as JSON, with the header Content-Type: application/json",
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            format!("the body has more than {} KiB", limit / 1024),
        )
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the body did not arrive in time")
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    pub(crate) fn no_connector(id: &str) -> Self {
        let message = format!("connector {} is not known in this workspace", shown(id));
        Self::new(StatusCode::NOT_FOUND, CONNECTOR_NOT_FOUND, message)
    }

    pub(crate) fn no_scan(id: &str) -> Self {
        let message = format!("scan {} is not known in this workspace", shown(id));
        Self::new(StatusCode::NOT_FOUND, "SCAN_NOT_FOUND", message)
    }

    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such route; see the API below /api/v1")
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "this route does not know this method",
        )
    }

    pub(crate) fn name_conflict(name: &str) -> Self {
        let message =
            format!("a connector with the name {name:?} exists in this workspace; choose another name");
        Self::new(StatusCode::CONFLICT, "CONNECTOR_NAME_CONFLICT", message)
    }

    pub(crate) fn not_active(state: &str) -> Self {
        let message = format!(
            "the connector is in state {state:?}, and only an active one can be scanned; run its test \
             (POST /api/v1/connectors/:id/test) until it passes, then start the scan"
        );
        Self::new(StatusCode::CONFLICT, "CONNECTOR_NOT_ACTIVE", message)
    }

    pub(crate) fn scan_running() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "SCAN_ALREADY_RUNNING",
            "this connector has a scan that is queued or running; wait for its end",
        )
    }

    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SERVER_BUSY",
            "too many requests are under way; try again shortly",
        )
    }

    pub(crate) fn storage_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "STORAGE_FULL",
            "the server's database has no room left, so nothing was changed; its operator has to make room",
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "something went wrong in the server; its log has more under this request id",
        )
    }
}

/// An id as a message may repeat it.
fn shown(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(64).collect()
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::storage_full(),
            StoreError::ScanUnfinished => Self::scan_running(),
            // A caller that can meet it says which name it was; here the name is not known any more.
            StoreError::NameTaken => Self::name_conflict(""),
            StoreError::Database(_) | StoreError::Unreadable { .. } => {
                tracing::error!(%error, "the database did not do as asked");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

//! The HTTP side: the contract's routes, and no others but `/healthz`.

mod auth;
mod body;
mod connectors;
mod envelope;
mod error;
mod paging;
mod path;
mod scans;
mod validate;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use connectors_api::Route;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::scan::Runner;
use crate::storage::Clouds;
use crate::store::Store;
use error::ApiError;

/// Requests under way at most; more are answered with 503 at once.
const MAX_REQUESTS: usize = 256;

/// What the routes work with.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) clouds: Arc<Clouds>,
    pub(crate) runner: Arc<Runner>,
}

/// The routes, with everything around them.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let slots = Arc::new(Semaphore::new(MAX_REQUESTS));
    Router::new()
        .route(Route::ListConnectors.template(), get(connectors::list).post(connectors::create))
        .route(Route::ReadConnector.template(), get(connectors::read).delete(connectors::delete))
        .route(Route::TestConnector.template(), post(connectors::test))
        .route(Route::StartScan.template(), post(connectors::start_scan))
        .route(Route::ReadScan.template(), get(scans::read))
        .fallback(|| async { ApiError::no_route() })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .with_state(api)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(slots, envelope::wrap))
        // Outside of all limits: it says that the process serves, not that it is idle.
        .route("/healthz", get(|| async { (StatusCode::OK, "ok\n") }))
}

// The signature is tower-http's.
#[allow(clippy::needless_pass_by_value, reason = "the layer gives the payload away")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a request panicked");
    ApiError::internal().into_response()
}

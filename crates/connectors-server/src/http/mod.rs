//! The HTTP side: the contract's routes, and no others but `/healthz`.

mod auth;
mod body;
mod connectors;
mod drain;
mod envelope;
mod error;
mod listen;
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
pub(crate) use listen::serve;

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
    let routes = Router::new()
        .route(Route::ListConnectors.template(), get(connectors::list).post(connectors::create))
        .route(Route::ReadConnector.template(), get(connectors::read).delete(connectors::delete))
        .route(Route::TestConnector.template(), post(connectors::test))
        .route(Route::StartScan.template(), post(connectors::start_scan))
        .route(Route::ReadScan.template(), get(scans::read))
        .with_state(api);
    // Outside of all limits: it says that the process serves, not that it is idle.
    wrapped(routes).route("/healthz", get(|| async { (StatusCode::OK, "ok\n") }))
}

/// Everything that every route has around it: a shape for what has no route, for a panic, and for each answer.
fn wrapped(routes: Router) -> Router {
    let slots = Arc::new(Semaphore::new(MAX_REQUESTS));
    routes
        .fallback(|| async { ApiError::no_route() })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(slots, envelope::wrap))
}

// The signature is tower-http's.
#[allow(clippy::needless_pass_by_value, reason = "the layer gives the payload away")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a request panicked");
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Serves routes of a test with all that the real ones have around them.
    async fn served(routes: Router, stop: &CancellationToken) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, stop) = (wrapped(routes), stop.clone());
        tokio::spawn(async move { serve(listener, router, &stop, Duration::from_secs(5)).await });
        format!("http://{address}")
    }

    async fn get_json(url: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_in_a_route_is_an_answer_in_the_contracts_shape_that_tells_nothing() {
        async fn panics() -> ApiError {
            panic!("canary-inside")
        }
        let stop = CancellationToken::new();
        let server = served(Router::new().route("/x", get(panics)), &stop).await;
        for _ in 0..2 {
            let (status, body) = get_json(&format!("{server}/x")).await;
            assert_eq!((status, &body["error"]["code"]), (500, &Value::from("INTERNAL_ERROR")));
            assert!(!body.to_string().contains("canary"), "{body}");
        }
    }

    #[tokio::test]
    async fn more_requests_than_can_be_served_are_refused_at_once() {
        let stop = CancellationToken::new();
        let waits = |stop: CancellationToken| async move {
            stop.cancelled().await;
            ApiError::no_route()
        };
        let hold = stop.clone();
        let server = served(Router::new().route("/x", get(move || waits(hold.clone()))), &stop).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let held: Vec<_> =
            (0..MAX_REQUESTS).map(|_| tokio::spawn(client.get(format!("{server}/x")).send())).collect();
        let refused = async {
            loop {
                let (status, body) = get_json(&format!("{server}/nothing")).await;
                if status == 503 {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let body = tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
        assert_eq!(body["error"]["code"], "SERVER_BUSY");
        // The end of the server is not the end of the requests that it holds.
        stop.cancel();
        for request in held {
            assert_eq!(request.await.unwrap().unwrap().status().as_u16(), 404);
        }
    }
}

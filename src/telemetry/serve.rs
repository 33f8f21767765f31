//! `/healthz` (the process works), `/readyz` (its watches work) and `/metrics`, over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Health, Metrics};

/// Listens at `address` and answers until `stop` ends. The task ends with it.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn serve(
    address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(Arc::clone(&health)))
        .route("/metrics", get(scrape).with_state((Arc::clone(&health), metrics)));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    }))
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are not filled, or a watch is interrupted: are the CRDs installed, is the API server there, and may the \
             operator list and watch?\n",
        )
    }
}

async fn scrape(State((health, metrics)): State<(Arc<Health>, Arc<Metrics>)>) -> impl IntoResponse {
    health.count(&metrics);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
}

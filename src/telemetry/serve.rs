//! `/healthz` (the process works), `/readyz` (its caches are filled) and `/metrics`, over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Metrics;

/// What the probes answer: ready when every cache that was announced is filled, and until the end begins.
#[derive(Debug, Default)]
pub struct Health {
    filling: AtomicUsize,
    announced: AtomicBool,
    stopping: AtomicBool,
}

/// A cache that is being filled, until this is dropped.
#[derive(Debug)]
pub struct Filling(Arc<Health>);

impl Health {
    /// Announces a cache; there is readiness when all that were announced are filled.
    pub fn wait_for_cache(self: &Arc<Self>) -> Filling {
        self.filling.fetch_add(1, Ordering::Relaxed);
        self.announced.store(true, Ordering::Relaxed);
        Filling(Arc::clone(self))
    }

    /// The end begins: no readiness any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.announced.load(Ordering::Relaxed)
            && self.filling.load(Ordering::Relaxed) == 0
            && !self.stopping.load(Ordering::Relaxed)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.0.filling.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("caches filled; ready");
        }
    }
}

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
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(scrape).with_state(metrics));
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
            "the caches are not filled yet: are the CRDs installed, and is the API server there?\n",
        )
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_every_cache_and_ends_with_the_end() {
        let health = Arc::new(Health::default());
        assert!(!health.is_ready(), "nothing was announced yet");
        let (first, second) = (health.wait_for_cache(), health.wait_for_cache());
        drop(first);
        assert!(!health.is_ready());
        drop(second);
        assert!(health.is_ready());
        health.stop();
        assert!(!health.is_ready());
    }
}

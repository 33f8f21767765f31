//! Connections: bounded in number and in the time that a request's head may take, and ended in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at once. More wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 1024;

/// Longest a connection may take for a request's head, idle time included. Longer than clients keep idle connections
/// (90 seconds is usual), so that it is them who close: a connection that the server closes at the moment at which a
/// request is sent leaves its sender in doubt about it.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests under way end for at most `grace`. Answers whether all of them did.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: &CancellationToken,
    grace: Duration,
) -> bool {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let accept = async || -> io::Result<_> {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((stream, slot))
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept() => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers are not to wait for more; a failure to say so only makes them later.
        let _ = stream.set_nodelay(true);
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(slot);
        });
    }
    drop(listener);
    tokio::time::timeout(grace, connections.shutdown()).await.is_ok()
}

//! The running server: everything opened before the first request, everything put down after the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Api};
use crate::scan::Runner;
use crate::storage::{AwsSettings, Clouds};
use crate::store::{DatabaseSettings, OpenError, Store};

/// How long requests and scans have to end after the signal.
const GRACE: Duration = Duration::from_secs(20);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database.
    pub database: DatabaseSettings,
    /// Where AWS is.
    pub aws: AwsSettings,
}

/// Why the server did not start, or stopped. Each text is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Serves until `stop` is cancelled. `ready` learns the address that is listened on.
///
/// # Errors
/// [`ServeError`] when the database or the address cannot be used.
pub async fn serve(
    settings: ServeSettings,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let store = Store::open(&settings.database).await?;
    let lock = store.lock_for_serving()?;
    let failed = |source| ServeError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;

    let clouds = Arc::new(Clouds::new(settings.aws).await);
    let runner = Runner::new(store.jobs(), clouds.clone(), stop.child_token());
    let scans = tokio::spawn(runner.clone().run());
    let router = http::router(Arc::new(Api { store, clouds, runner }));
    tracing::info!(%address, "serving");
    ready(address);

    if !http::serve(listener, router, &stop, GRACE).await {
        tracing::warn!("stopped with requests under way");
    }
    if tokio::time::timeout(GRACE, scans).await.is_err() {
        tracing::warn!("stopped with scans at work; the next start goes on with them");
    }
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

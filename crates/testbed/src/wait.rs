//! Waiting for something to be true, with a limit, and without waiting for what has already died.

use std::time::{Duration, Instant};

use crate::process::Process;
use crate::{Error, Result};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(30);

/// Waits until `holds` says yes, at most `limit`.
///
/// # Errors
/// [`Error::Refused`] naming `what` when it never did.
pub async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    while !holds().await {
        if Instant::now() >= end {
            let answer = format!("not so after {} s", limit.as_secs());
            return Err(Error::Refused { asked: what.to_owned(), answer });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Waits until `process` serves `what`; a process that ends meanwhile is an error at once, with the end of its log.
pub(crate) async fn until_serving(
    process: &Process,
    what: &str,
    limit: Duration,
    mut serves: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        if let Some(exit) = process.exit() {
            return Err(process.start_error(format!("it {exit}")));
        }
        if serves().await {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(process.start_error(format!("{what} was not there after {} s", limit.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A client for loopback: no proxy, short limits. Connections are not kept, since one that was made in a test's
/// runtime dies with it.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
}

pub(crate) fn client() -> Result<reqwest::Client> {
    builder().build().map_err(Error::http("building a client"))
}

/// Whether a GET is answered with success.
pub(crate) async fn answers(client: &reqwest::Client, url: &str) -> bool {
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

//! What the operator knows of an API and how it asks it: one [`Remote`] a credential, with its client, its budget, its
//! circuits and what was last seen. Nothing here knows of Kubernetes objects.

mod budget;
mod caller;
mod circuit;
mod fault;
mod item;
mod listing;
mod observations;
mod permit;
mod purpose;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connectors_api::Client;
use connectors_api::client::{ListLimits, ListQuery};
use connectors_api::wire::ConnectorId;
use tokio::time::Instant;

use crate::telemetry::Metrics;

pub use budget::{Budget, Full, Gauges, Reservation};
pub use caller::{Caller, Ticket};
pub use circuit::Circuits;
pub use fault::{Fault, FaultKind};
pub use item::Item;
pub use listing::Listing;
pub use observations::{Alarm, Changes, Observation, Observations, Sight};
pub use permit::PermittedEndpoints;
pub use purpose::{Asker, Meter, Purpose, Standing};

/// How long a list that is begun waits for the place of its next page: begun anew it would wait longer.
const PAGE_PATIENCE: Duration = Duration::from_mins(3);

/// One credential at one endpoint.
pub struct Remote {
    client: Client,
    budget: Budget,
    circuits: Circuits,
    seen: Observations,
    credential: String,
    metrics: Arc<Metrics>,
    /// Held while a list is read, so that callers who ask meanwhile share the next one.
    listing: tokio::sync::Mutex<Option<Listing>>,
    /// Who asks for a list, or reads one. A list is kept no longer than somebody may share it.
    waiting: AtomicUsize,
    /// Requests that the last complete list took.
    pages: AtomicUsize,
}

/// One of those who ask for a list, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }

    fn others(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Remote {
    /// A credential's remote, of which nothing is known yet.
    pub fn new(client: Client, budget: Budget, credential: String, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            budget,
            circuits: Circuits::default(),
            seen: Observations::default(),
            credential,
            metrics,
            listing: tokio::sync::Mutex::new(None),
            waiting: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
        }
    }

    /// Digest of credential and endpoint. Not salted: it stays in memory.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// What was last seen of a connector.
    pub fn sight(&self, id: &ConnectorId) -> Sight {
        self.seen.get(id)
    }

    /// How long to wait until the next poll, so that polls stay within their share of the hour.
    pub fn poll_interval(&self, wished: Duration) -> Duration {
        self.budget.poll_interval(wished, self.pages.load(Ordering::Relaxed))
    }

    /// The credential's budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What the API refuses to this credential.
    pub fn circuits(&self) -> &Circuits {
        &self.circuits
    }

    /// Asks on behalf of an object.
    pub fn for_object(&self, asker: Asker) -> Caller<'_> {
        Caller::new(self, asker)
    }

    /// A complete list for a poll.
    ///
    /// # Errors
    /// Those of [`Caller::list`].
    pub async fn poll(&self) -> Result<Listing, Fault> {
        let asker = Asker { object: "poll".to_owned(), ..Asker::default() };
        self.list(&asker, Purpose::Poll).await
    }

    async fn list(&self, asker: &Asker, purpose: Purpose) -> Result<Listing, Fault> {
        let asked = Instant::now();
        let waiting = Waiting::join(&self.waiting);
        let mut last = self.listing.lock().await;
        let shared = last.as_ref().filter(|listing| listing.begun >= asked).cloned();
        // Whoever asks from now on wants a newer one.
        *last = shared.clone().filter(|_| waiting.others());
        if let Some(listing) = shared {
            return Ok(listing);
        }
        let begun = Instant::now();
        let mut items = Vec::new();
        let mut pages = self.client.pages(ListQuery::default(), ListLimits::default());
        while !pages.is_done() {
            let patience = (pages.count() > 0).then_some(PAGE_PATIENCE);
            let ticket = self.ticket("list", asker, purpose, patience).await?;
            let page = pages.next().await;
            let counters = pages.rate_limit();
            let page = self.answered(ticket, page.map(|page| (page, counters)))?.unwrap_or_default();
            items.extend(page.into_iter().map(Item::from));
        }
        if let Some(why) = pages.incomplete() {
            // Nothing may be concluded from what it lacks, so it is no list at all.
            let message = format!("the list of connectors is not complete: {why}");
            return Err(Fault { kind: FaultKind::NoAnswer, message, retry_after: None });
        }
        let (items, changes) = self.seen.apply_list(begun, items);
        self.pages.store(pages.count(), Ordering::Relaxed);
        let listing = Listing::new(begun, items, changes.ids, changes.alarm);
        *last = Some(listing.clone()).filter(|_| waiting.others());
        Ok(listing)
    }

    /// Whether a list was read here yet.
    pub fn has_looked(&self) -> bool {
        self.seen.has_looked()
    }

    /// What was there before this process looked. See [`Observations::expect`].
    pub fn expect(&self, count: usize, ids: Vec<ConnectorId>) {
        self.seen.expect(count, ids);
    }

    /// Connectors to ask for by id. See [`Observations::doubted`].
    pub fn doubted(&self, most: usize) -> Vec<ConnectorId> {
        self.seen.doubted(most)
    }

    /// A connector that a short list lacked is not there. See [`Observations::confirm_absent`].
    pub fn confirm_absent(&self, id: &ConnectorId) {
        self.seen.confirm_absent(id);
    }

    /// Forgets a connector that is confirmed gone.
    pub fn forget(&self, id: &ConnectorId) {
        self.seen.forget(id);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use connectors_api::Endpoint;
    use secrecy::SecretString;

    use super::*;
    use crate::crd::RateLimits;

    /// A remote at an address that nobody serves.
    pub(crate) fn remote(metrics: &Arc<Metrics>) -> Arc<Remote> {
        let endpoint = Endpoint::parse("http://127.0.0.1:9").unwrap();
        let client = Client::builder(endpoint, SecretString::from("key")).without_proxies().build().unwrap();
        let budget = Budget::new(RateLimits::default());
        Arc::new(Remote::new(client, budget, "digest".to_owned(), Arc::clone(metrics)))
    }
}

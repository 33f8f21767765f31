//! What the operator knows of an API and how it asks it: one [`Remote`] a credential, with its client, its budget and what
//! was last seen. Nothing here knows of Kubernetes objects.

mod budget;
mod fault;
mod observations;
mod permit;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connectors_api::client::{Answer, ListLimits, ListQuery};
use connectors_api::wire::{
    ConnectorCreated, ConnectorDetail, ConnectorId, ConnectorItem, CreateConnector, ScanId, ScanRead,
    ScanStarted, StartScan, TestOutcome,
};
use connectors_api::{Client, Error, ErrorKind};
use tokio::time::Instant;

use crate::telemetry::Metrics;

pub use budget::{Budget, Full, Purpose};
pub use fault::{Fault, FaultKind};
pub use observations::{Alarm, Changes, Observation, Observations, Sight};
pub use permit::PermittedEndpoints;

/// How long nothing is sent after a 429 that does not say.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// One credential at one endpoint.
pub struct Remote {
    client: Client,
    budget: Budget,
    seen: Observations,
    credential: String,
    metrics: Arc<Metrics>,
    /// Held while a list is read, so that callers who ask meanwhile share the next one.
    listing: tokio::sync::Mutex<Option<Listing>>,
    /// Requests that the last complete list took.
    pages: AtomicUsize,
}

/// A complete list, shared by those who asked before it was begun.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Begin, on the monotonic clock.
    pub begun: Instant,
    /// The connectors.
    pub items: Arc<Vec<ConnectorItem>>,
    /// The connectors that look different from before.
    pub changed: Vec<ConnectorId>,
    /// Whether it is too short to be believed.
    pub alarm: Option<Alarm>,
}

impl Remote {
    /// A credential's remote, of which nothing is known yet.
    pub fn new(client: Client, budget: Budget, credential: String, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            budget,
            seen: Observations::default(),
            credential,
            metrics,
            listing: tokio::sync::Mutex::new(None),
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

    /// A complete list that was begun after this call: read now, or shared with others who asked before it began.
    ///
    /// # Errors
    /// When a page cannot be read, or the pages do not make a complete list.
    pub async fn list(&self, purpose: Purpose) -> Result<Listing, Fault> {
        let asked = Instant::now();
        let mut last = self.listing.lock().await;
        if let Some(listing) = last.as_ref().filter(|listing| listing.begun >= asked) {
            return Ok(listing.clone());
        }
        let begun = Instant::now();
        let mut items = Vec::new();
        let mut pages = self.client.pages(ListQuery::default(), ListLimits::default());
        while !pages.is_done() {
            let place = self.budget.take(purpose).await?;
            let page = pages.next().await;
            drop(place);
            self.count("list", page.as_ref().err());
            items.extend(page.map_err(|error| self.fault(&error))?.unwrap_or_default());
        }
        if let Some(why) = pages.incomplete() {
            // Nothing may be concluded from what it lacks, so it is no list at all.
            let message = format!("the list of connectors is not complete: {why}");
            return Err(Fault { kind: FaultKind::NoAnswer, message, retry_after: None });
        }
        let changes = self.seen.apply_list(begun, &items);
        self.pages.store(pages.count(), Ordering::Relaxed);
        let listing = Listing { begun, items: items.into(), changed: changes.ids, alarm: changes.alarm };
        *last = Some(listing.clone());
        Ok(listing)
    }

    /// Reads one connector.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] when the API does not know it, and whatever else goes wrong.
    pub async fn read(&self, id: &ConnectorId) -> Result<ConnectorDetail, Fault> {
        let begun = Instant::now();
        let detail = self.ask("read", |client| async move { client.get(id).await }).await?;
        if detail.id != *id {
            let message = format!("the API answers with {} to a read of {id}", detail.id);
            return Err(Fault { kind: FaultKind::NoAnswer, message, retry_after: None });
        }
        self.seen.apply_read(begun, &detail);
        Ok(detail)
    }

    /// Creates a connector. Sent once; never again by anything below this.
    ///
    /// # Errors
    /// See [`Fault::had_no_effect`].
    pub async fn create(&self, request: &CreateConnector) -> Result<ConnectorCreated, Fault> {
        self.ask("create", |client| async move { client.create(request).await }).await
    }

    /// Deletes a connector.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] when it is not there any more, and whatever else goes wrong.
    pub async fn delete(&self, id: &ConnectorId) -> Result<(), Fault> {
        self.ask("delete", |client| async move { client.delete(id).await }).await.map(|_| ())
    }

    /// Tests a connector's connection.
    ///
    /// # Errors
    /// When the test could not run. One that ran and failed is an answer.
    pub async fn test(&self, id: &ConnectorId) -> Result<TestOutcome, Fault> {
        self.ask("test", |client| async move { client.test(id).await }).await
    }

    /// Starts a scan. Sent once; never again by anything below this.
    ///
    /// # Errors
    /// See [`Fault::had_no_effect`].
    pub async fn start_scan(&self, id: &ConnectorId, request: &StartScan) -> Result<ScanStarted, Fault> {
        self.ask("start_scan", |client| async move { client.start_scan(id, request).await }).await
    }

    /// Reads a scan.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] also where the API has no such route.
    pub async fn scan(&self, id: &ScanId) -> Result<ScanRead, Fault> {
        self.ask("read_scan", |client| async move { client.get_scan(id).await }).await
    }

    /// Forgets a connector that is confirmed gone.
    pub fn forget(&self, id: &ConnectorId) {
        self.seen.forget(id);
    }

    /// One request, with a place in the budget for as long as it takes.
    async fn ask<T, F>(&self, route: &'static str, request: impl FnOnce(Client) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<Answer<T>, Error>>,
    {
        let place = self.budget.take(Purpose::Foreground).await?;
        let answer = request(self.client.clone()).await;
        drop(place);
        self.count(route, answer.as_ref().err());
        answer.map(|answer| answer.value).map_err(|error| self.fault(&error))
    }

    fn count(&self, route: &'static str, error: Option<&Error>) {
        let outcome = match error.map(|error| (error.kind(), error.status())) {
            None => "success",
            Some((ErrorKind::NotSent, _)) => "not_sent",
            Some((ErrorKind::OutcomeUnknown, _)) => "outcome_unknown",
            Some((ErrorKind::NoAnswer, _)) => "no_answer",
            Some((ErrorKind::Unreadable, _)) => "unreadable",
            Some((ErrorKind::Refused, Some(401))) => "401",
            Some((ErrorKind::Refused, Some(403))) => "403",
            Some((ErrorKind::Refused, Some(404))) => "404",
            Some((ErrorKind::Refused, Some(409))) => "409",
            Some((ErrorKind::Refused, Some(429))) => "429",
            Some((ErrorKind::Refused, Some(500..))) => "5xx",
            Some((ErrorKind::Refused, _)) => "refused",
        };
        self.metrics.api_request(route, outcome);
    }

    fn fault(&self, error: &Error) -> Fault {
        let fault = Fault::from(error);
        if fault.kind == FaultKind::RateLimited {
            self.budget.close_for(fault.retry_after.unwrap_or(DEFAULT_PATIENCE));
        }
        fault
    }
}

//! A client of the API that sends each request at most once and says of each failure what it may have done.
//!
//! No retry, no redirect, no guess: [`Error`] tells [`ErrorKind::NotSent`](crate::ErrorKind::NotSent),
//! [`ErrorKind::Refused`](crate::ErrorKind::Refused) and
//! [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) apart, and the caller decides.

mod answer;
mod builder;
mod exchange;
mod names;
mod paging;
mod retry_after;
mod traced;
mod transport;

use std::fmt;
use std::sync::Arc;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use answer::{Answer, RATE_LIMIT_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, REQUEST_ID, RateLimit};
pub use builder::{BuildError, ClientBuilder, TimeLimits};
pub use paging::{Incomplete, ListError, ListLimits, ListQuery, Listing, Page, Pages};
pub use traced::{TRACE_TARGET, with_request_id};

use crate::credential::{Credential, Redactor};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::paths::{Route, Verb};
use crate::wire::{
    ConnectorConfig, ConnectorCreated, ConnectorDeleted, ConnectorDetail, ConnectorId, CreateConnector,
    ParallelScanStarted, ScanId, ScanRead, ScanStarted, StartParallelScan, StartScan, TestOutcome,
};
use exchange::{Exchange, Limits, MAX_CODE, MAX_MESSAGE};
use transport::Transport;
#[cfg(feature = "in-process")]
pub use transport::{InProcess, Undelivered};

/// Most buckets of a test's answer that are kept.
const MAX_BUCKETS: usize = 10_000;

/// Longest name of a bucket that is kept, in characters: `gs://` and an Azure account with its container stay below.
const MAX_BUCKET_NAME: usize = 255;

/// A client for one API with one credential. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    endpoint: Endpoint,
    credential: Credential,
    limits: TimeLimits,
}

impl From<Arc<Inner>> for Client {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a client for this address and this credential: what stands after `Bearer`.
    #[must_use]
    pub fn builder(endpoint: Endpoint, credential: SecretString) -> ClientBuilder {
        ClientBuilder::new(endpoint, credential)
    }

    /// Where it sends to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Reads one connector, with its scan history: `GET /connectors/{id}`.
    ///
    /// # Errors
    /// [`Error::is_not_found`] where this workspace does not know the id, which may also mean that the connector
    /// was moved to another one.
    pub async fn get(&self, id: &ConnectorId) -> Result<Answer<ConnectorDetail>, Error> {
        self.read(Route::ReadConnector, id.as_str()).await
    }

    /// Creates a connector: `POST /connectors`.
    ///
    /// # Errors
    /// With [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) the connector may exist: list before creating again.
    pub async fn create(&self, create: &CreateConnector) -> Result<Answer<ConnectorCreated>, Error> {
        let secrets = create.config.secrets();
        let body = create.to_json().expose_secret().to_owned();
        self.post(Route::CreateConnector, "", Some(body), &secrets, self.0.limits.ordinary()).await
    }

    /// Deletes a connector with its history and findings, for good: `DELETE /connectors/{id}`.
    ///
    /// A success without a body counts as deleted. Whether it is gone only a later read can tell.
    ///
    /// # Errors
    /// [`Error::is_not_found`] where it is not there (any more).
    pub async fn delete(&self, id: &ConnectorId) -> Result<Answer<ConnectorDeleted>, Error> {
        let route = Route::DeleteConnector;
        let request = self.request(route, id.as_str());
        let answer =
            self.exchange(route, &[], self.0.limits.ordinary()).run_allowing_no_body(request).await?;
        Ok(answer.map(|body| body.unwrap_or(ConnectorDeleted { id: None, deleted: true })))
    }

    /// Tests whether a connector's credentials work: `POST /connectors/{id}/test`. May take a while. What the connector was
    /// made with, where it is known, is kept out of what the service says.
    ///
    /// # Errors
    /// A test that ran and failed is usually an answer with `connected: false`; a service may also refuse.
    pub async fn test(
        &self,
        id: &ConnectorId,
        made_with: Option<&ConnectorConfig>,
    ) -> Result<Answer<TestOutcome>, Error> {
        let (route, limits) = (Route::TestConnector, self.0.limits.of_a_test());
        let secrets = made_with.map(ConnectorConfig::secrets).unwrap_or_default();
        let answer = self.post(route, id.as_str(), None, &secrets, limits).await?;
        let redactor = Redactor::new(&self.0.credential, &secrets);
        Ok(answer.map(|outcome: TestOutcome| TestOutcome {
            cause: outcome.cause.map(|cause| redactor.clean(&cause, MAX_CODE)),
            message: outcome.message.map(|message| redactor.clean(&message, MAX_MESSAGE)),
            buckets_accessible: self.bounded(&outcome.buckets_accessible),
            ..outcome
        }))
    }

    /// Starts a scan of one connector: `POST /connectors/{id}/scan`.
    ///
    /// # Errors
    /// With [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) the scan may run: read the connector's history
    /// before starting again.
    pub async fn start_scan(
        &self,
        id: &ConnectorId,
        start: &StartScan,
    ) -> Result<Answer<ScanStarted>, Error> {
        self.post(Route::StartScan, id.as_str(), Some(json(start)), &[], self.0.limits.ordinary()).await
    }

    /// Starts one scan across connectors: `POST /scans/parallel`.
    ///
    /// # Errors
    /// As [`start_scan`](Self::start_scan).
    pub async fn start_parallel_scan(
        &self,
        start: &StartParallelScan,
    ) -> Result<Answer<ParallelScanStarted>, Error> {
        self.post(Route::StartParallelScan, "", Some(json(start)), &[], self.0.limits.ordinary()).await
    }

    /// Reads one scan: `GET /scans/{id}`.
    ///
    /// # Errors
    /// [`Error::is_not_found`] also where the service does not have this endpoint for this scan.
    pub async fn get_scan(&self, id: &ScanId) -> Result<Answer<ScanRead>, Error> {
        let answer = self.read(Route::ReadScan, id.as_str()).await?;
        let redactor = Redactor::new(&self.0.credential, &[]);
        let message = |text: String| redactor.clean(&text, MAX_MESSAGE);
        Ok(answer.map(|scan: ScanRead| ScanRead { message: scan.message.map(message), ..scan }))
    }

    /// Names of buckets as a service says them, fit to be shown. No cloud has a longer one than the bound.
    fn bounded(&self, names: &[String]) -> Vec<String> {
        let redactor = Redactor::new(&self.0.credential, &[]);
        names.iter().take(MAX_BUCKETS).map(|name| redactor.clean(name, MAX_BUCKET_NAME)).collect()
    }

    async fn read<T: DeserializeOwned>(&self, route: Route, id: &str) -> Result<Answer<T>, Error> {
        let request = self.request(route, id);
        let answer = self.exchange(route, &[], self.0.limits.ordinary()).run(request).await?;
        Ok(answer.map(|content| content.data))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        route: Route,
        id: &str,
        body: Option<String>,
        secrets: &[&SecretString],
        limits: Limits,
    ) -> Result<Answer<T>, Error> {
        let mut request = self.request(route, id);
        match body {
            Some(body) => {
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *request.body_mut() = Some(body.into());
            }
            // Some servers refuse a POST that does not say how long it is.
            None => drop(request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"))),
        }
        let answer = self.exchange(route, secrets, limits).run(request).await?;
        Ok(answer.map(|content| content.data))
    }

    fn request(&self, route: Route, id: &str) -> Request {
        let method = match route.verb() {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Delete => Method::DELETE,
        };
        Request::new(method, self.0.endpoint.route_url(route, id))
    }

    fn exchange(&self, route: Route, secrets: &[&SecretString], limits: Limits) -> Exchange<'_> {
        let Inner { transport, credential, .. } = &*self.0;
        Exchange { transport, route, credential, redactor: Redactor::new(credential, secrets), limits }
    }
}

/// The body of a start. Writing numbers, words and lists of texts into memory has no way to fail.
fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

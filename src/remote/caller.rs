//! Requests on behalf of one object. Each passes circuit and budget first, is sent once, and is counted; its answer is heeded
//! by both.

use connectors_api::client::{Answer, RateLimit};
use connectors_api::wire::{
    ConnectorConfig, ConnectorCreated, ConnectorDetail, ConnectorId, CreateConnector, ScanId, ScanRead,
    ScanStarted, StartScan, TestOutcome,
};
use connectors_api::{Client, Error, ErrorKind};
use tokio::time::Instant;

use super::budget::Place;
use super::circuit::Leave;
use super::{Asker, Fault, FaultKind, Listing, Meter, Purpose, Remote, Reservation};

/// Somebody who asks.
pub struct Caller<'a> {
    remote: &'a Remote,
    asker: Asker,
}

/// Leave of circuit and budget to send one request.
#[derive(Debug)]
pub struct Ticket<'a> {
    route: &'static str,
    leave: Leave<'a>,
    place: Place,
}

impl<'a> Caller<'a> {
    pub(super) fn new(remote: &'a Remote, asker: Asker) -> Self {
        Self { remote, asker }
    }

    /// A complete list that was begun after this call: read now, or shared with others who asked before it began.
    ///
    /// # Errors
    /// When a page cannot be read, or the pages do not make a complete list.
    pub async fn list(&self) -> Result<Listing, Fault> {
        self.remote.list(&self.asker, self.asker.purpose(Purpose::Create)).await
    }

    /// Reads one connector.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] when the API does not know it, and whatever else goes wrong.
    pub async fn read(&self, id: &ConnectorId) -> Result<ConnectorDetail, Fault> {
        let begun = Instant::now();
        let detail = self.ask("read", Purpose::Detail, |client| async move { client.get(id).await }).await?;
        if detail.id != *id {
            let message = format!("the API answers with {} to a read of {id}", detail.id);
            return Err(Fault { kind: FaultKind::NoAnswer, message, retry_after: None });
        }
        self.remote.seen.apply_read(begun, &detail);
        Ok(detail)
    }

    /// Has the create counted that is to be sent under the claim that is opened next: a claim does not wait for limits.
    ///
    /// # Errors
    /// Why nothing could be sent now.
    pub async fn reserve_create(&self) -> Result<Reservation, Fault> {
        // Whether the API would take it is asked again when it is sent.
        drop(self.remote.circuits.admit("create")?);
        let purpose = self.asker.purpose(Purpose::Create);
        Ok(self.remote.budget.reserve(&self.asker, Meter::Creates, purpose).await?)
    }

    /// Creates a connector. Sent once; never again by anything below this.
    ///
    /// # Errors
    /// See [`Fault::had_no_effect`].
    pub async fn create(
        &self,
        reserved: Option<Reservation>,
        request: &CreateConnector,
    ) -> Result<ConnectorCreated, Fault> {
        let ticket = match reserved {
            None => self.ticket("create", Purpose::Create).await?,
            Some(reserved) => {
                let leave = self.remote.circuits.admit("create")?;
                Ticket { route: "create", leave, place: reserved.begin().await? }
            }
        };
        self.send(ticket, |client| async move { client.create(request).await }).await
    }

    /// Deletes a connector.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] when it is not there any more, and whatever else goes wrong.
    pub async fn delete(&self, id: &ConnectorId) -> Result<(), Fault> {
        self.ask("delete", Purpose::Removal, |client| async move { client.delete(id).await })
            .await
            .map(|_| ())
    }

    /// Tests a connector's connection. Secrets that it was made with are kept out of what the API says.
    ///
    /// # Errors
    /// When the test could not run. One that ran and failed is an answer.
    pub async fn test(
        &self,
        id: &ConnectorId,
        made_with: Option<&ConnectorConfig>,
    ) -> Result<TestOutcome, Fault> {
        self.ask("test", Purpose::Test, |client| async move { client.test(id, made_with).await }).await
    }

    /// Starts a scan. Sent once; never again by anything below this.
    ///
    /// # Errors
    /// See [`Fault::had_no_effect`].
    pub async fn start_scan(&self, id: &ConnectorId, request: &StartScan) -> Result<ScanStarted, Fault> {
        let send = |client: Client| async move { client.start_scan(id, request).await };
        self.ask("start_scan", Purpose::ScanStart, send).await
    }

    /// Reads a scan.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] also where the API has no such route.
    pub async fn scan(&self, id: &ScanId) -> Result<ScanRead, Fault> {
        self.ask("read_scan", Purpose::ScanRead, |client| async move { client.get_scan(id).await }).await
    }

    /// One request, with its place for as long as it takes.
    async fn ask<T, F>(
        &self,
        route: &'static str,
        purpose: Purpose,
        request: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<Answer<T>, Error>>,
    {
        let ticket = self.ticket(route, purpose).await?;
        self.send(ticket, request).await
    }

    async fn ticket(&self, route: &'static str, purpose: Purpose) -> Result<Ticket<'a>, Fault> {
        self.remote.ticket(route, &self.asker, self.asker.purpose(purpose), None).await
    }

    async fn send<T, F>(&self, ticket: Ticket<'_>, request: impl FnOnce(Client) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<Answer<T>, Error>>,
    {
        let answer = request(self.remote.client.clone()).await;
        self.remote.answered(ticket, answer.map(|answer| (answer.value, answer.rate_limit)))
    }
}

impl Remote {
    /// Leave to send one request of that route, and to wait for it longer than others where that is given.
    pub(super) async fn ticket(
        &self,
        route: &'static str,
        asker: &Asker,
        purpose: Purpose,
        patience: Option<std::time::Duration>,
    ) -> Result<Ticket<'_>, Fault> {
        let leave = self.circuits.admit(route)?;
        let meter = Meter::of(route);
        let place = match patience {
            None => self.budget.take(asker, meter, purpose).await?,
            Some(patience) => self.budget.take_within(asker, meter, purpose, patience).await?,
        };
        Ok(Ticket { route, leave, place })
    }

    /// Counts what became of a request, and has circuit and budget heed it.
    pub(super) fn answered<T>(
        &self,
        ticket: Ticket<'_>,
        answer: Result<(T, RateLimit), Error>,
    ) -> Result<T, Fault> {
        let Ticket { route, leave, place } = ticket;
        let meter = Meter::of(route);
        // What the answer says holds before the place is free for the next.
        let answer = match answer {
            Ok((value, counters)) => {
                self.metrics.api_request(route, "success");
                leave.used(Some(200), "");
                self.budget.answered(meter, &counters);
                Ok(value)
            }
            Err(error) => {
                let fault = Fault::from(&error);
                self.metrics.api_request(route, outcome(&error));
                leave.used(error.status(), &fault.message);
                if fault.kind == FaultKind::RateLimited {
                    self.budget.refused(meter, fault.retry_after);
                } else if error.status().is_some() {
                    self.budget.answered(meter, &error.rate_limit());
                }
                Err(fault)
            }
        };
        drop(place);
        answer
    }
}

/// How metrics call what became of a request.
fn outcome(error: &Error) -> &'static str {
    match (error.kind(), error.status()) {
        (ErrorKind::NotSent, _) => "not_sent",
        (ErrorKind::OutcomeUnknown, _) => "outcome_unknown",
        (ErrorKind::NoAnswer, _) => "no_answer",
        (ErrorKind::Unreadable, _) => "unreadable",
        (ErrorKind::Refused, Some(401)) => "401",
        (ErrorKind::Refused, Some(403)) => "403",
        (ErrorKind::Refused, Some(404)) => "404",
        (ErrorKind::Refused, Some(409)) => "409",
        (ErrorKind::Refused, Some(429)) => "429",
        (ErrorKind::Refused, Some(500..)) => "5xx",
        (ErrorKind::Refused, _) => "refused",
    }
}

//! One request and its answer: sent at most once, bounded in time and size, and classified by its effect.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::answer::{Answer, REQUEST_ID, RateLimit, text};
use super::retry_after;
use super::traced::traced;
use super::transport::{Transport, root_cause};
use crate::credential::{Credential, Redactor};
use crate::error::{Error, ErrorKind, Parts};
use crate::paths::Route;
use crate::wire::{Envelope, EnvelopeStatus, ErrorReport, Metadata, Pagination, RequestId};

/// Largest body of an answer that is read, in bytes.
pub(super) const MAX_BODY: usize = 8 * 1024 * 1024;

/// Most objects, and most parts of any kind, in a body. A parsed object can take eighty times the memory of its text,
/// so a bound on the text alone is none. Eight mebibytes of bucket names stay below.
const MAX_OBJECTS: usize = 50_000;
const MAX_PARTS: usize = 400_000;

/// What a part takes in memory beside its text, in bytes.
const PART_MEMORY: usize = 64;

/// How much of a refusal's body is read, in bytes. It only decorates the status.
const MAX_REFUSAL_BODY: usize = 64 * 1024;

/// Longest message that is kept, in characters.
pub(super) const MAX_MESSAGE: usize = 300;

/// Longest service code that is kept, in characters.
pub(super) const MAX_CODE: usize = 64;

/// Time limits of one request. The limit of connecting belongs to the HTTP client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Between two pieces of an answer, the first one included.
    pub(super) read: Duration,
    /// From the start to the last piece.
    pub(super) total: Duration,
}

/// One request on its way.
pub(super) struct Exchange<'a> {
    pub(super) transport: &'a Transport,
    pub(super) route: Route,
    pub(super) credential: &'a Credential,
    pub(super) redactor: Redactor,
    pub(super) limits: Limits,
}

/// What can be in a successful answer: the value, and where a list goes on.
pub(super) struct Content<T> {
    pub(super) data: T,
    pub(super) pagination: Option<Pagination>,
    /// What the whole may take in memory, in bytes, roughly.
    pub(super) memory: usize,
}

/// Why no more of an answer came.
enum Broken {
    Connection(reqwest::Error),
    Silent(Duration),
    TooLong(Duration),
    TooLarge,
}

impl Exchange<'_> {
    /// Sends the request and reads the envelope of its answer.
    pub(super) async fn run<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<Answer<Content<T>>, Error> {
        traced(self.route, async {
            let (head, body) = self.fetch(request).await?;
            self.decode(head, &body)
        })
        .await
    }

    /// As [`run`](Self::run), where an answer without a body is a good one (`None`).
    pub(super) async fn run_allowing_no_body<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<Answer<Option<T>>, Error> {
        traced(self.route, async {
            let (head, body) = self.fetch(request).await?;
            if body.trim_ascii().is_empty() {
                return Ok(self.answer(head, None, None));
            }
            Ok(self.decode::<T>(head, &body)?.map(|content| Some(content.data)))
        })
        .await
    }

    /// Sends the request and reads a successful answer to the end of its body.
    async fn fetch(&self, request: Request) -> Result<(Head, Vec<u8>), Error> {
        let (response, deadline) = self.send(request).await?;
        let head = Head::read(&response);
        if !head.status.is_success() {
            return Err(self.refusal(head, response, deadline).await);
        }
        match self.body(response, deadline, MAX_BODY).await {
            Ok(body) if has_too_many_parts(&body) => {
                Err(self.unreadable(head, "the body has too many parts"))
            }
            Ok(body) => Ok((head, body)),
            Err((_, broken)) => Err(self.unreadable(head, &self.describe(&broken))),
        }
    }

    async fn send(&self, mut request: Request) -> Result<(Response, Instant), Error> {
        let deadline = Instant::now() + self.limits.total;
        let wait = self.limits.read.min(self.limits.total);
        request.headers_mut().insert(AUTHORIZATION, self.credential.header());
        match timeout(wait, self.transport.send(request)).await {
            Ok(Ok(response)) => Ok((response, deadline)),
            Ok(Err(failed)) => {
                let kind = if failed.left { self.lost() } else { ErrorKind::NotSent };
                Err(self.without_answer(kind, &failed.why))
            }
            Err(_) => Err(self.without_answer(self.lost(), &self.describe(&Broken::Silent(wait)))),
        }
    }

    /// Reads a body up to `max` bytes. On failure, what was read so far comes with the cause.
    async fn body(
        &self,
        mut response: Response,
        deadline: Instant,
        max: usize,
    ) -> Result<Vec<u8>, (Vec<u8>, Broken)> {
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > max) {
            return Err((Vec::new(), Broken::TooLarge));
        }
        let mut body = Vec::with_capacity(announced.unwrap_or_default());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = self.limits.read.min(left);
            match timeout(wait, response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > max => {
                    body.extend_from_slice(&chunk[..max - body.len()]);
                    return Err((body, Broken::TooLarge));
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(body),
                Ok(Err(error)) => return Err((body, Broken::Connection(error))),
                Err(_) if wait < self.limits.read => return Err((body, Broken::TooLong(self.limits.total))),
                Err(_) => return Err((body, Broken::Silent(wait))),
            }
        }
    }

    fn decode<T: DeserializeOwned>(&self, head: Head, body: &[u8]) -> Result<Answer<Content<T>>, Error> {
        match serde_json::from_slice::<Envelope<Value>>(body) {
            Ok(mut envelope) if envelope.status == EnvelopeStatus::Success => {
                Redactor::new(self.credential, &[]).scrub(&mut envelope.data);
                match serde_json::from_value(envelope.data) {
                    Ok(data) => {
                        let memory = body.len() + parts(body) * PART_MEMORY;
                        let content = Content { data, pagination: envelope.pagination, memory };
                        Ok(self.answer(head, envelope.metadata, content))
                    }
                    Err(error) => {
                        Err(self.unreadable(head, &format!("the data is not as documented: {error}")))
                    }
                }
            }
            // Also where `data` is missing, as it is when the envelope reports an error.
            other => {
                let report = ErrorReport::read(body);
                if report.code.is_none() && report.message.is_none() {
                    let why = match other {
                        Err(error) if is_json(body) => format!("the envelope is not as documented: {error}"),
                        _ => "it is not JSON".to_owned(),
                    };
                    return Err(self.unreadable(head, &why));
                }
                let kind = if self.route.mutates() { ErrorKind::OutcomeUnknown } else { ErrorKind::Refused };
                Err(self.error(kind, head, report))
            }
        }
    }

    async fn refusal(&self, head: Head, response: Response, deadline: Instant) -> Error {
        let kind =
            if self.may_have_been_done(head.status) { ErrorKind::OutcomeUnknown } else { ErrorKind::Refused };
        if head.status.is_redirection() {
            let to = text(response.headers(), LOCATION.as_str()).unwrap_or("an unnamed place");
            let message = format!("the service redirects to {to}, and redirects are never followed");
            return self.error(kind, head, ErrorReport { message: Some(message), ..ErrorReport::default() });
        }
        // A body that breaks off changes nothing: the status has said it all.
        let body = match self.body(response, deadline, MAX_REFUSAL_BODY).await {
            Ok(body) | Err((body, _)) => body,
        };
        self.error(kind, head, ErrorReport::read(&body))
    }

    /// Whether a request that changes something may have had its effect in spite of this status.
    fn may_have_been_done(&self, status: StatusCode) -> bool {
        let refused = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
        let elsewhere = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        self.route.mutates() && !refused && !elsewhere
    }

    /// The kind of an error after the request left and before an answer came.
    fn lost(&self) -> ErrorKind {
        if self.route.mutates() { ErrorKind::OutcomeUnknown } else { ErrorKind::NoAnswer }
    }

    fn without_answer(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(Parts {
            route: self.route,
            kind,
            status: None,
            code: None,
            message: Some(self.redactor.clean(why, MAX_MESSAGE)),
            request_id: None,
            retry_after: None,
            rate_limit: RateLimit::default(),
        })
    }

    fn unreadable(&self, head: Head, why: &str) -> Error {
        let kind = if self.route.mutates() { ErrorKind::OutcomeUnknown } else { ErrorKind::Unreadable };
        self.error(kind, head, ErrorReport { message: Some(why.to_owned()), ..ErrorReport::default() })
    }

    fn error(&self, kind: ErrorKind, head: Head, report: ErrorReport) -> Error {
        let clean = |text: String, max| Some(self.redactor.clean(&text, max)).filter(|text| !text.is_empty());
        Error::new(Parts {
            route: self.route,
            kind,
            status: Some(head.status.as_u16()),
            code: report.code.and_then(|code| clean(code, MAX_CODE)),
            message: report.message.and_then(|message| clean(message, MAX_MESSAGE)),
            request_id: self.harmless(report.request_id.or(head.request_id)),
            retry_after: head.retry_after,
            rate_limit: head.rate_limit,
        })
    }

    fn answer<T>(&self, head: Head, metadata: Option<Metadata>, value: T) -> Answer<T> {
        let request_id = metadata.and_then(|metadata| metadata.request_id).or(head.request_id);
        Answer {
            value,
            status: head.status.as_u16(),
            request_id: self.harmless(request_id),
            rate_limit: head.rate_limit,
        }
    }

    /// A request id goes into logs as it is, so one that holds a secret is dropped.
    fn harmless(&self, id: Option<RequestId>) -> Option<RequestId> {
        id.filter(|id| !self.redactor.finds_in(id.as_str()))
    }

    fn describe(&self, broken: &Broken) -> String {
        match broken {
            Broken::Connection(error) => root_cause(error),
            Broken::Silent(wait) => format!("nothing came for {}", seconds(*wait)),
            Broken::TooLong(total) => format!("it took longer than {}", seconds(*total)),
            Broken::TooLarge => format!("the body is larger than {} MiB", MAX_BODY / (1024 * 1024)),
        }
    }
}

/// What is taken from status and headers before the body is read.
struct Head {
    status: StatusCode,
    request_id: Option<RequestId>,
    retry_after: Option<Duration>,
    rate_limit: RateLimit,
}

impl Head {
    fn read(response: &Response) -> Self {
        let headers: &HeaderMap = response.headers();
        let date = text(headers, DATE.as_str());
        Self {
            status: response.status(),
            request_id: text(headers, REQUEST_ID).and_then(|id| RequestId::parse(id).ok()),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|value| retry_after::parse(value, date, Timestamp::now())),
            rate_limit: RateLimit::read(headers, Timestamp::now()),
        }
    }
}

fn has_too_many_parts(body: &[u8]) -> bool {
    let objects = body.iter().filter(|&&byte| byte == b'{').count();
    objects > MAX_OBJECTS || parts(body) > MAX_PARTS
}

/// Counts what begins an object, an array or a next element. Those inside texts count too, which errs on the safe side.
fn parts(body: &[u8]) -> usize {
    body.iter().filter(|&&byte| matches!(byte, b'{' | b'[' | b',')).count()
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { format!("{} s", duration.as_secs()) } else { format!("{duration:?}") }
}

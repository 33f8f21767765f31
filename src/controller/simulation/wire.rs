//! What lies between a replica and the servers: every request stops here until the schedule says what becomes of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use connectors_api::client::{InProcess, Undelivered};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

thread_local! {
    /// The UID of the object whose reconcile is being polled.
    pub(super) static POLLED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Kubernetes,
    Api,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Op {
    pub server: Server,
    pub method: String,
    pub path: String,
    pub body: Value,
    /// Which process sent it: a crash makes another one of the replica.
    pub process: u64,
    /// For requests to the API: whose reconcile sent it.
    pub owner: Option<String>,
    pub reply: Option<oneshot::Sender<Reply>>,
    /// Whether the oracle has seen it leave.
    pub noticed: bool,
}

/// What comes back.
pub(super) type Reply = Result<(u16, Value), Undelivered>;

/// Requests on their way, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub ops: BTreeMap<u64, Op>,
    sent: u64,
}

/// The wire, as both ends hold it.
pub(super) type Shared = Arc<Mutex<Wire>>;

fn send(wire: &Shared, op: Op) -> oneshot::Receiver<Reply> {
    let (reply, receiver) = oneshot::channel();
    let mut wire = wire.lock();
    wire.sent += 1;
    let number = wire.sent;
    wire.ops.insert(number, Op { reply: Some(reply), ..op });
    receiver
}

/// A Kubernetes client whose requests go over the wire. Events are taken at once: nothing rests on them.
pub(super) fn kubernetes(wire: &Shared, process: u64) -> Client {
    let wire = Arc::clone(wire);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let wire = Arc::clone(&wire);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let path = parts.uri.path().to_owned();
            if path.starts_with("/apis/events.k8s.io/") {
                return Ok::<_, tower::BoxError>(answer(201, bytes.to_vec()));
            }
            let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
            let op = Op {
                server: Server::Kubernetes,
                method: parts.method.to_string(),
                path,
                body,
                process,
                owner: None,
                reply: None,
                noticed: false,
            };
            match send(&wire, op).await {
                Ok(Ok((code, body))) => Ok(answer(code, serde_json::to_vec(&body)?)),
                Ok(Err(_)) | Err(_) => Err("the connection broke".into()),
            }
        }
    });
    Client::new::<_, Body, _>(service, "default")
}

fn answer(code: u16, body: Vec<u8>) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(body));
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The way of one process to the API.
pub(super) struct ToApi {
    pub wire: Shared,
    pub process: u64,
}

impl InProcess for ToApi {
    fn send(
        &self,
        request: reqwest::Request,
    ) -> BoxFuture<'static, Result<http::Response<Vec<u8>>, Undelivered>> {
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        let op = Op {
            server: Server::Api,
            method: request.method().to_string(),
            path: request.url().path().to_owned(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
            process: self.process,
            owner: POLLED.with_borrow(Clone::clone),
            reply: None,
            noticed: false,
        };
        let receiver = send(&self.wire, op);
        async move {
            let (code, body) = receiver.await.unwrap_or(Err(Undelivered::Broken))?;
            let bytes = serde_json::to_vec(&body).unwrap_or_default();
            let mut response = http::Response::new(bytes);
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok(response)
        }
        .boxed()
    }
}

//! The proxy: plain HTTP on the operator's side, TLS and the administrator's token on the API server's.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::watch::{Meddling, meddled};
use super::{Call, KubeFault, Verb};
use crate::ledger::wire::{self, Body, Leash, whole};
use crate::rundir::PartDir;
use crate::{Error, Result, TestCluster};

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KubeStage {
    /// It is here, and the API server has not seen it.
    Sent,
    /// The API server has answered with this status; the operator has not seen it.
    Acknowledged(u16),
}

type Hook = dyn Fn(Call, KubeStage) -> BoxFuture<'static, Option<KubeFault>> + Send + Sync;

/// A running proxy. It is gone when dropped.
#[derive(Debug)]
pub struct KubeProxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    _dir: PartDir,
}

struct Shared {
    upstream: reqwest::Client,
    url: String,
    hook: Box<Hook>,
    calls: Mutex<Vec<Call>>,
    lists: Mutex<HashMap<String, Bytes>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("url", &self.url).finish_non_exhaustive()
    }
}

impl KubeProxy {
    /// Starts one before this cluster's API server. `hook` is called at each stage of each request, which waits for its
    /// end; a fault that it answers to [`KubeStage::Sent`] befalls the request.
    ///
    /// # Errors
    /// [`Error::Io`] when no port can be bound.
    pub async fn start(
        cluster: &TestCluster,
        hook: impl Fn(Call, KubeStage) -> BoxFuture<'static, Option<KubeFault>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::io("bind a port of 127.0.0.1"))?;
        let port = listener.local_addr().map_err(Error::io("read the bound port"))?.port();
        let dir = PartDir::new("kube-proxy")?;
        let kubeconfig = dir.file("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(&kubeconfig, config.to_string())
            .map_err(Error::io(format!("write {}", kubeconfig.display())))?;
        let shared = Arc::new(Shared {
            upstream: cluster.streaming_client()?,
            url: cluster.url(),
            hook: Box::new(hook),
            calls: Mutex::default(),
            lists: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(wire::serve(listener, move |request, leash| {
            exchange(request, Arc::clone(&serving), leash)
        }));
        Ok(Self { kubeconfig, shared, accepting, _dir: dir })
    }

    /// A kubeconfig that leads through it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Every request that came, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn exchange(request: Request<Incoming>, shared: Arc<Shared>, leash: Leash) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let call = Call::parse(&head.method, &head.uri, &head.headers);
    lock(&shared.calls).push(call.clone());
    let fault = (shared.hook)(call.clone(), KubeStage::Sent).await;
    match &fault {
        Some(KubeFault::Dropped) => return cut(&leash),
        Some(KubeFault::Refused(code)) => return refusal(*code),
        Some(KubeFault::Gone) => return gone(),
        Some(KubeFault::Delayed(wait)) => tokio::time::sleep(*wait).await,
        _ => {}
    }
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if let (Some(KubeFault::Older), Some(list)) = (&fault, lock(&shared.lists).get(path).cloned()) {
        return answer(StatusCode::OK, whole(list));
    }
    let mut upstream = shared.upstream.request(head.method, format!("{}{path}", shared.url)).body(body);
    for name in ["accept", "content-type", "user-agent"] {
        if let Some(value) = head.headers.get(name) {
            upstream = upstream.header(name, value);
        }
    }
    let Ok(found) = upstream.send().await else { return cut(&leash) };
    let status = found.status();
    if call.verb == Verb::Watch {
        (shared.hook)(call, KubeStage::Acknowledged(status.as_u16())).await;
        return answer(status, passing(found, fault.as_ref().and_then(Meddling::of)));
    }
    let Ok(bytes) = found.bytes().await else { return cut(&leash) };
    if call.verb == Verb::List && status.is_success() {
        lock(&shared.lists).entry(path.to_owned()).or_insert_with(|| bytes.clone());
    }
    (shared.hook)(call, KubeStage::Acknowledged(status.as_u16())).await;
    if fault == Some(KubeFault::AnswerLost) {
        return cut(&leash);
    }
    answer(status, whole(bytes))
}

/// A watch's answer, unbuffered.
fn passing(found: reqwest::Response, meddling: Option<Meddling>) -> Body {
    let chunks = Box::pin(found.bytes_stream());
    match meddling {
        Some(meddling) => {
            let events = meddled(chunks, meddling).map(|event| Ok(Frame::data(event)));
            BodyExt::boxed_unsync(StreamBody::new(events))
        }
        None => {
            // A watch that breaks upstream ends here, too.
            let chunks = chunks.take_while(|chunk| std::future::ready(chunk.is_ok()));
            let frames = chunks.map(|chunk| Ok(Frame::data(chunk.unwrap_or_default())));
            BodyExt::boxed_unsync(StreamBody::new(frames))
        }
    }
}

fn cut(leash: &Leash) -> Response<Body> {
    leash.shorten(0);
    Response::new(whole(""))
}

fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "refused on purpose", "reason": reason, "code": code});
    answer(StatusCode::from_u16(code).unwrap_or_default(), whole(status.to_string()))
}

fn gone() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "too old resource version", "reason": "Expired", "code": 410});
    answer(StatusCode::OK, whole(format!("{}\n", json!({"type": "ERROR", "object": status}))))
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

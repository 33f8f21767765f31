//! A double of the Connectors API that forgets nothing: the contract's routes over HTTP on loopback, in this process,
//! with an append-only ledger of every mutation, counts by route, and switches for what the contract leaves open and for
//! what may go wrong. It keeps no promise of a service beyond the contract: no scan ever runs.

mod book;
mod fault;
mod routes;
mod switches;
pub(crate) mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use connectors_api::Route;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use book::{Deed, Entry, Held, HeldScan};
pub use fault::{Fault, Injection, Moment, Stage};
pub use switches::{Listing, Readable, Switches, TestAnswer};

use crate::{Error, Result};
use book::Book;
use fault::Hook;
use routes::{Asked, Reply};
use wire::{Body, Leash, dripping, endless, whole};

/// The key that a new ledger takes, and the workspace that it is for.
const FIRST_KEY: (&str, &str) = ("ledger-key", "first");

/// A running double. It is gone when dropped.
#[derive(Debug)]
pub struct Ledger {
    endpoint: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    book: Book,
    switches: Switches,
    injections: Vec<Injection>,
    keys: HashMap<String, String>,
    requests: HashMap<Route, u64>,
    hook: Option<Hook>,
    next_request: u64,
}

impl Ledger {
    /// Starts one on a free port of loopback, in the running runtime.
    ///
    /// # Errors
    /// [`Error::Io`] when no port can be bound.
    pub async fn start(switches: Switches) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::io("bind a port of 127.0.0.1"))?;
        let port = listener.local_addr().map_err(Error::io("read the bound port"))?.port();
        let state = State {
            book: Book::default(),
            switches,
            injections: Vec::new(),
            keys: HashMap::from([(FIRST_KEY.0.to_owned(), FIRST_KEY.1.to_owned())]),
            requests: HashMap::new(),
            hook: None,
            next_request: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(wire::serve(listener, move |request, leash| {
            exchange(request, Arc::clone(&serving), leash)
        }));
        Ok(Self { endpoint: format!("http://127.0.0.1:{port}"), shared, accepting })
    }

    /// Where it answers.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An API key that it takes.
    #[must_use]
    pub fn key(&self) -> &'static str {
        FIRST_KEY.0
    }

    /// Takes this key too, for that workspace.
    pub fn add_key(&self, key: &str, workspace: &str) {
        self.with(|state| state.keys.insert(key.to_owned(), workspace.to_owned()));
    }

    /// Takes this key no more: 401 from now on.
    pub fn revoke(&self, key: &str) {
        self.with(|state| state.keys.remove(key));
    }

    /// Changes how it answers, from the next request on.
    pub fn set(&self, change: impl FnOnce(&mut Switches)) {
        self.with(|state| change(&mut state.switches));
    }

    /// Lets this go wrong.
    pub fn inject(&self, injection: Injection) {
        self.with(|state| state.injections.push(injection));
    }

    /// Calls this at every moment of every exchange; the exchange waits for its end. A fault that it answers to
    /// [`Stage::Received`] befalls the request; at the other stages there is nothing left to befall.
    pub fn at_every_moment(
        &self,
        hook: impl Fn(Moment) -> BoxFuture<'static, Option<Fault>> + Send + Sync + 'static,
    ) {
        self.with(|state| state.hook = Some(Hook(Arc::new(hook))));
    }

    /// Every mutation, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|state| state.book.entries().to_vec())
    }

    /// How many mutations of that kind there were.
    #[must_use]
    pub fn count(&self, deed: Deed) -> usize {
        self.with(|state| state.book.entries().iter().filter(|entry| entry.deed == deed).count())
    }

    /// The connectors that exist, of every workspace, in order of id.
    #[must_use]
    pub fn live(&self) -> Vec<Held> {
        self.with(|state| state.book.live().cloned().collect())
    }

    /// How many requests that route has had.
    #[must_use]
    pub fn requests(&self, route: Route) -> u64 {
        self.with(|state| state.requests.get(&route).copied().unwrap_or_default())
    }

    /// How many requests there were.
    #[must_use]
    pub fn all_requests(&self) -> u64 {
        self.with(|state| state.requests.values().sum())
    }

    /// Makes a connector behind the API's back, in the first key's workspace; its id.
    pub fn plant(&self, name: &str, provider: &str, config: Map<String, Value>) -> String {
        self.with(|state| {
            state.book.create(FIRST_KEY.1, name, provider, config, "active", Deed::OutOfBand).id
        })
    }

    /// Removes a connector behind the API's back; whether it was there.
    pub fn uproot(&self, id: &str) -> bool {
        self.with(|state| {
            let workspace = state.book.live().find(|held| held.id == id).map(|held| held.workspace.clone());
            workspace.is_some_and(|workspace| state.book.delete(&workspace, id, Deed::OutOfBand))
        })
    }

    /// Changes a connector behind the API's back, but for its name and workspace; whether it was there.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Held)) -> bool {
        self.with(|state| state.book.change(id, change))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.shared.with(f)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn moment(&self, asked: &Asked, id: Option<&str>, stage: Stage) -> Option<Fault> {
        let Hook(hook) = self.with(|state| state.hook.clone())?;
        let own = Some(asked.id.as_str()).filter(|id| !id.is_empty());
        let moment = Moment {
            route: asked.route,
            stage,
            id: id.or(own).map(str::to_owned),
            name: asked.name().map(str::to_owned),
        };
        hook(moment).await
    }

    /// Does what is asked, and dresses the answer.
    fn act(&self, asked: &Asked, workspace: &str) -> Reply {
        self.with(|state| routes::answer(asked, workspace, &mut state.book, &state.switches))
    }

    fn dressed(&self, mut reply: Reply) -> Reply {
        self.with(|state| {
            state.next_request += 1;
            if state.switches.metadata {
                reply.json["metadata"] = json!({
                    "request_id": format!("req-{:08x}", state.next_request),
                    "timestamp": routes::time(Timestamp::now(), &state.switches),
                });
            }
        });
        reply
    }
}

async fn exchange(request: Request<Incoming>, shared: Arc<Shared>, leash: Leash) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Some(asked) = Asked::parse(head.method.as_str(), head.uri.path(), head.uri.query(), &body) else {
        return written(shared.dressed(Reply::error(404, "NOT_FOUND", "there is no such route")));
    };
    let bearer = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let (workspace, fault, delay) = shared.with(|state| {
        *state.requests.entry(asked.route).or_default() += 1;
        let key = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let workspace = key.and_then(|key| state.keys.get(key).cloned());
        let fault = state.injections.iter_mut().fold(None, |fault, injection| {
            let hit = injection.befalls(asked.route).then(|| injection.fault.clone());
            fault.or(hit)
        });
        (workspace, fault, state.switches.delay)
    });
    let fault = shared.moment(&asked, None, Stage::Received).await.or(fault);
    let Some(workspace) = workspace else {
        return written(shared.dressed(Reply::error(401, "UNAUTHORIZED", "this API key is not valid")));
    };
    if let Some(Fault::Late(wait)) = fault {
        tokio::time::sleep(wait).await;
    }
    let undone = match &fault {
        Some(Fault::NotDone) => {
            leash.shorten(0);
            Some(Response::new(whole("")))
        }
        Some(Fault::Redirect(to)) => response(307, "", Some(("location", to.as_str()))),
        Some(Fault::Status { code, done: false, header }) => refusal(&shared, *code, header.as_ref()),
        _ => None,
    };
    if let Some(answer) = undone {
        return answer;
    }
    let reply = shared.act(&asked, &workspace);
    shared.moment(&asked, reply.id.as_deref(), Stage::Done).await;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let id = reply.id.clone();
    let answer = spoilt(fault, shared.dressed(reply), &shared, &leash);
    // The hand-over to the network happens right after this returns; a moment later the answer is on its way.
    let told = Arc::clone(&shared);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        told.moment(&asked, id.as_deref(), Stage::Answered).await;
    });
    answer
}

/// The answer with its fault, if it has one.
fn spoilt(fault: Option<Fault>, reply: Reply, shared: &Shared, leash: &Leash) -> Response<Body> {
    match fault {
        Some(Fault::AnswerLost) => leash.shorten(0),
        Some(Fault::ResetAfter(bytes)) => leash.shorten(bytes),
        Some(Fault::Status { code, header, .. }) => {
            return refusal(shared, code, header.as_ref()).unwrap_or_else(|| written(reply));
        }
        Some(Fault::Body(text)) => {
            return response(200, &text, None).unwrap_or_else(|| written(reply));
        }
        Some(Fault::Drip(pause)) => return with_body(&reply, dripping(reply.json.to_string(), pause)),
        Some(Fault::Endless) => return with_body(&reply, endless()),
        _ => {}
    }
    written(reply)
}

fn refusal(shared: &Shared, code: u16, header: Option<&(String, String)>) -> Option<Response<Body>> {
    let reply = shared.dressed(Reply::error(code, "INJECTED", "something went wrong on purpose"));
    response(code, &reply.json.to_string(), header.map(|(name, value)| (name.as_str(), value.as_str())))
}

fn written(reply: Reply) -> Response<Body> {
    let body = whole(reply.json.to_string());
    with_body(&reply, body)
}

fn with_body(reply: &Reply, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = http::StatusCode::from_u16(reply.status).unwrap_or_default();
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}

fn response(code: u16, body: &str, header: Option<(&str, &str)>) -> Option<Response<Body>> {
    let mut builder = Response::builder().status(code).header("content-type", "application/json");
    if let Some((name, value)) = header {
        builder = builder.header(name, value);
    }
    builder.body(whole(body.to_owned())).ok()
}

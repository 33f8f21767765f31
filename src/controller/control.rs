//! One controller: bounded concurrency, backoff per object, and a panic or a malformed object that costs only its own turn.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use connectors_api::client::TRACE_TARGET;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use kube::api::ObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use super::Error;
use super::Packed;
use super::context::Context;
use super::watches::{Watch, Watched};

/// What a reconcile of one kind is.
pub(super) type Reconcile<K> =
    for<'a> fn(&'a K, &'a Context) -> BoxFuture<'a, Result<Option<Duration>, Error>>;

/// Runs until `stop`, and then until what is under way has come to its end.
pub(super) async fn control<K>(
    kind: &'static str,
    watch: Watch<K>,
    concurrency: u16,
    ctx: Arc<Context>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
    reconcile: Reconcile<K>,
) where
    K: Resource<DynamicType = ()> + Watched,
{
    let failures = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let turn = {
        let failures = Arc::clone(&failures);
        move |object: Arc<Packed<K>>, ctx: Arc<Context>| {
            let failures = Arc::clone(&failures);
            async move {
                let outcome = turn(kind, &object, &ctx, reconcile).await;
                if outcome.is_ok() {
                    failures.lock().remove(object.meta().uid.as_deref().unwrap_or_default());
                }
                outcome.map(|requeue| requeue.map_or_else(Action::await_change, Action::requeue))
            }
        }
    };
    let policy = move |object: Arc<Packed<K>>, error: &Error, _: Arc<Context>| {
        let meta = object.meta();
        let count = {
            let mut failures = failures.lock();
            let count = failures.entry(meta.uid.clone().unwrap_or_default()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        match error {
            Error::Conflict { .. } | Error::NotLeading => {
                tracing::debug!(kind, namespace = meta.namespace, name = meta.name, %error, "again");
            }
            _ => {
                tracing::warn!(kind, namespace = meta.namespace, name = meta.name, %error, failures = count, "reconcile failed")
            }
        }
        Action::requeue(error.wait(count))
    };
    let Watch { cache, events, woken } = watch;
    Controller::for_stream(events, cache)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(woken)
        .graceful_shutdown_on(stop)
        .run(turn, policy, ctx)
        // What goes wrong is said by the turn and by the watch.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn turn<K>(
    kind: &'static str,
    object: &Packed<K>,
    ctx: &Context,
    reconcile: Reconcile<K>,
) -> Result<Option<Duration>, Error>
where
    K: Resource<DynamicType = ()> + Watched,
{
    let begun = Instant::now();
    let outcome = match &object.open().0 {
        Ok(sound) => {
            let span = span(kind, object.meta());
            let reconciled = AssertUnwindSafe(reconcile(sound, ctx).instrument(span.clone()));
            let outcome = reconciled.catch_unwind().await.unwrap_or(Err(Error::Panicked));
            if let Err(error) = &outcome {
                span.record("outcome", error.class());
            }
            outcome
        }
        Err(malformed) => {
            let meta = &malformed.metadata;
            tracing::warn!(
                kind,
                namespace = meta.namespace,
                name = meta.name,
                error = malformed.error,
                "a malformed object is left alone; correct it, or apply the CRDs of this version"
            );
            Ok(None)
        }
    };
    let word = outcome.as_ref().err().map_or("ok", Error::class);
    ctx.metrics.reconcile(kind, word, begun.elapsed());
    outcome
}

/// One reconcile, as a trace knows it.
fn span(kind: &'static str, meta: &ObjectMeta) -> tracing::Span {
    tracing::info_span!(
        target: TRACE_TARGET,
        parent: None,
        "reconcile",
        kind,
        namespace = meta.namespace,
        name = meta.name,
        generation = meta.generation,
        outcome = tracing::field::Empty,
    )
}

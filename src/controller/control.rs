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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::channel::mpsc::unbounded;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::controller::Guarded;
    use crate::controller::context::Caches;
    use crate::controller::index::Index;
    use crate::controller::{Leadership, Objects, Settings};
    use crate::crd::{ClusterWorkspace, Connector, Scan, ScanSchedule, Workspace};
    use crate::remote::PermittedEndpoints;

    static SOUND: AtomicUsize = AtomicUsize::new(0);
    static POISON: AtomicUsize = AtomicUsize::new(0);

    /// Panics on its first two looks at the one object.
    fn panics<'a>(
        connector: &'a Connector,
        _: &'a Context,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        async move {
            if connector.metadata.name.as_deref() == Some("poison") {
                assert!(POISON.fetch_add(1, Ordering::SeqCst) >= 2, "as a bug would");
            } else {
                SOUND.fetch_add(1, Ordering::SeqCst);
            }
            Ok(None)
        }
        .boxed()
    }

    /// One that watches nothing.
    pub(in crate::controller) fn context(client: kube::Client) -> Arc<Context> {
        let settings = Settings {
            permitted: PermittedEndpoints::new(&[]),
            namespace: "slimio-system".to_owned(),
            namespaces: None,
            watch_secrets: true,
        };
        let caches = Caches {
            connectors: Objects::kept(reflector::store().0, unbounded().0),
            scans: Objects::<Scan>::kept(reflector::store().0, unbounded().0),
            schedules: Objects::<ScanSchedule>::kept(reflector::store().0, unbounded().0),
            workspaces: Objects::<Workspace>::kept(reflector::store().0, unbounded().0),
            cluster_workspaces: Objects::<ClusterWorkspace>::kept(reflector::store().0, unbounded().0),
        };
        let (leadership, metrics) = (Leadership::alone(), Arc::default());
        Arc::new(Context::new(client, settings, caches, Arc::new(Index::default()), leadership, metrics))
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_that_objects_turn_alone_and_it_has_another_one() {
        let (cache, mut writer) = reflector::store::<Packed<Connector>>();
        let mut objects = Vec::new();
        writer.apply_watcher_event(&Event::Init);
        for name in ["a", "poison", "b", "c"] {
            let connector = serde_json::json!({
                "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
                "metadata": {"name": name, "namespace": "team", "uid": name, "generation": 1}, "spec": {},
            });
            let object: Guarded<Connector> = serde_json::from_value(connector).unwrap();
            assert!(object.0.is_ok());
            let object = Packed::new(&object);
            writer.apply_watcher_event(&Event::InitApply(object.clone()));
            objects.push(Ok(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let events = futures::stream::iter(objects).chain(futures::stream::pending()).boxed();
        let (_waker, woken) = unbounded();
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::ready(Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody")))
        });
        let ctx = context(kube::Client::new(nobody, "default"));
        // One at a time: the others come after the panic, too.
        let running = control(
            "Connector",
            Watch { cache, events, woken },
            1,
            Arc::clone(&ctx),
            std::future::pending(),
            panics,
        );
        let done = tokio::time::timeout(Duration::from_mins(1), running).await;
        assert!(done.is_err(), "it goes on");
        assert_eq!(SOUND.load(Ordering::SeqCst), 3);
        assert_eq!(POISON.load(Ordering::SeqCst), 3, "twice in vain, and once well");
        let metrics = ctx.metrics.encode();
        assert!(metrics.contains("outcome=\"bug\"} 2"), "{metrics}");
    }
}

//! Starts everything: caches, controllers, leadership, health. Ends it all when asked to, with running reconciles done.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::context::{Caches, Context, Guarded, Settings, Wakes};
use super::workspace::AnyWorkspace;
use super::{Error, Leadership, connector, leadership, scan, workspace};
use crate::crd::{ClusterWorkspace, Connector, Scan, SecretKeyRef, Workspace, WorkspaceKey, WorkspaceKind};
use crate::telemetry::{self, Health, Metrics};

/// Reconciles of one kind under way at the same time. They wait for the API most of the time; its own limits are in the
/// workspace's budget.
const CONCURRENCY: u16 = 64;
/// How long running reconciles may take to end after the signal.
const GRACE: Duration = Duration::from_secs(25);
/// How often the CRDs are looked for while they are not there.
const CRD_WAIT: Duration = Duration::from_secs(5);

/// How the operator is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where health and metrics are served.
    pub http_listen: SocketAddr,
    /// Whether to act only while holding the Lease.
    pub leader_elect: bool,
    /// How the Lease names this replica.
    pub identity: String,
}

/// The operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address for health and metrics cannot be listened at.
    #[error("cannot listen at {address} for health and metrics: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs until `stop`.
///
/// # Errors
/// When it cannot begin. Once it runs, what goes wrong is said in logs and conditions.
pub async fn run(
    client: Client,
    settings: Settings,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let (stopping, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let address = options.http_listen;
    let server = telemetry::serve(address, Arc::clone(&health), Arc::clone(&metrics), told(stopped.clone()))
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping: running reconciles come to their end");
        let _ = stopping.send(true);
    });

    tokio::select! {
        () = wait_for_crds(&client) => {}
        () = told(stopped.clone()) => return Ok(()),
    }

    let leadership = if options.leader_elect { Leadership::elected() } else { Leadership::alone() };
    metrics.leads(leadership.leads());
    let election = options.leader_elect.then(|| {
        tokio::spawn(leadership::campaign(
            client.clone(),
            settings.namespace.clone(),
            options.identity.clone(),
            leadership.clone(),
            Arc::clone(&metrics),
            told(stopped.clone()),
        ))
    });

    leadership.first_attempt().await;

    let (gone, workspaces_gone) = unbounded();
    let (connectors, connector_events) = watched::<Connector, _>(&client, &health, |_| {});
    let (scans, scan_events) = watched::<Scan, _>(&client, &health, |_| {});
    let (workspaces, workspace_events) = watched::<Workspace, _>(&client, &health, {
        let gone = gone.clone();
        move |meta| tell(&gone, WorkspaceKind::Workspace, meta)
    });
    let (cluster_workspaces, cluster_workspace_events) =
        watched::<ClusterWorkspace, _>(&client, &health, move |meta| {
            tell(&gone, WorkspaceKind::ClusterWorkspace, meta)
        });
    let (wakes, woken) = wakes();
    let caches = Caches { connectors, scans, workspaces, cluster_workspaces };
    let ctx = Arc::new(Context::new(client.clone(), settings, caches, wakes, leadership, metrics));

    let forgetting = {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(workspaces_gone.for_each(move |key| {
            workspace::forget(&key, &ctx);
            std::future::ready(())
        }))
    };
    let secrets = tokio::spawn(watch_secrets(client, Arc::clone(&ctx), told(stopped.clone())));

    let all = futures::future::join4(
        control(
            "Connector",
            connector_events,
            ctx.caches.connectors.clone(),
            woken.connectors,
            &ctx,
            &stopped,
            |it, ctx| async move { connector::reconcile(&it, &ctx).await }.boxed(),
        ),
        control("Scan", scan_events, ctx.caches.scans.clone(), woken.scans, &ctx, &stopped, |it, ctx| {
            async move { scan::reconcile(&it, &ctx).await }.boxed()
        }),
        control(
            "Workspace",
            workspace_events,
            ctx.caches.workspaces.clone(),
            woken.workspaces,
            &ctx,
            &stopped,
            |it, ctx| {
                async move { workspace::reconcile(AnyWorkspace::Namespaced(Box::new((*it).clone())), &ctx).await }.boxed()
            },
        ),
        control(
            "ClusterWorkspace",
            cluster_workspace_events,
            ctx.caches.cluster_workspaces.clone(),
            woken.cluster_workspaces,
            &ctx,
            &stopped,
            |it, ctx| {
                async move { workspace::reconcile(AnyWorkspace::Cluster(Box::new((*it).clone())), &ctx).await }.boxed()
            },
        ),
    );
    let grace = async {
        told(stopped.clone()).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        _ = all => {}
        () = grace => tracing::warn!("some reconciles did not come to their end in time"),
    }
    health.stop();
    forgetting.abort();
    secrets.abort();
    // The lease goes when nothing is under way any more.
    if let Some(election) = election {
        let _ = tokio::time::timeout(Duration::from_secs(3), election).await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
    tracing::info!("stopped");
    Ok(())
}

/// Ends when the operator is told to stop.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Waits until every kind is served.
async fn wait_for_crds(client: &Client) {
    let first = ListParams::default().limit(1);
    let mut said = None;
    loop {
        let served = [
            Api::<PartialObjectMeta<Workspace>>::all(client.clone()).list(&first).await.map(drop),
            Api::<PartialObjectMeta<ClusterWorkspace>>::all(client.clone()).list(&first).await.map(drop),
            Api::<PartialObjectMeta<Connector>>::all(client.clone()).list(&first).await.map(drop),
            Api::<PartialObjectMeta<Scan>>::all(client.clone()).list(&first).await.map(drop),
        ];
        let Some(error) = served.into_iter().find_map(Result::err) else { return };
        let why = match &error {
            kube::Error::Api(status) if status.code == 404 => {
                "the CRDs of slim.io are not installed: apply them with kubectl apply -f crds/".to_owned()
            }
            other => format!("cannot list the resources of slim.io: {other}"),
        };
        if said.as_ref() != Some(&why) {
            tracing::warn!("waiting: {why}");
            said = Some(why);
        }
        tokio::time::sleep(CRD_WAIT).await;
    }
}

/// A cache of all objects of a kind, and a stream of those in which something changed that a reconcile reads.
fn watched<K, G>(
    client: &Client,
    health: &Arc<Health>,
    gone: G,
) -> (Store<Guarded<K>>, impl Stream<Item = Result<Guarded<K>, watcher::Error>> + Send + use<K, G>)
where
    G: Fn(&ObjectMeta) + Send + 'static,
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    // Not by the store's own wait: it wakes one waiter only, and that has to be the controller.
    let mut filling = Some(health.wait_for_cache());
    let events = watcher(Api::<Guarded<K>>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => drop(filling.take()),
            Ok(watcher::Event::Delete(object)) => gone(object.meta()),
            _ => {}
        })
        .touched_objects()
        .predicate_filter(noteworthy::<K>, kube::runtime::PredicateConfig::default());
    (reader, events)
}

/// Says that a workspace is gone; a controller is not called for what is not there.
fn tell(gone: &UnboundedSender<WorkspaceKey>, kind: WorkspaceKind, meta: &ObjectMeta) {
    let key =
        WorkspaceKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone().unwrap_or_default() };
    // A closed channel means that the operator is stopping.
    let _ = gone.unbounded_send(key);
}

/// A digest of what a reconcile reads of an object, without its status: our own status writes wake nobody.
#[allow(clippy::unnecessary_wraps, reason = "the signature of a predicate")]
fn noteworthy<K: Resource<DynamicType = ()>>(object: &Guarded<K>) -> Option<u64> {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some(), &meta.finalizers, &meta.annotations)
        .hash(&mut hasher);
    object.0.is_err().hash(&mut hasher);
    Some(hasher.finish())
}

/// The other ends of the [`Wakes`].
struct Woken {
    connectors: UnboundedReceiver<ObjectRef<Guarded<Connector>>>,
    scans: UnboundedReceiver<ObjectRef<Guarded<Scan>>>,
    workspaces: UnboundedReceiver<ObjectRef<Guarded<Workspace>>>,
    cluster_workspaces: UnboundedReceiver<ObjectRef<Guarded<ClusterWorkspace>>>,
}

fn wakes() -> (Wakes, Woken) {
    let (connectors, connectors_woken) = unbounded();
    let (scans, scans_woken) = unbounded();
    let (workspaces, workspaces_woken) = unbounded();
    let (cluster_workspaces, cluster_workspaces_woken) = unbounded();
    let woken = Woken {
        connectors: connectors_woken,
        scans: scans_woken,
        workspaces: workspaces_woken,
        cluster_workspaces: cluster_workspaces_woken,
    };
    (Wakes { connectors, scans, workspaces, cluster_workspaces }, woken)
}

/// What a reconcile of one kind is.
type Reconcile<K> =
    fn(Arc<K>, Arc<Context>) -> futures::future::BoxFuture<'static, Result<Option<Duration>, Error>>;

/// One controller: bounded concurrency, backoff per object, and a panic or a malformed object that costs only its own turn.
async fn control<K>(
    kind: &'static str,
    events: impl Stream<Item = Result<Guarded<K>, watcher::Error>> + Send + 'static,
    cache: Store<Guarded<K>>,
    woken: UnboundedReceiver<ObjectRef<Guarded<K>>>,
    ctx: &Arc<Context>,
    stopped: &watch::Receiver<bool>,
    reconcile: Reconcile<K>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let failures = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let turn = {
        let failures = Arc::clone(&failures);
        move |object: Arc<Guarded<K>>, ctx: Arc<Context>| {
            let failures = Arc::clone(&failures);
            async move {
                let begun = Instant::now();
                let key = object.meta().uid.clone().unwrap_or_default();
                let outcome = match &object.0 {
                    Ok(sound) => AssertUnwindSafe(reconcile(Arc::new(sound.clone()), Arc::clone(&ctx)))
                        .catch_unwind()
                        .await
                        .unwrap_or(Err(Error::Panicked)),
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
                match outcome {
                    Ok(requeue) => {
                        failures.lock().remove(&key);
                        Ok(requeue.map_or_else(Action::await_change, Action::requeue))
                    }
                    Err(error) => Err(error),
                }
            }
        }
    };
    let policy = move |object: Arc<Guarded<K>>, error: &Error, _: Arc<Context>| {
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
    Controller::for_stream(events, cache)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(woken)
        .graceful_shutdown_on(told(stopped.clone()))
        .run(turn, policy, Arc::clone(ctx))
        .for_each(|outcome| async move {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = outcome {
                tracing::warn!(kind, %error, "the watch was interrupted; it goes on");
            }
        })
        .await;
}

/// Wakes whatever names a Secret that changed. Only metadata is watched; contents are read by name where they are needed.
async fn watch_secrets(client: Client, ctx: Arc<Context>, stop: impl Future<Output = ()>) {
    // Helm keeps its releases in Secrets, large and many; the server leaves them out.
    let config = watcher::Config::default().fields("type!=helm.sh/release.v1");
    let changes =
        watcher(Api::<PartialObjectMeta<Secret>>::all(client), config).default_backoff().touched_objects();
    let each = changes.for_each(|change| {
        match change {
            Ok(secret) => {
                let (namespace, name) =
                    (secret.metadata.namespace.unwrap_or_default(), secret.metadata.name.unwrap_or_default());
                wake_for_secret(&namespace, &name, &ctx);
            }
            Err(error) => tracing::warn!(%error, "the watch of Secrets was interrupted; it goes on"),
        }
        std::future::ready(())
    });
    tokio::select! {
        () = each => {}
        () = stop => {}
    }
}

fn wake_for_secret(namespace: &str, name: &str, ctx: &Context) {
    let names = |reference: Option<&SecretKeyRef>| reference.is_some_and(|reference| reference.name == name);
    ctx.wake_connectors(|connector| {
        let spec = &connector.spec;
        connector.metadata.namespace.as_deref() == Some(namespace)
            && (names(spec.aws.as_ref().and_then(|aws| aws.external_id_secret_ref.as_ref()))
                || names(spec.gcp.as_ref().and_then(|gcp| gcp.wif_provider_secret_ref.as_ref()))
                || names(spec.azure.as_ref().map(|azure| &azure.client_secret_ref)))
    });
    for workspace in ctx.caches.workspaces.state() {
        if let Ok(workspace) = &workspace.0
            && workspace.metadata.namespace.as_deref() == Some(namespace)
            && names(Some(&workspace.spec.api.auth.api_key.secret_ref))
        {
            ctx.wake_workspace(&AnyWorkspace::Namespaced(Box::new(workspace.clone())).key());
        }
    }
    if namespace == ctx.settings.namespace {
        for workspace in ctx.caches.cluster_workspaces.state() {
            if let Ok(workspace) = &workspace.0
                && names(Some(&workspace.spec.api.auth.api_key.secret_ref))
            {
                ctx.wake_workspace(&AnyWorkspace::Cluster(Box::new(workspace.clone())).key());
            }
        }
    }
}

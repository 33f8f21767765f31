//! The watches and their caches: one of each a kind and scope, the scope being the whole cluster or one of the namespaces that
//! the operator is held to. What no reconcile reads is dropped before it is kept. A watch that is interrupted says so once,
//! is not ready until it goes on, and goes on by itself. Now and then it begins anew with a list, so that no object is forgotten
//! whose event was never told.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Context, Guarded};
use super::index::{Index, Linked, ObjectKey};
use super::packed::{Packed, pack};
use crate::telemetry::{Health, Watching};

/// `kubectl apply` keeps the whole object once more in it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where objects are watched: a namespace, or everywhere.
pub type Scope = Option<String>;

/// The watched objects of one kind, as they were last heard of, and the way to wake them. Nothing irreversible is decided
/// from them.
pub struct Objects<K>
where
    K: Resource<DynamicType = ()> + Watched,
{
    scopes: BTreeMap<Scope, (Store<Packed<K>>, Waker<K>)>,
}

type Waker<K> = UnboundedSender<ObjectRef<Packed<K>>>;

/// What a controller of one kind and scope runs on.
pub(super) struct Watch<K>
where
    K: Resource<DynamicType = ()> + Watched,
{
    /// The objects.
    pub cache: Store<Packed<K>>,
    /// Those in which something changed that a reconcile reads.
    pub events: BoxStream<'static, Result<Packed<K>, watcher::Error>>,
    /// Those that something else concerns.
    pub woken: UnboundedReceiver<ObjectRef<Packed<K>>>,
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = ()> + Watched,
{
    fn scope(&self, namespace: &str) -> Option<&(Store<Packed<K>>, Waker<K>)> {
        self.scopes.get(&None).or_else(|| self.scopes.get(&Some(namespace.to_owned())))
    }

    /// An object as it was last heard of.
    pub fn get(&self, key: &ObjectKey) -> Option<Guarded<K>> {
        Some(self.scope(&key.namespace)?.0.get(&reference(key))?.open())
    }

    /// Each of them, wherever it is.
    pub(super) fn everywhere(&self) -> impl Iterator<Item = Guarded<K>> + '_ {
        self.scopes.values().flat_map(|(cache, _)| cache.state()).map(|object| object.open())
    }

    /// The objects that a test keeps, wherever they are.
    #[cfg(test)]
    pub(super) fn kept(cache: Store<Packed<K>>, woken: Waker<K>) -> Self {
        Self { scopes: [(None, (cache, woken))].into() }
    }

    /// The objects of a namespace, as they were last heard of.
    pub(super) fn all(&self, namespace: &str) -> Vec<Guarded<K>> {
        let Some((cache, _)) = self.scope(namespace) else { return Vec::new() };
        let mut all = cache.state();
        all.retain(|object| object.meta().namespace.as_deref() == Some(namespace));
        all.iter().map(|object| object.open()).collect()
    }

    /// Whether what a namespace holds was heard of once.
    pub(super) fn filled(&self, namespace: &str) -> bool {
        self.scope(namespace).is_some_and(|(cache, _)| {
            cache.wait_until_ready().now_or_never().is_some_and(|there| there.is_ok())
        })
    }

    /// Has an object looked at soon.
    pub fn wake(&self, key: &ObjectKey) {
        if let Some((_, woken)) = self.scope(&key.namespace) {
            // A closed channel means that the operator is stopping.
            let _ = woken.unbounded_send(reference(key));
        }
    }
}

fn reference<K: Resource<DynamicType = ()>>(key: &ObjectKey) -> ObjectRef<Packed<K>> {
    let reference = ObjectRef::new(&key.name);
    if key.namespace.is_empty() { reference } else { reference.within(&key.namespace) }
}

/// What a kind has to be to be watched.
pub trait Watched: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Watched for K {}

/// What every watch is opened with.
pub(super) struct Opener {
    /// The Kubernetes API.
    pub client: Client,
    /// Where.
    pub scopes: Vec<Scope>,
    /// Fed by every watch.
    pub index: Arc<Index>,
    /// Told how every watch is.
    pub health: Arc<Health>,
    /// Told of the schedules that a changed object concerns.
    pub schedules: UnboundedSender<ObjectKey>,
    /// How long a watch goes on before it begins anew with a list.
    pub relist: Duration,
}

impl Opener {
    /// Opens the watches of a namespaced kind. `gone` hears of what went.
    pub(super) fn namespaced<K>(
        &self,
        gone: impl Fn(&ObjectKey) + Clone + Send + 'static,
    ) -> (Objects<K>, Vec<Watch<K>>)
    where
        K: Linked<Scope = NamespaceResourceScope> + Watched,
    {
        self.open(&self.scopes, |scope| api(&self.client, scope), gone)
    }

    /// Opens the watch of a cluster-scoped kind: none where the operator is held to namespaces.
    pub(super) fn cluster<K>(
        &self,
        gone: impl Fn(&ObjectKey) + Clone + Send + 'static,
    ) -> (Objects<K>, Vec<Watch<K>>)
    where
        K: Linked + Watched,
    {
        let everywhere: &[Scope] = if self.scopes.contains(&None) { &[None] } else { &[] };
        self.open(everywhere, |_| Api::all(self.client.clone()), gone)
    }

    fn open<K>(
        &self,
        scopes: &[Scope],
        api: impl Fn(&Scope) -> Api<Guarded<K>>,
        gone: impl Fn(&ObjectKey) + Clone + Send + 'static,
    ) -> (Objects<K>, Vec<Watch<K>>)
    where
        K: Linked + Watched,
    {
        let mut objects = Objects { scopes: BTreeMap::new() };
        let mut watches = Vec::new();
        for scope in scopes {
            let (cache, writer) = reflector::store();
            let (waker, woken) = unbounded();
            let watching = self.watching::<K>(scope);
            let (index, scope_of_index, gone) = (Arc::clone(&self.index), scope.clone(), gone.clone());
            let (before, mut writer) = (cache.clone(), writer);
            let schedules = self.schedules.clone();
            let events = relisted(api(scope), watcher::Config::default(), self.relist)
                .default_backoff()
                .modify(|object| strip(object.meta_mut()))
                .map(move |event| {
                    heard(&watching, &event);
                    event.map(|event| {
                        let packed = pack(&event, |object| before.get(&ObjectRef::from_obj(object)));
                        writer.apply_watcher_event(&packed);
                        index.heed(scope_of_index.as_deref(), &event).iter().for_each(|key| gone(key));
                        // A closed channel means that the operator is stopping.
                        let _ = reported(&event).map(|schedule| schedules.unbounded_send(schedule));
                        packed
                    })
                })
                .touched_objects()
                .try_filter(|object| std::future::ready(object.is_news()))
                .boxed();
            objects.scopes.insert(scope.clone(), (cache.clone(), waker));
            watches.push(Watch { cache, events, woken });
        }
        (objects, watches)
    }

    fn watching<K: Resource<DynamicType = ()>>(&self, scope: &Scope) -> Watching {
        self.health.watching(&K::kind(&()), scope.clone())
    }

    /// Watches the metadata of Secrets, and says which of them changed. Contents are read by name where they are needed.
    pub(super) fn secrets(&self) -> Vec<BoxStream<'static, Result<SecretEvent, watcher::Error>>> {
        // Helm keeps its releases in Secrets, large and many; the server leaves them out.
        let config = watcher::Config::default().fields("type!=helm.sh/release.v1");
        let open = |scope| {
            let watching = self.watching::<Secret>(scope);
            let api: Api<PartialObjectMeta<Secret>> = api(&self.client, scope);
            relisted(api, config.clone(), self.relist)
                .default_backoff()
                .inspect(move |event| heard(&watching, event))
                .try_filter_map(|event| std::future::ready(Ok(secret_event(event))))
                .boxed()
        };
        self.scopes.iter().map(open).collect()
    }
}

/// A watch that begins anew with a list from time to time.
fn relisted<K>(
    api: Api<K>,
    config: watcher::Config,
    every: Duration,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    stream::repeat_with(move || {
        watcher(api.clone(), config.clone()).take_until(tokio::time::sleep(every)).boxed()
    })
    .flatten()
}

/// A Secret and its resourceVersion; none: it is gone.
pub(super) type SecretEvent = (ObjectKey, Option<String>);

fn secret_event(event: watcher::Event<PartialObjectMeta<Secret>>) -> Option<SecretEvent> {
    let (metadata, there) = match event {
        watcher::Event::Apply(it) | watcher::Event::InitApply(it) => (it.metadata, true),
        watcher::Event::Delete(it) => (it.metadata, false),
        watcher::Event::Init | watcher::Event::InitDone => return None,
    };
    Some((ObjectKey::of(&metadata), metadata.resource_version.filter(|_| there)))
}

/// The API of a namespaced kind in that scope.
pub(super) fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Heeds changed Secrets until the watches end.
pub(super) async fn heed_secrets(
    changes: Vec<BoxStream<'static, Result<SecretEvent, watcher::Error>>>,
    ctx: Arc<Context>,
) {
    let mut changes = stream::select_all(changes);
    while let Some(change) = changes.next().await {
        if let Ok((key, version)) = change {
            ctx.secret_changed(key, version.as_deref());
        }
    }
}

/// The schedule that an event concerns.
fn reported<K: Linked>(event: &watcher::Event<Guarded<K>>) -> Option<ObjectKey> {
    let (object, gone) = match event {
        watcher::Event::Apply(it) | watcher::Event::InitApply(it) => (it, false),
        watcher::Event::Delete(it) => (it, true),
        watcher::Event::Init | watcher::Event::InitDone => return None,
    };
    object.0.as_ref().ok()?.reports_to(gone)
}

fn heard<E>(watching: &Watching, event: &Result<watcher::Event<E>, watcher::Error>) {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match event {
        // A list that was only begun says nothing of whether it can be read.
        Ok(watcher::Event::Init) => {}
        Ok(watcher::Event::InitDone) => watching.filled(),
        Ok(_) => watching.goes_on(),
        Err(error) => {
            let refused = matches!(error, InitialListFailed(kube::Error::Api(status))
                | WatchStartFailed(kube::Error::Api(status))
                | WatchFailed(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404));
            watching.failed(error, refused);
        }
    }
}

/// Drops what no reconcile reads, and what costs more memory than all the rest.
fn strip(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

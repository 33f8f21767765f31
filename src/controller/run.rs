//! Starts everything: caches, controllers, leadership, health. Ends it all when asked to, with running reconciles done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;

use super::context::{Caches, Context, Settings};
use super::control::control;
use super::index::{Index, ObjectKey};
use super::watches::{self, Opener, Scope};
use super::{Leadership, connector, leadership, scan, schedule, workspace};
use crate::crd::{ClusterWorkspace, Connector, Scan, ScanSchedule, Workspace, WorkspaceKey, WorkspaceKind};
use crate::telemetry::{self, Health, Metrics};

/// Reconciles of one kind under way at the same time, shared by the scopes. They wait for the API most of the time; its own limits are in the
/// workspace's budget.
const CONCURRENCY: u16 = 64;
/// Reconciles of schedules under way at the same time, in each scope. At the full hour they are many, and nobody is in haste.
const SCHEDULES: u16 = 4;
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
    /// Whether risk and findings of each connector are metrics.
    pub connector_metrics: bool,
    /// How long a watch goes on before it begins anew with a list.
    pub relist: Duration,
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
    let metrics = Arc::new(Metrics::new(options.connector_metrics));
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

    let scopes = settings.scopes();
    tokio::select! {
        () = wait_for_crds(&client, &scopes) => {}
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

    let index = Arc::new(Index::new(Arc::clone(&metrics)));
    let (report, reports) = unbounded();
    let opener = Opener {
        client: client.clone(),
        scopes,
        index: Arc::clone(&index),
        health: Arc::clone(&health),
        schedules: report,
        relist: options.relist,
    };
    let (gone, workspaces_gone) = unbounded();
    let (connector_gone, connectors_gone) = unbounded();
    let (connectors, connector_watches) = opener.namespaced(move |key| {
        // A closed channel means that the operator is stopping.
        let _ = connector_gone.unbounded_send(key.clone());
    });
    let (scans, scan_watches) = opener.namespaced(|_| {});
    let (schedules, schedule_watches) = opener.namespaced(|_| {});
    let (workspaces, workspace_watches) = opener.namespaced(tell(&gone, WorkspaceKind::Workspace));
    let (cluster_workspaces, cluster_workspace_watches) =
        opener.cluster(tell(&gone, WorkspaceKind::ClusterWorkspace));
    let secret_watches = if settings.watch_secrets { opener.secrets() } else { Vec::new() };
    let caches = Caches { connectors, scans, schedules, workspaces, cluster_workspaces };
    let ctx = Arc::new(Context::new(client, settings, caches, index, leadership, metrics));

    let forgetting = {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(workspaces_gone.for_each(move |key| {
            workspace::forget(&key, &ctx);
            std::future::ready(())
        }))
    };
    let forgetting_connectors = {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(connectors_gone.for_each(move |key| {
            ctx.digests.forget(&key);
            workspace::connector_is_gone(&ctx);
            std::future::ready(())
        }))
    };
    let waking_schedules = {
        let ctx = Arc::clone(&ctx);
        tokio::spawn(reports.for_each(move |key| {
            ctx.caches.schedules.wake(&key);
            std::future::ready(())
        }))
    };
    let secrets = tokio::spawn(watches::heed_secrets(secret_watches, Arc::clone(&ctx)));

    let share = |watches: usize| (CONCURRENCY / u16::try_from(watches.max(1)).unwrap_or(u16::MAX)).max(4);
    let stop = || told(stopped.clone());
    let mut all: Vec<BoxFuture<'static, ()>> = Vec::new();
    let places = share(connector_watches.len());
    for watch in connector_watches {
        all.push(
            control("Connector", watch, places, Arc::clone(&ctx), stop(), |it, ctx| {
                connector::reconcile(it, ctx).boxed()
            })
            .boxed(),
        );
    }
    for watch in scan_watches {
        all.push(
            control("Scan", watch, places, Arc::clone(&ctx), stop(), |it, ctx| {
                scan::reconcile(it, ctx).boxed()
            })
            .boxed(),
        );
    }
    for watch in schedule_watches {
        all.push(
            control("ScanSchedule", watch, SCHEDULES, Arc::clone(&ctx), stop(), |it, ctx| {
                schedule::reconcile(it, ctx).boxed()
            })
            .boxed(),
        );
    }
    for watch in workspace_watches {
        all.push(
            control("Workspace", watch, places, Arc::clone(&ctx), stop(), |it, ctx| {
                workspace::reconcile(it.clone().into(), ctx).boxed()
            })
            .boxed(),
        );
    }
    for watch in cluster_workspace_watches {
        all.push(
            control("ClusterWorkspace", watch, places, Arc::clone(&ctx), stop(), |it, ctx| {
                workspace::reconcile(it.clone().into(), ctx).boxed()
            })
            .boxed(),
        );
    }
    let grace = async {
        told(stopped.clone()).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        _ = join_all(all) => {}
        () = grace => tracing::warn!("some reconciles did not come to their end in time"),
    }
    health.stop();
    forgetting.abort();
    forgetting_connectors.abort();
    waking_schedules.abort();
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

/// Waits until every kind that is watched is served.
async fn wait_for_crds(client: &Client, scopes: &[Scope]) {
    let first = ListParams::default().limit(1);
    let scope = scopes.first().cloned().flatten();
    let mut said = None;
    loop {
        let mut served = vec![
            watches::api::<PartialObjectMeta<Workspace>>(client, &scope).list(&first).await.map(drop),
            watches::api::<PartialObjectMeta<Connector>>(client, &scope).list(&first).await.map(drop),
            watches::api::<PartialObjectMeta<Scan>>(client, &scope).list(&first).await.map(drop),
            watches::api::<PartialObjectMeta<ScanSchedule>>(client, &scope).list(&first).await.map(drop),
        ];
        if scope.is_none() {
            let api = Api::<PartialObjectMeta<ClusterWorkspace>>::all(client.clone());
            served.push(api.list(&first).await.map(drop));
        }
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

/// Says that a workspace is gone; a controller is not called for what is not there.
fn tell(
    gone: &UnboundedSender<WorkspaceKey>,
    kind: WorkspaceKind,
) -> impl Fn(&ObjectKey) + Clone + Send + use<> {
    let gone = gone.clone();
    move |ObjectKey { namespace, name }| {
        let namespace = Some(namespace.clone()).filter(|namespace| !namespace.is_empty());
        // A closed channel means that the operator is stopping.
        let _ = gone.unbounded_send(WorkspaceKey { kind, namespace, name: name.clone() });
    }
}

//! What is left of each workspace's limits and who waits, as gauges that are read when somebody looks. The label `workspace`
//! has as many values as there are workspaces.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::remote::Remote;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Window {
    workspace: String,
    window: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Workspace {
    workspace: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Circuit {
    workspace: String,
    circuit: &'static str,
}

/// The gauges, and what they are read from.
#[derive(Debug)]
pub(super) struct Budgets {
    watched: Mutex<BTreeMap<String, Watched>>,
    left: Family<Window, Gauge>,
    waiting: Family<Workspace, Gauge>,
    oldest: Family<Workspace, Gauge>,
    open: Family<Circuit, Gauge>,
}

#[derive(Debug)]
struct Watched {
    remote: Weak<Remote>,
    creates_left: u32,
}

impl Budgets {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self {
            watched: Mutex::default(),
            left: Family::default(),
            waiting: Family::default(),
            oldest: Family::default(),
            open: Family::default(),
        };
        let Self { watched: _, left, waiting, oldest, open } = &new;
        registry.register("budget_left", "Requests and creates left of a workspace's limits", left.clone());
        registry.register("queue_length", "Objects that wait for a request, by workspace", waiting.clone());
        registry.register(
            "queue_oldest_seconds",
            "How long the object waits for a request that waits longest, by workspace",
            oldest.clone(),
        );
        registry.register(
            "circuit_open",
            "1 where the API refuses the credential, or a route to it",
            open.clone(),
        );
        new
    }

    pub(super) fn watch(&self, workspace: String, remote: &Arc<Remote>, creates_left: u32) {
        self.watched.lock().insert(workspace, Watched { remote: Arc::downgrade(remote), creates_left });
    }

    pub(super) fn forget(&self, workspace: &str) {
        self.watched.lock().remove(workspace);
    }

    /// Reads them all. What is gone is not told any more.
    pub(super) fn read(&self) {
        let Self { watched, left, waiting, oldest, open } = self;
        left.clear();
        waiting.clear();
        oldest.clear();
        open.clear();
        for (workspace, Watched { remote, creates_left }) in watched.lock().iter() {
            let Some(remote) = remote.upgrade() else { continue };
            let gauges = remote.budget().gauges();
            let windows = [
                ("minute", clamped(gauges.minute)),
                ("hour", clamped(gauges.hour)),
                ("creates", i64::from(*creates_left)),
            ];
            for (window, value) in windows {
                left.get_or_create(&Window { workspace: workspace.clone(), window }).set(value);
            }
            let labels = Workspace { workspace: workspace.clone() };
            waiting.get_or_create(&labels).set(clamped(gauges.waiting));
            oldest.get_or_create(&labels).set(i64::try_from(gauges.oldest.as_secs()).unwrap_or(i64::MAX));
            let (credential, routes) = remote.circuits().open();
            open.get_or_create(&Circuit { workspace: workspace.clone(), circuit: "credential" })
                .set(i64::from(credential));
            for circuit in routes {
                open.get_or_create(&Circuit { workspace: workspace.clone(), circuit }).set(1);
            }
        }
    }
}

fn clamped(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

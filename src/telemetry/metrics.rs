//! What is counted. Every label has a bound: kinds, routes, outcomes, reasons and effects are fixed words; workspaces are as many as
//! there are objects of that kind; connectors are labels only where asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::budgets::Budgets;
use crate::controller::ObjectKey;
use crate::crd::WorkspaceKey;
use crate::remote::Remote;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reconcile {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WatchedKind {
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Request {
    route: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EffectLabels {
    kind: &'static str,
    effect: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ClaimLabels {
    event: &'static str,
}

/// The operator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    requests: Family<Request, Counter>,
    effects: Family<EffectLabels, Counter>,
    claims: Family<ClaimLabels, Counter>,
    budgets: Budgets,
    leading: Gauge,
    interrupted: Family<WatchedKind, Gauge>,
    resources: Family<ResourceLabels, Gauge>,
    snapshots: Family<WorkspaceLabel, Gauge>,
    short_lists: Family<WorkspaceLabel, Gauge>,
    scores: Option<Scores>,
}

/// Risk and findings of each connector: as many series as there are connectors, and so only where asked for.
#[derive(Debug)]
struct Scores {
    risk: Family<ConnectorLabels, Gauge>,
    findings: Family<ConnectorLabels, Gauge>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResourceLabels {
    kind: String,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WorkspaceLabel {
    workspace: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ConnectorLabels {
    name: String,
    namespace: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Metrics {
    /// Nothing counted yet. Risk and findings of each connector only where asked for.
    pub fn new(connector_metrics: bool) -> Self {
        let mut registry = Registry::with_prefix("slimio");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles, by kind of resource and outcome", reconciles.clone());
        let durations: Family<Kind, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.002, 3.0, 10)));
        registry.register(
            "reconcile_duration_seconds",
            "Time of one reconcile, by kind of resource",
            durations.clone(),
        );
        let requests = Family::default();
        registry.register(
            "api_requests",
            "Requests to Connectors APIs, by route and outcome",
            requests.clone(),
        );
        let effects = Family::default();
        registry.register("effects", "Effects carried out, by kind of resource and effect", effects.clone());
        let claims = Family::default();
        registry.register("claims", "Claims opened, and creates found again by them", claims.clone());
        let budgets = Budgets::register(&mut registry);
        let leading = Gauge::default();
        registry.register("leading", "1 while this replica leads", leading.clone());
        let interrupted = Family::default();
        registry.register(
            "interrupted_watches",
            "Watches of the Kubernetes API that hear nothing at the moment, by kind",
            interrupted.clone(),
        );
        let resources = Family::default();
        registry.register(
            "resources",
            "Resources, by kind and by the reason of their Ready",
            resources.clone(),
        );
        let snapshots = Family::default();
        registry.register(
            "snapshot_timestamp_seconds",
            "When the last complete list of a workspace's connectors was read, as Unix time",
            snapshots.clone(),
        );
        let short_lists = Family::default();
        registry.register(
            "list_too_short",
            "1 while a workspace's list of connectors is too short to be believed",
            short_lists.clone(),
        );
        let scores = connector_metrics.then(|| {
            let (risk, findings) = (Family::default(), Family::default());
            registry.register("connector_risk_score", "Risk score of a connector", risk.clone());
            registry.register("connector_findings", "Findings of a connector", findings.clone());
            Scores { risk, findings }
        });
        Self {
            registry,
            reconciles,
            durations,
            requests,
            effects,
            claims,
            budgets,
            leading,
            interrupted,
            resources,
            snapshots,
            short_lists,
            scores,
        }
    }

    /// One reconcile ended.
    pub fn reconcile(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Reconcile { kind, outcome }).inc();
        self.durations.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// One request to an API was answered, or not.
    pub fn api_request(&self, route: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Request { route, outcome }).inc();
    }

    /// One effect was carried out.
    pub fn effect(&self, kind: &'static str, effect: &'static str) {
        self.effects.get_or_create(&EffectLabels { kind, effect }).inc();
    }

    /// A claim was `made`, or what it stood for `recovered`.
    pub fn claim(&self, event: &'static str) {
        self.claims.get_or_create(&ClaimLabels { event }).inc();
    }

    /// A workspace has that remote, and so many creates left in the hour.
    pub fn watch(&self, workspace: String, remote: &Arc<Remote>, creates_left: u32) {
        self.budgets.watch(workspace, remote, creates_left);
    }

    /// A workspace is gone.
    pub fn forget(&self, workspace: &str) {
        self.budgets.forget(workspace);
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// How many watches of a kind hear nothing.
    pub fn interrupted_watches(&self, kind: String, count: i64) {
        self.interrupted.get_or_create(&WatchedKind { kind }).set(count);
    }

    /// How many objects of a kind there are, by the reason of their `Ready`.
    pub fn resources(&self, kind: &str, reasons: &HashMap<&'static str, i64>) {
        for (reason, count) in reasons {
            self.resources.get_or_create(&ResourceLabels { kind: kind.to_owned(), reason }).set(*count);
        }
    }

    /// A complete list of a workspace's connectors was read, and whether it is too short to be believed.
    pub fn snapshot(&self, workspace: &WorkspaceKey, time: Timestamp, too_short: bool) {
        let label = WorkspaceLabel { workspace: workspace.to_string() };
        self.snapshots.get_or_create(&label).set(time.as_second());
        self.short_lists.get_or_create(&label).set(i64::from(too_short));
    }

    /// A workspace is gone.
    pub fn no_snapshot(&self, workspace: &WorkspaceKey) {
        let label = WorkspaceLabel { workspace: workspace.to_string() };
        self.snapshots.remove(&label);
        self.short_lists.remove(&label);
    }

    /// Risk and findings of a connector.
    pub fn score(&self, ObjectKey { namespace, name }: &ObjectKey, risk: Option<i32>, findings: Option<i64>) {
        let Some(scores) = &self.scores else { return };
        let labels = ConnectorLabels { name: name.clone(), namespace: namespace.clone() };
        if let Some(risk) = risk {
            scores.risk.get_or_create(&labels).set(i64::from(risk));
        } else {
            scores.risk.remove(&labels);
        }
        if let Some(findings) = findings {
            scores.findings.get_or_create(&labels).set(findings);
        } else {
            scores.findings.remove(&labels);
        }
    }

    /// A connector is gone.
    pub fn no_score(&self, connector: &ObjectKey) {
        self.score(connector, None, None);
    }

    /// All of it, in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        self.budgets.read();
        let mut text = String::new();
        // Writing into a String has no way to fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_stands_in_the_text() {
        let metrics = Metrics::default();
        metrics.reconcile("Connector", "ok", Duration::from_millis(3));
        metrics.api_request("create", "success");
        metrics.leads(true);
        let text = metrics.encode();
        for line in [
            "slimio_reconciles_total{kind=\"Connector\",outcome=\"ok\"} 1",
            "slimio_api_requests_total{route=\"create\",outcome=\"success\"} 1",
            "slimio_leading 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    fn workspace() -> WorkspaceKey {
        WorkspaceKey {
            kind: crate::crd::WorkspaceKind::Workspace,
            namespace: Some("team".to_owned()),
            name: "main".to_owned(),
        }
    }

    fn connector() -> ObjectKey {
        ObjectKey { namespace: "team".to_owned(), name: "lake".to_owned() }
    }

    #[test]
    fn what_is_gone_is_not_told_any_more_and_connectors_only_where_asked_for() {
        let metrics = Metrics::new(true);
        metrics.score(&connector(), Some(7), None);
        metrics.snapshot(&workspace(), Timestamp::UNIX_EPOCH, true);
        let risk = "slimio_connector_risk_score{name=\"lake\",namespace=\"team\"} 7";
        assert!(metrics.encode().contains(risk) && !metrics.encode().contains("findings{"));
        let short = "slimio_list_too_short{workspace=\"Workspace team/main\"}";
        assert!(metrics.encode().contains(&format!("{short} 1")));
        metrics.snapshot(&workspace(), Timestamp::UNIX_EPOCH, false);
        assert!(metrics.encode().contains(&format!("{short} 0")));
        metrics.no_score(&connector());
        metrics.no_snapshot(&workspace());
        let text = metrics.encode();
        assert!(!text.contains("lake") && !text.contains("main"), "{text}");
        let without = Metrics::default();
        without.score(&connector(), Some(7), Some(9));
        assert!(!without.encode().contains("lake"));
    }

    /// Name, type and labels of every metric, as one scrape shows them once each was counted.
    fn encoded() -> Vec<String> {
        let metrics = Arc::new(Metrics::new(true));
        metrics.reconcile("Scan", "ok", Duration::ZERO);
        metrics.api_request("list", "success");
        metrics.effect("Scan", "start");
        metrics.interrupted_watches("Scan".to_owned(), 0);
        metrics.claim("made");
        let remote = crate::remote::tests::remote(&metrics);
        metrics.watch("Workspace team/main".to_owned(), &remote, 20);
        metrics.resources("Scan", &[("Running", 1)].into());
        metrics.snapshot(&workspace(), Timestamp::UNIX_EPOCH, true);
        metrics.score(&connector(), Some(7), Some(9));
        let text = metrics.encode();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut all = types
            .map(|(name, kind)| {
                let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let sample = text.lines().find(|line| line.starts_with(&name)).unwrap();
                let labels = sample.split(['{', ',', '}']).filter_map(|part| part.split_once("=\""));
                let mut labels =
                    labels.map(|(label, _)| label).filter(|label| *label != "le").collect::<Vec<_>>();
                labels.sort_unstable();
                format!("{name} {kind} {}", labels.join(","))
            })
            .collect::<Vec<_>>();
        all.sort();
        all
    }

    #[test]
    fn the_documentation_has_every_metric_with_its_type_and_labels_and_no_other() {
        let rows =
            include_str!("../../docs/operations.md").lines().filter(|line| line.starts_with("| `slimio_"));
        let mut documented = rows
            .map(|row| {
                let cells = row.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
                format!("{} {} {}", cells[1], cells[2], cells[3].replace(' ', ""))
            })
            .collect::<Vec<_>>();
        documented.sort();
        assert_eq!(documented, encoded(), "the table in docs/operations.md, labels in alphabetical order");
    }
}

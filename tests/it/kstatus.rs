//! How tools that know nothing of our kinds see our objects: kstatus, the library that Flux reads them with, and
//! `kubectl wait` are asked about each kind in each phase. `observedGeneration` is right at each step.

use std::sync::LazyLock;

use serde_json::Value;
use testbed::{Kstatus, Verdict};

use crate::lab::{Lab, PATIENCE};

static KSTATUS: LazyLock<Kstatus> = LazyLock::new(|| Kstatus::prepare().unwrap());

/// One object, followed through its phases.
struct Followed<'a> {
    lab: &'a Lab,
    kind: &'static str,
    name: String,
}

impl<'a> Followed<'a> {
    /// Creates an object, of which nobody has seen anything when the API server answers.
    async fn create(lab: &'a Lab, kind: &'static str, yaml: &str) -> Self {
        let made =
            lab.parts.cluster.kubectl_with_input(&["create", "-f", "-", "-o", "json"], yaml).await.unwrap();
        assert!(made.success, "{}", made.stderr);
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(made["status"]["observedGeneration"], -1, "{kind}: {made:#}");
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        let followed = Self { lab, kind, name };
        followed.is("InProgress", &made);
        followed
    }

    fn is(&self, wanted: &str, object: &Value) -> String {
        let Verdict { status, message } = KSTATUS.verdict(object).unwrap();
        assert_eq!(status, wanted, "{} {}: {message}\n{object:#}", self.kind, self.name);
        message
    }

    async fn get(&self) -> Value {
        let got = self.lab.kubectl(&["get", self.kind, &self.name, "-o", "json"]).await;
        serde_json::from_str(&got).unwrap()
    }

    /// Waits until its `Ready` has that reason. Then it is seen like that, and nothing of its spec is unseen.
    async fn until(&self, reason: &str, wanted: &str) -> String {
        let begun = std::time::Instant::now();
        loop {
            let object = self.get().await;
            let status = &object["status"];
            let seen = status["observedGeneration"] == object["metadata"]["generation"];
            let conditions = status["conditions"].as_array().into_iter().flatten();
            if seen && conditions.into_iter().any(|it| it["type"] == "Ready" && it["reason"] == reason) {
                let message = self.is(wanted, &object);
                self.waited_for("Ready", wanted == "Current").await;
                self.waited_for("Stalled", wanted == "Failed").await;
                return message;
            }
            assert!(begun.elapsed() < PATIENCE, "{} is not {reason}: {object:#}", self.kind);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Whether `kubectl wait` finds that condition.
    async fn waited_for(&self, condition: &str, found: bool) {
        let object = format!("{}/{}", self.kind, self.name);
        let (condition, timeout) =
            (format!("--for=condition={condition}"), if found { "--timeout=60s" } else { "--timeout=1s" });
        let args = ["--namespace", &self.lab.namespace, "wait", &object, &condition, timeout];
        let waited = self.lab.parts.cluster.kubectl(&args).await.unwrap();
        assert_eq!(waited.success, found, "{object}, {condition}: {}{}", waited.stdout, waited.stderr);
        assert!(found || waited.stderr.contains("timed out waiting"), "{object}: {}", waited.stderr);
    }

    /// Edits its spec. The answer shows the object as nobody has seen it yet.
    async fn edit(&self, spec: &str) {
        let patch = format!("{{\"spec\": {spec}}}");
        let args = ["patch", self.kind, &self.name, "--type=merge", "-p", &patch, "-o", "json"];
        let edited: Value = serde_json::from_str(&self.lab.kubectl(&args).await).unwrap();
        assert_ne!(edited["status"]["observedGeneration"], edited["metadata"]["generation"]);
        let message = self.is("InProgress", &edited);
        assert!(message.contains("generation"), "{message}");
    }

    /// Deletes it, with a finalizer of our own that lets it be looked at.
    async fn delete(&self) {
        let first = r#"{"metadata": {"finalizers": ["example.org/looked-at"]}}"#;
        let another =
            r#"[{"op": "add", "path": "/metadata/finalizers/-", "value": "example.org/looked-at"}]"#;
        let has = self.get().await["metadata"]["finalizers"].is_array();
        let (how, patch) = if has { ("--type=json", another) } else { ("--type=merge", first) };
        self.lab.kubectl(&["patch", self.kind, &self.name, how, "-p", patch]).await;
        self.lab.kubectl(&["delete", self.kind, &self.name, "--wait=false"]).await;
        self.is("Terminating", &self.get().await);
        let begun = std::time::Instant::now();
        loop {
            let object = self.get().await;
            self.is("Terminating", &object);
            if object["metadata"]["finalizers"].as_array().is_some_and(|all| all.len() == 1) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{} is held: {object:#}", self.kind);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let free = r#"{"metadata": {"finalizers": null}}"#;
        self.lab.kubectl(&["patch", self.kind, &self.name, "--type=merge", "-p", free]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_in_progress_until_it_is_ready_and_failed_only_where_an_edit_has_to_help() {
    let lab = Lab::shared("kstatus").await;
    let bucket = lab.bucket(1).await;
    let early = lab.connector("early", &bucket, "").replace("name: lab}", "name: later}");
    let early = Followed::create(&lab, "connector", &early).await;
    let message = early.until("WorkspaceNotFound", "InProgress").await;
    assert!(message.contains("create it"), "{message}");
    early.edit(r#"{"workspaceRef": {"name": "lab"}}"#).await;
    early.until("Ready", "Current").await;
    early.edit(r#"{"maxRiskScore": 50}"#).await;
    early.until("Ready", "Current").await;

    // Nobody works at it, and nothing is wrong with it: kstatus goes by `Ready`.
    let resting =
        Followed::create(&lab, "connector", &lab.connector("resting", &bucket, "  suspend: true")).await;
    resting.until("Suspended", "InProgress").await;

    let wrong = lab.connector("wrong", &bucket, "  connectorId: conn-that-is-not-there");
    let wrong = Followed::create(&lab, "connector", &wrong).await;
    let message = wrong.until("RemoteMissing", "Failed").await;
    assert!(message.contains("spec.connectorId"), "{message}");
    for each in [wrong, resting, early] {
        each.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_in_progress_until_it_is_completed_or_failed() {
    let lab = Lab::shared("kstatus-scan").await;
    let bucket = lab.bucket(1).await;
    let scan = Followed::create(&lab, "scan", &lab.scan("patient", "later", "")).await;
    let hasty = lab.scan("hasty", "never", "  startingDeadlineSeconds: 1");
    let hasty = Followed::create(&lab, "scan", &hasty).await;
    scan.until("ConnectorNotFound", "InProgress").await;
    lab.apply(&lab.connector("later", &bucket, "")).await;
    scan.until("Completed", "Current").await;
    let message = hasty.until("StartingDeadlineExceeded", "Failed").await;
    assert!(message.contains("startingDeadlineSeconds"), "{message}");
    scan.delete().await;
    hasty.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_of_both_kinds_are_in_progress_until_their_secret_is_there() {
    let lab = Lab::shared("kstatus-ws").await;
    let named = |name: &str| lab.workspace().replace("name: lab", &format!("name: {name}"));
    let waiting = named("waiting").replace("name: api-key", "name: not-yet");
    let waiting = Followed::create(&lab, "workspace", &waiting).await;
    waiting.until("SecretNotFound", "InProgress").await;
    waiting.edit(r#"{"auth": {"apiKey": {"secretRef": {"name": "api-key"}}}}"#).await;
    waiting.until("Ready", "Current").await;
    waiting.edit(r#"{"endpoint": "https://elsewhere.example"}"#).await;
    waiting.until("EndpointNotPermitted", "Failed").await;
    waiting.delete().await;

    let cluster = named(&lab.namespace)
        .replace("kind: Workspace", "kind: ClusterWorkspace")
        .replace(&format!(", namespace: {}}}", lab.namespace), "}")
        .replace("name: api-key", "name: not-in-this-namespace");
    let cluster = Followed::create(&lab, "clusterworkspace", &cluster).await;
    cluster.until("SecretNotFound", "InProgress").await;
    let secret = lab.secret(&lab.namespace, "apiKey", secrecy::ExposeSecret::expose_secret(&lab.key));
    lab.apply(&secret.replace(&format!("namespace: {}", lab.namespace), "namespace: slimio-system")).await;
    cluster
        .edit(&format!(r#"{{"auth": {{"apiKey": {{"secretRef": {{"name": "{}"}}}}}}}}"#, lab.namespace))
        .await;
    cluster.until("Ready", "Current").await;
    cluster.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_current_while_it_waits_for_its_time_or_is_suspended() {
    let lab = Lab::shared("kstatus-clock").await;
    let bucket = lab.bucket(1).await;
    let yaml = format!(
        "
apiVersion: slim.io/v1alpha1
kind: ScanSchedule
metadata: {{name: yearly, namespace: {}}}
spec: {{schedule: '0 0 1 1 *', connectorRef: {{name: later}}}}
",
        lab.namespace
    );
    let yearly = Followed::create(&lab, "scanschedule", &yaml).await;
    yearly.until("ConnectorNotFound", "InProgress").await;
    lab.apply(&lab.connector("later", &bucket, "")).await;
    yearly.until("Scheduled", "Current").await;
    yearly.edit(r#"{"schedule": "0 0 30 2 *"}"#).await;
    yearly.until("ScheduleNeverDue", "Failed").await;
    yearly.edit(r#"{"schedule": "0 0 1 1 *", "suspend": true}"#).await;
    yearly.until("Suspended", "Current").await;
    yearly.delete().await;
}

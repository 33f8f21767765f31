//! The demo: real parts, real kubectl, from nothing to findings in the status, and back.

mod manifests;
mod screen;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use screen::Screen;
use stage::Stage;
use table::{Row, condition};

/// How long the main job may take once everything runs.
const JOB_LIMIT: Duration = Duration::from_secs(240);
/// How long a deletion may take.
const DELETE_LIMIT: &str = "60s";
/// How often the table is read again.
const REFRESH: Duration = Duration::from_millis(200);
/// What the examples are about.
const NAMESPACE: &str = "demo";
const CONNECTOR: &str = "customer-exports";
const SCAN: &str = "first-look";
const SCHEDULE: &str = "nightly";
/// How long a run of it may take.
const SCHEDULE_LIMIT: &str = "60s";

/// Why the demo did not get to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(String);

impl From<testbed::Error> for Failure {
    fn from(error: testbed::Error) -> Self {
        Self(error.to_string())
    }
}

/// What `testbed demo` is told.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// End with success when the main job is done: scanned, shown, and deleted again.
    #[arg(long)]
    once: bool,
    /// The checkout, for `crds/` and `deploy/examples/`.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

/// Runs it until its end or until Ctrl-C. Everything that was started is gone when this returns.
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            outcome = demo(args) => match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(Failure(reason)) => {
                    eprintln!("\nerror: {reason}");
                    ExitCode::FAILURE
                }
            },
            code = interruption() => {
                println!("\nInterrupted: everything that was started has been ended.");
                ExitCode::from(code)
            }
        }
    });
    // A preparation under way would be waited for: its guards end it when this process ends.
    runtime.shutdown_background();
    code
}

/// Waits for Ctrl-C or SIGTERM; the exit code that says which.
async fn interruption() -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers both end the process at once, and the guards end the rest.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    println!("Starting real parts, on free ports of loopback:");
    let mut stage = Stage::build(&args.root).await?;
    let outcome = perform(&stage, args.once).await;
    if outcome.is_err() {
        let logs = stage.keep_logs().join("\n  ");
        return outcome.map_err(|Failure(reason)| Failure(format!("{reason}\nlogs:\n  {logs}")));
    }
    outcome
}

async fn perform(stage: &Stage, once: bool) -> Result<(), Failure> {
    println!("\nWhat the operator makes of them:\n");
    let took = watch(stage).await?;
    println!("\nScanned {} s after kubectl apply. What kubectl says:\n", took.as_secs());
    show(stage, &["get", "clusterworkspaces"]).await?;
    show(stage, &["get", "connectors,scans", "-n", NAMESPACE]).await?;
    conditions(stage).await?;
    comparison(stage).await?;
    scheduled(stage).await?;
    if once {
        return delete(stage).await;
    }
    what_next(stage);
    std::future::pending().await
}

/// Shows the table until the main job is done.
async fn watch(stage: &Stage) -> Result<Duration, Failure> {
    let (started, mut screen) = (Instant::now(), Screen::new());
    loop {
        let objects = stage.objects().await?;
        let rows: Vec<Row> = objects.iter().map(Row::of).collect();
        screen.show(&rows, Timestamp::now());
        if let Some(casualty) = stage.casualty() {
            return Err(Failure(format!("{casualty} while the scan was awaited")));
        }
        match progress(&objects) {
            Progress::Done => return Ok(started.elapsed()),
            Progress::Failed(reason) => return Err(Failure(reason)),
            Progress::Waiting(what) if started.elapsed() > JOB_LIMIT => {
                return Err(Failure(format!("{what}, still after {} s", JOB_LIMIT.as_secs())));
            }
            Progress::Waiting(_) => tokio::time::sleep(REFRESH).await,
        }
    }
}

/// How far the main job is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Waiting(String),
    Failed(String),
}

/// Done: connector ready, scan completed with findings, and both risk and findings in the connector's status.
fn progress(objects: &[Value]) -> Progress {
    let find = |kind: &str, name: &str| {
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    };
    let (Some(connector), Some(scan)) = (find("Connector", CONNECTOR), find("Scan", SCAN)) else {
        return Progress::Failed("the example's connector or scan is gone".to_owned());
    };
    let message = |object: &Value| {
        let condition = condition(object, "Ready");
        condition.and_then(|condition| condition["message"].as_str()).unwrap_or("nothing is said").to_owned()
    };
    match scan["status"]["phase"].as_str() {
        Some("Completed") => {}
        Some("Failed" | "Cancelled") => {
            return Progress::Failed(format!("the scan failed: {}", message(scan)));
        }
        _ if condition(connector, "Ready").is_none_or(|ready| ready["status"] != "True") => {
            return Progress::Waiting(format!("connector {CONNECTOR} is not Ready: {}", message(connector)));
        }
        _ => return Progress::Waiting(format!("scan {SCAN} is not complete: {}", message(scan))),
    }
    let found = scan["status"]["findingsCount"].as_i64().unwrap_or(0);
    if found == 0 {
        return Progress::Failed("the scan found nothing in files full of personal data".to_owned());
    }
    let status = &connector["status"];
    if condition(connector, "Ready").is_none_or(|ready| ready["status"] != "True") {
        return Progress::Waiting(format!("connector {CONNECTOR} is not Ready: {}", message(connector)));
    }
    if status["findingsCount"].as_i64() != Some(found) || status["riskScore"].as_i64().is_none() {
        return Progress::Waiting(format!("the findings are not in the status of connector {CONNECTOR}"));
    }
    Progress::Done
}

/// Prints what a kubectl command prints.
async fn show(stage: &Stage, args: &[&str]) -> Result<(), Failure> {
    let output = stage.cluster.kubectl(args).await?;
    println!("$ kubectl {}\n{}", args.join(" "), output.stdout);
    if output.success {
        return Ok(());
    }
    Err(Failure(format!("kubectl {} failed: {}", args.join(" "), output.stderr.trim())))
}

/// Every condition of every resource, with its message in full.
async fn conditions(stage: &Stage) -> Result<(), Failure> {
    println!("Conditions:");
    for object in stage.objects().await? {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        println!("  {kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            println!("    {}={} {}: {}", text("type"), text("status"), text("reason"), text("message"));
        }
    }
    Ok(())
}

/// What was planted beside what was found: no claim, only both numbers.
async fn comparison(stage: &Stage) -> Result<(), Failure> {
    let objects = stage.objects().await?;
    let scan = objects.iter().find(|object| object["kind"] == "Scan" && object["metadata"]["name"] == SCAN);
    let found = scan.and_then(|scan| scan["status"]["findingsCount"].as_i64()).unwrap_or(0);
    let planted = stage.planted;
    println!(
        "\nPlanted in the scanned bucket: {} ({} e-mail addresses, {} telephone numbers, {} social security numbers, \
         {} cards, {} IBANs). Found: {found}.",
        planted.total(),
        planted.emails,
        planted.phones,
        planted.ssns,
        planted.cards,
        planted.ibans
    );
    Ok(())
}

/// Deletes the connector as a person would, and asks the API itself whether it is gone.
/// Has the schedule run now, and shows what it made.
async fn scheduled(stage: &Stage) -> Result<(), Failure> {
    println!("\nA schedule, asked to run now:\n");
    let request = "slim.io/run-requested-at=now";
    show(stage, &["annotate", "scanschedule", SCHEDULE, "-n", NAMESPACE, request]).await?;
    let (done, timeout) =
        ("--for=jsonpath={.status.lastSuccessfulTime}", format!("--timeout={SCHEDULE_LIMIT}"));
    show(stage, &["wait", done, "scanschedule", SCHEDULE, "-n", NAMESPACE, &timeout]).await?;
    show(stage, &["get", "scanschedules,scans", "-n", NAMESPACE]).await
}

async fn delete(stage: &Stage) -> Result<(), Failure> {
    let before = stage.connectors_at_the_api().await?;
    println!("\nAt the API before the deletion: {}", before.join(", "));
    let timeout = format!("--timeout={DELETE_LIMIT}");
    show(stage, &["delete", "connector", CONNECTOR, "-n", NAMESPACE, &timeout]).await?;
    let after = stage.connectors_at_the_api().await?;
    println!("At the API after it: {}", after.join(", "));
    let name = format!("{NAMESPACE}.{CONNECTOR}");
    if !before.contains(&name) {
        return Err(Failure(format!("the API never had a connector named {name}")));
    }
    if after.contains(&name) || after.len() + 1 != before.len() {
        return Err(Failure(format!("the deletion of {name} is not what the API shows")));
    }
    println!("\nThe main job is done.");
    Ok(())
}

fn what_next(stage: &Stage) {
    let kubectl = format!(
        "KUBECONFIG={} {}",
        stage.cluster.kubeconfig().display(),
        stage.cluster.kubectl_program().display()
    );
    println!("\nIt stays up until Ctrl-C. In another terminal:\n");
    for (what, command) in [
        ("what is there", format!("get connectors,scans,scanschedules -n {NAMESPACE} -o wide")),
        ("why one connector fails", format!("describe connector misspelt-bucket -n {NAMESPACE}")),
        ("all about one", format!("get connector {CONNECTOR} -n {NAMESPACE} -o yaml")),
        ("delete one, here and at the API", format!("delete connector {CONNECTOR} -n {NAMESPACE}")),
        ("every field, explained", "explain connector.spec --recursive".to_owned()),
    ] {
        println!("# {what}\n{kubectl} {command}\n");
    }
    let scan = format!(
        "{{apiVersion: slim.io/v1alpha1, kind: Scan, metadata: {{name: logs, namespace: {NAMESPACE}}}, \
         spec: {{connectorRef: {{name: application-logs}}}}}}"
    );
    println!("# scan another one\necho '{scan}' |\n  {kubectl} apply -f -\n");
    println!("Log of the operator: {}", stage.operator.log_path().display());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(connector_status: Value, scan_status: Value) -> Vec<Value> {
        vec![
            json!({"kind": "Connector", "metadata": {"name": CONNECTOR}, "status": connector_status}),
            json!({"kind": "Scan", "metadata": {"name": SCAN}, "status": scan_status}),
        ]
    }

    #[test]
    fn the_job_is_done_only_when_risk_and_findings_stand_in_the_status_of_a_ready_connector() {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let scan = json!({"phase": "Completed", "findingsCount": 5});
        let done = json!({"conditions": ready, "findingsCount": 5, "riskScore": 80});
        assert_eq!(progress(&objects(done, scan.clone())), Progress::Done);
        let stale = json!({"conditions": ready, "findingsCount": 0, "riskScore": 0});
        assert!(matches!(progress(&objects(stale, scan.clone())), Progress::Waiting(_)));
        let unready = json!({"findingsCount": 5, "riskScore": 80});
        assert!(matches!(progress(&objects(unready, scan)), Progress::Waiting(_)));
    }

    #[test]
    fn a_scan_without_findings_or_that_failed_is_a_failure() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let empty = progress(&objects(ready.clone(), json!({"phase": "Completed", "findingsCount": 0})));
        assert!(matches!(empty, Progress::Failed(_)), "{empty:?}");
        let failed = progress(&objects(ready, json!({"phase": "Failed"})));
        assert!(matches!(failed, Progress::Failed(_)), "{failed:?}");
        assert!(matches!(progress(&[]), Progress::Failed(_)));
    }
}

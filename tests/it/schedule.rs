//! Schedules on a real API server, with the garbage collector of a real controller manager: the clock, requests, names that
//! are taken, and what deletion leaves.

use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};
use slimio_operator::crd::{Scan, ScanSchedule};

use crate::lab::Lab;

/// A run a minute, on a busy machine; or the garbage collector, which looks for new kinds twice a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// A ScanSchedule with `more` lines of spec.
fn schedule(lab: &Lab, name: &str, when: &str, more: &str) -> String {
    format!(
        "
apiVersion: slim.io/v1alpha1
kind: ScanSchedule
metadata: {{name: {name}, namespace: {}}}
spec:
  schedule: '{when}'
  scanTemplate: {{metadata: {{labels: {{team: data}}}}, spec: {{options: {{maxFiles: 10}}}}}}
{more}
",
        lab.namespace
    )
}

/// `Ready`: its status, reason and message.
fn ready(schedule: &ScanSchedule) -> (String, String, String) {
    let all = schedule.status.iter().flat_map(|status| &status.conditions);
    let ready = all.into_iter().find(|condition| condition.type_ == "Ready").cloned();
    ready.map(|it| (it.status, it.reason, it.message)).unwrap_or_default()
}

async fn until_reason(lab: &Lab, name: &str, reason: &str) -> String {
    let what = format!("Ready with reason {reason}");
    let found = lab.until_within::<ScanSchedule>(name, &what, PATIENCE, |it| ready(it).1 == reason).await;
    ready(&found).2
}

/// The Scans with a schedule's label.
async fn scans(lab: &Lab, schedule: &str) -> Vec<Scan> {
    let api: Api<Scan> = lab.objects();
    api.list(&ListParams::default().labels(&format!("slim.io/schedule={schedule}"))).await.unwrap().items
}

fn owners(scans: &[Scan]) -> Vec<&str> {
    scans.iter().flat_map(ResourceExt::owner_references).map(|owner| owner.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_fires_runs_on_request_and_leaves_its_scans_or_takes_them_along() {
    let lab = Lab::shared("clock").await;
    let bucket = lab.bucket(2).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.apply(&lab.connector("b", &bucket, "")).await;
    lab.kubectl(&["label", "connectors", "a", "b", "tier=gold"]).await;
    lab.until_ready("a").await;
    lab.until_ready("b").await;

    // The names that the second one will want belong to somebody else.
    let minute = jiff::Timestamp::now().as_second() / 60;
    for minute in minute..minute + 5 {
        lab.apply(&lab.scan(&format!("taken-{minute}"), "no-such-connector", "")).await;
    }
    lab.apply(&schedule(&lab, "nightly", "* * * * *", "  connectorRef: {name: a}")).await;
    lab.apply(&schedule(&lab, "taken", "* * * * *", "  connectorRef: {name: a}")).await;
    let done = |it: &ScanSchedule| it.status.as_ref().is_some_and(|it| it.last_successful_time.is_some());
    let fired = lab.until_within::<ScanSchedule>("nightly", "done with a run", PATIENCE, done).await;
    lab.kubectl(&["patch", "scanschedule", "nightly", "--type=merge", "-p", "{\"spec\":{\"suspend\":true}}"])
        .await;
    let status = fired.status.as_ref().unwrap();
    assert_eq!(status.last_schedule_time.unwrap().as_second() % 60, 0);
    let made = scans(&lab, "nightly").await;
    let first = made.first().unwrap();
    let planned = status.last_schedule_time.unwrap();
    assert!(made.iter().any(|it| it.name_any() == format!("nightly-{}", planned.as_second() / 60)));
    assert!(first.annotations()["slim.io/scheduled-at"].ends_with(":00Z"));
    assert_eq!(
        (first.labels()["team"].as_str(), first.spec.options.as_ref().unwrap().max_files),
        ("data", Some(10))
    );
    let owner = &first.owner_references()[0];
    assert_eq!((Some(&owner.uid), owner.controller), (fired.uid().as_ref(), Some(true)));

    let message = until_reason(&lab, "taken", "ScanNameTaken").await;
    assert!(message.contains("does not belong to this schedule"), "{message}");
    assert!(scans(&lab, "taken").await.is_empty(), "nothing is taken over");
    lab.kubectl(&["delete", "scanschedule", "taken"]).await;

    // While it is suspended, a run on request.
    until_reason(&lab, "nightly", "Suspended").await;
    let request = ["annotate", "scanschedule", "nightly", "--overwrite", "slim.io/run-requested-at=please"];
    lab.kubectl(&request).await;
    let handled = |it: &ScanSchedule| {
        let run = it.status.as_ref().and_then(|status| status.run.clone());
        run.is_some_and(|run| run.finished && run.started == 1 && run.request.as_deref() == Some("please"))
    };
    lab.until::<ScanSchedule>("nightly", "done with the request", handled).await;
    let all = scans(&lab, "nightly").await;
    let requested = all.iter().find(|scan| scan.name_any().starts_with("nightly-now-")).unwrap();
    lab.until_scan(&requested.name_any(), "Completed").await;

    // Orphaned, they stay, and belong to nobody.
    lab.kubectl(&["delete", "scanschedule", "nightly", "--cascade=orphan"]).await;
    let left = scans(&lab, "nightly").await;
    assert!(left.len() >= 2, "{left:#?}");
    assert_eq!(owners(&left), [""; 0]);

    // Both connectors by their label; with the schedule its Scans go.
    let selector = "  connectorSelector: {matchLabels: {tier: gold}}";
    lab.apply(&schedule(&lab, "yearly", "@yearly", selector)).await;
    let message = until_reason(&lab, "yearly", "Scheduled").await;
    assert!(message.contains("-01-01T00:00:00Z (@yearly in UTC)"), "{message}");
    lab.kubectl(&["annotate", "scanschedule", "yearly", "slim.io/run-requested-at=1"]).await;
    let both = |it: &ScanSchedule| {
        let run = it.status.as_ref().and_then(|status| status.run.clone());
        run.is_some_and(|run| run.finished && run.started == 2)
    };
    lab.until::<ScanSchedule>("yearly", "done with both", both).await;
    let mut scanned =
        scans(&lab, "yearly").await.iter().map(|it| it.spec.connector_ref.name.clone()).collect::<Vec<_>>();
    scanned.sort();
    assert_eq!(scanned, ["a", "b"]);
    lab.kubectl(&["delete", "scanschedule", "yearly", "--cascade=foreground", "--timeout=120s"]).await;
    let begun = std::time::Instant::now();
    while !scans(&lab, "yearly").await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{}", lab.log_of_this_test());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let log = lab.log_of_this_test();
    // A Scan that was deleted while it was looked at is another matter.
    let mut failed = log.lines().filter(|line| line.contains("reconcile failed"));
    assert!(!failed.any(|line| line.contains("\"kind\":\"ScanSchedule\"")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_is_refused_or_says_what_is_wrong() {
    let lab = Lab::shared("clock-bad").await;
    let one = "  connectorRef: {name: a}";
    for (when, more, says) in [
        ("often", one, "schedule must have five fields"),
        ("@daily", "", "either connectorRef or connectorSelector"),
        (
            "@daily",
            "  connectorRef: {name: a}\n  connectorSelector: {}",
            "either connectorRef or connectorSelector",
        ),
        ("@daily", "  connectorRef: {name: a}\n  spread: 5m", "spread needs a connectorSelector"),
        ("@daily", "  connectorSelector: {}\n  spread: 25h", "at most 24h"),
        ("@daily", "  connectorRef: {name: a}\n  timeZone: Local", "IANA time zone database"),
        ("@daily", "  connectorRef: {name: a}\n  startingDeadlineSeconds: -1", "greater than or equal to 0"),
        (
            "@daily",
            "  connectorRef: {name: a}\n  failedScansHistoryLimit: 1001",
            "less than or equal to 1000",
        ),
    ] {
        let refused = lab.refused(&schedule(&lab, "bad", when, more)).await;
        assert!(refused.contains(says), "{when} {more}: {refused}");
    }
    for (when, more, reason) in [
        ("61 * * * *", one, "InvalidSchedule"),
        ("0 0 30 2 *", one, "ScheduleNeverDue"),
        ("@daily", "  connectorRef: {name: a}\n  timeZone: Europe/Atlantis", "TimeZoneUnknown"),
        (
            "@daily",
            "  connectorRef: null\n  connectorSelector: {matchExpressions: [{key: a, operator: Almost}]}",
            "InvalidSpec",
        ),
        ("@daily", "  connectorRef: null\n  connectorSelector: {}", "NoConnectorMatches"),
        ("@daily", one, "ConnectorNotFound"),
    ] {
        lab.apply(&schedule(&lab, "odd", when, more)).await;
        let message = until_reason(&lab, "odd", reason).await;
        assert!(!message.is_empty());
        let odd: ScanSchedule = lab.objects().get("odd").await.unwrap();
        let stalled = odd.status.iter().flat_map(|it| &it.conditions).any(|it| it.type_ == "Stalled");
        assert_eq!(stalled, !["NoConnectorMatches", "ConnectorNotFound"].contains(&reason), "{reason}");
        assert_eq!(odd.status.as_ref().unwrap().observed_generation, odd.meta().generation);
    }
    let long = format!("{}x", "long-name.".repeat(25));
    lab.apply(&schedule(&lab, &long, "@daily", "  connectorSelector: {}")).await;
    until_reason(&lab, &long, "NoConnectorMatches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_when_its_time_after_its_end_is_over() {
    let lab = Lab::shared("ttl").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    lab.apply(&lab.scan("short", "a", "  ttlSecondsAfterFinished: 2")).await;
    lab.apply(&lab.scan("long", "a", "  ttlSecondsAfterFinished: 86400")).await;
    lab.until_scan("long", "Completed").await;
    let api: Api<Scan> = lab.objects();
    let begun = std::time::Instant::now();
    while api.get_opt("short").await.unwrap().is_some() {
        assert!(begun.elapsed() < PATIENCE, "{}", lab.log_of_this_test());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    lab.until_scan("long", "Completed").await;
    // It went after it had run.
    let detail = lab.api.get(&lab.remote().await[0].id).await.unwrap().value;
    assert_eq!(detail.scan_history.len(), 2);
}

//! What a schedule may say, in which words it is refused, and that what is left out has the meaning of a CronJob.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;

use super::fixture::messages;
use crate::crd::{ConcurrencyPolicy, ConnectorRef, ScanSchedule, ScanScheduleSpec, ScanType};

fn schedule(change: impl FnOnce(&mut ScanScheduleSpec)) -> ScanSchedule {
    let spec = json!({ "schedule": "0 2 * * *", "connectorRef": { "name": "lake" } });
    let mut spec = serde_json::from_value(spec).unwrap();
    change(&mut spec);
    ScanSchedule::new("nightly", spec)
}

fn said(change: impl FnOnce(&mut ScanScheduleSpec)) -> Vec<String> {
    messages(schedule(change).validate_cel())
}

#[test]
fn what_is_left_out_has_the_meaning_of_a_cron_job() {
    let spec = schedule(|_| {}).spec;
    assert_eq!((spec.successful_scans_history_limit, spec.failed_scans_history_limit), (3, 1));
    assert_eq!((spec.concurrency_policy, spec.suspend), (ConcurrencyPolicy::Forbid, false));
    let scan = spec.scan_template.spec.scan_of("lake");
    assert_eq!((scan.connector_ref.name.as_str(), scan.scan_type), ("lake", ScanType::Full));
}

#[test]
fn a_schedule_has_five_fields_or_is_a_word() {
    for good in [
        "0 2 * * *",
        "*/15 0-6,22 1,15 JAN-MAR Mon-Fri",
        "0 0 ? * ?",
        "5/10  *  * *  7",
        "@hourly",
        "@annually",
    ] {
        assert_eq!(said(|spec| spec.schedule = good.to_owned()), [""; 0], "{good}");
    }
    let message = "schedule must have five fields (minute, hour, day of month, month, day of week), such as 0 2 * * 1-5, or be one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually";
    for bad in [
        "often",
        "0 2 * *",
        "0 0 2 * * *",
        "@reboot",
        "@every 1h",
        "@Hourly",
        "TZ=UTC 0 2 * * *",
        "0 2 L * *",
        "0 2 * * 5#2",
        "0 2 1 * +5",
        "0 2 * * *\n",
        " 0 2 * * *",
    ] {
        assert_eq!(said(|spec| spec.schedule = bad.to_owned()), [message], "{bad:?}");
    }
}

#[test]
fn a_time_zone_is_a_name_of_the_database() {
    for good in
        ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince"]
    {
        assert_eq!(said(|spec| spec.time_zone = Some(good.to_owned())), [""; 0], "{good}");
    }
    let message = "timeZone must be a name of the IANA time zone database, such as Europe/Berlin";
    for bad in ["Local", "+01:00", "../etc/passwd", "Europe/Berlin ", "Zürich"] {
        assert_eq!(said(|spec| spec.time_zone = Some(bad.to_owned())), [message], "{bad}");
    }
}

#[test]
fn it_names_one_connector_or_selects_some() {
    let message = "name what to scan by either connectorRef or connectorSelector";
    assert_eq!(said(|spec| spec.connector_ref = None), [message]);
    assert_eq!(said(|spec| spec.connector_selector = Some(LabelSelector::default())), [message]);
    let selecting = |spread: Option<&str>| {
        said(|spec| {
            (spec.connector_ref, spec.connector_selector) = (None, Some(LabelSelector::default()));
            spec.spread = spread.map(str::to_owned);
        })
    };
    for good in [None, Some("30m"), Some("0s"), Some("24h")] {
        assert_eq!(selecting(good), [""; 0], "{good:?}");
    }
    for bad in ["", "24h1s", "1d", "-5m", "30"] {
        assert_eq!(selecting(Some(bad)), ["spread must be a duration of at most 24h, such as 30m"], "{bad}");
    }
    let alone = said(|spec| spec.spread = Some("30m".to_owned()));
    assert_eq!(alone, ["spread needs a connectorSelector: one connector is scanned at the planned time"]);
    let renamed = ConnectorRef { name: "pond".to_owned() };
    let changed = schedule(|spec| spec.connector_ref = Some(renamed));
    assert_eq!(messages(changed.validate_cel_update(&schedule(|_| {}))), [""; 0], "all of it may change");
}

#[test]
fn the_scans_that_are_made_are_checked_as_scans_are_and_none_is_marked_as_run() {
    let template =
        |spec: serde_json::Value| said(|it| it.scan_template = serde_json::from_value(spec).unwrap());
    assert_eq!(
        template(json!({ "metadata": { "annotations": { "slim.io/scan": "{}" } } })),
        ["scanTemplate.metadata.annotations must not have slim.io/scan: it marks a Scan that ran already"]
    );
    assert_eq!(
        template(json!({ "metadata": { "annotations": { "team": "a" }, "labels": { "a": "b" } } })),
        [""; 0]
    );
    assert_eq!(
        template(json!({ "spec": { "options": { "prefixes": ["invoices"] } } })),
        ["each of options.prefixes must end in / and not begin with it, such as invoices/"]
    );
}

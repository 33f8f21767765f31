//! What the database promises to the scan runner: nothing twice, nothing lost, nothing kept for ever.

use serde_json::{Map, Value, json};

use super::listings::Listing;
use super::*;

struct Rig {
    store: Store,
    scope: WorkspaceScope,
    connector: String,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/x.db", dir.path().display());
    let store = Store::open(&DatabaseSettings { url, max_size_mib: None }).await.unwrap();
    let key = store.create_key("default", Role::Admin).await.unwrap();
    let scope = store.authenticate(secrecy::ExposeSecret::expose_secret(&key)).await.unwrap().unwrap().scope;
    let config = Map::from_iter([("buckets".to_owned(), json!(["bucket"]))]);
    let new = NewConnector { name: "a".to_owned(), provider: "aws", config, secrets: Map::new() };
    let connector = scope.create_connector(new).await.unwrap().id;
    scope.record_test(&connector, true).await.unwrap();
    Rig { store, scope, connector, _dir: dir }
}

impl Rig {
    async fn scan(&self, kind: &'static str) -> String {
        let listings = vec![("bucket".to_owned(), String::new())];
        let new = NewScan { kind, options: "{}".to_owned(), listings };
        self.scope.create_scan(&self.connector, new).await.unwrap().unwrap().id
    }

    async fn record(&self, job: &Job, keys: &[&str], done: bool, max_files: u64) -> u64 {
        let listing = Listing { bucket: "bucket".to_owned(), prefix: String::new(), done: false };
        let object = |key: &&str| ListedObject {
            key: (*key).to_owned(),
            etag: Some("\"e\"".to_owned()),
            size: 3,
            modified_ms: 7,
            unreadable: None,
        };
        let page = PageRecord { objects: keys.iter().map(object).collect(), left_out: 1, done };
        let baseline = job.baseline.as_deref();
        self.store.jobs().record_page(&job.scan_id, baseline, &listing, page, max_files).await.unwrap()
    }

    /// Runs a scan of these keys to its end, with one finding in each that is new.
    async fn complete(&self, kind: &'static str, keys: &[&str]) -> String {
        let jobs = self.store.jobs();
        let scan = self.scan(kind).await;
        let job = jobs.begin(&scan).await.unwrap().unwrap();
        self.record(&job, keys, true, 100).await;
        jobs.enumerated(&scan).await.unwrap();
        for item in jobs.claim(&scan, 100).await.unwrap() {
            assert!(jobs.finish(&scan, item.id, &found(1)).await.unwrap());
        }
        let totals = jobs.totals(&scan).await.unwrap().unwrap();
        jobs.complete(&scan, totals, 50).await.unwrap();
        scan
    }

    async fn count(&self, table_sql: &'static str) -> i64 {
        sqlx::query_scalar(table_sql).fetch_one(&self.store.readers).await.unwrap()
    }
}

fn found(n: u64) -> ObjectOutcome {
    let finding =
        Finding { category: "SSN", classifier: "us-ssn", confidence: 95, offset: 1, line: 1, field: None };
    let findings = (0..n).map(|_| finding.clone()).collect();
    ObjectOutcome::Scanned(FoundObject { counts: vec![("SSN", n)], sensitivity: 100, findings })
}

#[tokio::test]
async fn an_object_is_finished_once_and_claimed_by_one() {
    let rig = rig().await;
    let jobs = rig.store.jobs();
    let scan = rig.scan("full").await;
    let job = jobs.begin(&scan).await.unwrap().unwrap();
    rig.record(&job, &["a", "b", "c"], true, 100).await;
    let (first, second) = (jobs.claim(&scan, 2).await.unwrap(), jobs.claim(&scan, 2).await.unwrap());
    assert_eq!((first.len(), second.len()), (2, 1));
    assert!(jobs.finish(&scan, first[0].id, &found(2)).await.unwrap());
    assert!(!jobs.finish(&scan, first[0].id, &found(2)).await.unwrap(), "a second time is none");
    // Another process takes the scan up: what was in hand is to be done again, what was done is not.
    jobs.begin(&scan).await.unwrap().unwrap();
    assert!(!jobs.finish(&scan, first[1].id, &found(9)).await.unwrap(), "not by the one that lost it");
    assert_eq!(jobs.claim(&scan, 10).await.unwrap().len(), 2);
    let row = rig.scope.scan(&scan).await.unwrap().unwrap();
    assert_eq!((row.files_total, row.scanned, row.findings_count), (3, 1, 2));
}

#[tokio::test]
async fn a_listing_that_starts_over_counts_nothing_twice_and_stops_at_max_files() {
    let rig = rig().await;
    let jobs = rig.store.jobs();
    let scan = rig.scan("full").await;
    let job = jobs.begin(&scan).await.unwrap().unwrap();
    assert_eq!(rig.record(&job, &["a", "b"], false, 3).await, 2);
    let again = jobs.begin(&scan).await.unwrap().unwrap();
    assert_eq!(again.files_total, 2);
    assert_eq!(rig.record(&again, &["a", "b"], false, 3).await, 2);
    assert_eq!(rig.record(&again, &["c", "d"], true, 3).await, 3);
    let row = rig.scope.scan(&scan).await.unwrap().unwrap();
    // Two pages of two objects and one that was left out by its type; one more by the limit.
    assert_eq!((row.files_total, row.listed, row.left_out), (3, 6, 3));
    assert!(jobs.listings(&scan).await.unwrap()[0].done);
}

#[tokio::test]
async fn rows_of_earlier_scans_go_unless_a_later_one_stands_on_them() {
    let rig = rig().await;
    rig.complete("full", &["a", "b", "c"]).await;
    let second = rig.complete("incremental", &["a", "b", "d"]).await;
    let row = rig.scope.scan(&second).await.unwrap().unwrap();
    assert_eq!((row.files_total, row.unchanged, row.findings_count), (1, 2, 1));
    let connector = rig.scope.connector(&rig.connector).await.unwrap().unwrap();
    assert_eq!((connector.findings_count, connector.risk_score), (3, Some(50)));
    // a and b of the first scan hold the findings; c went with it. Two unchanged, and d.
    assert_eq!(rig.count("SELECT COUNT(*) FROM scan_objects").await, 5);
    assert_eq!(rig.count("SELECT COUNT(*) FROM findings").await, 3);
    rig.complete("full", &["a"]).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM scan_objects").await, 1);
    assert_eq!(rig.count("SELECT COUNT(*) FROM findings").await, 1);
    assert_eq!(rig.scope.scan_history(&rig.connector).await.unwrap().len(), 3);
}

#[tokio::test]
async fn deleting_a_connector_leaves_no_row_of_it() {
    let rig = rig().await;
    rig.complete("full", &["a", "b"]).await;
    let running = rig.scan("full").await;
    rig.store.jobs().begin(&running).await.unwrap().unwrap();
    assert!(rig.scope.delete_connector(&rig.connector).await.unwrap());
    assert!(rig.store.jobs().begin(&running).await.unwrap().is_none());
    for sql in [
        "SELECT COUNT(*) FROM scans",
        "SELECT COUNT(*) FROM scan_listings",
        "SELECT COUNT(*) FROM scan_objects",
        "SELECT COUNT(*) FROM object_categories",
        "SELECT COUNT(*) FROM findings",
    ] {
        assert_eq!(rig.count(sql).await, 0, "{sql}");
    }
}

#[tokio::test]
async fn a_failed_scan_changes_no_figure_and_frees_its_connector() {
    let rig = rig().await;
    let first = rig.complete("full", &["a"]).await;
    let second = rig.scan("full").await;
    let busy = rig
        .scope
        .create_scan(&rig.connector, NewScan { kind: "full", options: "{}".to_owned(), listings: vec![] });
    assert!(matches!(busy.await, Err(StoreError::ScanUnfinished)));
    rig.store.jobs().begin(&second).await.unwrap().unwrap();
    rig.store.jobs().fail(&second, "why", false).await.unwrap();
    rig.store.jobs().fail(&first, "an ended scan is not ended again", true).await.unwrap();
    let connector = rig.scope.connector(&rig.connector).await.unwrap().unwrap();
    assert_eq!((connector.findings_count, connector.state.as_str()), (1, "active"));
    let row = rig.scope.scan(&second).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.failure.as_deref()), ("failed", Some("why")));
    rig.scan("full").await;
}

#[tokio::test]
async fn no_time_and_no_count_that_a_row_holds_is_unreadable() {
    let rig = rig().await;
    sqlx::query("UPDATE connectors SET created_ms = $1, config = 'x'")
        .bind(i64::MAX)
        .execute(&rig.store.writer)
        .await
        .unwrap();
    let error = rig.scope.connector(&rig.connector).await.unwrap_err();
    assert_eq!(error.to_string(), format!("database: unreadable config in {}", rig.connector));
    sqlx::query("UPDATE connectors SET config = $1")
        .bind(Value::Object(Map::new()).to_string())
        .execute(&rig.store.writer)
        .await
        .unwrap();
    rig.scope.connector(&rig.connector).await.unwrap().unwrap();
}

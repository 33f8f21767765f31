//! Changes that only another connector can bring, on real parts: what takes whose place, what is kept when that fails, and that
//! neither an operator that is killed nor an object that is deleted in the middle leaves anything behind.

use std::time::Duration;

use slimio_operator::crd::{Connector, ConnectorStatus, ReplacementPhase};

use crate::lab::{Lab, condition, id};

/// A connector that has something to lose, with that policy.
async fn scanned(lab: &Lab, name: &str, bucket: &str, policy: &str) -> Connector {
    lab.apply(&lab.connector(name, bucket, &format!("  replacePolicy: {policy}"))).await;
    lab.until_ready(name).await;
    let scan = format!("scan-of-{name}");
    lab.apply(&lab.scan(&scan, name, "")).await;
    lab.until_scan(&scan, "Completed").await;
    lab.until::<Connector>(name, "refreshed", |it| {
        it.status.as_ref().is_some_and(|status| status.last_scan_time.is_some())
    })
    .await
}

async fn edit(lab: &Lab, name: &str, spec: &str) {
    let patch = format!(r#"{{"spec": {spec}}}"#);
    lab.kubectl(&["patch", "connector", name, "--type=merge", "--patch", &patch]).await;
}

async fn ask_again(lab: &Lab, name: &str, word: &str) {
    let annotation = format!("slim.io/reconcile-requested-at={word}");
    lab.kubectl(&["annotate", "connector", name, "--overwrite", &annotation]).await;
}

fn says(status: Option<&ConnectorStatus>, kind: &str, truth: &str, words: &str) -> bool {
    condition(status, kind).is_some_and(|(is, reason, message)| {
        is == truth && (reason.contains(words) || message.contains(words))
    })
}

async fn until_says(lab: &Lab, name: &str, kind: &str, truth: &str, words: &str) -> Connector {
    let what = format!("{kind}={truth} with {words:?}");
    lab.until::<Connector>(name, &what, |it| says(it.status.as_ref(), kind, truth, words)).await
}

/// Ready for its newest generation, with another connector than `old`.
async fn until_replaced(lab: &Lab, name: &str, old: &str) -> Connector {
    lab.until::<Connector>(name, "ready with another connector", |it| {
        let status = it.status.as_ref();
        says(status, "Ready", "True", "")
            && status.is_some_and(|status| {
                status.observed_generation == it.metadata.generation
                    && status.connector_id.as_deref() != Some(old)
                    && status.replacement.is_none()
            })
    })
    .await
}

async fn ids(lab: &Lab) -> Vec<String> {
    let mut ids = lab.remote().await.iter().map(|item| item.id.to_string()).collect::<Vec<_>>();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_one_is_made_and_tested_before_the_old_one_goes() {
    let lab = Lab::shared("createfirst").await;
    let bucket = lab.bucket(1).await;
    let old = id(&scanned(&lab, "a", &bucket, "CreateFirst").await);
    let before = lab.requests().await.len();
    edit(&lab, "a", r#"{"displayName": "renamed", "scope": {"prefixes": ["people/"]}}"#).await;
    let new = until_replaced(&lab, "a", &old).await;
    let remote = lab.remote().await;
    assert_eq!((remote.len(), remote[0].name.as_str()), (1, "renamed"));
    assert_eq!(remote[0].id.as_str(), id(&new));
    let status = new.status.unwrap();
    assert_eq!((status.last_scan_time, status.scan_history), (None, Vec::new()), "the old one's history");
    let asked = lab.requests().await.split_off(before);
    let effects = asked.iter().filter(|it| !it.starts_with("GET")).collect::<Vec<_>>();
    assert_eq!(
        effects,
        ["POST /api/v1/connectors", "POST /api/v1/connectors/{id}/test", "DELETE /api/v1/connectors/{id}"]
    );
    let events = lab.kubectl(&["get", "events", "-o", "json"]).await;
    assert!(events.contains(&format!("takes the place of {old}")), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_takes_no_second_connector_of_a_name_leaves_the_old_one_until_a_person_says_otherwise() {
    let lab = Lab::shared("onename").await;
    let bucket = lab.bucket(1).await;
    let old = id(&scanned(&lab, "a", &bucket, "CreateFirst").await);
    edit(&lab, "a", r#"{"scope": {"prefixes": ["people/"]}}"#).await;
    let (failed, message) = lab.until_reason("a", "ReplacementFailed").await;
    assert!(
        message.contains("takes no second connector of that name: set spec.replacePolicy to Recreate"),
        "{message}"
    );
    let status = failed.status.as_ref();
    assert!(says(status, "Stalled", "True", "") && says(status, "Connected", "True", ""), "{status:#?}");
    assert_eq!((id(&failed), ids(&lab).await), (old.clone(), vec![old.clone()]));

    edit(&lab, "a", r#"{"replacePolicy": "Recreate"}"#).await;
    let new = until_replaced(&lab, "a", &old).await;
    assert_eq!(ids(&lab).await, [id(&new)]);
    assert_eq!(new.status.unwrap().failed_replacement, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_connect_is_rolled_back_over_kills_and_leaves_nothing_when_its_object_is_deleted() {
    let mut lab = Lab::alone("rollback").await;
    let bucket = lab.bucket(1).await;
    let later = format!("{}-later", lab.namespace);
    let old = id(&scanned(&lab, "a", &bucket, "CreateFirst").await);
    scanned(&lab, "b", &bucket, "CreateFirst").await;
    for name in ["a", "b"] {
        let spec = format!(r#"{{"displayName": "renamed-{name}", "scope": {{"buckets": ["{later}"]}}}}"#);
        edit(&lab, name, &spec).await;
        let testing = until_says(&lab, name, "Ready", "False", "does not connect yet").await;
        let replacement = testing.status.unwrap().replacement.unwrap();
        assert_eq!(replacement.phase, ReplacementPhase::Testing);
    }
    assert_eq!(lab.remote().await.len(), 4, "both of both are there");

    // Deleted while nobody looks: both of its connectors go.
    lab.parts_mut().operator.kill().await;
    lab.kubectl(&["delete", "connector", "b", "--wait=false"]).await;
    lab.parts_mut().operator.restart().await.unwrap();
    lab.until_gone("b").await;
    assert_eq!(lab.remote().await.len(), 2);

    // Each request is one test more; the fourth failure is the last.
    for failures in 2..=3 {
        ask_again(&lab, "a", &failures.to_string()).await;
        lab.until::<Connector>("a", "tested once more", |it| {
            let replacement = it.status.as_ref().and_then(|status| status.replacement.as_ref());
            let test = replacement.and_then(|replacement| replacement.connection_test.as_ref());
            test.is_some_and(|test| test.failures == failures)
        })
        .await;
        lab.parts_mut().operator.kill().await;
        lab.parts_mut().operator.restart().await.unwrap();
    }
    ask_again(&lab, "a", "4").await;
    let (failed, message) = lab.until_reason("a", "ReplacementFailed").await;
    assert!(message.contains("did not connect in 4 tests") && message.contains("it is deleted"), "{message}");
    let rolled_back =
        lab.until::<Connector>("a", "rolled back", |it| it.status.as_ref().unwrap().replacement.is_none());
    assert_eq!((id(&failed), id(&rolled_back.await)), (old.clone(), old.clone()));
    assert_eq!(ids(&lab).await, [old.as_str()]);

    lab.parts.aws.create_bucket(&later).await.unwrap();
    ask_again(&lab, "a", "the bucket is there now").await;
    let new = until_replaced(&lab, "a", &old).await;
    assert_eq!(ids(&lab).await, [id(&new)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_said_acknowledged_or_acted_on_as_the_policy_allows() {
    let lab = Lab::shared("rotated").await;
    let bucket = lab.bucket(1).await;
    let right = lab.parts.aws.external_id().to_owned();
    let old = id(&scanned(&lab, "a", &bucket, "Never").await);
    let rotate = async |value: &str| lab.apply(&lab.secret("aws-external-id", "externalId", value)).await;

    rotate("another-external-id").await;
    let outdated = until_says(&lab, "a", "Synced", "False", "CredentialsOutdated").await;
    let status = outdated.status.as_ref();
    assert!(says(status, "Ready", "True", ""), "tests pass, so it stays ready: {status:#?}");
    let (_, _, message) = condition(status, "Synced").unwrap();
    let digest = message.split("slim.io/credentials-acknowledged to ").nth(1).unwrap();
    let digest = digest.split([',', ' ']).next().unwrap();
    lab.kubectl(&["annotate", "connector", "a", &format!("slim.io/credentials-acknowledged={digest}")]).await;
    let acknowledged = until_says(&lab, "a", "Synced", "True", "").await;
    assert_eq!((id(&acknowledged), ids(&lab).await), (old.clone(), vec![old.clone()]));

    // The API takes no second one of that name, so the one that works is kept.
    edit(&lab, "a", r#"{"replacePolicy": "CreateFirst"}"#).await;
    rotate(&right).await;
    let kept = until_says(&lab, "a", "Synced", "False", "takes no second connector of that name").await;
    assert!(says(kept.status.as_ref(), "Synced", "False", "CredentialsOutdated"));
    until_says(&lab, "a", "Ready", "True", "").await;
    assert_eq!(ids(&lab).await, [old.as_str()]);

    edit(&lab, "a", r#"{"replacePolicy": "Recreate"}"#).await;
    let new = until_replaced(&lab, "a", &old).await;
    assert!(says(new.status.as_ref(), "Synced", "True", ""), "{:#?}", new.status);
    assert_eq!(ids(&lab).await, [id(&new)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_deleted_at_the_api_is_not_called_ready_and_is_made_again_with_an_event() {
    let lab = Lab::shared("lost").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    let old = id(&lab.until_ready("a").await);
    lab.api.delete(&lab.remote().await[0].id).await.unwrap();
    until_says(&lab, "a", "Ready", "False", "RemoteMissing").await;
    let made_again = lab
        .until_within::<Connector>("a", "made again", Duration::from_secs(240), |it| {
            let status = it.status.as_ref();
            says(status, "Ready", "True", "") && status.unwrap().connector_id.as_deref() != Some(&old)
        })
        .await;
    assert_eq!(ids(&lab).await, [id(&made_again)]);
    let events = lab.kubectl(&["get", "events", "-o", "json"]).await;
    assert!(events.contains("was deleted at the API by somebody else, and its scan history"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_edited_back_and_forth_while_it_is_created_ends_with_one_connector() {
    let lab = Lab::shared("abab").await;
    let bucket = lab.bucket(1).await;
    lab.until_workspace("lab", "Ready").await;
    let yaml = lab.connector("a", &bucket, "");
    let other = yaml.replace("scope: {", "scope: {prefixes: [people/], ");
    for round in 0..4 {
        lab.apply(if round % 2 == 0 { &yaml } else { &other }).await;
    }
    let last = lab.until::<Connector>("a", "ready as it was last edited", |it| {
        let status = it.status.as_ref();
        says(status, "Ready", "True", "")
            && status.unwrap().observed_generation == it.metadata.generation
            && status.unwrap().replacement.is_none()
    });
    let last = last.await;
    let remote = lab.remote().await;
    assert_eq!((remote.len(), remote[0].id.as_str()), (1, id(&last).as_str()));
    assert_eq!(remote[0].config["prefixes"], serde_json::json!(["people/"]));
}

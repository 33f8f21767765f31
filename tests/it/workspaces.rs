//! Workspaces that change, share a key, lose their Secret or go: nothing twice, nothing wrong, and nothing that never ends.

use std::time::Duration;

use kube::ResourceExt;
use secrecy::ExposeSecret;
use slimio_operator::crd::{Connector, FINALIZER, Workspace, WorkspaceStatus};

use crate::lab::{Lab, condition, id};

/// A second Workspace with the same key.
fn twin(lab: &Lab) -> String {
    lab.workspace().replace("name: lab,", "name: twin,")
}

/// With so many creates an hour.
fn limited(yaml: &str, creates: u32) -> String {
    yaml.replace("createsPerHour: 10000", &format!("createsPerHour: {creates}"))
}

fn in_twin(yaml: &str) -> String {
    yaml.replace("kind: Workspace, name: lab", "kind: Workspace, name: twin")
}

fn status(workspace: &Workspace) -> WorkspaceStatus {
    workspace.status.clone().unwrap_or_default()
}

fn kept_by(workspace: &Workspace) -> Option<String> {
    status(workspace).keeper.map(|keeper| keeper.name)
}

fn said(workspace: &Workspace, kind: &str) -> Option<(String, String)> {
    let found = status(workspace).conditions.into_iter().find(|condition| condition.type_ == kind)?;
    Some((found.reason, found.message))
}

async fn gone<K>(lab: &Lab, kind: &str, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let begun = std::time::Instant::now();
    while let Some(last) = lab.objects::<K>().get_opt(name).await.unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{kind} {name} is not gone: {last:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The annotation, put on `workspace`, that acknowledges the digest that its condition prints.
async fn acknowledge(lab: &Lab, workspace: &Workspace) {
    let (_, message) = said(workspace, "IdentityChanged").unwrap();
    let (_, after) = message.split_once("slim.io/identity-acknowledged: ").expect("it says how");
    let digest = after.split_whitespace().next().unwrap();
    lab.kubectl(&[
        "annotate",
        "workspaces.slim.io",
        "lab",
        &format!("slim.io/identity-acknowledged={digest}"),
    ])
    .await;
}

async fn until_changed(lab: &Lab) -> Workspace {
    lab.until::<Workspace>("lab", "IdentityChanged", |it| said(it, "IdentityChanged").is_some()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workspaces_with_one_key_spend_one_hour_and_part_when_one_goes() {
    let lab = Lab::shared("twins").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&limited(&lab.workspace(), 1)).await;
    lab.until_workspace("lab", "Ready").await;
    // Times of creation have whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    lab.apply(&limited(&twin(&lab), 1)).await;
    lab.until::<Workspace>("twin", "kept by lab", |it| kept_by(it).as_deref() == Some("lab")).await;
    lab.until::<Workspace>("lab", "keeper of twin", |it| {
        status(it).members.iter().any(|member| member.name == "twin")
            && it.finalizers().contains(&FINALIZER.to_owned())
    })
    .await;

    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    lab.apply(&in_twin(&lab.connector("b", &bucket, ""))).await;
    lab.until_reason("b", "WaitingForQuota").await;
    assert_eq!(lab.remote().await.len(), 1);
    lab.apply(&limited(&lab.workspace(), 10)).await;
    lab.kubectl(&["annotate", "connector", "b", "slim.io/reconcile-requested-at=now"]).await;
    lab.until_ready("b").await;

    // The keeper goes: it serves its own connector to the end, and the other one keeps for itself.
    lab.kubectl(&["delete", "workspaces.slim.io", "lab", "--wait=false"]).await;
    let going = lab
        .until::<Workspace>("lab", "held", |it| {
            said(it, "Ready").is_some_and(|(reason, _)| reason == "Deleting")
        })
        .await;
    let (_, message) = said(&going, "Ready").unwrap();
    assert!(message.contains(&format!("{}/a", lab.namespace)), "{message}");
    let parted = lab
        .until::<Workspace>("twin", "its own keeper", |it| kept_by(it).is_none() && it.status.is_some())
        .await;
    let creates: u32 = status(&parted).creates.iter().map(|bucket| bucket.count).sum();
    assert_eq!(creates, 2, "what was created with the key counts on");
    lab.apply(&lab.connector("late", &bucket, "")).await;
    lab.until_reason("late", "WorkspaceDeleting").await;
    lab.kubectl(&["delete", "connector", "a", "late"]).await;
    gone::<Workspace>(&lab, "Workspace", "lab").await;
    assert_eq!(lab.remote().await.len(), 1, "only b is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_held_only_while_somebody_needs_it() {
    let lab = Lab::shared("held").await;
    let bucket = lab.bucket(1).await;
    lab.until_workspace("lab", "Ready").await;
    assert_eq!(lab.objects::<Workspace>().get("lab").await.unwrap().finalizers(), [] as [String; 0]);
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    assert_eq!(lab.objects::<Workspace>().get("lab").await.unwrap().finalizers(), [FINALIZER]);
    lab.kubectl(&["delete", "connector", "a"]).await;
    lab.until::<Workspace>("lab", "let go", |it| it.finalizers().is_empty()).await;
    lab.kubectl(&["delete", "workspaces.slim.io", "lab"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_deleted_with_everything_in_it_and_ends_by_itself() {
    let lab = Lab::shared("whole").await;
    let bucket = lab.bucket(3).await;
    for name in ["a", "b", "c"] {
        lab.apply(&lab.connector(name, &bucket, "")).await;
    }
    for name in ["a", "b", "c"] {
        lab.until_ready(name).await;
    }
    lab.apply(&lab.scan("s", "a", "")).await;
    // The worst order: the Secret first, then the workspace, and then all the rest.
    lab.kubectl(&["delete", "secret", "api-key"]).await;
    lab.kubectl(&["delete", "workspaces.slim.io", "lab", "--wait=false"]).await;
    let deleted =
        lab.parts.cluster.kubectl(&["delete", "namespace", &lab.namespace, "--timeout=120s"]).await.unwrap();
    assert!(deleted.success, "{}\n{}", deleted.stderr, lab.log_of_this_test());
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_deletion_names_the_secret_that_it_needs() {
    let mut lab = Lab::alone("lost").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    lab.kubectl(&["delete", "secret", "api-key"]).await;
    lab.parts_mut().operator.kill().await;
    lab.parts_mut().operator.restart().await.unwrap();
    lab.kubectl(&["delete", "connector", "a", "--wait=false"]).await;
    let (_, message) = lab.until_reason("a", "SecretNotFound").await;
    assert!(
        message.contains(&format!("{}/api-key", lab.namespace)) && message.contains("slim.io/abandon"),
        "{message}"
    );
    assert_eq!(lab.remote().await.len(), 1);
    lab.apply(&lab.secret("api-key", "apiKey", lab.key.expose_secret())).await;
    lab.until_gone("a").await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_api_workspace_changes_nothing_until_it_is_acknowledged() {
    let lab = Lab::shared("swapped").await;
    let bucket = lab.bucket(1).await;
    for name in ["kept", "going"] {
        lab.apply(&lab.connector(name, &bucket, "")).await;
    }
    let old = id(&lab.until_ready("kept").await);
    lab.until_ready("going").await;
    let other = lab.parts.server.create_key(&format!("{}-other", lab.namespace), "admin").await.unwrap();
    lab.apply(&lab.secret("api-key", "apiKey", other.expose_secret())).await;
    let changed = until_changed(&lab).await;
    lab.kubectl(&["delete", "connector", "going", "--wait=false"]).await;
    lab.until_reason("going", "IdentityChanged").await;
    lab.apply(&lab.connector("new", &bucket, "")).await;
    lab.until_reason("new", "IdentityChanged").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(lab.remote().await.len(), 2, "nothing was deleted");
    assert_eq!(id(&lab.objects::<Connector>().get("kept").await.unwrap()), old, "nothing was made again");

    acknowledge(&lab, &changed).await;
    lab.until_gone("going").await;
    lab.until_ready("new").await;
    let kept = lab
        .until::<Connector>("kept", "made anew", |it| {
            condition(it.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True") && id(it) != old
        })
        .await;
    assert_ne!(id(&kept), old);
    let left = lab.remote().await.iter().map(|item| item.id.to_string()).collect::<Vec<_>>();
    assert!(left.len() == 2 && left.contains(&old), "both stay in the old API workspace: {left:?}");
    let events = lab
        .kubectl(&[
            "get",
            "events",
            "-o",
            "jsonpath={range .items[*]}{.reason} {.message}{.note}{'\\n'}{end}",
        ])
        .await;
    assert!(
        events.lines().any(|line| line.starts_with("IdentityChanged") && line.contains(&old)),
        "{events}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_of_the_same_api_workspace_passes_unnoticed() {
    let lab = Lab::shared("rotated").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    let before = lab.until_ready("a").await;
    let first = status(&lab.objects::<Workspace>().get("lab").await.unwrap()).identity.unwrap();
    let rotated = lab.parts.server.create_key(&lab.namespace, "admin").await.unwrap();
    lab.apply(&lab.secret("api-key", "apiKey", rotated.expose_secret())).await;
    let after = lab
        .until::<Workspace>("lab", "under the new key", |it| status(it).former_identities.contains(&first))
        .await;
    assert!(said(&after, "IdentityChanged").is_none());
    let digest = status(&after).identity;
    let followed = lab
        .until::<Connector>("a", "under the new key", |it| {
            it.status.as_ref().is_some_and(|status| status.identity == digest)
        })
        .await;
    assert_eq!(id(&followed), id(&before));
    lab.kubectl(&["delete", "connector", "a"]).await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_nothing_to_read_back_is_taken_as_it_is() {
    let lab = Lab::shared("nothing").await;
    let bucket = lab.bucket(1).await;
    lab.until_workspace("lab", "Ready").await;
    let first = status(&lab.objects::<Workspace>().get("lab").await.unwrap()).identity.unwrap();
    let other = lab.parts.server.create_key(&format!("{}-other", lab.namespace), "admin").await.unwrap();
    lab.apply(&lab.secret("api-key", "apiKey", other.expose_secret())).await;
    lab.until::<Workspace>("lab", "under the new key", |it| {
        status(it).identity.is_some_and(|identity| identity != first)
    })
    .await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    lab.until_ready("a").await;
    assert_eq!(lab.remote().await, [], "it is where the new key belongs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_restored_without_its_status_makes_nothing_twice() {
    let lab = Lab::shared("restored").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "")).await;
    let before = lab.until_ready("a").await;
    lab.kubectl(&["delete", "workspaces.slim.io", "lab", "--wait=false"]).await;
    lab.kubectl(&[
        "patch",
        "workspaces.slim.io",
        "lab",
        "--type=merge",
        "--patch",
        r#"{"metadata":{"finalizers":null}}"#,
    ])
    .await;
    lab.until_reason("a", "WorkspaceNotFound").await;
    lab.apply(&lab.workspace()).await;
    let after = lab.until_ready("a").await;
    assert_eq!(id(&after), id(&before));
    lab.until::<Workspace>("lab", "held again", |it| it.finalizers().contains(&FINALIZER.to_owned())).await;
    assert_eq!(lab.remote().await.len(), 1);
}

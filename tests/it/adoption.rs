//! Connectors that exist: adopted, found again after a loss, observed; and not taken by whoever may not have them.

use connectors_api::wire::ConnectorItem;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use slimio_operator::crd::{Connector, Origin};
use testbed::{Operator, OperatorOptions};

use crate::lab::{Lab, condition, id};

const ANNOTATION: &str = "slim.io/connector";

/// A connector at the API that no object has any more, with the bucket that it reads and its record in the annotation.
async fn left_behind(lab: &Lab, name: &str) -> (String, String, String) {
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector(name, &bucket, "  deletionPolicy: Retain")).await;
    let connector = lab.until_ready(name).await;
    lab.kubectl(&["delete", "connector", name, "--timeout=60s"]).await;
    let record = connector.metadata.annotations.as_ref().unwrap()[ANNOTATION].clone();
    (id(&connector), bucket, record)
}

/// The same manifest with that annotation.
fn annotated(yaml: &str, record: &str) -> String {
    let quoted = record.replace('\'', "''");
    yaml.replacen("metadata: {", &format!("metadata: {{annotations: {{{ANNOTATION}: '{quoted}'}}, "), 1)
}

fn origin(connector: &Connector) -> Option<Origin> {
    connector.status.as_ref().and_then(|status| status.origin)
}

fn ids(remote: &[ConnectorItem]) -> Vec<&str> {
    let mut ids = remote.iter().map(|item| item.id.as_str()).collect::<Vec<_>>();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_adopted_by_its_id_by_one_object_and_stays_when_that_goes() {
    let lab = Lab::shared("adopt").await;
    let (known, bucket, _) = left_behind(&lab, "first").await;
    let wanted = format!("  connectorId: {known}");

    lab.apply(&lab.connector("other-bucket", "another-bucket", &wanted)).await;
    let (_, message) = lab.until_reason("other-bucket", "AdoptionMismatch").await;
    assert!(message.contains("differs from the spec in buckets"), "{message}");
    lab.apply(&lab.connector("nothing", &bucket, "  connectorId: conn-nobodys")).await;
    let (_, message) = lab.until_reason("nothing", "RemoteMissing").await;
    assert!(message.contains("no connector conn-nobodys"), "{message}");

    // Many at once want it; one has it.
    let names = ["a", "b", "c", "d"];
    let all = names.map(|name| lab.connector(name, &bucket, &wanted)).join("---");
    lab.apply(&all).await;
    let mut holders = Vec::new();
    for name in names {
        let settled = lab
            .until::<Connector>(name, "settled", |it| {
                condition(it.status.as_ref(), "Ready")
                    .is_some_and(|(truth, why, _)| truth == "True" || why == "AlreadyClaimed")
            })
            .await;
        if condition(settled.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True") {
            assert_eq!((id(&settled), origin(&settled)), (known.clone(), Some(Origin::Adopted)));
            holders.push(name);
        } else {
            assert!(settled.metadata.finalizers.is_none() && settled.status.unwrap().connector_id.is_none());
        }
    }
    assert_eq!(holders.len(), 1, "{holders:?}");

    lab.kubectl(&["delete", "connectors", "--all", "--timeout=60s"]).await;
    assert_eq!(ids(&lab.remote().await), [known.as_str()], "what was adopted stays, and nothing was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_want_one_id_under_two_leaders_one_gets_it() {
    let mut lab = Lab::alone("leaders").await;
    let permitted = vec![lab.parts.server.endpoint().to_owned()];
    let (known, bucket, _) = left_behind(&lab, "first").await;
    // Two operators that ask nobody whether they lead.
    let alone = || OperatorOptions {
        permitted_endpoints: permitted.clone(),
        env: vec![("SLIMIO_LEADER_ELECT".to_owned(), "false".to_owned())],
        ..OperatorOptions::default()
    };
    let second = Operator::start(&lab.parts.cluster, alone()).await.unwrap();
    let first = Operator::start(&lab.parts.cluster, alone()).await.unwrap();
    lab.parts_mut().operator = first;
    let wanted = format!("  connectorId: {known}");
    for round in 0..5 {
        let names = [format!("a{round}"), format!("b{round}")];
        let yaml = names.each_ref().map(|name| lab.connector(name, &bucket, &wanted));
        tokio::join!(lab.apply(&yaml[0]), lab.apply(&yaml[1]));
        let mut holders = 0;
        for name in &names {
            let settled = lab
                .until::<Connector>(name, "settled", |it| {
                    condition(it.status.as_ref(), "Ready")
                        .is_some_and(|(truth, why, _)| truth == "True" || why == "AlreadyClaimed")
                })
                .await;
            holders += usize::from(settled.status.is_some_and(|status| status.connector_id.is_some()));
        }
        assert_eq!(holders, 1, "round {round}");
        lab.kubectl(&["delete", "connectors", "--all", "--timeout=60s"]).await;
        assert_eq!(ids(&lab.remote().await), [known.as_str()]);
    }
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_lost_all_but_their_manifests_find_their_connectors_and_make_no_new_ones() {
    let lab = Lab::shared("rebuilt").await;
    let bucket = lab.bucket(1).await;
    let names = ["a", "b", "c"];
    let manifests = names
        .map(|name| lab.connector(name, &bucket, "  adoptionPolicy: Matching\n  deletionPolicy: Retain"))
        .join("---");
    lab.apply(&manifests).await;
    let mut before = Vec::new();
    for name in names {
        before.push(id(&lab.until_ready(name).await));
    }
    // Nothing is left in the cluster: no status, no annotation, no record of the workspace.
    lab.kubectl(&["delete", "connectors", "--all", "--timeout=60s"]).await;
    lab.kubectl(&["delete", "workspace", "lab", "--timeout=60s"]).await;

    lab.apply(&lab.workspace()).await;
    lab.apply(&manifests).await;
    for (name, before) in names.iter().zip(&before) {
        let found = lab.until_ready(name).await;
        assert_eq!((&id(&found), origin(&found)), (before, Some(Origin::Adopted)));
    }
    assert_eq!(lab.remote().await.len(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_object_has_its_connector_again_and_a_copy_or_a_forgery_has_not() {
    let lab = Lab::shared("restore").await;
    let (known, bucket, record) = left_behind(&lab, "original").await;

    // As a backup brings it back: the annotation, and no status.
    lab.apply(&annotated(&lab.connector("original", &bucket, ""), &record)).await;
    let restored = lab.until_ready("original").await;
    assert_eq!((id(&restored), origin(&restored)), (known.clone(), Some(Origin::Created)));

    // Its manifest under another name, with everything that was in it.
    lab.apply(&annotated(&lab.connector("copy", &bucket, ""), &record)).await;
    let copy = lab.until_ready("copy").await;
    assert_ne!(id(&copy), known);
    let events = lab.kubectl(&["get", "events", "-o", "json"]).await;
    assert!(events.contains("CopyIgnored") && events.contains("is that of"), "{events}");

    // The same, made out to the thief.
    let mut forged = serde_json::from_str::<Value>(&record).unwrap();
    forged["object"] = json!(format!("{}/thief", lab.namespace));
    lab.apply(&annotated(&lab.connector("thief", &bucket, "  deletionPolicy: Delete"), &forged.to_string()))
        .await;
    lab.until_reason("thief", "AlreadyClaimed").await;
    lab.kubectl(&["delete", "connector", "thief", "--timeout=60s"]).await;
    assert!(ids(&lab.remote().await).contains(&known.as_str()), "the thief took nothing along");

    // What was created goes with its restored object.
    lab.kubectl(&["delete", "connector", "original", "copy", "--timeout=60s"]).await;
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_is_only_read_and_may_be_managed_and_observed_again() {
    let lab = Lab::shared("observe").await;
    let (known, bucket, _) = left_behind(&lab, "first").await;
    let observe = format!(
        "
apiVersion: slim.io/v1alpha1
kind: Connector
metadata: {{name: watched, namespace: {}}}
spec:
  workspaceRef: {{kind: Workspace, name: lab}}
  managementPolicy: Observe
  connectorId: {known}
",
        lab.namespace
    );
    let before = lab.requests().await.len() + 1;
    lab.apply(&observe).await;
    let watched = lab.until_ready("watched").await;
    let status = watched.status.clone().unwrap();
    assert_eq!((status.state.as_deref(), &status.connector_id), (Some("active"), &None));
    assert!(watched.metadata.finalizers.is_none());
    lab.apply(&lab.scan("refused", "watched", "")).await;
    let (_, message) = lab.until_scan("refused", "ConnectorObserved").await;
    assert!(message.contains("set its spec.managementPolicy to Manage"), "{message}");
    lab.kubectl(&["delete", "scan", "refused"]).await;
    let asked = lab.requests().await.split_off(before);
    assert!(!asked.is_empty() && asked.iter().all(|request| request.starts_with("GET ")), "{asked:?}");

    lab.apply(&lab.connector(
        "watched",
        &bucket,
        &format!("  managementPolicy: Manage\n  connectorId: {known}"),
    ))
    .await;
    let adopted = lab
        .until::<Connector>("watched", "adopted", |it| {
            it.status.as_ref().is_some_and(|status| status.connector_id.is_some())
        })
        .await;
    assert_eq!((id(&adopted), origin(&adopted)), (known.clone(), Some(Origin::Adopted)));
    let adopted = lab.until_ready("watched").await;
    assert!(adopted.metadata.finalizers.is_some());

    lab.kubectl(&[
        "patch",
        "connector",
        "watched",
        "--type=merge",
        "-p",
        r#"{"spec":{"managementPolicy":"Observe","aws":null,"scope":null}}"#,
    ])
    .await;
    lab.until::<Connector>("watched", "let go", |it| {
        it.metadata.finalizers.is_none()
            && condition(it.status.as_ref(), "Ready").is_some_and(|(truth, ..)| truth == "True")
            && it.status.as_ref().is_some_and(|status| status.connector_id.is_none())
    })
    .await;
    lab.kubectl(&["delete", "connector", "watched", "--timeout=60s"]).await;
    assert_eq!(ids(&lab.remote().await), [known.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_workspace_lets_its_namespaces_adopt_and_observe_only_where_it_says_so() {
    let lab = Lab::shared("shared-key").await;
    let name = &lab.namespace;
    let secret = lab.secret(&format!("{name}-key"), "apiKey", lab.key.expose_secret());
    lab.apply(&secret.replace(&format!("namespace: {name}"), "namespace: slimio-system")).await;
    let cluster_workspace = |allow: bool| {
        format!(
            "{}  allowedNamespaces: {{names: [{name}]}}\n  allowAdoption: {allow}\n",
            lab.workspace()
                .replace("kind: Workspace", "kind: ClusterWorkspace")
                .replace(
                    &format!("metadata: {{name: lab, namespace: {name}}}"),
                    &format!("metadata: {{name: {name}}}")
                )
                .replace("name: api-key", &format!("name: {name}-key"))
        )
    };
    let through = |yaml: String| yaml.replace("{kind: Workspace, name: lab}", &format!("{{name: {name}}}"));
    lab.apply(&cluster_workspace(false)).await;
    let (known, bucket, _) = left_behind(&lab, "first").await;

    lab.apply(&through(lab.connector("adopter", &bucket, &format!("  connectorId: {known}")))).await;
    let observer = format!("  connectorId: {known}\n  managementPolicy: Observe");
    lab.apply(&through(lab.connector("observer", &bucket, &observer))).await;
    for name in ["adopter", "observer"] {
        let (refused, message) = lab.until_reason(name, "AdoptionNotAllowed").await;
        assert!(message.contains("set its spec.allowAdoption"), "{message}");
        let status = refused.status.unwrap();
        assert_eq!((status.connector_id, status.state), (None, None), "nothing is told of it");
    }

    // What was created through it comes back without leave: its record is sealed with the key.
    lab.apply(&through(lab.connector("own", &bucket, "  deletionPolicy: Retain"))).await;
    let own = lab.until_ready("own").await;
    let record = own.metadata.annotations.as_ref().unwrap()[ANNOTATION].clone();
    lab.kubectl(&["delete", "connector", "own", "--timeout=60s"]).await;
    lab.apply(&annotated(&through(lab.connector("own", &bucket, "")), &record)).await;
    assert_eq!(id(&lab.until_ready("own").await), id(&own));

    lab.apply(&cluster_workspace(true)).await;
    for name in ["adopter", "observer"] {
        lab.kubectl(&["annotate", "connector", name, "slim.io/reconcile-requested-at=now"]).await;
        lab.until_ready(name).await;
    }
    lab.kubectl(&["delete", "connectors", "--all", "--timeout=60s"]).await;
    assert_eq!(ids(&lab.remote().await), [known.as_str()]);
}

//! X7: what a namespace made through a shared key is not had by another one, whatever it writes into its own objects. How
//! adoption within one namespace is guarded is in `adoption.rs`.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use slimio_operator::crd::Connector;

use crate::lab::{Lab, condition, id};

const ANNOTATION: &str = "slim.io/connector";

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_gets_no_connector_by_a_copied_or_forged_record_nor_by_a_forged_status() {
    let lab = Lab::shared("theft").await;
    let owner = lab.namespace.clone();
    let thief = lab.parts.cluster.create_namespace("thief").await.unwrap();
    let secret = lab.secret(&format!("{owner}-key"), "apiKey", lab.key.expose_secret());
    lab.apply(&secret.replace(&format!("namespace: {owner}"), "namespace: slimio-system")).await;
    let shared = lab
        .workspace()
        .replace("kind: Workspace", "kind: ClusterWorkspace")
        .replace(
            &format!("metadata: {{name: lab, namespace: {owner}}}"),
            &format!("metadata: {{name: {owner}}}"),
        )
        .replace("name: api-key", &format!("name: {owner}-key"));
    lab.apply(&format!("{shared}  allowedNamespaces: {{names: [{owner}, {thief}]}}\n")).await;
    let bucket = lab.bucket(1).await;
    let through = |yaml: String| yaml.replace("{kind: Workspace, name: lab}", &format!("{{name: {owner}}}"));
    let external = lab.secret("aws-external-id", "externalId", lab.parts.aws.external_id());
    lab.apply(&external.replace(&format!("namespace: {owner}"), &format!("namespace: {thief}"))).await;

    // The first stays with its object; the second was let go, so that nobody in the cluster has it.
    let mut records = Vec::new();
    for name in ["kept", "left"] {
        lab.apply(&through(lab.connector(name, &bucket, "  deletionPolicy: Retain"))).await;
        let made = lab.until_ready(name).await;
        records.push((id(&made), made.metadata.annotations.as_ref().unwrap()[ANNOTATION].clone()));
    }
    lab.kubectl(&["delete", "connector", "left", "--timeout=60s"]).await;

    let objects = kube::Api::<Connector>::namespaced(lab.kube.clone(), &thief);
    let steal = async |name: String, annotation: Option<String>, more: &str| {
        let yaml = through(lab.connector(&name, &bucket, &format!("  deletionPolicy: Delete\n{more}")))
            .replace(&format!("namespace: {owner}"), &format!("namespace: {thief}"));
        let patch = annotation.map_or(String::new(), |text| {
            format!("annotations: {{{ANNOTATION}: '{}'}}, ", text.replace('\'', "''"))
        });
        lab.apply(&yaml.replacen("metadata: {", &format!("metadata: {{{patch}"), 1)).await;
        name
    };
    let mut thieves = Vec::new();
    for (n, (known, record)) in records.iter().enumerate() {
        let forged = |change: &dyn Fn(&mut Value)| {
            let mut forged = serde_json::from_str::<Value>(record).unwrap();
            change(&mut forged);
            Some(forged.to_string())
        };
        thieves.push(steal(format!("copied-{n}"), Some(record.clone()), "").await);
        let name = format!("made-out-{n}");
        let object = json!(format!("{thief}/{name}"));
        thieves.push(steal(name, forged(&|it| it["object"] = object.clone()), "").await);
        let name = format!("unsealed-{n}");
        let object = json!(format!("{thief}/{name}"));
        let bare = forged(&|it| {
            it["object"] = object.clone();
            let known = ["id", "origin", "identity", "object", "uid"];
            it.as_object_mut().unwrap().retain(|key, _| known.contains(&key.as_str()));
        });
        thieves.push(steal(name, bare, "").await);
        thieves.push(steal(format!("by-id-{n}"), None, &format!("  connectorId: {known}")).await);
        let status = format!("status: {{connectorId: {known}, origin: Created}}");
        thieves.push(steal(format!("by-status-{n}"), None, &status).await);
    }
    for name in &thieves {
        let mut settled = None;
        for _ in 0..600 {
            let found = objects.get(name).await.unwrap();
            let ready = condition(found.status.as_ref(), "Ready");
            if ready.is_some_and(|(truth, why, _)| truth == "True" || why == "AdoptionNotAllowed") {
                settled = Some(found);
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let settled =
            settled.unwrap_or_else(|| panic!("{name} does not settle:\n{}", lab.parts.operator.log()));
        let has = settled.status.and_then(|status| status.connector_id);
        assert!(records.iter().all(|(known, _)| has.as_ref() != Some(known)), "{name} has {has:?}");
    }
    let all = ["-n", &thief, "delete", "connectors", "--all", "--timeout=60s"];
    let output = lab.parts.cluster.kubectl(&all).await.unwrap();
    assert!(output.success, "{}", output.stderr);
    let left = lab.remote().await;
    for (known, _) in &records {
        assert!(left.iter().any(|item| item.id.as_str() == known), "{known} was taken along");
    }
    assert_eq!(left.len(), records.len(), "what the thief made of its own went with it");
}

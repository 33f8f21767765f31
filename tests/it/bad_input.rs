//! Bad input: a clear message that says what to do, as early as possible, and nothing lost.

use std::time::Duration;

use secrecy::ExposeSecret;
use slimio_operator::crd::Connector;

use crate::lab::{Lab, condition, id};

/// What kubectl says when the API server refuses a Connector whose spec has `spec` in the place of its source.
async fn refused(lab: &Lab, spec: &str) -> String {
    let yaml = format!(
        "{{apiVersion: slim.io/v1alpha1, kind: Connector, metadata: {{name: bad, namespace: {}}}, spec: {spec}}}",
        lab.namespace
    );
    lab.refused(&yaml).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_spec_are_refused_when_it_is_applied() {
    let lab = Lab::shared("refused").await;
    let aws = "roleArn: 'arn:aws:iam::123456789012:role/Scanner', externalId: ext-1, region: eu-west-1";
    let azure = "tenantId: 6f1d2c3b-0000-4000-8000-aabbccddeeff, clientId: 0b9a8f7e-0000-4000-8000-112233445566, clientSecretRef: {name: s, key: k}, storageAccount: acmelake";
    let long = "n".repeat(300);
    let cases = [
        (
            format!("{{aws: {{{aws}}}, azure: {{{azure}}}}}"),
            "set exactly one of spec.aws, spec.gcp and spec.azure",
        ),
        ("{}".to_owned(), "set exactly one of spec.aws, spec.gcp and spec.azure"),
        (
            format!("{{aws: {{{}}}}}", aws.replace(":role/", ":user/")),
            "aws.roleArn must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SlimIOScanner",
        ),
        (
            format!("{{aws: {{{}}}}}", aws.replace("eu-west-1", "Frankfurt")),
            "aws.region must be a region's code, such as eu-west-1",
        ),
        (format!("{{azure: {{{}}}}}", azure.replace("6f1d2c3b", "acme")), "azure.tenantId must be a UUID"),
        (
            format!("{{aws: {{{aws}}}, scope: {{prefixes: [invoices]}}}}"),
            "each of scope.prefixes must end in / and not begin with it",
        ),
        (format!("{{aws: {{{aws}}}, displayName: {long}}}"), "may not be more than 256"),
        (
            format!("{{aws: {{{}}}}}", aws.replace("externalId: ext-1, ", "")),
            "set exactly one of aws.externalId and aws.externalIdSecretRef",
        ),
        (
            format!("{{aws: {{{aws}}}, connectionTest: {{interval: 1m}}}}"),
            "connectionTest.interval must be a duration of at least 15m",
        ),
        (
            format!("{{aws: {{{aws}}}, managementPolicy: Observe}}"),
            "managementPolicy Observe needs spec.connectorId",
        ),
        (format!("{{aws: {{{aws}}}, maxRiskScore: 101}}"), "should be less than or equal to 100"),
    ];
    for (spec, expected) in cases {
        let said = refused(&lab, &spec).await;
        assert!(said.contains(expected), "{spec}\nsays {said}\ninstead of {expected}");
    }
    assert_eq!(lab.remote().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_used_is_named_and_its_cure_is_noticed() {
    let lab = Lab::shared("secrets").await;
    let bucket = lab.bucket(1).await;
    let connector = |name: &str| {
        lab.connector(name, &bucket, "")
            .replace("name: aws-external-id, key: externalId", "name: late, key: externalId")
    };
    lab.apply(&connector("a")).await;
    let (_, message) = lab.until_reason("a", "SecretNotFound").await;
    assert_eq!(
        message,
        format!("Secret {}/late is not there: create it with the key externalId", lab.namespace)
    );

    lab.apply(&lab.secret("late", "external-id", "x")).await;
    let (_, message) = lab.until_reason("a", "SecretKeyMissing").await;
    assert_eq!(message, format!("Secret {}/late has no key externalId (it has external-id)", lab.namespace));

    lab.apply(&lab.secret("late", "externalId", "")).await;
    let (_, message) = lab.until_reason("a", "SecretValueInvalid").await;
    assert!(message.ends_with("is empty"), "{message}");

    lab.apply(&lab.secret("late", "externalId", "canary-in-clear\n")).await;
    let said = |it: &Connector| {
        condition(it.status.as_ref(), "Ready").is_some_and(|(_, _, message)| message.contains("line break"))
    };
    let found = lab.until::<Connector>("a", "told of the line break", said).await;
    assert!(!format!("{found:?}").contains("canary-in-clear"));
    assert_eq!(lab.remote().await, [], "nothing was sent so far");

    lab.apply(&lab.secret("late", "externalId", lab.parts.aws.external_id())).await;
    lab.until_ready("a").await;
    assert!(!lab.parts.operator.log().contains("canary-in-clear"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_missing_or_cannot_be_used_is_named() {
    let lab = Lab::shared("workspaces").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "").replace("name: lab}", "name: elsewhere}")).await;
    let (_, message) = lab.until_reason("a", "WorkspaceNotFound").await;
    assert!(
        message.starts_with(&format!("Workspace {}/elsewhere is not there: create it", lab.namespace)),
        "{message}"
    );

    // The workspace comes after the connector, with a key that the API refuses.
    lab.apply(&lab.secret("wrong-key", "apiKey", "sk_live_nobodyhasthiskey000000000000000000")).await;
    let elsewhere =
        lab.workspace().replace("name: lab,", "name: elsewhere,").replace("name: api-key", "name: wrong-key");
    lab.apply(&elsewhere).await;
    let message = lab.until_workspace("elsewhere", "Unauthorized").await;
    assert!(message.contains(&format!("Secret {}/wrong-key (key apiKey)", lab.namespace)), "{message}");
    assert!(message.contains("HTTP 401") && message.contains("put a valid one there"), "{message}");
    let (_, message) = lab.until_reason("a", "Unauthorized").await;
    assert!(message.contains("wrong-key"), "{message}");

    // The cure is the Secret, and it is noticed.
    lab.apply(&lab.secret("wrong-key", "apiKey", lab.key.expose_secret())).await;
    lab.until_ready("a").await;

    // And a workspace that is to go waits for those who need it, and goes when they are gone.
    lab.kubectl(&["delete", "workspaces.slim.io", "elsewhere", "--wait=false"]).await;
    assert_eq!(lab.remote().await.len(), 1);
    lab.kubectl(&["delete", "connector", "a", "--timeout=60s"]).await;
    lab.kubectl(&["wait", "--for=delete", "workspaces.slim.io/elsewhere", "--timeout=60s"]).await;
    assert_eq!(lab.remote().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_permitted_is_never_contacted() {
    let lab = Lab::shared("endpoint").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    lab.apply(
        &lab.workspace()
            .replace("name: lab,", "name: evil,")
            .replace(lab.parts.server.endpoint(), &format!("http://{address}")),
    )
    .await;
    let message = lab.until_workspace("evil", "EndpointNotPermitted").await;
    assert!(message.contains(&address.to_string()) && message.contains("--permitted-endpoint"), "{message}");
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "").replace("name: lab}", "name: evil}")).await;
    lab.until_reason("a", "EndpointNotPermitted").await;
    let contact = tokio::time::timeout(Duration::from_secs(3), listener.accept()).await;
    assert!(contact.is_err(), "it was contacted: {contact:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_external_id_and_a_bucket_that_is_not_there_are_told_apart() {
    let lab = Lab::shared("causes").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.secret("wrong", "externalId", "not-the-external-id")).await;
    lab.apply(&lab.connector("stranger", &bucket, "").replace("name: aws-external-id", "name: wrong")).await;
    lab.apply(&lab.connector("nowhere", "no-such-bucket-here", "")).await;

    let (stranger, message) = lab.until_reason("stranger", "ConnectionTestFailed").await;
    assert!(message.contains("assume_role_denied") && message.contains("external id"), "{message}");
    let (nowhere, message) = lab.until_reason("nowhere", "ConnectionTestFailed").await;
    assert!(message.contains("bucket_not_found") && message.contains("no-such-bucket-here"), "{message}");
    for connector in [&stranger, &nowhere] {
        let status = connector.status.as_ref();
        assert_eq!(condition(status, "Connected").unwrap().0, "False");
        assert_eq!(condition(status, "Synced").unwrap().0, "True");
        assert_eq!(condition(status, "Reconciling").unwrap().0, "True", "it is tested again");
    }

    // The corrected Secret has to reach the API, which has no update: the connector was never scanned, so it is made anew.
    lab.apply(&lab.secret("wrong", "externalId", lab.parts.aws.external_id())).await;
    let cured = lab.until_ready("stranger").await;
    assert_ne!(id(&cured), id(&stranger));
    assert_eq!(lab.remote().await.len(), 2, "the old one is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_role_is_corrected_before_the_first_scan_and_refused_after_it() {
    let lab = Lab::shared("edits").await;
    let bucket = lab.bucket(1).await;
    let right = lab.connector("a", &bucket, "");
    lab.apply(
        &right
            .replace("role/SlimIOScanner", "role/SlimIOScaner")
            .replace("SlimIOScanner\n", "SlimIOScaner\n"),
    )
    .await;
    let (mistyped, _) = lab.until_reason("a", "ConnectionTestFailed").await;
    lab.apply(&right).await;
    let corrected = lab.until_ready("a").await;
    assert_ne!(id(&corrected), id(&mistyped));
    assert_eq!(lab.remote().await.len(), 1);

    lab.apply(&lab.scan("s", "a", "")).await;
    lab.until_scan("s", "Completed").await;
    lab.until::<Connector>("a", "refreshed", |it| {
        it.status.as_ref().is_some_and(|status| status.last_scan_time.is_some())
    })
    .await;
    let said = lab.refused(&right.replace("us-east-1", "eu-west-1")).await;
    assert!(
        said.contains("the API cannot change a connector") && said.contains("spec.replacePolicy to Recreate"),
        "{said}"
    );
    let said = lab.refused(&right.replace("name: lab}", "name: other}")).await;
    assert!(said.contains("spec.workspaceRef cannot change while the connector exists"), "{said}");
    let said = lab.refused(&lab.scan("s", "a", "").replace("Full", "Incremental")).await;
    assert!(said.contains("a Scan cannot be changed: it runs once; make a new one"), "{said}");

    // With consent, the loss is taken.
    let consented = right.replace("scope:", "replacePolicy: Recreate\n  displayName: renamed\n  scope:");
    lab.apply(&consented).await;
    let before = id(&corrected);
    let renewed = lab
        .until::<Connector>("a", "replaced", |it| {
            let status = it.status.as_ref();
            condition(status, "Ready").is_some_and(|(truth, ..)| truth == "True")
                && status.and_then(|status| status.connector_id.as_ref()) != Some(&before)
        })
        .await;
    assert_eq!(renewed.status.as_ref().unwrap().replacement, None);
    let remote = lab.remote().await;
    assert_eq!((remote.len(), remote[0].name.as_str()), (1, "renamed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_waits_for_its_connector_and_says_so() {
    let lab = Lab::shared("waits").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.scan("early", "later", "")).await;
    let (_, message) = lab.until_scan("early", "ConnectorNotFound").await;
    assert!(message.contains(&format!("Connector {}/later is not there", lab.namespace)), "{message}");
    lab.apply(&lab.scan("hasty", "later", "  startingDeadlineSeconds: 1")).await;
    let (_, message) = lab.until_scan("hasty", "StartingDeadlineExceeded").await;
    assert!(
        message.contains("startingDeadlineSeconds (1)") && message.contains("make a new Scan"),
        "{message}"
    );

    lab.apply(&lab.connector("later", "no-such-bucket-here", "")).await;
    let (_, message) = lab.until_scan("early", "ConnectorNotReady").await;
    assert!(message.contains("later"), "{message}");
    lab.apply(&lab.connector("later", &bucket, "")).await;
    lab.until_scan("early", "Completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_of_the_same_name_at_the_api_is_not_taken_and_not_doubled() {
    let lab = Lab::shared("twin").await;
    let bucket = lab.bucket(1).await;
    lab.apply(&lab.connector("a", &bucket, "  deletionPolicy: Retain")).await;
    let first = lab.until_ready("a").await;
    lab.kubectl(&["delete", "connector", "a", "--timeout=60s"]).await;
    assert_eq!(lab.remote().await.len(), 1, "it was to stay");

    lab.apply(&lab.connector("a", &bucket, "")).await;
    let (_, message) = lab.until_reason("a", "AlreadyExists").await;
    assert!(message.contains(&id(&first)) && message.contains("delete it there"), "{message}");
    assert_eq!(lab.remote().await.len(), 1);
    lab.kubectl(&["delete", "connector", "a", "--timeout=60s"]).await;
    assert_eq!(lab.remote().await.len(), 1, "what is not ours is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn gcp_and_azure_are_created_and_say_that_this_server_cannot_test_them_yet() {
    let lab = Lab::shared("clouds").await;
    lab.apply(&lab.secret("azure-app", "clientSecret", "canary-azure-secret")).await;
    lab.apply(&lab.secret(
        "gcp-wif",
        "provider",
        "projects/998877665544/locations/global/workloadIdentityPools/pool-a/providers/prov-a",
    ))
    .await;
    let head = |name: &str| {
        format!(
            "apiVersion: slim.io/v1alpha1\nkind: Connector\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  workspaceRef: {{kind: Workspace, name: lab}}\n",
            lab.namespace
        )
    };
    lab.apply(&format!("{}  azure: {{tenantId: 6f1d2c3b-0000-4000-8000-aabbccddeeff, clientId: 0b9a8f7e-0000-4000-8000-112233445566, clientSecretRef: {{name: azure-app, key: clientSecret}}, storageAccount: acmelake}}\n", head("azure"))).await;
    lab.apply(&format!("{}  gcp: {{projectId: acme-lake-42, serviceAccountEmail: reader@acme-lake-42.iam.gserviceaccount.com, wifProviderSecretRef: {{name: gcp-wif, key: provider}}}}\n", head("gcp"))).await;
    for name in ["azure", "gcp"] {
        let (connector, message) = lab.until_reason(name, "ConnectionTestFailed").await;
        assert!(message.contains("provider_not_supported"), "{message}");
        assert!(connector.status.is_some_and(|status| status.connector_id.is_some()));
    }
    assert_eq!(lab.remote().await.len(), 2);
    let everything = lab.kubectl(&["get", "connectors,workspaces,events", "-o", "yaml"]).await;
    assert!(
        !everything.contains("canary-azure-secret")
            && !lab.parts.operator.log().contains("canary-azure-secret")
    );
}

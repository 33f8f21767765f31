//! The parsed spec: refused as the CRD refuses it, sent as it stands, and silent about secrets.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Desired, SentDiffers, Source, Text, digest, sent_digest};
use crate::controller::connector::observed::Request;
use crate::crd::{Connector, ConnectorSpec, DeletionPolicy, ReplacePolicy, WorkspaceKind};

/// The spec of a connector of `provider`, with `change` merged into it as `kubectl patch` does.
fn spec(provider: &str, change: Value) -> ConnectorSpec {
    let mut spec = match provider {
        "aws" => json!({"aws": {
            "roleArn": "arn:aws:iam::123456789012:role/Scanner", "externalId": "ext-51c0ffee", "region": "eu-west-1",
        }}),
        "gcp" => json!({"gcp": {
            "projectId": "acme-lake-42",
            "serviceAccountEmail": "reader@acme-lake-42.iam.gserviceaccount.com",
            "wifProvider": "projects/1/locations/global/workloadIdentityPools/a/providers/b",
        }}),
        _ => json!({"azure": {
            "tenantId": "6f1d2c3b-0000-4000-8000-aabbccddeeff",
            "clientId": "0b9a8f7e-0000-4000-8000-112233445566",
            "clientSecretRef": {"name": "s", "key": "k"},
            "storageAccount": "acmelake",
        }}),
    };
    merge(&mut spec, change);
    serde_json::from_value(spec).unwrap()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn parse(spec: &ConnectorSpec) -> Result<Option<Desired>, String> {
    Desired::parse("team", "lake", spec).map_err(|error| error.to_string())
}

fn desired(provider: &str, change: Value) -> Desired {
    parse(&spec(provider, change)).unwrap().unwrap()
}

#[test]
fn what_the_crd_refuses_is_refused_here_with_the_same_words() {
    let aws = |field: &str, value: &str| ("aws", json!({"aws": {field: value}}));
    let gcp = |field: &str, value: &str| ("gcp", json!({"gcp": {field: value}}));
    let azure = |field: &str, value: &str| ("azure", json!({"azure": {field: value}}));
    let bad = [
        ("aws", json!({"aws": null})),
        (
            "aws",
            json!({"gcp": {"projectId": "acme-lake-42", "serviceAccountEmail": "a@b.gserviceaccount.com",
            "wifProvider": "projects/1/locations/global/workloadIdentityPools/a/providers/b"}}),
        ),
        ("aws", json!({"managementPolicy": "Observe"})),
        ("aws", json!({"displayName": "a\nb"})),
        ("aws", json!({"displayName": " a"})),
        ("aws", json!({"displayName": "a "})),
        aws("roleArn", "arn:aws:iam::123456789012:user/Scanner"),
        aws("roleArn", "arn:aws:iam::12345678901:role/Scanner"),
        aws("roleArn", "arn:aws:iam::123456789012:role/"),
        aws("roleArn", "arn:aws:iam::123456789012:role/Scan ner"),
        aws("roleArn", "arn:AWS:iam::123456789012:role/Scanner"),
        aws("roleArn", "arn:awsome1:iam::123456789012:role/Scanner"),
        aws("externalId", "a b"),
        aws("externalId", "ümlaut"),
        aws("region", "eu"),
        aws("region", "eu-west"),
        aws("region", "EU-WEST-1"),
        aws("region", "eu--1"),
        aws("region", "eu-west-1a"),
        aws("region", "eu-west-100"),
        aws("region", "europe-west-1"),
        ("aws", json!({"aws": {"externalId": null}})),
        ("aws", json!({"aws": {"externalIdSecretRef": {"name": "s", "key": "k"}}})),
        gcp("projectId", "Acme Lake"),
        gcp("projectId", "123456789"),
        gcp("projectId", "acme"),
        gcp("projectId", "acme-lake-"),
        gcp("projectId", ":acme-lake"),
        gcp("serviceAccountEmail", "reader@example.com"),
        gcp("serviceAccountEmail", "@acme.iam.gserviceaccount.com"),
        gcp("serviceAccountEmail", "Reader@acme.iam.gserviceaccount.com"),
        gcp("wifProvider", "slim-io-provider"),
        gcp("wifProvider", "projects/acme/locations/global/workloadIdentityPools/a/providers/b"),
        gcp("wifProvider", "projects/1/locations/global/workloadIdentityPools/a/providers/b/"),
        ("gcp", json!({"gcp": {"wifProvider": null}})),
        ("gcp", json!({"gcp": {"wifProviderSecretRef": {"name": "s", "key": "k"}}})),
        azure("tenantId", "contoso.onmicrosoft.com"),
        azure("tenantId", "6f1d2c3b00004000800011aabbccddeeff22"),
        azure("clientId", "6f1d2c3b-0000-4000-8000-aabbccddeefg"),
        azure("storageAccount", "ab"),
        azure("storageAccount", "Acme"),
        azure("storageAccount", "acme-lake"),
        azure("storageAccount", "a234567890123456789012345"),
        ("aws", json!({"scope": {"prefixes": ["invoices"]}})),
        ("aws", json!({"scope": {"prefixes": ["a/", "/invoices/"]}})),
        ("aws", json!({"scope": {"fileTypes": ["csv", ".csv"]}})),
        ("aws", json!({"connectorId": "-conn"})),
        ("aws", json!({"connectorId": "a/../b"})),
        ("aws", json!({"connectionTest": {"interval": "1m"}})),
        ("aws", json!({"connectionTest": {"interval": "soon"}})),
    ];
    for (provider, change) in bad {
        let spec = spec(provider, change.clone());
        let errors = Connector::new("lake", spec.clone()).validate_cel().expect_err(&change.to_string());
        let by_the_crd = errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>();
        assert_eq!(by_the_crd, [parse(&spec).expect_err(&change.to_string())], "{change}");
    }
}

#[test]
fn what_the_crd_takes_is_taken_here() {
    let good = [
        ("aws", json!({})),
        ("gcp", json!({})),
        ("azure", json!({})),
        ("aws", json!({"displayName": "Zürich, Größe 5 (neu)"})),
        ("aws", json!({"aws": {"roleArn": "arn:aws-us-gov:iam::123456789012:role/team/path/Name+=,.@_-1"}})),
        ("aws", json!({"aws": {"region": "us-gov-east-1", "externalId": "a+=,.@:/_-Z9"}})),
        ("aws", json!({"aws": {"externalId": null, "externalIdSecretRef": {"name": "s", "key": "k"}}})),
        ("gcp", json!({"gcp": {"projectId": "example.com:acme-lake"}})),
        ("gcp", json!({"gcp": {"serviceAccountEmail": "1234-compute@developer.gserviceaccount.com"}})),
        ("gcp", json!({"gcp": {"wifProvider": null, "wifProviderSecretRef": {"name": "s", "key": "k"}}})),
        ("azure", json!({"azure": {"tenantId": "6F1D2C3B-0000-4000-8000-AABBCCDDEEFF"}})),
        ("aws", json!({"scope": {"buckets": ["lake"], "prefixes": ["a b/ü/"], "fileTypes": ["csv", "7z"]}})),
        ("aws", json!({"connectorId": "a.b:c_d-e"})),
        ("aws", json!({"connectionTest": {"interval": "15m"}})),
    ];
    for (provider, change) in good {
        let spec = spec(provider, change.clone());
        Connector::new("lake", spec.clone())
            .validate_cel()
            .unwrap_or_else(|error| panic!("{change}: {error:?}"));
        assert!(parse(&spec).is_ok_and(|parsed| parsed.is_some()), "{change}: {:?}", parse(&spec));
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let desired = desired("aws", json!({}));
    assert_eq!(desired.name, "team.lake");
    assert_eq!(
        (desired.workspace.kind, desired.workspace.namespace.as_deref()),
        (WorkspaceKind::ClusterWorkspace, None)
    );
    assert_eq!((desired.deletion, desired.replace), (None, ReplacePolicy::Never));
    assert_eq!(
        (desired.connector_id, desired.test_interval_seconds, desired.max_risk_score),
        (None, None, None)
    );
    assert!(!desired.suspend && !desired.adopt_matching && !desired.named);
}

#[test]
fn what_is_given_is_kept() {
    let desired = desired(
        "aws",
        json!({
            "workspaceRef": {"kind": "Workspace", "name": "mine"}, "displayName": "Billing", "deletionPolicy": "Retain",
            "replacePolicy": "Recreate", "connectionTest": {"interval": "1h30m"}, "maxRiskScore": 40, "suspend": true,
            "connectorId": "conn-1",
        }),
    );
    assert_eq!(desired.workspace.to_string(), "Workspace team/mine");
    assert_eq!(desired.name, "Billing");
    assert_eq!((desired.deletion, desired.replace), (Some(DeletionPolicy::Retain), ReplacePolicy::Recreate));
    assert_eq!((desired.test_interval_seconds, desired.max_risk_score), (Some(5400), Some(40)));
    assert!(desired.suspend);
    assert_eq!(desired.connector_id.as_deref(), Some("conn-1"));
}

#[test]
fn what_is_only_observed_needs_no_provider() {
    let observed = spec("aws", json!({"aws": null, "managementPolicy": "Observe", "connectorId": "conn-1"}));
    assert_eq!(parse(&observed), Ok(None));
}

#[test]
fn a_name_that_is_too_long_for_an_api_is_refused_with_the_way_out() {
    let spec = spec("aws", json!({}));
    let message = Desired::parse(&"n".repeat(63), &"x".repeat(250), &spec).unwrap_err().to_string();
    assert!(message.ends_with("set spec.displayName to a shorter one"), "{message}");
    let exact = Desired::parse("n", &"x".repeat(254), &spec).unwrap().unwrap();
    assert_eq!(exact.name.chars().count(), 256);
}

#[test]
fn a_request_has_the_workspaces_name_and_the_secret_where_it_is_asked_for() {
    let secret = SecretString::from("canary-secret");
    let body = |desired: &Desired, secret: Option<&SecretString>| {
        let create = desired.request("as the workspace spells it".to_owned(), secret).unwrap();
        serde_json::from_str::<Value>(create.to_json().expose_secret()).unwrap()
    };
    let inline = body(&desired("aws", json!({"scope": {"prefixes": ["a/"]}})), None);
    let expected = json!({"name": "as the workspace spells it", "provider": "aws", "config": {
        "role_arn": "arn:aws:iam::123456789012:role/Scanner", "external_id": "ext-51c0ffee", "region": "eu-west-1",
        "prefixes": ["a/"]}});
    assert_eq!(inline, expected);
    let reference = json!({"name": "s", "key": "k"});
    let aws = desired("aws", json!({"aws": {"externalId": null, "externalIdSecretRef": reference}}));
    assert_eq!(body(&aws, Some(&secret))["config"]["external_id"], "canary-secret");
    let gcp = desired("gcp", json!({"gcp": {"wifProvider": null, "wifProviderSecretRef": reference}}));
    assert_eq!(body(&gcp, Some(&secret))["config"]["wif_provider"], "canary-secret");
    let azure = desired("azure", json!({}));
    assert_eq!(body(&azure, Some(&secret))["config"]["client_secret"], "canary-secret");
    for needs_one in [aws, gcp, azure] {
        assert!(needs_one.source.secret_ref().is_some());
        assert!(needs_one.request("n".to_owned(), None).is_none(), "nothing is sent without its secret");
    }
}

#[test]
fn nothing_that_came_from_a_secret_can_be_read_or_printed() {
    let secret = SecretString::from("canary-secret");
    let reference = json!({"name": "s", "key": "k"});
    let from_secrets = [
        desired("aws", json!({"aws": {"externalId": null, "externalIdSecretRef": reference}})),
        desired("gcp", json!({"gcp": {"wifProvider": null, "wifProviderSecretRef": reference}})),
        desired("azure", json!({})),
    ];
    for desired in from_secrets {
        let create = desired.request("n".to_owned(), Some(&secret)).unwrap();
        let readable = desired.readable_config(&create);
        assert_eq!(
            readable,
            desired.readable_without_secret(),
            "what can be read does not hang on the secret"
        );
        let sent = sent_digest("salt", &desired, &create);
        let request = Request { readable, sent, create };
        let printed = format!("{request:?} {request:#?} {:?}", Ok::<&Request, ()>(&request));
        assert!(printed.contains("readable") && !printed.contains("canary"), "{printed}");
        assert!(!serde_json::to_string(&request.readable).unwrap().contains("canary"));
    }
    // An external id is a secret to the API also where it stands in the spec.
    let inline = desired("aws", json!({}));
    let create = inline.request("n".to_owned(), None).unwrap();
    assert!(!inline.readable_config(&create).contains_key("external_id"));
    let gcp = desired("gcp", json!({}));
    let create = gcp.request("n".to_owned(), None).unwrap();
    assert!(gcp.readable_config(&create).contains_key("wif_provider"));
}

#[test]
fn a_digest_changes_with_everything_that_is_sent_and_tells_nothing_else() {
    let digest_of = |salt: &str, provider: &str, change: Value, secret: &str| {
        let secret = SecretString::from(secret.to_owned());
        let desired = desired(provider, change);
        let create = desired.request("n".to_owned(), Some(&secret)).unwrap();
        sent_digest(salt, &desired, &create)
    };
    let first = digest_of("team/lake", "azure", json!({}), "canary-1");
    assert_eq!(first, digest_of("team/lake", "azure", json!({}), "canary-1"), "the same for the same");
    assert!(first.len() == 33 && first.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
    let others = [
        digest_of("team/pond", "azure", json!({}), "canary-1"),
        digest_of("team/lake", "azure", json!({}), "canary-2"),
        digest_of("team/lake", "azure", json!({"azure": {"storageAccount": "other"}}), "canary-1"),
        digest_of("team/lake", "azure", json!({"scope": {"buckets": ["one"]}}), "canary-1"),
        digest_of("team/lake", "aws", json!({}), "canary-1"),
    ];
    assert!(!others.contains(&first));
    let moved = json!({"aws": {"externalId": null, "externalIdSecretRef": {"name": "s", "key": "k"}}});
    let inline = digest_of("team/lake", "aws", json!({}), "");
    let differs = |sent: &String, today: &String| SentDiffers::between(Some(sent), today);
    let referenced = |secret| digest_of("team/lake", "aws", moved.clone(), secret);
    assert_eq!(
        differs(&referenced("ext-51c0ffee"), &inline),
        Some(SentDiffers::No),
        "where it stands is not sent"
    );
    assert_eq!(differs(&referenced("canary-1"), &referenced("canary-2")), Some(SentDiffers::Secret));
    assert_eq!(differs(&first, &others[2]), Some(SentDiffers::Spec));
    assert_eq!(differs(&others[2], &others[1]), Some(SentDiffers::Spec), "in both");
    let other_id = digest_of("team/lake", "aws", json!({"aws": {"externalId": "ext-other"}}), "");
    assert_eq!(differs(&inline, &other_id), Some(SentDiffers::Spec), "it stands in the spec");
    assert_eq!(SentDiffers::between(None, &first), None);
    assert_eq!(differs(&"0123456789abcdef0123456789abcdef".to_owned(), &first), None, "no digest of ours");
    assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]), "no two lists of parts are alike");
}

#[test]
fn a_source_knows_its_provider() {
    for provider in ["aws", "gcp", "azure"] {
        assert_eq!(desired(provider, json!({})).source.provider().as_str(), provider);
    }
    let Source::Aws { external_id, .. } = desired("aws", json!({})).source else { panic!("it is aws") };
    assert_eq!(external_id, Text::Inline("ext-51c0ffee".to_owned()));
}

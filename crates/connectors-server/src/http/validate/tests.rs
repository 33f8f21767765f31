//! Tables of what a create accepts and what it refuses, with the sentences.

use serde_json::json;

use super::*;

fn read(body: Value) -> Result<NewConnector, String> {
    let Value::Object(body) = body else { panic!("an object") };
    connector(body).map_err(|error| error.message)
}

fn aws(change: Value) -> Value {
    let mut config = json!({"role_arn": "arn:aws:iam::210987654321:role/BillingReader", "external_id": "ext-51c0ffee",
        "region": "eu-west-1", "buckets": ["billing-2023"], "prefixes": ["invoices/"], "file_types": ["csv"]});
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    json!({"name": "Billing archive", "provider": "aws", "config": config})
}

fn gcp(change: Value) -> Value {
    let mut config = json!({"project_id": "acme-lake-42", "service_account_email": "reader@acme-lake-42.iam.gserviceaccount.com",
        "wif_provider": "projects/998877665544/locations/global/workloadIdentityPools/pool-a/providers/prov-a"});
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    json!({"name": "g", "provider": "gcp", "config": config})
}

fn azure(change: Value) -> Value {
    let mut config = json!({"tenant_id": "6f1d2c3b-0000-4000-8000-aabbccddeeff", "client_id": "0b9a8f7e-0000-4000-8000-112233445566",
        "client_secret": "canary-secret", "storage_account": "acmelake"});
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    json!({"name": "a", "provider": "azure", "config": config})
}

#[test]
fn the_documented_bodies_are_accepted_and_secrets_are_kept_apart() {
    let connector = read(aws(json!({}))).unwrap();
    assert_eq!(connector.secrets.keys().collect::<Vec<_>>(), ["external_id"]);
    assert!(!connector.config.contains_key("external_id"));
    assert_eq!(connector.config["prefixes"], json!(["invoices/"]));
    read(gcp(json!({"buckets": ["my_bucket"]}))).unwrap();
    let azure = read(azure(json!({"tenant_id": "contoso.onmicrosoft.com"}))).unwrap();
    assert_eq!(azure.secrets.keys().collect::<Vec<_>>(), ["client_secret"]);
}

#[test]
fn partitions_role_paths_and_their_regions_are_accepted() {
    for (arn, region) in [
        ("arn:aws-cn:iam::210987654321:role/Reader", "cn-north-1"),
        ("arn:aws-us-gov:iam::210987654321:role/team/sub/Reader+x=1,@", "us-gov-west-1"),
        ("arn:aws:iam::210987654321:role/service-role/Reader", "ap-southeast-4"),
    ] {
        read(aws(json!({"role_arn": arn, "region": region}))).unwrap();
    }
}

#[test]
fn each_bad_value_is_refused_by_the_name_of_its_field() {
    for (body, expected) in [
        (
            aws(json!({"role_arn": "arn:aws:iam::21098765432:role/R"})),
            "config.role_arn must be the ARN of an IAM role",
        ),
        (aws(json!({"role_arn": "arn:aws:iam::210987654321:user/R"})), "config.role_arn must be the ARN"),
        (aws(json!({"role_arn": "arn:aws:iam::210987654321:role/"})), "config.role_arn must be the ARN"),
        (aws(json!({"role_arn": "arn:aws:iam::210987654321:role//R"})), "config.role_arn must be the ARN"),
        (aws(json!({"role_arn": "arn:aws-xx:iam::210987654321:role/R"})), "config.role_arn must be the ARN"),
        (aws(json!({"role_arn": 7})), "config.role_arn must be a text"),
        (aws(json!({"role_arn": null})), "config.role_arn is required"),
        (aws(json!({"external_id": ""})), "config.external_id must not be empty"),
        (aws(json!({"external_id": " "})), "config.external_id must not be empty"),
        (aws(json!({"external_id": "a b"})), "config.external_id must have 2 to 1224"),
        (aws(json!({"region": "Frankfurt"})), "config.region must be an AWS region"),
        (aws(json!({"region": "eu-west"})), "config.region must be an AWS region"),
        (
            aws(json!({"region": "cn-north-1"})),
            "config.region lies in the partition aws-cn, but the role in aws",
        ),
        (aws(json!({"prefixes": ["invoices"]})), "config.prefixes[0] must end with \"/\""),
        (aws(json!({"prefixes": ["/x/"]})), "config.prefixes[0] must not begin"),
        (aws(json!({"buckets": "b"})), "config.buckets must be a list of texts"),
        (aws(json!({"buckets": ["ok-1", "No"]})), "config.buckets[1] must be a bucket name"),
        (aws(json!({"file_types": [".csv"]})), "config.file_types[0] must be an extension without the dot"),
        (
            aws(json!({"containers": ["x"]})),
            "config.containers is not known for provider aws; known are role_arn, external_id",
        ),
        (aws(json!({"endpoint": "http://169.254.169.254"})), "config.endpoint is not known"),
        (gcp(json!({"project_id": "1234567"})), "config.project_id must be a project id"),
        (
            gcp(json!({"service_account_email": "me@example.com"})),
            "config.service_account_email must be the e-mail",
        ),
        (gcp(json!({"wif_provider": "pool-a"})), "config.wif_provider must be projects/"),
        (azure(json!({"tenant_id": "nope"})), "config.tenant_id must be the tenant's UUID"),
        (azure(json!({"client_id": "nope"})), "config.client_id must be the UUID"),
        (azure(json!({"client_secret": ""})), "config.client_secret must not be empty"),
        (azure(json!({"storage_account": "Acme"})), "config.storage_account must have 3 to 24"),
        (json!({"name": "x", "provider": "oracle", "config": {}}), "provider must be one of aws, gcp, azure"),
        (json!({"name": "x", "provider": "aws"}), "config is required"),
        (json!({"name": "x", "config": {}}), "provider is required"),
        (
            json!({"name": "x", "provider": "aws", "config": {}, "id": 1}),
            "id is not known; known are name, provider, config",
        ),
    ] {
        let message = read(body.clone()).unwrap_err();
        assert!(message.contains(expected), "{body}\n{message}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let body = json!({"name": "", "provider": "aws", "config": {"region": "x", "colour": "blue"}});
    let message = read(body).unwrap_err();
    for part in [
        "name must not be empty",
        "config.colour is not known",
        "config.role_arn is required",
        "config.external_id is required",
        "config.region must be",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn names_have_1_to_256_characters_and_no_control_characters() {
    let named = |name: &str| {
        let mut body = aws(json!({}));
        body["name"] = json!(name);
        read(body)
    };
    assert!(named(&"ü".repeat(256)).is_ok());
    assert!(named(&"x".repeat(257)).unwrap_err().contains("name must have at most 256 characters"));
    assert!(named("a\nb").unwrap_err().contains("name must not hold control characters"));
    assert!(named("  ").unwrap_err().contains("name must not be empty"));
}

#[test]
fn a_refusal_never_repeats_a_secret() {
    for body in [
        azure(json!({"client_id": "x", "client_secret": "canary-secret\n"})),
        aws(json!({"external_id": "canary secret", "region": "x"})),
        aws(json!({"external_id": ["canary-secret"]})),
    ] {
        let message = read(body).unwrap_err();
        assert!(!message.contains("canary"), "{message}");
    }
}

//! What a Connector may say, rule by rule, with the message that a person gets.

use super::fixture::{connector, messages, secret};
use crate::crd::{ConnectionTestPolicy, Connector, ConnectorScope, ManagementPolicy};

/// The rules refuse `connector` with these words alone.
fn refused(what: &str, connector: &Connector, message: &str) {
    assert_eq!(messages(connector.validate_cel()), [message], "{what}");
}

fn taken(what: &str, connector: &Connector) {
    assert_eq!(messages(connector.validate_cel()), Vec::<String>::new(), "{what}");
}

/// Each of `good` is taken and each of `bad` refused, once `set` has put it into the spec of a connector of `provider`.
fn field(provider: &str, set: fn(&mut Connector, &str), good: &[&str], bad: &[&str], message: &str) {
    for value in good {
        let mut connector = connector(provider);
        set(&mut connector, value);
        taken(value, &connector);
    }
    for value in bad {
        let mut connector = connector(provider);
        set(&mut connector, value);
        refused(value, &connector, message);
    }
}

#[test]
fn each_provider_alone_is_taken() {
    for provider in ["aws", "gcp", "azure"] {
        taken(provider, &connector(provider));
    }
}

#[test]
fn there_is_exactly_one_provider() {
    let message = "set exactly one of spec.aws, spec.gcp and spec.azure";
    refused("none", &connector("none"), message);
    let mut two = connector("aws");
    two.spec.gcp = connector("gcp").spec.gcp;
    refused("two", &two, message);
    two.spec.azure = connector("azure").spec.azure;
    refused("three", &two, message);
    let mut observed = connector("none");
    observed.spec.management_policy = ManagementPolicy::Observe;
    observed.spec.connector_id = Some("conn-7h2k9q".to_owned());
    taken("observed without a provider", &observed);
    observed.spec.aws = connector("aws").spec.aws;
    taken("observed with one", &observed);
    observed.spec.gcp = connector("gcp").spec.gcp;
    refused("observed with two", &observed, message);
}

#[test]
fn what_is_observed_is_named() {
    let mut observed = connector("none");
    observed.spec.management_policy = ManagementPolicy::Observe;
    let message = "managementPolicy Observe needs spec.connectorId: the id of the connector to observe";
    refused("without an id", &observed, message);
}

#[test]
fn a_display_name_has_no_control_characters_and_no_spaces_around_it() {
    field(
        "aws",
        |it, value| it.spec.display_name = Some(value.to_owned()),
        &["x", "Billing archive", "Zürich, Größe 5 (neu)", "顧客データ", &"n".repeat(256)],
        &[" x", "x ", "a\nb", "a\tb", "\u{7}", "x\n"],
        "displayName must not contain control characters, nor begin or end with a space",
    );
}

#[test]
fn a_role_is_an_arn_of_a_role() {
    field(
        "aws",
        |it, value| it.spec.aws.as_mut().unwrap().role_arn = value.to_owned(),
        &[
            "arn:aws:iam::123456789012:role/SlimIOScanner",
            "arn:aws-cn:iam::123456789012:role/x",
            "arn:aws-us-gov:iam::123456789012:role/team/path/Name+=,.@_-1",
        ],
        &[
            "arn:aws:iam::12345678901:role/Scanner",
            "arn:aws:iam::123456789012:user/Scanner",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:s3:::lake-of-customers",
            "arn:aws:iam::123456789012:role/Scan ner",
            "arn:aws:iam::123456789012:role/Scanner\n",
            "SlimIOScanner-is-not-an-arn",
        ],
        "aws.roleArn must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SlimIOScanner",
    );
}

#[test]
fn an_external_id_stands_in_the_spec_or_in_a_secret() {
    let message = "set exactly one of aws.externalId and aws.externalIdSecretRef: the role's trust policy must ask for an \
                   external id";
    let mut neither = connector("aws");
    neither.spec.aws.as_mut().unwrap().external_id = None;
    refused("neither", &neither, message);
    neither.spec.aws.as_mut().unwrap().external_id_secret_ref = Some(secret());
    taken("in a Secret", &neither);
    let mut both = connector("aws");
    both.spec.aws.as_mut().unwrap().external_id_secret_ref = Some(secret());
    refused("both", &both, message);
    field(
        "aws",
        |it, value| it.spec.aws.as_mut().unwrap().external_id = Some(value.to_owned()),
        &["ext-51c0ffee", "a+=,.@:/_-Z9"],
        &["a b", "ext\n", "ext;drop", "ümlaut"],
        "aws.externalId may hold letters, digits and + = , . @ : / _ - only",
    );
}

#[test]
fn a_region_is_a_regions_code() {
    field(
        "aws",
        |it, value| it.spec.aws.as_mut().unwrap().region = value.to_owned(),
        &["eu-west-1", "us-gov-east-1", "ap-southeast-3", "cn-north-1", "us-iso-east-1", "mx-central-1"],
        &["eu", "eu-west", "EU-WEST-1", "eu-west-1a", "eu west 1", "Frankfurt", "eu-west-123"],
        "aws.region must be a region's code, such as eu-west-1",
    );
}

#[test]
fn a_google_project_is_named_by_its_id_and_an_account_by_its_address() {
    field(
        "gcp",
        |it, value| it.spec.gcp.as_mut().unwrap().project_id = value.to_owned(),
        &["acme-lake-42", "example.com:acme-lake"],
        &["Acme Lake", "123456789", "acme", "acme-lake-", "-acme-lake", "acme_lake"],
        "gcp.projectId must be the project's id (not its name or number), such as acme-lake-42",
    );
    field(
        "gcp",
        |it, value| it.spec.gcp.as_mut().unwrap().service_account_email = value.to_owned(),
        &["reader@acme-lake-42.iam.gserviceaccount.com", "1234-compute@developer.gserviceaccount.com"],
        &[
            "reader@example.com",
            "reader",
            "@acme.iam.gserviceaccount.com",
            "a@b.iam.gserviceaccount.com.evil.example",
        ],
        "gcp.serviceAccountEmail must end in .gserviceaccount.com, such as reader@acme-lake-42.iam.gserviceaccount.com",
    );
}

#[test]
fn a_federation_provider_stands_in_the_spec_or_in_a_secret() {
    let message = "set exactly one of gcp.wifProvider and gcp.wifProviderSecretRef";
    let mut neither = connector("gcp");
    neither.spec.gcp.as_mut().unwrap().wif_provider = None;
    refused("neither", &neither, message);
    neither.spec.gcp.as_mut().unwrap().wif_provider_secret_ref = Some(secret());
    taken("in a Secret", &neither);
    let mut both = connector("gcp");
    both.spec.gcp.as_mut().unwrap().wif_provider_secret_ref = Some(secret());
    refused("both", &both, message);
    field(
        "gcp",
        |it, value| it.spec.gcp.as_mut().unwrap().wif_provider = Some(value.to_owned()),
        &["projects/1/locations/global/workloadIdentityPools/a/providers/b"],
        &[
            "projects/acme-lake/locations/global/workloadIdentityPools/a/providers/b",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
            "slim-io-provider",
            "projects/1/locations/global/workloadIdentityPools/a/providers/b/",
        ],
        "gcp.wifProvider must have the form projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>",
    );
}

#[test]
fn tenant_and_client_are_uuids_and_a_storage_account_has_its_own_form() {
    let good = ["6f1d2c3b-0000-4000-8000-aabbccddeeff", "6F1D2C3B-0000-4000-8000-AABBCCDDEEFF"];
    let bad = [
        "contoso.onmicrosoft.com",
        "6f1d2c3b00004000800011aabbccddeeff",
        "6f1d2c3b-0000-4000-8000-aabbccddeef",
        "6f1d2c3b-0000-4000-8000-aabbccddeefg",
        "{6f1d2c3b-0000-4000-8000-aabbccddeef",
    ];
    field(
        "azure",
        |it, value| it.spec.azure.as_mut().unwrap().tenant_id = value.to_owned(),
        &good,
        &bad,
        "azure.tenantId must be a UUID, such as 6f1d2c3b-0000-4000-8000-aabbccddeeff",
    );
    field(
        "azure",
        |it, value| it.spec.azure.as_mut().unwrap().client_id = value.to_owned(),
        &good,
        &bad,
        "azure.clientId must be a UUID, such as 0b9a8f7e-0000-4000-8000-112233445566",
    );
    field(
        "azure",
        |it, value| it.spec.azure.as_mut().unwrap().storage_account = value.to_owned(),
        &["abc", "acmelake", "a23456789012345678901234"],
        &[
            "ab",
            "AcmeLake",
            "acme-lake",
            "a234567890123456789012345",
            "https://acmelake.blob.core.windows.net",
        ],
        "azure.storageAccount must be 3 to 24 lower-case letters and digits",
    );
}

#[test]
fn prefixes_end_in_a_slash_and_file_types_have_no_dot() {
    let scope = |it: &mut Connector, prefixes: &[&str], types: &[&str]| {
        it.spec.scope = Some(ConnectorScope {
            buckets: vec!["lake".to_owned()],
            prefixes: prefixes.iter().map(|&it| it.to_owned()).collect(),
            file_types: types.iter().map(|&it| it.to_owned()).collect(),
        });
    };
    for (prefixes, types) in [(&["a/", "a/b c/ü/"][..], &["csv", "7z"][..]), (&[], &[])] {
        let mut good = connector("aws");
        scope(&mut good, prefixes, types);
        taken(&format!("{prefixes:?} {types:?}"), &good);
    }
    for bad in ["invoices", "/invoices/", "/"] {
        let mut prefixes = connector("aws");
        scope(&mut prefixes, &["good/", bad], &[]);
        let message = "each of scope.prefixes must end in / and not begin with it, such as invoices/";
        refused(bad, &prefixes, message);
    }
    for bad in [".csv", "*.csv", "c v", "tar.gz"] {
        let mut types = connector("aws");
        scope(&mut types, &[], &["csv", bad]);
        refused(bad, &types, "each of scope.fileTypes must be an extension without its dot, such as csv");
    }
}

#[test]
fn an_id_is_one_that_can_stand_in_an_address() {
    field(
        "aws",
        |it, value| it.spec.connector_id = Some(value.to_owned()),
        &["conn-7h2k9q", "9", "a.b:c_d-e"],
        &["-conn", "conn 1", "../conn", "conn/1", "conn-ü", "conn\n"],
        "connectorId must be an id as the API prints it, such as conn-7h2k9q",
    );
}

#[test]
fn a_test_is_repeated_at_most_every_quarter_of_an_hour() {
    field(
        "aws",
        |it, value| it.spec.connection_test = Some(ConnectionTestPolicy { interval: Some(value.to_owned()) }),
        &["15m", "6h", "1h30m", "900s", "1.5h", "900000ms"],
        &["14m59s", "1m", "0s", "6", "1d", "h", "soon", "-6h", "6 h", ""],
        "connectionTest.interval must be a duration of at least 15m, such as 6h",
    );
}

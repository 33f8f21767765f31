//! Sound objects to begin with, and what the rules say of others.

use kube::core::cel::ValidationErrors;

use crate::crd::{
    AwsSource, AzureSource, Connector, ConnectorSpec, ConnectorStatus, GcpSource, Origin, SecretKeyRef,
};

pub(super) fn aws() -> AwsSource {
    AwsSource {
        role_arn: "arn:aws:iam::123456789012:role/SlimIOScanner".to_owned(),
        external_id: Some("ext-51c0ffee".to_owned()),
        external_id_secret_ref: None,
        region: "eu-west-1".to_owned(),
    }
}

pub(super) fn gcp() -> GcpSource {
    GcpSource {
        project_id: "acme-lake-42".to_owned(),
        service_account_email: "reader@acme-lake-42.iam.gserviceaccount.com".to_owned(),
        wif_provider: Some(
            "projects/123/locations/global/workloadIdentityPools/slim-io-pool/providers/slim-io-provider"
                .to_owned(),
        ),
        wif_provider_secret_ref: None,
    }
}

pub(super) fn azure() -> AzureSource {
    AzureSource {
        tenant_id: "6f1d2c3b-0000-4000-8000-aabbccddeeff".to_owned(),
        client_id: "0b9a8f7e-0000-4000-8000-112233445566".to_owned(),
        client_secret_ref: secret(),
        storage_account: "acmelake".to_owned(),
    }
}

pub(super) fn secret() -> SecretKeyRef {
    SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() }
}

/// A connector whose spec was written with nothing but what has to be there, as the API server completes it.
pub(super) fn connector(provider: &str) -> Connector {
    let mut spec = serde_json::from_value::<ConnectorSpec>(serde_json::json!({})).unwrap();
    match provider {
        "aws" => spec.aws = Some(aws()),
        "gcp" => spec.gcp = Some(gcp()),
        "azure" => spec.azure = Some(azure()),
        _ => {}
    }
    Connector::new("lake", spec)
}

/// One that exists at the API and was never scanned.
pub(super) fn existing(provider: &str) -> Connector {
    let status = ConnectorStatus {
        connector_id: Some("conn-7h2k9q".to_owned()),
        origin: Some(Origin::Created),
        findings_count: Some(0),
        ..ConnectorStatus::default()
    };
    Connector { status: Some(status), ..connector(provider) }
}

/// What the rules say, without the place.
pub(super) fn messages(outcome: Result<(), ValidationErrors>) -> Vec<String> {
    let Err(errors) = outcome else { return Vec::new() };
    errors.iter().map(|error| error.message.clone()).collect()
}

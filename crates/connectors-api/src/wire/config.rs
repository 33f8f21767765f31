//! What a connector is created with. Its secrets leave only through [`CreateConnector::to_json`].
//!
//! `docs.slim.io/api-reference/connectors`, create. No other key is ever sent: whether unknown ones are
//! dropped, kept or refused is not documented.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Provider;
use super::config_match::without_secrets;

/// A connector to be created: the body of `POST /connectors`.
#[derive(Debug, Clone)]
pub struct CreateConnector {
    /// Name, sent as given. Length, characters and case rules are not documented.
    pub name: String,
    /// Cloud and how to get in.
    pub config: ConnectorConfig,
    /// What to look at.
    pub scope: Scope,
}

/// How to get into one cloud. All fields are required by the contract.
#[derive(Debug, Clone)]
pub enum ConnectorConfig {
    /// Amazon S3.
    Aws(AwsConfig),
    /// Google Cloud Storage.
    Gcp(GcpConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
}

impl ConnectorConfig {
    /// What must not be shown.
    pub(crate) fn secrets(&self) -> Vec<&SecretString> {
        match self {
            Self::Aws(aws) => vec![&aws.external_id],
            Self::Azure(azure) => vec![&azure.client_secret],
            Self::Gcp(_) => Vec::new(),
        }
    }
}

/// Access to S3 by assuming a role.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// ARN of the IAM role to assume.
    pub role_arn: String,
    /// External id for STS, against the confused deputy problem.
    pub external_id: SecretString,
    /// AWS region.
    pub region: String,
}

/// Access to Google Cloud Storage by workload identity federation.
#[derive(Debug, Clone)]
pub struct GcpConfig {
    /// Project id (not its number).
    pub project_id: String,
    /// E-mail of the service account.
    pub service_account_email: String,
    /// Resource name of the workload identity federation provider.
    pub wif_provider: String,
}

/// Access to Azure Blob Storage by an app registration.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// Azure AD tenant.
    pub tenant_id: String,
    /// Client id of the app registration.
    pub client_id: String,
    /// The client secret's value.
    pub client_secret: SecretString,
    /// Storage account name.
    pub storage_account: String,
}

/// What of the storage is in scope. An empty list is left out and means no restriction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Bucket names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<String>,
    /// Key prefixes, each ending in `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Extensions without the dot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_types: Vec<String>,
}

/// The documented body, borrowed from its parts; exists only while it is being written.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    provider: Provider,
    config: BodyConfig<'a>,
}

#[derive(Serialize)]
struct BodyConfig<'a> {
    #[serde(flatten)]
    access: Access<'a>,
    #[serde(flatten)]
    scope: &'a Scope,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Access<'a> {
    Aws { role_arn: &'a str, external_id: &'a str, region: &'a str },
    Gcp { project_id: &'a str, service_account_email: &'a str, wif_provider: &'a str },
    Azure { tenant_id: &'a str, client_id: &'a str, client_secret: &'a str, storage_account: &'a str },
}

impl ConnectorConfig {
    /// The cloud, as the body's `provider` says it.
    #[must_use]
    pub fn provider(&self) -> Provider {
        match self {
            Self::Aws(_) => Provider::Aws,
            Self::Gcp(_) => Provider::Gcp,
            Self::Azure(_) => Provider::Azure,
        }
    }

    fn access(&self) -> Access<'_> {
        match self {
            Self::Aws(AwsConfig { role_arn, external_id, region }) => {
                Access::Aws { role_arn, external_id: external_id.expose_secret(), region }
            }
            Self::Gcp(GcpConfig { project_id, service_account_email, wif_provider }) => {
                Access::Gcp { project_id, service_account_email, wif_provider }
            }
            Self::Azure(AzureConfig { tenant_id, client_id, client_secret, storage_account }) => {
                Access::Azure {
                    tenant_id,
                    client_id,
                    client_secret: client_secret.expose_secret(),
                    storage_account,
                }
            }
        }
    }
}

impl CreateConnector {
    /// The request body **with its secrets**. For the wire, and for a hash of what was sent; nothing else.
    #[must_use]
    pub fn to_json(&self) -> SecretString {
        let Self { name, config, scope } = self;
        let config_body = BodyConfig { access: config.access(), scope };
        let body = Body { name, provider: config.provider(), config: config_body };
        // Writing texts and lists of texts into memory has no way to fail.
        SecretString::from(serde_json::to_string(&body).unwrap_or_default())
    }

    /// The `config` object as it will be sent, **without its secrets**: to be recorded, and to be compared with
    /// what the service shows by [`readable_config_matches`](super::readable_config_matches).
    #[must_use]
    pub fn readable_config(&self) -> Map<String, Value> {
        let config = BodyConfig { access: self.config.access(), scope: &self.scope };
        match serde_json::to_value(&config) {
            Ok(Value::Object(map)) => without_secrets(map),
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn aws() -> CreateConnector {
        CreateConnector {
            name: "Billing archive".to_owned(),
            config: ConnectorConfig::Aws(AwsConfig {
                role_arn: "arn:aws:iam::210987654321:role/BillingReader".to_owned(),
                external_id: SecretString::from("canary-ext"),
                region: "eu-west-1".to_owned(),
            }),
            scope: Scope {
                buckets: vec!["billing-2023".to_owned()],
                prefixes: vec![],
                file_types: vec!["csv".to_owned()],
            },
        }
    }

    fn azure() -> CreateConnector {
        CreateConnector {
            name: "a".to_owned(),
            config: ConnectorConfig::Azure(AzureConfig {
                tenant_id: "t".to_owned(),
                client_id: "c".to_owned(),
                client_secret: SecretString::from("canary-secret"),
                storage_account: "acmelake".to_owned(),
            }),
            scope: Scope::default(),
        }
    }

    fn body(create: &CreateConnector) -> Value {
        serde_json::from_str(create.to_json().expose_secret()).unwrap()
    }

    #[test]
    fn a_body_has_the_documented_keys_and_no_empty_scope() {
        assert_eq!(
            body(&aws()),
            json!({"name": "Billing archive", "provider": "aws", "config": {
                "role_arn": "arn:aws:iam::210987654321:role/BillingReader", "external_id": "canary-ext",
                "region": "eu-west-1", "buckets": ["billing-2023"], "file_types": ["csv"]}})
        );
        assert_eq!(
            body(&azure()),
            json!({"name": "a", "provider": "azure", "config": {"tenant_id": "t", "client_id": "c",
                "client_secret": "canary-secret", "storage_account": "acmelake"}})
        );
        let gcp = CreateConnector {
            name: "g".to_owned(),
            config: ConnectorConfig::Gcp(GcpConfig {
                project_id: "acme-lake-42".to_owned(),
                service_account_email: "reader@acme-lake-42.iam.gserviceaccount.com".to_owned(),
                wif_provider: "projects/1/locations/global/workloadIdentityPools/a/providers/b".to_owned(),
            }),
            scope: Scope { prefixes: vec!["invoices/".to_owned()], ..Scope::default() },
        };
        assert_eq!(body(&gcp)["config"]["prefixes"], json!(["invoices/"]));
        assert_eq!(body(&gcp)["provider"], "gcp");
    }

    #[test]
    fn the_readable_config_is_the_sent_one_without_secrets() {
        let keys: Vec<_> = aws().readable_config().keys().cloned().collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert!(!keys.contains(&"external_id".to_owned()));
        assert!(!serde_json::to_string(&azure().readable_config()).unwrap().contains("canary"));
    }

    #[test]
    fn debug_output_never_holds_a_secret() {
        for create in [aws(), azure()] {
            let debug = format!("{create:?} {create:#?} {:?}", create.to_json());
            assert!(!debug.contains("canary"), "{debug}");
        }
    }
}

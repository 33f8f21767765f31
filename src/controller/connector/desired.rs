//! A Connector's spec, parsed once. Nothing after this reads the raw spec, so a spec that an older schema let through is
//! refused here, with the same words.

mod forms;
#[cfg(test)]
mod tests;

use connectors_api::wire::{
    AwsConfig, AzureConfig, ConnectorConfig, CreateConnector, GcpConfig, Provider, Scope,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::crd::{
    AdoptionPolicy, AwsSource, AzureSource, ConnectorScope, ConnectorSpec, DeletionPolicy, GcpSource,
    ManagementPolicy, ReplacePolicy, SecretKeyRef, WorkspaceKey,
};
use crate::duration;

/// The longest name that is sent to an API, in characters.
const NAME_LIMIT: usize = 256;

/// The spec is not valid; what is wrong, and what would be right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidSpec(pub String);

/// What a user wants of a connector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    /// The workspace it belongs to.
    pub workspace: WorkspaceKey,
    /// Its name at the API, before the workspace's suffix.
    pub name: String,
    /// Whether the user gave that name: if not, one that is adopted keeps its own.
    pub named: bool,
    /// Where the data is.
    pub source: Source,
    /// What part of it is meant.
    pub scope: Scope,
    /// What deletion means, where the user says.
    pub deletion: Option<DeletionPolicy>,
    /// Whether a replacement is consented to.
    pub replace: ReplacePolicy,
    /// The id that the user wants to be taken.
    pub connector_id: Option<String>,
    /// Whether a connector that is there already, and that nobody has, is taken instead of creating one.
    pub adopt_matching: bool,
    /// How often the connection is tested again, in seconds.
    pub test_interval_seconds: Option<i64>,
    /// The highest acceptable risk score.
    pub max_risk_score: Option<i32>,
    /// Whether effects are to stop.
    pub suspend: bool,
}

/// A value that stands in the spec or in a Secret.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    /// In the spec.
    Inline(String),
    /// In a Secret.
    Secret(SecretKeyRef),
}

/// Where the data is and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// Amazon S3.
    Aws {
        /// The role to assume.
        role_arn: String,
        /// The external id.
        external_id: Text,
        /// The region.
        region: String,
    },
    /// Google Cloud Storage.
    Gcp {
        /// The project.
        project_id: String,
        /// The service account.
        service_account_email: String,
        /// The federation provider.
        wif_provider: Text,
    },
    /// Azure Blob Storage.
    Azure {
        /// The directory.
        tenant_id: String,
        /// The app registration.
        client_id: String,
        /// Its secret.
        client_secret: SecretKeyRef,
        /// The storage account.
        storage_account: String,
    },
}

impl Source {
    /// The provider, as the API spells it.
    pub(super) fn provider(&self) -> Provider {
        match self {
            Self::Aws { .. } => Provider::Aws,
            Self::Gcp { .. } => Provider::Gcp,
            Self::Azure { .. } => Provider::Azure,
        }
    }

    /// The Secret's key that the API has to be given, where there is one.
    pub(super) fn secret_ref(&self) -> Option<&SecretKeyRef> {
        match self {
            Self::Aws { external_id: Text::Secret(reference), .. }
            | Self::Gcp { wif_provider: Text::Secret(reference), .. }
            | Self::Azure { client_secret: reference, .. } => Some(reference),
            Self::Aws { .. } | Self::Gcp { .. } => None,
        }
    }
}

impl Desired {
    /// Parses the spec of the object `namespace`/`name`. None: the connector is observed, and there is nothing that it could be
    /// compared with.
    ///
    /// # Errors
    /// The first thing that is wrong, in words that say what to do.
    pub(super) fn parse(
        namespace: &str,
        name: &str,
        spec: &ConnectorSpec,
    ) -> Result<Option<Self>, InvalidSpec> {
        // Without `..`: a new field does not compile until it is handled here.
        let ConnectorSpec {
            workspace_ref,
            display_name,
            aws,
            gcp,
            azure,
            scope,
            deletion_policy,
            replace_policy,
            management_policy,
            connector_id,
            adoption_policy,
            connection_test,
            max_risk_score,
            suspend,
        } = spec;
        let observe = *management_policy == ManagementPolicy::Observe;
        if observe && connector_id.is_none() {
            return invalid(
                "managementPolicy Observe needs spec.connectorId: the id of the connector to observe",
            );
        }
        let source = match (aws, gcp, azure) {
            (Some(aws), None, None) => parse_aws(aws)?,
            (None, Some(gcp), None) => parse_gcp(gcp)?,
            (None, None, Some(azure)) => parse_azure(azure)?,
            (None, None, None) if observe => {
                check_id(connector_id.as_deref())?;
                return Ok(None);
            }
            _ => return invalid("set exactly one of spec.aws, spec.gcp and spec.azure"),
        };
        let test_interval_seconds = match connection_test.as_ref().and_then(|test| test.interval.as_deref()) {
            Some(text) => match duration::parse(text) {
                Some(interval) if interval.as_secs() >= 15 * 60 => {
                    Some(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX))
                }
                _ => {
                    return invalid("connectionTest.interval must be a duration of at least 15m, such as 6h");
                }
            },
            None => None,
        };
        if display_name.as_ref().is_some_and(|name| !forms::is_display_name(name)) {
            return invalid("displayName must not contain control characters, nor begin or end with a space");
        }
        check_id(connector_id.as_deref())?;
        let name = display_name.clone().unwrap_or_else(|| format!("{namespace}.{name}"));
        if name.chars().count() > NAME_LIMIT {
            return invalid(
                "the name at the API would be longer than 256 characters: set spec.displayName to a shorter one",
            );
        }
        Ok(Some(Self {
            workspace: workspace_ref.key(namespace),
            name,
            named: display_name.is_some(),
            source,
            scope: parse_scope(scope.as_ref())?,
            deletion: *deletion_policy,
            replace: *replace_policy,
            connector_id: connector_id.clone(),
            adopt_matching: *adoption_policy == AdoptionPolicy::Matching,
            test_interval_seconds,
            max_risk_score: *max_risk_score,
            suspend: *suspend,
        }))
    }

    /// What is sent to create it: `name` as the workspace spells it, and the secret where the source needs one.
    pub(super) fn request(&self, name: String, secret: Option<&SecretString>) -> Option<CreateConnector> {
        let resolve = |text: &Text| match text {
            Text::Inline(value) => Some(SecretString::from(value.clone())),
            Text::Secret(_) => secret.cloned(),
        };
        let config = match &self.source {
            Source::Aws { role_arn, external_id, region } => ConnectorConfig::Aws(AwsConfig {
                role_arn: role_arn.clone(),
                external_id: resolve(external_id)?,
                region: region.clone(),
            }),
            Source::Gcp { project_id, service_account_email, wif_provider } => {
                ConnectorConfig::Gcp(GcpConfig {
                    project_id: project_id.clone(),
                    service_account_email: service_account_email.clone(),
                    wif_provider: resolve(wif_provider)?.expose_secret().to_owned(),
                })
            }
            Source::Azure { tenant_id, client_id, client_secret: _, storage_account } => {
                ConnectorConfig::Azure(AzureConfig {
                    tenant_id: tenant_id.clone(),
                    client_id: client_id.clone(),
                    client_secret: secret.cloned()?,
                    storage_account: storage_account.clone(),
                })
            }
        };
        Some(CreateConnector { name, config, scope: self.scope.clone() })
    }

    /// The config of `request`, without what came from a Secret: what may stand in a status and be compared with what the
    /// API shows.
    pub(super) fn readable_config(&self, request: &CreateConnector) -> Map<String, Value> {
        let mut config = request.readable_config();
        if matches!(self.source, Source::Gcp { wif_provider: Text::Secret(_), .. }) {
            config.remove("wif_provider");
        }
        config
    }

    /// The same where the Secret cannot be read.
    pub(super) fn readable_without_secret(&self) -> Map<String, Value> {
        let nothing = SecretString::default();
        let request = self.request(self.name.clone(), Some(&nothing));
        request.map(|request| self.readable_config(&request)).unwrap_or_default()
    }
}

/// Two digests, of what stands in the spec and of all that is sent, the values of Secrets included. They tell only whether it is
/// the same. The salt keeps two objects with the same secret from being recognised as such.
pub(super) fn sent_digest(salt: &str, desired: &Desired, request: &CreateConnector) -> String {
    let without = desired.request(request.name.clone(), Some(&SecretString::default()));
    let of = |kind, request: &CreateConnector| {
        digest(&[kind, salt, request.to_json().expose_secret()])[..16].to_owned()
    };
    format!("{}-{}", of("slimio spec v2", without.as_ref().unwrap_or(request)), of("slimio sent v2", request))
}

/// How what was sent differs from what would be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SentDiffers {
    /// In nothing.
    No,
    /// In the value of a Secret, and in nothing else.
    Secret,
    /// In what stands in the spec.
    Spec,
}

impl SentDiffers {
    /// None: what was sent is not known.
    pub(super) fn between(sent: Option<&String>, today: &str) -> Option<Self> {
        let ((spec, whole), (spec_today, whole_today)) = (sent?.split_once('-')?, today.split_once('-')?);
        Some(match (whole == whole_today, spec == spec_today) {
            // Where a value stands, in the spec or in a Secret, is not sent.
            (true, _) => Self::No,
            (false, true) => Self::Secret,
            (false, false) => Self::Spec,
        })
    }
}

/// The first 128 bits of a SHA-256 over the parts, in hexadecimal, with lengths so that no two lists of parts are alike.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn invalid<T>(message: &str) -> Result<T, InvalidSpec> {
    Err(InvalidSpec(message.to_owned()))
}

fn check_id(id: Option<&str>) -> Result<(), InvalidSpec> {
    match id {
        Some(id) if !forms::is_connector_id(id) => {
            invalid("connectorId must be an id as the API prints it, such as conn-7h2k9q")
        }
        _ => Ok(()),
    }
}

fn parse_aws(aws: &AwsSource) -> Result<Source, InvalidSpec> {
    let AwsSource { role_arn, external_id, external_id_secret_ref, region } = aws;
    let external_id = match (external_id, external_id_secret_ref) {
        (Some(value), None) => Text::Inline(value.clone()),
        (None, Some(reference)) => Text::Secret(reference.clone()),
        _ => {
            return invalid(
                "set exactly one of aws.externalId and aws.externalIdSecretRef: the role's trust policy must ask for an external id",
            );
        }
    };
    if let Text::Inline(value) = &external_id
        && !forms::is_external_id(value)
    {
        return invalid("aws.externalId may hold letters, digits and + = , . @ : / _ - only");
    }
    if !forms::is_role_arn(role_arn) {
        return invalid(
            "aws.roleArn must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/SlimIOScanner",
        );
    }
    if !forms::is_region(region) {
        return invalid("aws.region must be a region's code, such as eu-west-1");
    }
    Ok(Source::Aws { role_arn: role_arn.clone(), external_id, region: region.clone() })
}

fn parse_gcp(gcp: &GcpSource) -> Result<Source, InvalidSpec> {
    let GcpSource { project_id, service_account_email, wif_provider, wif_provider_secret_ref } = gcp;
    let wif_provider = match (wif_provider, wif_provider_secret_ref) {
        (Some(value), None) => Text::Inline(value.clone()),
        (None, Some(reference)) => Text::Secret(reference.clone()),
        _ => return invalid("set exactly one of gcp.wifProvider and gcp.wifProviderSecretRef"),
    };
    if !forms::is_project_id(project_id) {
        return invalid(
            "gcp.projectId must be the project's id (not its name or number), such as acme-lake-42",
        );
    }
    if !forms::is_service_account(service_account_email) {
        return invalid(
            "gcp.serviceAccountEmail must end in .gserviceaccount.com, such as reader@acme-lake-42.iam.gserviceaccount.com",
        );
    }
    if let Text::Inline(value) = &wif_provider
        && !forms::is_federation_provider(value)
    {
        return invalid(
            "gcp.wifProvider must have the form projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>",
        );
    }
    Ok(Source::Gcp {
        project_id: project_id.clone(),
        service_account_email: service_account_email.clone(),
        wif_provider,
    })
}

fn parse_azure(azure: &AzureSource) -> Result<Source, InvalidSpec> {
    let AzureSource { tenant_id, client_id, client_secret_ref, storage_account } = azure;
    if !forms::is_uuid(tenant_id) {
        return invalid("azure.tenantId must be a UUID, such as 6f1d2c3b-0000-4000-8000-aabbccddeeff");
    }
    if !forms::is_uuid(client_id) {
        return invalid("azure.clientId must be a UUID, such as 0b9a8f7e-0000-4000-8000-112233445566");
    }
    if !forms::is_storage_account(storage_account) {
        return invalid("azure.storageAccount must be 3 to 24 lower-case letters and digits");
    }
    Ok(Source::Azure {
        tenant_id: tenant_id.clone(),
        client_id: client_id.clone(),
        client_secret: client_secret_ref.clone(),
        storage_account: storage_account.clone(),
    })
}

fn parse_scope(scope: Option<&ConnectorScope>) -> Result<Scope, InvalidSpec> {
    let Some(ConnectorScope { buckets, prefixes, file_types }) = scope else {
        return Ok(Scope::default());
    };
    if prefixes.iter().any(|prefix| !prefix.ends_with('/') || prefix.starts_with('/')) {
        return invalid("each of scope.prefixes must end in / and not begin with it, such as invoices/");
    }
    if !file_types.iter().all(|file_type| forms::is_file_type(file_type)) {
        return invalid("each of scope.fileTypes must be an extension without its dot, such as csv");
    }
    Ok(Scope { buckets: buckets.clone(), prefixes: prefixes.clone(), file_types: file_types.clone() })
}

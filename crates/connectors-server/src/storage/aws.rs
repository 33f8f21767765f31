//! Amazon S3, reached through a role of the customer's account.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig as SdkRetries;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::Url;

use super::assume_role::{AssumedRole, ExternalId, RoleToAssume};
use super::bucket::Bucket;
use super::error::{Cause, StorageError};

/// The longest role session name that AWS takes.
const SESSION_NAME_MAX: usize = 64;

/// Where AWS is. From the server's own configuration only, never from a caller.
#[derive(Debug, Clone, Default)]
pub struct AwsSettings {
    /// The token service; AWS's own for the region when not set.
    pub sts_endpoint: Option<Url>,
    /// The object store; AWS's own for the region when not set.
    pub s3_endpoint: Option<Url>,
    /// Region of the token service; the connector's when not set.
    pub region: Option<String>,
}

/// How patient a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A person waits for the answer of a test.
    Test,
    /// A scan has time.
    Scan,
}

/// The server's own identity at AWS.
pub(crate) struct Aws {
    settings: AwsSettings,
    base: SdkConfig,
}

impl Aws {
    /// Prepares the ordinary chain of AWS credentials: environment, profile, web identity, container, instance.
    /// Nothing is asked before the first use.
    pub(crate) async fn new(settings: AwsSettings) -> Self {
        let region = settings.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let base = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region)).load().await;
        Self { settings, base }
    }

    /// Takes the role of a connector, for as long as the answer is kept. Asks AWS at the first use of a bucket.
    pub(crate) fn assume(
        &self,
        connector_id: &str,
        config: &AwsAccess,
        patience: Patience,
    ) -> AssumedBuckets {
        let region = self.settings.region.clone().unwrap_or_else(|| config.region.clone());
        let (attempts, attempt, total) = match patience {
            Patience::Test => (2, 8, 15),
            Patience::Scan => (4, 15, 60),
        };
        let mut sts = aws_sdk_sts::config::Builder::from(&self.base)
            .region(Region::new(region))
            .retry_config(SdkRetries::standard().with_max_attempts(attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_secs(attempt))
                    .operation_timeout(Duration::from_secs(total))
                    .build(),
            );
        if let Some(endpoint) = &self.settings.sts_endpoint {
            sts = sts.endpoint_url(endpoint.as_str());
        }
        let mut session_name = format!("connectors-server-{connector_id}");
        session_name.truncate(SESSION_NAME_MAX);
        let role = RoleToAssume {
            role_arn: config.role_arn.clone(),
            external_id: config.external_id.clone(),
            session_name,
        };
        AssumedBuckets {
            role: Arc::new(AssumedRole::new(
                self.base.credentials_provider(),
                aws_sdk_sts::Client::from_conf(sts.build()),
                role,
            )),
            region: config.region.clone(),
            endpoint: self.settings.s3_endpoint.clone(),
            patience,
        }
    }
}

/// What the server needs to know of an AWS connector to reach it.
pub(crate) struct AwsAccess {
    pub(crate) role_arn: String,
    pub(crate) external_id: ExternalId,
    pub(crate) region: String,
}

/// Buckets seen through one assumed role.
pub(crate) struct AssumedBuckets {
    role: Arc<AssumedRole>,
    region: String,
    endpoint: Option<Url>,
    patience: Patience,
}

impl AssumedBuckets {
    /// Takes the role now, so that its failure is not blamed on a bucket.
    pub(crate) async fn check(&self) -> Result<(), StorageError> {
        self.role.credential().await.map(drop)
    }

    /// One bucket.
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket, StorageError> {
        let (retries, retry_time, request_time) = match self.patience {
            Patience::Test => (1, 10, 10),
            Patience::Scan => (5, 90, 120),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&self.region)
            .with_credentials(self.role.clone())
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: retries,
                retry_timeout: Duration::from_secs(retry_time),
            });
        let mut options = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_read_timeout(Duration::from_secs(request_time.min(30)))
            .with_timeout(Duration::from_secs(request_time));
        if let Some(endpoint) = &self.endpoint {
            options = options.with_allow_http(endpoint.scheme() == "http");
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        } else if let Some(endpoint) = china_endpoint(&self.region) {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder.with_client_options(options).build().map_err(|error| {
            tracing::warn!(bucket = name, error = %error, "bucket cannot be addressed");
            StorageError::new(Cause::ProviderError, format!("bucket {name:?} cannot be addressed"))
        })?;
        Ok(Bucket::new(name, Arc::new(store)))
    }
}

/// The regions of the China partition have a domain of their own.
fn china_endpoint(region: &str) -> Option<String> {
    region.starts_with("cn-").then(|| format!("https://s3.{region}.amazonaws.com.cn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn china_has_its_own_endpoint() {
        assert_eq!(china_endpoint("cn-north-1").unwrap(), "https://s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(china_endpoint("eu-west-1"), None);
    }
}

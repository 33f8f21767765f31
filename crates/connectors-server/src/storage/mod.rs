//! Cloud storage: who may be reached, as whom, and what went wrong in words a person can act on.
//!
//! Endpoints come from the server's own configuration. What a caller sends chooses a role, a region
//! and buckets, and never an address.

mod assume_role;
mod aws;
mod bucket;
mod error;
mod probe;
mod scope;

use serde_json::Value;

pub(crate) use assume_role::ExternalId;
pub use aws::AwsSettings;
pub(crate) use aws::Patience;
use aws::{AssumedBuckets, Aws, AwsAccess};
pub(crate) use bucket::{Bucket, Page, Position};
pub(crate) use error::{Cause, StorageError};
pub(crate) use scope::{common_prefixes, common_types, distinct_prefixes, has_type, scope_of};

use crate::store::ConnectorTarget;

/// The clouds this server can reach.
pub(crate) struct Clouds {
    aws: Aws,
}

/// A connector's storage, reached with its credentials.
pub(crate) enum Storage {
    Aws(AssumedBuckets),
}

impl Clouds {
    pub(crate) async fn new(aws: AwsSettings) -> Self {
        Self { aws: Aws::new(aws).await }
    }

    /// Prepares the way to a connector's storage. Nothing is asked yet.
    pub(crate) fn open(&self, target: &ConnectorTarget, patience: Patience) -> Result<Storage, StorageError> {
        let text = |map: &serde_json::Map<String, Value>, key: &str| {
            map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        match target.provider.as_str() {
            "aws" => {
                // Create refuses a connector without it; this is the second lock on the same door.
                let external_id =
                    ExternalId::new(&text(&target.secrets, "external_id")).ok_or_else(|| {
                        StorageError::credentials(Cause::AssumeRoleDenied, "the connector has no external id")
                    })?;
                let access = AwsAccess {
                    role_arn: text(&target.config, "role_arn"),
                    region: text(&target.config, "region"),
                    external_id,
                };
                Ok(Storage::Aws(self.aws.assume(&target.id, &access, patience)))
            }
            other => Err(StorageError::credentials(
                Cause::ProviderNotSupported,
                format!(
                    "this version of connectors-server keeps connectors of provider {other:?} but cannot reach their \
                     storage yet; only \"aws\" can be tested and scanned"
                ),
            )),
        }
    }
}

impl Storage {
    /// Obtains the credentials now.
    pub(crate) async fn check(&self) -> Result<(), StorageError> {
        match self {
            Self::Aws(buckets) => buckets.check().await,
        }
    }

    /// One bucket.
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket, StorageError> {
        match self {
            Self::Aws(buckets) => buckets.bucket(name),
        }
    }
}

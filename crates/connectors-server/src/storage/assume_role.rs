//! Temporary credentials of a customer's role: taken with the external id, renewed before they expire.
//!
//! The external id is a type that cannot be empty, so `AssumeRole` is never called without one: a role
//! whose trust policy forgot the condition must not be usable for whoever knows its name.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::types::Credentials;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::error::{Cause, StorageError, error_code};

/// Credentials are renewed when less than this is left of them (or, when they are shorter-lived than twice this, at
/// half of their life), so that no request starts with ones that expire under way.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// The external id of a trust policy. Never empty.
#[derive(Clone)]
pub(crate) struct ExternalId(SecretString);

impl ExternalId {
    /// `None` for a text that is empty or blank.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.trim().is_empty()).then(|| Self(SecretString::from(text)))
    }
}

/// Which role to take, and as whom.
pub(crate) struct RoleToAssume {
    pub(crate) role_arn: String,
    pub(crate) external_id: ExternalId,
    /// Seen in the customer's audit log.
    pub(crate) session_name: String,
}

/// Credentials of one role, for as long as somebody needs them.
pub(crate) struct AssumedRole {
    /// The server's own.
    own: Option<SharedCredentialsProvider>,
    sts: aws_sdk_sts::Client,
    role: RoleToAssume,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    credential: Arc<AwsCredential>,
    renew_at: SystemTime,
    expires_at: SystemTime,
}

impl AssumedRole {
    pub(crate) fn new(
        own: Option<SharedCredentialsProvider>,
        sts: aws_sdk_sts::Client,
        role: RoleToAssume,
    ) -> Self {
        Self { own, sts, role, held: Mutex::new(None) }
    }

    /// Credentials that are good for a while. One caller renews, the others wait for it.
    pub(crate) async fn credential(&self) -> Result<Arc<AwsCredential>, StorageError> {
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.credential.clone());
        }
        match self.assume(now).await {
            Ok(fresh) => Ok(held.insert(fresh).credential.clone()),
            Err(error) => match held.as_ref() {
                // A hiccup of STS is no reason to stop while the old ones still work.
                Some(held) if error.cause.is_transient() && now < held.expires_at => {
                    tracing::warn!(role = %self.role.role_arn, cause = error.cause.as_str(), "credentials not renewed yet");
                    Ok(held.credential.clone())
                }
                _ => Err(error),
            },
        }
    }

    async fn assume(&self, now: SystemTime) -> Result<Held, StorageError> {
        self.check_own_credentials().await?;
        let answer = self
            .sts
            .assume_role()
            .role_arn(&self.role.role_arn)
            .role_session_name(&self.role.session_name)
            .external_id(self.role.external_id.0.expose_secret())
            .send()
            .await
            .map_err(|error| explain(&error, &self.role.role_arn))?;
        let credentials = answer.credentials.ok_or_else(|| {
            StorageError::credentials(Cause::ProviderError, "the token service answered without credentials")
        })?;
        Ok(hold(credentials, now))
    }

    /// Without this, missing credentials of the server look like a network failure.
    async fn check_own_credentials(&self) -> Result<(), StorageError> {
        let missing = || {
            StorageError::credentials(
                Cause::ServerCredentialsMissing,
                "this server has no AWS credentials of its own, so it cannot take any role; \
                 its operator has to provide them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity, or an instance profile)",
            )
        };
        let provider = self.own.as_ref().ok_or_else(missing)?;
        provider.provide_credentials().await.map(drop).map_err(|_| missing())
    }
}

fn hold(credentials: Credentials, now: SystemTime) -> Held {
    let expires_at = SystemTime::try_from(credentials.expiration).unwrap_or(now);
    let life = expires_at.duration_since(now).unwrap_or_default();
    Held {
        credential: Arc::new(AwsCredential {
            key_id: credentials.access_key_id,
            secret_key: credentials.secret_access_key,
            token: Some(credentials.session_token),
        }),
        renew_at: now + renew_after(life),
        expires_at,
    }
}

fn renew_after(life: Duration) -> Duration {
    life.saturating_sub(RENEW_BEFORE).max(life / 2)
}

fn explain(error: &SdkError<AssumeRoleError>, role_arn: &str) -> StorageError {
    let (cause, message) = match error {
        SdkError::TimeoutError(_) => (Cause::Timeout, "the token service (STS) did not answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Cause::Timeout, "the token service (STS) did not answer in time".to_owned())
        }
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => (
            Cause::EndpointUnreachable,
            "nothing answers at the endpoint of the token service (STS); check the network and the server's configuration".to_owned(),
        ),
        SdkError::ServiceError(answer) => {
            // Some token services wrap the code in a way that the SDK does not look into.
            let body = answer.raw().body().bytes().and_then(|b| std::str::from_utf8(b).ok());
            let code = answer.err().code().or_else(|| body.and_then(error_code)).unwrap_or("no code");
            refused(code, answer.raw().status().as_u16(), role_arn)
        }
        _ => (Cause::ProviderError, "the request to the token service (STS) could not be made".to_owned()),
    };
    StorageError::credentials(cause, message)
}

fn refused(code: &str, status: u16, role_arn: &str) -> (Cause, String) {
    match code {
        "AccessDenied" | "AccessDeniedException" => (
            Cause::AssumeRoleDenied,
            format!(
                "AWS refused to let this server take the role {role_arn}: check that the role exists, that its trust \
                 policy names this server's account, and that the external id is the one in its condition"
            ),
        ),
        "NoSuchEntity" | "NoSuchEntityException" => {
            (Cause::RoleNotFound, format!("there is no role {role_arn}; correct `role_arn`"))
        }
        "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "IncompleteSignature"
        | "AuthFailure" => (
            Cause::ServerCredentialsInvalid,
            format!("AWS refused this server's own credentials ({code}); its operator has to renew them"),
        ),
        "RegionDisabledException" => {
            (Cause::WrongRegion, "the token service (STS) is not enabled in this region".to_owned())
        }
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
            (Cause::Throttled, "the token service (STS) asks to slow down; try again later".to_owned())
        }
        _ if status >= 500 => (
            Cause::EndpointUnreachable,
            format!("the token service (STS) answered with HTTP status {status}"),
        ),
        _ => (
            Cause::ProviderError,
            format!("the token service (STS) refused the request with HTTP status {status}"),
        ),
    }
}

impl fmt::Debug for AssumedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumedRole").field("role_arn", &self.role.role_arn).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for AssumedRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.credential()
            .await
            .map_err(|error| object_store::Error::Generic { store: "STS", source: Box::new(error) })
    }
}

#[cfg(test)]
mod tests;

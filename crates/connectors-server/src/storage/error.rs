//! Why a cloud could not be used: one of a fixed list of causes, and a sentence that says what to do.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

/// What kept the server from a bucket. The words are part of the API (`cause` of a failed test).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// The cloud refused to let this server take the role: it is not trusted, or the external id is wrong.
    AssumeRoleDenied,
    /// There is no such role.
    RoleNotFound,
    /// The server has no credentials of its own.
    ServerCredentialsMissing,
    /// The server's own credentials were refused.
    ServerCredentialsInvalid,
    /// The cloud does not know the bucket.
    BucketNotFound,
    /// The role may not do this.
    AccessDenied,
    /// The object is not there any more.
    ObjectNotFound,
    /// The bucket is in another region than the connector says.
    WrongRegion,
    /// Nothing answers at the endpoint.
    EndpointUnreachable,
    /// The endpoint did not answer in time.
    Timeout,
    /// The cloud asks to slow down.
    Throttled,
    /// The connector names no bucket.
    NoBucketsInScope,
    /// This server cannot reach this cloud.
    ProviderNotSupported,
    /// Anything else.
    ProviderError,
}

impl Cause {
    /// Every cause, for the documentation and its test.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::AssumeRoleDenied,
        Self::RoleNotFound,
        Self::ServerCredentialsMissing,
        Self::ServerCredentialsInvalid,
        Self::BucketNotFound,
        Self::AccessDenied,
        Self::ObjectNotFound,
        Self::WrongRegion,
        Self::EndpointUnreachable,
        Self::Timeout,
        Self::Throttled,
        Self::NoBucketsInScope,
        Self::ProviderNotSupported,
        Self::ProviderError,
    ];

    /// The word on the wire and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AssumeRoleDenied => "assume_role_denied",
            Self::RoleNotFound => "role_not_found",
            Self::ServerCredentialsMissing => "server_credentials_missing",
            Self::ServerCredentialsInvalid => "server_credentials_invalid",
            Self::BucketNotFound => "bucket_not_found",
            Self::AccessDenied => "access_denied",
            Self::ObjectNotFound => "object_not_found",
            Self::WrongRegion => "wrong_region",
            Self::EndpointUnreachable => "endpoint_unreachable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::NoBucketsInScope => "no_buckets_in_scope",
            Self::ProviderNotSupported => "provider_not_supported",
            Self::ProviderError => "provider_error",
        }
    }

    /// Whether the same call may work in a moment.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::EndpointUnreachable | Self::Timeout | Self::Throttled)
    }
}

/// A cloud could not be used. Safe to show to the caller: it holds no secret and no body of a remote answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StorageError {
    /// The kind.
    pub(crate) cause: Cause,
    /// What happened and what to do.
    pub(crate) message: String,
    /// Whether it is the credentials that failed, so that no other call can work either.
    pub(crate) credentials: bool,
}

impl StorageError {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), credentials: false }
    }

    pub(crate) fn credentials(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), credentials: true }
    }
}

/// Answers of S3 that mean that the temporary credentials themselves are refused.
const REFUSED_TOKENS: [&str; 5] =
    ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired", "SignatureDoesNotMatch"];

const DENIED: &str = "the role may not do this; grant it s3:ListBucket and s3:GetBucketLocation on the bucket and \
                      s3:GetObject on its objects, and check that `buckets` has the right name";

/// Sorts an error of a bucket. `action` is what was tried, as in "list bucket \"b\"".
pub(crate) fn classify(error: &object_store::Error, action: &str) -> StorageError {
    let mut http = None;
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(source) = next {
        if let Some(ours) = source.downcast_ref::<StorageError>() {
            return ours.clone();
        }
        if let Some(found) = source.downcast_ref::<HttpError>() {
            http = Some(found.kind());
        }
        next = source.source();
    }
    // The library keeps status and body of a refused listing in its text only.
    let text = error.to_string();
    let code = error_code(&text);
    if code.is_some_and(|code| REFUSED_TOKENS.contains(&code)) {
        let code = code.unwrap_or_default();
        return StorageError::credentials(
            Cause::AccessDenied,
            format!("cannot {action}: the storage refused the temporary credentials of the role ({code})"),
        );
    }
    let (cause, why) = match (error, code) {
        (_, Some("NoSuchBucket")) => (Cause::BucketNotFound, "there is no such bucket; correct `buckets`"),
        (object_store::Error::NotFound { .. }, _) | (_, Some("NoSuchKey")) => {
            (Cause::ObjectNotFound, "the object is not there any more")
        }
        (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }, _)
        | (_, Some("AccessDenied" | "AllAccessDisabled" | "AccountProblem")) => (Cause::AccessDenied, DENIED),
        (
            _,
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"),
        ) => (Cause::WrongRegion, "the bucket is in another region; correct `region`"),
        (_, Some("SlowDown" | "RequestLimitExceeded" | "ServiceUnavailable")) => {
            (Cause::Throttled, "the storage asks to slow down; try again later")
        }
        _ if text.contains("Received redirect") => {
            (Cause::WrongRegion, "the bucket is in another region; correct `region`")
        }
        _ if text.contains("403 Forbidden") => (Cause::AccessDenied, DENIED),
        _ => match http {
            Some(HttpErrorKind::Connect) => (
                Cause::EndpointUnreachable,
                "nothing answers at the storage endpoint; check the network and the endpoint",
            ),
            Some(HttpErrorKind::Timeout) => (Cause::Timeout, "the storage did not answer in time"),
            Some(HttpErrorKind::Request | HttpErrorKind::Interrupted) => (
                Cause::EndpointUnreachable,
                "the connection to the storage broke; check the network and the endpoint",
            ),
            _ => (Cause::ProviderError, "the storage answered with an error that this server does not know"),
        },
    };
    StorageError::new(cause, format!("cannot {action}: {why}"))
}

/// The `<Code>` of an error document of AWS.
pub(super) fn error_code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn each_answer_of_s3_has_its_cause() {
        for (text, cause) in [
            ("status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", Cause::BucketNotFound),
            ("status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>", Cause::AccessDenied),
            ("status code: 403 Forbidden: <Error><Code>ExpiredToken</Code></Error>", Cause::AccessDenied),
            ("Received redirect without LOCATION", Cause::WrongRegion),
            ("status code: 503: <Error><Code>SlowDown</Code></Error>", Cause::Throttled),
            ("something new", Cause::ProviderError),
        ] {
            assert_eq!(classify(&generic(text), "list bucket \"b\"").cause, cause, "{text}");
        }
    }

    #[test]
    fn refused_tokens_are_a_matter_of_the_credentials_and_a_refused_action_is_not() {
        assert!(classify(&generic("<Code>ExpiredToken</Code>"), "read").credentials);
        assert!(!classify(&generic("<Code>AccessDenied</Code>"), "read").credentials);
    }

    #[test]
    fn the_message_does_not_repeat_the_remote_body() {
        let error =
            classify(&generic("<Code>AccessDenied</Code><Message>canary-71</Message>"), "list bucket \"b\"");
        assert!(!error.message.contains("canary-71"), "{}", error.message);
        assert!(error.message.starts_with("cannot list bucket \"b\": "), "{}", error.message);
    }

    #[test]
    fn an_error_of_the_credential_provider_comes_through_as_it_is() {
        let ours = StorageError::credentials(Cause::AssumeRoleDenied, "no");
        let wrapped = object_store::Error::Generic { store: "S3", source: Box::new(ours.clone()) };
        assert_eq!(classify(&wrapped, "read"), ours);
    }

    #[test]
    fn the_words_of_the_causes_are_distinct_snake_case() {
        let words: std::collections::HashSet<_> = Cause::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn every_cause_is_documented() {
        let documentation = include_str!("../../README.md");
        for cause in Cause::ALL {
            assert!(documentation.contains(&format!("`{}`", cause.as_str())), "{}", cause.as_str());
        }
    }
}

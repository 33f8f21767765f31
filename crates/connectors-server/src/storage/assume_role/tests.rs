//! The life of temporary credentials, against a token service that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials as OwnCredentials;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex as SyncMutex;
use tokio::net::TcpListener;

use super::*;

/// A token service that keeps what it was asked and answers what it is told to.
#[derive(Default)]
struct Sts {
    asked: SyncMutex<Vec<String>>,
    /// Seconds that the credentials live; a refusal while there is a status.
    life: AtomicUsize,
    refusal: SyncMutex<Option<(StatusCode, &'static str)>>,
}

async fn assume(State(sts): State<Arc<Sts>>, body: String) -> (StatusCode, String) {
    let n = {
        let mut asked = sts.asked.lock();
        asked.push(body);
        asked.len()
    };
    if let Some((status, code)) = *sts.refusal.lock() {
        return (status, format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"));
    }
    let life = i64::try_from(sts.life.load(Ordering::Relaxed)).unwrap();
    let expiration = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + life).unwrap();
    let xml = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIA{n}</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
         <SessionToken>canary-token</SessionToken><Expiration>{expiration}</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    (StatusCode::OK, xml)
}

async fn role_at(sts: &Arc<Sts>) -> AssumedRole {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(assume)).with_state(sts.clone());
    let never = tokio_util::sync::CancellationToken::new();
    tokio::spawn(async move { crate::http::serve(listener, router, &never, Duration::ZERO).await });
    let own = SharedCredentialsProvider::new(OwnCredentials::new("AKIA", "own", None, None, "test"));
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(own.clone())
        .retry_config(aws_sdk_sts::config::retry::RetryConfig::disabled())
        .build();
    let role = RoleToAssume {
        role_arn: "arn:aws:iam::210987654321:role/Reader".to_owned(),
        external_id: ExternalId::new("ext-51c0ffee").unwrap(),
        session_name: "connectors-server-conn-1".to_owned(),
    };
    AssumedRole::new(Some(own), aws_sdk_sts::Client::from_conf(config), role)
}

#[tokio::test]
async fn every_call_names_the_role_the_session_and_the_external_id() {
    let sts = Arc::new(Sts { life: 3600.into(), ..Sts::default() });
    let role = role_at(&sts).await;
    assert_eq!(role.credential().await.unwrap().key_id, "ASIA1");
    let asked = sts.asked.lock();
    assert!(asked[0].contains("Action=AssumeRole&"), "{}", asked[0]);
    assert!(asked[0].contains("&ExternalId=ext-51c0ffee"), "{}", asked[0]);
    assert!(asked[0].contains("&RoleSessionName=connectors-server-conn-1"), "{}", asked[0]);
    assert!(!format!("{role:?}").contains("ext-51c0ffee"));
}

#[tokio::test]
async fn credentials_are_kept_while_they_are_good_and_renewed_once_for_all_who_wait() {
    let sts = Arc::new(Sts { life: 3600.into(), ..Sts::default() });
    let role = role_at(&sts).await;
    let all = futures::future::join_all((0..20).map(|_| role.credential())).await;
    assert!(all.iter().all(|c| c.as_ref().unwrap().key_id == "ASIA1"));
    assert_eq!(sts.asked.lock().len(), 1);
}

#[tokio::test]
async fn short_lived_credentials_are_renewed_at_half_of_their_life_and_outlive_a_hiccup() {
    let sts = Arc::new(Sts { life: 4.into(), ..Sts::default() });
    let role = role_at(&sts).await;
    assert_eq!(role.credential().await.unwrap().key_id, "ASIA1");
    tokio::time::sleep(Duration::from_millis(2300)).await;
    // Past half of their life, but not past their end.
    *sts.refusal.lock() = Some((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
    assert_eq!(role.credential().await.unwrap().key_id, "ASIA1", "the old ones while they last");
    *sts.refusal.lock() = None;
    assert_ne!(role.credential().await.unwrap().key_id, "ASIA1", "new ones as soon as there are some");
    *sts.refusal.lock() = Some((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
    tokio::time::sleep(Duration::from_millis(4300)).await;
    let error = role.credential().await.unwrap_err();
    assert!(error.cause.is_transient() && error.credentials, "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_believed_at_once_even_while_the_old_credentials_last() {
    let sts = Arc::new(Sts { life: 4.into(), ..Sts::default() });
    let role = role_at(&sts).await;
    role.credential().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2300)).await;
    *sts.refusal.lock() = Some((StatusCode::FORBIDDEN, "AccessDenied"));
    let error = role.credential().await.unwrap_err();
    assert_eq!(error.cause, Cause::AssumeRoleDenied);
    assert!(!error.message.contains("ext-51c0ffee"), "{}", error.message);
}

#[test]
fn an_external_id_is_never_empty() {
    assert!(ExternalId::new("").is_none());
    assert!(ExternalId::new(" \t").is_none());
    assert!(ExternalId::new("ext-51c0ffee").is_some());
}

#[test]
fn credentials_are_renewed_five_minutes_before_their_end_or_at_half_of_a_short_life() {
    assert_eq!(renew_after(Duration::from_secs(3600)), Duration::from_secs(3300));
    assert_eq!(renew_after(Duration::from_secs(900)), Duration::from_secs(600));
    assert_eq!(renew_after(Duration::from_secs(400)), Duration::from_secs(200));
    assert_eq!(renew_after(Duration::ZERO), Duration::ZERO);
}

#[test]
fn refusals_of_the_token_service_are_told_apart() {
    for (code, status, cause) in [
        ("AccessDenied", 403, Cause::AssumeRoleDenied),
        ("NoSuchEntity", 404, Cause::RoleNotFound),
        ("InvalidClientTokenId", 403, Cause::ServerCredentialsInvalid),
        ("Throttling", 400, Cause::Throttled),
        ("InternalFailure", 500, Cause::EndpointUnreachable),
        ("ValidationError", 400, Cause::ProviderError),
    ] {
        let (found, message) = refused(code, status, "arn:aws:iam::210987654321:role/Reader");
        assert_eq!(found, cause, "{code}: {message}");
    }
}

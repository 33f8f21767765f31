//! Makes a client: which roots it trusts, how long it waits, and that nothing is ever sent twice.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Certificate, redirect, retry};
use secrecy::SecretString;

use super::exchange::Limits;
use super::names::Names;
use super::transport::Transport;
use super::{Client, Inner};
use crate::credential::{Credential, CredentialError};
use crate::endpoint::Endpoint;

/// How long a connection for reads is kept without use. Shorter than the minute after which many load balancers
/// close one, so that a poll each minute does not meet a connection that is just going away.
const IDLE: Duration = Duration::from_secs(20);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The credential cannot be sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The bundle holds something else than certificates, or none.
    #[error("the CA bundle holds no readable PEM certificate")]
    CaBundle,
    /// The TLS library or its roots could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

/// Time limits of a client's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until a connection stands: name, TCP, proxy, TLS. Default 5 s.
    pub connect: Duration,
    /// Between two pieces of an answer, the first one included. Default 30 s.
    pub read: Duration,
    /// From the start of a request to the end of its answer. Default 60 s.
    pub total: Duration,
    /// The same for a connection test, which may list a lot before it answers; its read limit too. Default 90 s.
    pub test: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            total: Duration::from_secs(60),
            test: Duration::from_secs(90),
        }
    }
}

impl TimeLimits {
    pub(super) fn ordinary(&self) -> Limits {
        Limits { read: self.read, total: self.total }
    }

    pub(super) fn of_a_test(&self) -> Limits {
        Limits { read: self.test, total: self.test }
    }
}

/// Settings of a [`Client`] to be made.
#[derive(Debug)]
pub struct ClientBuilder {
    endpoint: Endpoint,
    credential: SecretString,
    user_agent: String,
    ca_bundle: Option<Vec<u8>>,
    limits: TimeLimits,
    proxies: bool,
}

impl ClientBuilder {
    pub(super) fn new(endpoint: Endpoint, credential: SecretString) -> Self {
        Self {
            endpoint,
            credential,
            user_agent: concat!("connectors-api/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_bundle: None,
            limits: TimeLimits::default(),
            proxies: true,
        }
    }

    /// The `User-Agent`, such as `slimio-operator/0.1.0`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// PEM certificates to trust beside those of the platform.
    #[must_use]
    pub fn ca_bundle(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_bundle = Some(pem.into());
        self
    }

    /// Other time limits.
    #[must_use]
    pub fn time_limits(mut self, limits: TimeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Goes straight to the endpoint, whatever `HTTPS_PROXY` and the like say.
    #[must_use]
    pub fn without_proxies(mut self) -> Self {
        self.proxies = false;
        self
    }

    /// Makes the client. Reads the platform's roots and the proxy variables of the environment; connects to nothing.
    ///
    /// # Errors
    /// When the credential cannot stand in a header, the bundle holds no certificate, or TLS has no roots.
    pub fn build(self) -> Result<Client, BuildError> {
        let Self { endpoint, credential, user_agent, ca_bundle, limits, proxies } = self;
        let credential = Credential::parse(credential)?;
        let roots = ca_bundle.as_deref().map_or(Ok(Vec::new()), certificates)?;
        let http = |idle_connections: usize| {
            let mut http = reqwest::Client::builder()
                .user_agent(&user_agent)
                .default_headers(HeaderMap::from_iter([(
                    ACCEPT,
                    HeaderValue::from_static("application/json"),
                )]))
                // The library would send a request again after some protocol errors. Whether it may be sent
                // again is for the caller to decide, after a look.
                .retry(retry::never())
                // A redirect would carry the credential and the body to a place that nobody permitted.
                .redirect(redirect::Policy::none())
                .referer(false)
                .dns_resolver(Arc::new(Names::of_the_system()) as Arc<dyn Resolve>)
                .connect_timeout(limits.connect)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_connections);
            if !proxies {
                http = http.no_proxy();
            }
            // Without TLS the platform's roots are not needed, and an image that has none must not be an obstacle.
            http = if endpoint.is_https() {
                http.tls_certs_merge(roots.clone())
            } else {
                http.tls_certs_only(roots.clone())
            };
            http.build().map_err(|error| BuildError::Setup(innermost(&error)))
        };
        let transport = Transport::Network {
            reads: http(4)?,
            // A connection of its own for each. On a kept one, the service's closing it and our sending can cross:
            // then the HTTP stack sends again, or nobody knows whether the first bytes were taken.
            writes: http(0)?,
        };
        Ok(Client::from(Arc::new(Inner { transport, endpoint, credential, limits })))
    }

    /// Makes a client whose requests `service` takes. What belongs to connections has no meaning then.
    ///
    /// # Errors
    /// When the credential cannot stand in a header.
    #[cfg(feature = "in-process")]
    pub fn build_in_process(self, service: Arc<dyn super::InProcess>) -> Result<Client, BuildError> {
        let Self { endpoint, credential, limits, user_agent: _, ca_bundle: _, proxies: _ } = self;
        let credential = Credential::parse(credential)?;
        let transport = Transport::InProcess(service);
        Ok(Client::from(Arc::new(Inner { transport, endpoint, credential, limits })))
    }
}

/// The certificates of a bundle. PEM alone says little about its content, so a client has to accept them.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, BuildError> {
    let roots = Certificate::from_pem_bundle(pem).map_err(|_| BuildError::CaBundle)?;
    let accepted = reqwest::Client::builder().no_proxy().tls_certs_only(roots.clone()).build().is_ok();
    if roots.is_empty() || !accepted { Err(BuildError::CaBundle) } else { Ok(roots) }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

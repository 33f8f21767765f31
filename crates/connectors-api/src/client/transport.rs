//! Carries one request to the service, once, and says of a failure whether it had left. Over the network: reads on kept
//! connections, whatever changes something on one of its own.

#[cfg(feature = "in-process")]
use std::sync::Arc;

use reqwest::{Method, Request, Response};

/// Where requests go.
pub(super) enum Transport {
    /// To the endpoint.
    Network {
        /// For reads.
        reads: reqwest::Client,
        /// For all else.
        writes: reqwest::Client,
    },
    /// To a service in this process.
    #[cfg(feature = "in-process")]
    InProcess(Arc<dyn InProcess>),
}

/// No answer came.
pub(super) struct Failed {
    /// Whether the request may have left.
    pub(super) left: bool,
    /// What happened.
    pub(super) why: String,
}

impl Transport {
    pub(super) async fn send(&self, request: Request) -> Result<Response, Failed> {
        match self {
            Self::Network { reads, writes } => {
                let client = if request.method() == Method::GET { reads } else { writes };
                client.execute(request).await.map_err(|error| {
                    // Building and connecting come before the first byte; for anything later nobody can tell.
                    Failed { left: !error.is_builder() && !error.is_connect(), why: root_cause(&error) }
                })
            }
            #[cfg(feature = "in-process")]
            Self::InProcess(service) => match service.send(request).await {
                Ok(response) => Ok(Response::from(response)),
                Err(Undelivered::Unreachable) => Err(Failed { left: false, why: "no connection".to_owned() }),
                Err(Undelivered::Broken) => {
                    Err(Failed { left: true, why: "the connection broke".to_owned() })
                }
            },
        }
    }
}

/// The last cause in the chain: the outer ones only say that sending failed.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_connect() {
        let stage = if error.is_dns() { "the name cannot be resolved" } else { "no connection" };
        return format!("{stage}: {cause}");
    }
    if std::error::Error::source(error).is_none() {
        error.to_string()
    } else {
        format!("the connection broke: {cause}")
    }
}

/// A service in this process that stands for the network.
#[cfg(feature = "in-process")]
pub trait InProcess: Send + Sync {
    /// Takes one request. Time limits are the client's matter.
    fn send(
        &self,
        request: Request,
    ) -> futures::future::BoxFuture<'static, Result<http::Response<Vec<u8>>, Undelivered>>;
}

/// Why a service in this process gives no answer.
#[cfg(feature = "in-process")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// There was no connection.
    Unreachable,
    /// It broke, at whatever point.
    Broken,
}

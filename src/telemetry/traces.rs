//! Traces by OTLP over HTTP, only where `OTEL_EXPORTER_OTLP_ENDPOINT` says where to: one a reconcile, down to the requests to a
//! Connectors API. They hold kinds, namespaces, names, routes, statuses and request ids, and nothing of a body or a Secret.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connectors_api::client::TRACE_TARGET;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The variables that ask for traces. The exporter reads them itself.
const ASKED_FOR_BY: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// How long one export may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Where the spans go. They are sent in the background, at most a few thousand wait, and what is too much is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// An exporter, where one is asked for.
    ///
    /// # Errors
    /// When the address is none, or no client can be made.
    pub(super) fn asked_for() -> Result<Option<Self>, Box<dyn Error>> {
        if ASKED_FOR_BY.iter().all(|name| std::env::var_os(name).is_none_or(|value| value.is_empty())) {
            return Ok(None);
        }
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT).build()?;
        let sender = Sender { client, runtime: Handle::current(), failing: AtomicBool::new(false) };
        let exporter = SpanExporter::builder().with_http().with_http_client(sender).build()?;
        // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come after and win.
        let resource = Resource::builder().with_service_name(crate::FIELD_MANAGER).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Some(Self(provider)))
    }

    /// Takes the spans that make a trace.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let only = Targets::new().with_target(TRACE_TARGET, LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(crate::FIELD_MANAGER))
            .with_location(false)
            .with_threads(false)
            .with_filter(only)
    }

    /// Sends what waits, and ends.
    pub async fn end(self) {
        // It waits for its own thread, and this one may have to carry what that sends.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LIMIT / 2)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces were not sent");
        }
    }
}

/// Sends with the HTTP client, and the TLS, that everything else here uses.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    /// The exporter has a thread of its own, without a runtime.
    runtime: Handle,
    failing: AtomicBool,
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.client.clone(), request)).await?;
        let failure = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        // Said once, until it works again.
        if self.failing.swap(failure.is_some(), Ordering::Relaxed) != failure.is_some() {
            match failure {
                Some(error) => tracing::warn!(error, "traces cannot be sent; they are dropped"),
                None => tracing::info!("traces are sent again"),
            }
        }
        sent
    }
}

async fn send(client: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response::builder().status(status).body(body.into())?)
}

//! Logs: lines for people on a terminal, JSON elsewhere. Traces beside them, where they are asked for.

use std::error::Error;
use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Traces;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The Kubernetes client's own words come again in ours, where a request or a watch failed.
const DEFAULT: &str = "info,kube_client=off,kube_runtime=error";
/// Spans are for traces; in a line they would say again what it says.
const NO_SPANS: &str = "slimio_trace=off";

/// Begins to log to standard error, at the level that `RUST_LOG` asks for: `info` when it says nothing. Gives where the traces
/// go, for their end. To be called in the runtime that sends them.
///
/// # Errors
/// When traces are asked for and the address is none.
pub fn init(format: LogFormat) -> Result<Option<Traces>, Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let filter = filter.add_directive(NO_SPANS.parse()?);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.with_ansi(terminal).boxed()
    };
    let traces = Traces::asked_for()?;
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces.as_ref().map(Traces::layer))
        .init();
    Ok(traces)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_spans_that_logs_leave_out_are_those_that_make_a_trace() {
        assert_eq!(super::NO_SPANS, format!("{}=off", connectors_api::client::TRACE_TARGET));
    }
}

//! What is told of an exchange beside its outcome: a span with route, status and request id, for traces, and the request id for
//! whoever writes a log line about what led to it. Neither holds a path, a body or a credential.

use std::cell::RefCell;

use tracing::Instrument;
use tracing::field::Empty;

use super::Answer;
use crate::error::Error;
use crate::paths::Route;
use crate::wire::RequestId;

/// The target of the spans that make a trace. Nothing else has it, so that logs can leave them out.
pub const TRACE_TARGET: &str = "slimio_trace";

tokio::task_local! {
    static LAST: RefCell<Option<RequestId>>;
}

/// Does the work, and gives beside its result the id that the service gave to the last request of it.
pub async fn with_request_id<T>(work: impl Future<Output = T>) -> (T, Option<RequestId>) {
    LAST.scope(RefCell::new(None), async {
        let done = work.await;
        (done, LAST.with(RefCell::take))
    })
    .await
}

/// Runs one exchange in its span.
pub(super) async fn traced<T>(
    route: Route,
    exchange: impl Future<Output = Result<Answer<T>, Error>>,
) -> Result<Answer<T>, Error> {
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        "request",
        otel.kind = "client",
        otel.name = route.name(),
        http.route = route.template(),
        http.response.status_code = Empty,
        request_id = Empty,
        otel.status_code = Empty,
    );
    let outcome = exchange.instrument(span.clone()).await;
    let (status, id) = match &outcome {
        Ok(answer) => (Some(answer.status), answer.request_id.as_ref()),
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            (error.status(), error.request_id())
        }
    };
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if let Some(id) = id {
        span.record("request_id", id.as_str());
    }
    // Where nobody asked for it there is nowhere to note it.
    let _ = LAST.try_with(|last| last.replace(id.cloned()));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RateLimit;

    #[tokio::test]
    async fn the_id_of_the_last_request_is_given_beside_the_result() {
        let answer = |id: &str| {
            let request_id = Some(id.parse().unwrap());
            Ok(Answer { value: (), status: 200, request_id, rate_limit: RateLimit::default() })
        };
        let (_, id) = with_request_id(async {
            for id in ["req-1", "req-2"] {
                traced(Route::ListConnectors, async { answer(id) }).await.unwrap();
            }
        })
        .await;
        assert_eq!(id.unwrap().as_str(), "req-2");
        traced(Route::ListConnectors, async { answer("req-3") }).await.unwrap();
        assert!(with_request_id(async {}).await.1.is_none(), "nothing was asked");
    }
}

//! Takes in what a route leaves of a body, so that the caller reads the answer.
//!
//! Closing a connection on which the caller still writes resets it, and a reset can reach the caller
//! before the refusal that was sent to it: it would see a broken connection and not know why.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// Most bytes that are taken in, and how long that may take.
const LIMIT: usize = 4 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(2);

/// A body that is read to its end by whoever has it, or else by a task of its own.
struct Drained(Option<Body>);

/// Makes sure of a body.
pub(super) fn drained(body: Body) -> Body {
    if body.is_end_stream() { body } else { Body::new(Drained(Some(body))) }
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = self.0.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut left = LIMIT;
            let rest = async {
                while let Some(Ok(frame)) = body.frame().await {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if left == 0 {
                        return;
                    }
                }
            };
            // Late or not: the answer is on its way.
            let _ = tokio::time::timeout(TIME, rest).await;
        });
    }
}

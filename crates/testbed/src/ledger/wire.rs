//! Connections that can be cut after a given byte, and bodies that are late, broken or without end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How many bytes a connection may still send; without a bound at first.
#[derive(Clone, Debug)]
pub(crate) struct Leash(Arc<AtomicUsize>);

impl Leash {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    /// The connection is reset after so many more bytes.
    pub(crate) fn shorten(&self, bytes: usize) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

/// A connection on a leash. It is reset, not closed, at the end of it: no client takes that for the end of an answer.
#[derive(Debug)]
pub(crate) struct Cut {
    stream: TcpStream,
    leash: Leash,
}

impl Cut {
    pub(crate) fn new(stream: TcpStream, leash: Leash) -> Self {
        Self { stream, leash }
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.leash.0.load(Ordering::SeqCst);
        if left == 0 {
            // What was sent before still has to arrive for the cut to be where it was asked for, and linger drops it:
            // only a cut before the first byte is made with it.
            let _ = self.stream.set_zero_linger();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let part = &buf[..buf.len().min(left)];
        let sent = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        if left != usize::MAX {
            self.leash.0.fetch_sub(sent, Ordering::SeqCst);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that is there whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// The bytes one by one, so long apart.
pub(super) fn dripping(text: String, pause: Duration) -> Body {
    let bytes = stream::iter(text.into_bytes()).then(move |byte| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(Bytes::from(vec![byte])))
    });
    BodyExt::boxed_unsync(StreamBody::new(bytes))
}

/// Spaces without end, which no parser of JSON minds.
pub(super) fn endless() -> Body {
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    let chunks = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
    BodyExt::boxed_unsync(StreamBody::new(chunks))
}

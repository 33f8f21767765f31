//! Serves HTTP/1.1 on connections that can be cut after a given byte, with bodies that are late, broken or without end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How many bytes a connection may still send; without a bound at first.
#[derive(Clone, Debug)]
pub(crate) struct Leash(Arc<AtomicUsize>);

impl Leash {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    /// The connection is reset after so many more bytes.
    pub(crate) fn shorten(&self, bytes: usize) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

/// A connection on a leash. It is reset, not closed, at the end of it: no client takes that for the end of an answer.
#[derive(Debug)]
struct Cut {
    stream: TcpStream,
    leash: Leash,
}

impl Cut {
    fn new(stream: TcpStream, leash: Leash) -> Self {
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

/// Serves every connection until it is dropped, and ends them all then. An exchange runs in a task of its own: a caller that
/// gives up does not undo what is under way.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    exchange: impl Fn(Request<Incoming>, Leash) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, exchange.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<F>(stream: TcpStream, exchange: impl Fn(Request<Incoming>, Leash) -> F)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let leash = Leash::new();
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Cut::new(stream, leash.clone()));
    let service = service_fn(move |request| {
        let exchange = tokio::spawn(exchange(request, leash.clone()));
        async move { Ok::<_, Infallible>(exchange.await.unwrap_or_else(|_| Response::new(whole("")))) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(io, service)
        .await;
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

//! [`Lingering`]: a stream that reads what its client is still sending before it closes.
//!
//! The system answers bytes that nobody has read, or that arrive after the close, with a reset. A client that sends a
//! large body loses the response to it, because it reads only when it has sent everything.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{Request, Version};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connections::Connection;

/// How long a closing connection is read, and how long it may be silent meanwhile.
const LINGER: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(2);
/// How much of it is read: twice the largest body.
const LINGER_BYTES: usize = 32 << 20;

const READ_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Lingering<S> {
    stream: S,
    connection: Arc<Connection>,
    /// The end of the silence, and of all. Set when the client has got the end of the responses.
    deadline: Option<(Pin<Box<Sleep>>, Instant)>,
    is_sending: bool,
    /// The bytes that were read since the end of the responses.
    read_bytes: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, deadline: None, is_sending: false, read_bytes: 0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends the responses. Then reads until the client closes too, or until the time is over, unless the client has sent
    /// everything.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.deadline.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let now = Instant::now();
        let (silence, end) =
            this.deadline.get_or_insert_with(|| (Box::pin(tokio::time::sleep(SILENCE)), now + LINGER));
        loop {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(()))
                    if !buffer.filled().is_empty() && now < *end && this.read_bytes < LINGER_BYTES =>
                {
                    this.read_bytes += buffer.filled().len();
                    this.is_sending = true;
                    silence.as_mut().reset(now + SILENCE);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending if this.is_sending || this.connection.has_unread_body() => {
                    return silence.as_mut().poll(context).map(Ok);
                }
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

/// The body of a request. Over HTTP/1, its connection knows whether it was read to its end.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    /// `None` over HTTP/2, where the end of a body is not that of the connection.
    connection: Option<Arc<Connection>>,
}

impl RequestBody {
    pub(super) fn of(request: Request<Incoming>, connection: &Arc<Connection>) -> Request<Self> {
        let connection = (request.version() < Version::HTTP_2).then(|| connection.clone());
        request.map(|body| {
            let request = Self { body, connection };
            request.record();
            request
        })
    }

    fn record(&self) {
        if let Some(connection) = &self.connection {
            connection.set_unread_body(!self.body.is_end_stream());
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match (&frame, &self.connection) {
            (None, Some(connection)) => connection.set_unread_body(false),
            _ => self.record(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

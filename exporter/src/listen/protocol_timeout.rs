//! [`ProtocolTimeout`]: a time limit for the first bytes of a connection, which determine the version of HTTP. It counts
//! the bytes that are read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connections::Connection;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4). Any other first bytes are HTTP/1.
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that returns an error if the version is not known in time. hyper's own timeout for the headers of a request
/// starts only when it knows the version.
#[derive(Debug)]
pub(super) struct ProtocolTimeout<S> {
    stream: S,
    /// `None` once the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The number of bytes that matched the preface of HTTP/2.
    matched: usize,
    connection: Arc<Connection>,
}

impl<S> ProtocolTimeout<S> {
    pub(super) fn new(stream: S, timeout: Duration, connection: Arc<Connection>) -> Self {
        Self { stream, deadline: Some(Box::pin(tokio::time::sleep(timeout))), matched: 0, connection }
    }

    fn detect_version(&mut self, bytes: &[u8]) {
        if self.deadline.is_none() {
            return;
        }
        let rest = HTTP_2_PREFACE.get(self.matched..).unwrap_or_default();
        let compared = rest.len().min(bytes.len());
        self.matched += compared;
        if rest.get(..compared) != bytes.get(..compared) {
            self.deadline = None;
        } else if self.matched == HTTP_2_PREFACE.len() {
            self.deadline = None;
            self.connection.speaks_http2();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ProtocolTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            this.connection.read(bytes.len());
            this.detect_version(bytes);
            return Poll::Ready(result);
        }
        let Some(deadline) = &mut this.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ProtocolTimeout<S> {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::connections::{Connections, Limits};
    use crate::metrics::Metrics;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const TIMEOUT: Duration = Duration::from_millis(50);

    fn connection() -> Arc<Connection> {
        let limits = Limits { bytes: 1 << 20, count: 1 };
        Arc::new(Connections::new(limits, Arc::new(Metrics::new())).add(false))
    }

    #[tokio::test]
    async fn silence_and_an_incomplete_preface_time_out() {
        for first in [&b""[..], b"P", b"PRI * HT"] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(first).await.unwrap();
            let mut read = Vec::new();
            let error =
                ProtocolTimeout::new(server, TIMEOUT, connection()).read_to_end(&mut read).await.unwrap_err();
            assert_eq!((error.kind(), &read[..]), (io::ErrorKind::TimedOut, first));
        }
    }

    #[tokio::test]
    async fn a_client_with_a_known_version_does_not_time_out() {
        for first in [&b"GET"[..], b"POST", HTTP_2_PREFACE] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(first).await.unwrap();
            let mut server = ProtocolTimeout::new(server, TIMEOUT, connection());
            let mut read = vec![0; first.len()];
            server.read_exact(&mut read).await.unwrap();
            tokio::time::sleep(TIMEOUT * 2).await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
        }
    }
}

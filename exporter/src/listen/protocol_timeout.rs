//! [`ProtocolTimeout`]: a connection that has to say within a time which version of HTTP it speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4); whatever differs from it is HTTP/1.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose reading fails if its version is not known in time; hyper's own time for the head of a request runs
/// only from then on.
#[derive(Debug)]
pub(super) struct ProtocolTimeout<S> {
    stream: S,
    /// `None` once the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
    /// So many bytes were those of HTTP/2.
    seen: usize,
}

impl<S> ProtocolTimeout<S> {
    pub(super) fn new(stream: S, within: Duration) -> Self {
        Self { stream, deadline: Some(Box::pin(tokio::time::sleep(within))), seen: 0 }
    }

    fn see(&mut self, bytes: &[u8]) {
        let rest = HTTP_2.get(self.seen..).unwrap_or_default();
        self.seen += bytes.len();
        if self.seen >= HTTP_2.len() || !rest.starts_with(bytes) {
            self.deadline = None;
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
            this.see(buffer.filled().get(before..).unwrap_or_default());
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const WITHIN: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn silence_and_half_a_preface_end_in_time() {
        for begin in [&b""[..], b"P", b"PRI * HT"] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(begin).await.unwrap();
            let mut read = Vec::new();
            let error = ProtocolTimeout::new(server, WITHIN).read_to_end(&mut read).await.unwrap_err();
            assert_eq!((error.kind(), &read[..]), (io::ErrorKind::TimedOut, begin));
        }
    }

    #[tokio::test]
    async fn who_has_said_its_version_may_be_silent() {
        for begin in [&b"GET"[..], b"POST", HTTP_2] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(begin).await.unwrap();
            let mut server = ProtocolTimeout::new(server, WITHIN);
            let mut read = vec![0; begin.len()];
            server.read_exact(&mut read).await.unwrap();
            tokio::time::sleep(WITHIN * 2).await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
        }
    }
}

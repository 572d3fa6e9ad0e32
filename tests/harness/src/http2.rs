//! A client for HTTP/2 without TLS that can cancel its requests.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};
use tokio::runtime::Runtime;

use crate::{Error, Result, wait};

/// A connection.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// A complete response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers, empty if there were none.
    pub trailers: HeaderMap,
}

/// When a caller cancels a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Before the response.
    BeforeResponse,
    /// After the headers and the first bytes of the response.
    DuringResponse,
}

impl Http2 {
    /// Connects with prior knowledge.
    pub fn open(address: SocketAddr) -> Result<Http2> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Error::when("a runtime for HTTP/2"))?;
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(Error::when("connecting"))?;
            let (sender, connection) = handshake(stream).await.map_err(Error::when("HTTP/2"))?;
            tokio::spawn(connection);
            sender.ready().await.map_err(Error::when("HTTP/2"))
        })?;
        Ok(Http2 { runtime, sender })
    }

    /// Sends a request and reads its response to the end.
    pub fn send(&self, request: Request<()>, body: &'static [u8]) -> Result<Response> {
        self.in_time(async {
            let (response, _) = self.start(request, body).await?;
            Response::read(response).await
        })
    }

    /// Sends a request with a body in several frames, and reads its response to the end.
    pub fn send_frames(&self, request: Request<()>, frames: &[&'static [u8]]) -> Result<Response> {
        self.in_time(async {
            let (response, mut stream) = self.open_stream(request).await?;
            for frame in frames {
                stream.send_data(Bytes::from_static(frame), false).map_err(Error::when("a body"))?;
                tokio::time::sleep(Duration::from_millis(20)).await; // a frame of its own
            }
            stream.send_data(Bytes::new(), true).map_err(Error::when("a body's end"))?;
            Response::read(response).await
        })
    }

    /// Sends each frame of a body after the response to the previous one, and reads to the end.
    pub fn converse(&self, request: Request<()>, frames: &[&'static [u8]]) -> Result<Response> {
        self.in_time(async {
            let (response, mut stream) = self.open_stream(request).await?;
            let mut response = response.await.map_err(Error::when("a response"))?;
            let mut body = Vec::new();
            for frame in frames {
                stream.send_data(Bytes::from_static(frame), false).map_err(Error::when("a body"))?;
                let bytes = response.body_mut().data().await;
                let bytes = bytes.ok_or_else(|| Error::new("no response to a frame"))?;
                body.extend(bytes.map_err(Error::when("a body"))?);
            }
            // The peer may close a tunnel first, and abruptly.
            let _ = stream.send_data(Bytes::new(), true);
            let (head, mut stream) = response.into_parts();
            while let Some(Ok(bytes)) = stream.data().await {
                body.extend(bytes);
            }
            let trailers = stream.trailers().await.ok().flatten().unwrap_or_default();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
        })
    }

    /// Waits until the peer supports extended CONNECT (RFC 8441).
    pub fn wait_for_extended_connect(&self) -> Result<()> {
        wait::until("extended CONNECT", || {
            Some(()).filter(|()| self.sender.is_extended_connect_protocol_enabled())
        })
    }

    /// Sends a request, waits for `then` and cancels the request.
    pub fn cancel(
        &self,
        request: Request<()>,
        body: &'static [u8],
        cancel: Cancel,
        then: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (response, mut stream) = self.in_time(self.start(request, body))?;
        // A dropped response would cancel the stream before the reset below.
        let _response = self.in_time(async {
            match cancel {
                Cancel::BeforeResponse => Ok((Some(response), None)),
                Cancel::DuringResponse => {
                    let mut response = response.await.map_err(Error::when("a response"))?;
                    let _ = response.body_mut().data().await;
                    Ok((None, Some(response)))
                }
            }
        })?;
        then()?;
        stream.send_reset(Reason::CANCEL);
        Ok(())
    }

    async fn start(
        &self,
        request: Request<()>,
        body: &'static [u8],
    ) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let mut sender = self.sender.clone().ready().await.map_err(Error::when("HTTP/2"))?;
        let (response, mut stream) =
            sender.send_request(request, body.is_empty()).map_err(Error::when("a request"))?;
        if !body.is_empty() {
            // Fails if the peer responds and closes the stream before; then the response is there all the same.
            let _ = stream.send_data(Bytes::from_static(body), true);
        }
        Ok((response, stream))
    }

    async fn open_stream(&self, request: Request<()>) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let mut sender = self.sender.clone().ready().await.map_err(Error::when("HTTP/2"))?;
        sender.send_request(request, false).map_err(Error::when("a request"))
    }

    fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::time::timeout(wait::TIMEOUT, work).await.map_err(Error::when("HTTP/2"))?
        })
    }
}

impl Response {
    async fn read(response: ResponseFuture) -> Result<Response> {
        let (head, mut stream) = response.await.map_err(Error::when("a response"))?.into_parts();
        let mut body = Vec::new();
        while let Some(bytes) = stream.data().await {
            let bytes = bytes.map_err(Error::when("a body"))?;
            let _ = stream.flow_control().release_capacity(bytes.len());
            body.extend(bytes);
        }
        let trailers = stream.trailers().await.map_err(Error::when("trailers"))?.unwrap_or_default();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
    }
}

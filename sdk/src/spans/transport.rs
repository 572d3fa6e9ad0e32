//! [`Transport`]: one request to the receiver, on a connection of its own.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::Connector;
use super::credentials::{Headers, Secrets};
use super::dropped::{DropReason, Failure};
use super::endpoint::Endpoint;
use super::http1;
use super::response::{self, Outcome};
use super::text::visible;
#[cfg(feature = "_spans-rustls")]
use super::tls::Tls;
use crate::errors::Chain;

/// Where and how spans are sent.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) endpoint: Endpoint,
    pub(super) connector: Connector,
    pub(super) headers: Headers,
    /// How long one attempt may take; `None` means no limit.
    pub(super) timeout: Option<Duration>,
    /// Present if the scheme is `https`.
    #[cfg(feature = "_spans-rustls")]
    pub(super) tls: Option<Tls>,
}

impl Transport {
    /// Sends a request with spans, and reads the response.
    pub(super) async fn send(&self, body: Bytes) -> Outcome {
        let headers = match self.headers.read() {
            Ok(headers) => headers,
            Err(failure) => return Outcome::Retry { failure, after: None },
        };
        let attempt = self.connect_and_send(&headers, body);
        let result = match self.timeout {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                Err(Failure {
                    reason: DropReason::Unreachable,
                    error: format!("no response from {} within {limit:?}", self.endpoint.authority),
                })
            }),
        };
        result.unwrap_or_else(|failure| Outcome::Retry { failure, after: None })
    }

    async fn connect_and_send(&self, headers: &HeaderMap, body: Bytes) -> Result<Outcome, Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let connected = self.connector.connect(host, *port, self.timeout).await;
        let (stream, address) = connected.map_err(|error| self.unreachable("cannot connect to", &error))?;
        let outcome = self.send_over(stream, headers, body).await?;
        self.connector.works(address);
        Ok(outcome)
    }

    async fn send_over(
        &self,
        stream: TcpStream,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Outcome, Failure> {
        #[cfg(feature = "_spans-rustls")]
        if let Some(tls) = &self.tls {
            let stream = tls.connect(&self.endpoint.host, stream).await;
            let stream = stream.map_err(|error| self.unreachable("TLS handshake failed with", &error))?;
            return self.exchange(stream, headers, body).await;
        }
        self.exchange(stream, headers, body).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Outcome, Failure> {
        let no_response =
            |error: &(dyn std::error::Error + 'static)| self.unreachable("no response from", error);
        let request = self.request(headers, body).map_err(|error| no_response(&error))?;
        let (head, body) = http1::send(stream, request).await.map_err(|error| no_response(&error))?;
        let secrets = Secrets::of(headers, &self.endpoint.path);
        Ok(response::read(head.status, &head.headers, &body, &secrets))
    }

    fn request(&self, headers: &HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.endpoint.path)
            .header(header::HOST, &self.endpoint.authority)
            .body(Full::new(body))?;
        let to = request.headers_mut();
        headers.iter().for_each(|(name, value)| {
            to.insert(name, value.clone());
        });
        to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        // A sidecar must not trace the requests that carry spans.
        to.insert("b3", HeaderValue::from_static("0"));
        Ok(request)
    }

    fn unreachable(&self, what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        let error = Unreachable { what, authority: &self.endpoint.authority, error };
        Failure { reason: DropReason::Unreachable, error: visible(&error.to_string()) }
    }
}

struct Unreachable<'a> {
    what: &'a str,
    authority: &'a str,
    error: &'a (dyn std::error::Error + 'static),
}

impl fmt::Display for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.what, self.authority, Chain(self.error))
    }
}

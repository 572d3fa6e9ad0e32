//! A sender: one connection, one request a second. HTTP/2 is written by hand, which takes little CPU time and memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The protocol of all senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/HTTP over HTTP/1.1.
    Http,
    /// OTLP/gRPC, so HTTP/2.
    Grpc,
}

pub(super) struct Sender {
    pub(super) protocol: Protocol,
    pub(super) address: SocketAddr,
    pub(super) message: Arc<Vec<u8>>,
}

/// What happened to the requests of a sender.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) sent: usize,
    /// The response times of the successes.
    pub(super) times: Vec<Duration>,
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

impl Protocol {
    /// Encodes a request with one span. The stream ids of HTTP/2 are zero.
    pub(super) fn message(self) -> Vec<u8> {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            name: "GET /orders/{id}".to_owned(),
            start_time_unix_nano: 1,
            end_time_unix_nano: 1,
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        match self {
            Self::Http => [
                format!(
                    "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                )
                .into_bytes(),
                body,
            ]
            .concat(),
            Self::Grpc => {
                let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
                let data = [&[0], &length[..], &body].concat();
                [frame(HEADERS, END_HEADERS, &grpc_headers()), frame(0, END_STREAM, &data)].concat()
            }
        }
    }
}

/// Encodes the headers of a call as literals.
fn grpc_headers() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &[0; 4], payload].concat()
}

impl Sender {
    /// Sends once a second. A lost connection is opened again for the next request.
    pub(super) async fn run(&self, mut next: Instant, until: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let mut connection = self.connect().await.ok();
        while next < until {
            tokio::time::sleep_until(next).await;
            // The time that was planned, so that a late load generator is not hidden.
            let start = next;
            next += Duration::from_secs(1);
            outcome.sent += 1;
            if connection.is_none() {
                connection = self.connect().await.ok();
            }
            let Some(open) = &mut connection else { continue };
            match tokio::time::timeout(Duration::from_secs(10), open.send(self)).await {
                Ok(Ok(true)) => outcome.times.push(start.elapsed()),
                Ok(Ok(false)) => {}
                _ => connection = None,
            }
        }
        outcome
    }

    async fn connect(&self) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.protocol == Protocol::Grpc {
            stream
                .write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, &[])].concat())
                .await?;
        }
        Ok(Connection { stream, stream_id: 1, received: Vec::new() })
    }
}

struct Connection {
    stream: TcpStream,
    /// The id of the next stream of HTTP/2.
    stream_id: u32,
    received: Vec<u8>,
}

impl Connection {
    /// Sends a request. Returns true if the response is a success.
    async fn send(&mut self, sender: &Sender) -> io::Result<bool> {
        match sender.protocol {
            Protocol::Http => {
                self.stream.write_all(&sender.message).await?;
                let mut response = [0; 1024];
                let read = self.stream.read(&mut response).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(response.starts_with(b"HTTP/1.1 200"))
            }
            Protocol::Grpc => {
                let id = self.stream_id;
                self.stream_id += 2;
                let mut message = sender.message.to_vec();
                let data = 9 + usize::from(message[1]) * 256 + usize::from(message[2]);
                for frame in [0, data] {
                    message[frame + 5..frame + 9].copy_from_slice(&id.to_be_bytes());
                }
                self.stream.write_all(&message).await?;
                self.response(id).await
            }
        }
    }

    /// Reads frames until the end of this stream. A response with a message is a success.
    async fn response(&mut self, id: u32) -> io::Result<bool> {
        let mut has_message = false;
        loop {
            while let Some(&[a, b, c, kind, flags, d, e, f, g]) = self.received.first_chunk::<9>() {
                let length = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if self.received.len() < length {
                    break;
                }
                let frame: Vec<u8> = self.received.drain(..length).collect();
                let stream_id = u32::from_be_bytes([d & 0x7f, e, f, g]);
                match kind {
                    SETTINGS | PING if flags & ACK == 0 => {
                        let payload = if kind == PING { &frame[9..] } else { &[] };
                        self.stream.write_all(&self::frame(kind, ACK, payload)).await?;
                    }
                    GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
                    0 if stream_id == id => has_message = true,
                    _ => {}
                }
                if stream_id == id && matches!(kind, 0 | HEADERS) && flags & END_STREAM != 0 {
                    return Ok(has_message);
                }
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

//! A client that costs next to nothing, so that what is measured is the one that it sends to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::{Error, Result};

/// Spans in a request.
pub(crate) const BATCH: usize = 512;

/// Connections, each with one request at a time.
pub(super) const CONNECTIONS: usize = 2;

/// How long to wait after a 429 or 503.
const PAUSE: Duration = Duration::from_millis(5);

/// A request as bytes: a batch of server spans with the attributes of an HTTP request, of now, for Cloud Trace takes no old
/// ones.
pub(crate) fn request() -> Vec<u8> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX / 2);
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        key_strindex: 0,
    };
    let span = |n: usize| Span {
        trace_id: TraceId::new(0x463a_c35c_9f64_13ad_0000 + n as u128 / 8 + 1)
            .map(|id| id.to_bytes().to_vec())
            .unwrap_or_default(),
        span_id: SpanId::new(n as u64 + 1).map(|id| id.get().to_be_bytes().to_vec()).unwrap_or_default(),
        parent_span_id: if n.is_multiple_of(8) { Vec::new() } else { vec![7; 8] },
        name: format!("GET /orders/{{id}}/{}", n % 16),
        kind: 2,
        start_time_unix_nano: start + n as u64,
        end_time_unix_nano: start + 5_000_000 + n as u64,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", "/orders/41"),
            text("http.route", "/orders/{id}"),
            text("http.response.status_code", "200"),
            text("server.address", "orders.shop.svc.cluster.local"),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        ],
        ..Default::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "orders"), text("service.version", "1.2.3")],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { spans: (0..BATCH).map(span).collect(), ..Default::default() }],
            ..Default::default()
        }],
    };
    let body = request.encode_to_vec();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Sends for so long over all connections; returns the spans that were acknowledged.
pub(crate) fn send(address: SocketAddr, request: &[u8], time: Duration) -> Result<u64> {
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let senders: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(move || send_until(address, request, until))).collect();
        let mut spans = 0;
        for sender in senders {
            let sent = sender.join().map_err(|_| Error::new("a sender panicked"))?;
            spans += sent.map_err(Error::when(format!("a request to {address}")))?;
        }
        Ok(spans)
    })
}

fn send_until(address: SocketAddr, request: &[u8], until: Instant) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut spans = 0;
    while Instant::now() < until {
        stream.write_all(request)?;
        match answer(&mut stream, &mut buffer)? {
            200 => spans += BATCH as u64,
            429 | 503 => std::thread::sleep(PAUSE),
            status => return Err(io::Error::other(format!("it answered {status}"))),
        }
    }
    Ok(spans)
}

/// Reads one answer to its end; returns its status.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let Some(head) = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if length >= head + 4 + body.unwrap_or(0) {
            return Ok(text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0));
        }
    }
}

//! A client that uses little CPU time, because it shares the machine with the program that is measured.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logtracer_harness::{Error, Result};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// Spans in a request.
pub(crate) const BATCH: usize = 512;

/// Connections, each with one request in flight.
pub(super) const CONNECTIONS: usize = 2;

/// The wait after a 429 or 503.
const PAUSE: Duration = Duration::from_millis(5);

/// Requests of [`BATCH`] server spans of HTTP requests. Each span has unique ids, times and a unique path.
///
/// Repeated spans would be compressed to almost nothing, and the store would drop them as duplicates.
pub(crate) struct Load {
    /// Head and body of a request, with placeholders for what is unique.
    request: Vec<u8>,
    spans: Vec<Offsets>,
}

/// The offsets of the unique fields of a span.
struct Offsets {
    ids: usize,
    times: usize,
    path: usize,
}

/// The spans of a trace: the first is the parent of the others.
const TRACE: usize = 8;

/// The offsets of the ids from the beginning of a span; each follows its tag and length.
const TRACE_ID: usize = 2;
const SPAN_ID: usize = TRACE_ID + 16 + 2;
const PARENT_SPAN_ID: usize = SPAN_ID + 8 + 2;

impl Load {
    pub(crate) fn new() -> Load {
        let spans: Vec<Span> = (0..BATCH).map(span).collect();
        let offsets: Vec<(usize, Offsets)> = spans.iter().map(offsets).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![text("service.name", "orders"), text("service.version", "1.2.3")],
                    ..Default::default()
                }),
                scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
                ..Default::default()
            }],
        };
        let body = request.encode_to_vec();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.into_bytes(), body].concat();
        // The spans are the end of the request, each after its tag and length.
        let mut end = request.len();
        let mut spans: Vec<Offsets> = offsets
            .into_iter()
            .rev()
            .map(|(length, Offsets { ids, times, path })| {
                let start = end - length;
                end = start - prost::length_delimiter_len(length) - 1;
                Offsets { ids: start + ids, times: start + times, path: start + path }
            })
            .collect();
        spans.reverse();
        Load { request, spans }
    }

    /// Returns the size of each request, with its head.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.request.len() as u64
    }

    /// Sends over all connections for `time`, and returns the number of acknowledged spans.
    pub(crate) fn send(&self, address: SocketAddr, time: Duration) -> Result<u64> {
        let until = Instant::now() + time;
        std::thread::scope(|scope| {
            let senders: Vec<_> =
                (0..CONNECTIONS).map(|_| scope.spawn(move || self.send_until(address, until))).collect();
            let mut spans = 0;
            for sender in senders {
                let sent = sender.join().map_err(|_| Error::new("a sender panicked"))?;
                spans += sent.map_err(Error::when(format!("a request to {address}")))?;
            }
            Ok(spans)
        })
    }

    fn send_until(&self, address: SocketAddr, until: Instant) -> io::Result<u64> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut request = self.request.clone();
        let mut numbers = Numbers::new();
        let mut buffer = vec![0; 16 << 10];
        let mut spans = 0;
        while Instant::now() < until {
            self.stamp(&mut request, &mut numbers);
            stream.write_all(&request)?;
            match response(&mut stream, &mut buffer)? {
                200 => spans += BATCH as u64,
                429 | 503 => std::thread::sleep(PAUSE),
                status => return Err(io::Error::other(format!("status {status}"))),
            }
        }
        Ok(spans)
    }

    /// Gives the spans of a request new ids and the current time: Cloud Trace rejects old spans.
    fn stamp(&self, request: &mut [u8], numbers: &mut Numbers) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        let mut put = |at: usize, bytes: &[u8]| request[at..][..bytes.len()].copy_from_slice(bytes);
        for trace in self.spans.chunks(TRACE) {
            let (trace_id, parent) = ([numbers.id(), numbers.id()].concat(), numbers.id());
            for (n, at) in trace.iter().enumerate() {
                put(at.ids + TRACE_ID, &trace_id);
                put(at.ids + SPAN_ID, &if n == 0 { parent } else { numbers.id() });
                if n > 0 {
                    put(at.ids + PARENT_SPAN_ID, &parent);
                }
                let number = numbers.next();
                let took = number % 100_000_000;
                put(at.times, &(now - took).to_le_bytes());
                put(at.times + 8 + 1, &now.to_le_bytes());
                put(at.path, &number.to_be_bytes().map(|byte| b'a' + byte % 26));
            }
        }
    }
}

/// The path of each span begins with this prefix and ends with unique letters.
const PATH: &str = "/orders/";
const LETTERS: &str = "........";

fn span(n: usize) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        parent_span_id: if n.is_multiple_of(TRACE) { Vec::new() } else { vec![1; 8] },
        name: format!("GET /orders/{{id}}/{}", n % 16),
        kind: 2,
        start_time_unix_nano: 1,
        end_time_unix_nano: 1,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", &format!("{PATH}{LETTERS}")),
            text("http.route", "/orders/{id}"),
            text("http.response.status_code", "200"),
            text("server.address", "orders.shop.svc.cluster.local"),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        ],
        ..Default::default()
    }
}

/// Returns the length of a span and the offsets of its unique fields.
fn offsets(span: &Span) -> (usize, Offsets) {
    let bytes = span.encode_to_vec();
    let before =
        Span { start_time_unix_nano: 0, end_time_unix_nano: 0, attributes: Vec::new(), ..span.clone() };
    let path = bytes.windows(LETTERS.len()).position(|window| window == LETTERS.as_bytes()).unwrap_or(0);
    (bytes.len(), Offsets { ids: 0, times: before.encoded_len() + 1, path })
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        key_strindex: 0,
    }
}

/// Cheap random numbers (`xorshift64*`), different in each thread and each run.
struct Numbers(u64);

impl Numbers {
    fn new() -> Numbers {
        Numbers(RandomState::new().build_hasher().finish() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns eight bytes that are not all zero.
    fn id(&mut self) -> [u8; 8] {
        self.next().to_be_bytes()
    }
}

/// Reads a response to its end and returns its status.
fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_span_has_unique_ids_times_and_path() {
        let load = Load::new();
        let (mut numbers, mut request) = (Numbers::new(), load.request.clone());
        let (mut ids, mut paths) = (HashSet::new(), HashSet::new());
        for _ in 0..2 {
            load.stamp(&mut request, &mut numbers);
            let body = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let decoded = ExportTraceServiceRequest::decode(&request[body..]).unwrap();
            let spans = &decoded.resource_spans[0].scope_spans[0].spans;
            assert_eq!(spans.len(), BATCH);
            for trace in spans.chunks(TRACE) {
                assert!(ids.insert(trace[0].trace_id.clone()));
                for (n, span) in trace.iter().enumerate() {
                    assert!(ids.insert(span.span_id.clone()));
                    assert_eq!(span.trace_id, trace[0].trace_id);
                    let parent = if n == 0 { &[][..] } else { &trace[0].span_id };
                    assert_eq!(span.parent_span_id, parent);
                    let took = span.end_time_unix_nano - span.start_time_unix_nano;
                    assert!(took < 100_000_000 && span.start_time_unix_nano > 1_700_000_000_000_000_000);
                    let Some(Value::StringValue(path)) = &span.attributes[1].value.as_ref().unwrap().value
                    else {
                        panic!("{:?}", span.attributes[1]);
                    };
                    assert!(path.starts_with(PATH) && paths.insert(path.clone()), "{path}");
                    assert_eq!((&span.name[..5], span.attributes.len()), ("GET /", 6));
                }
            }
        }
    }
}

//! A client that uses little CPU time, because it shares the machine with the program that is measured.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logtracer_harness::{Error, Result};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Spans in a request.
pub(crate) const BATCH: usize = 512;

/// Connections, each with one request in flight.
pub(super) const CONNECTIONS: usize = 2;

/// The wait after a 429 or 503.
const PAUSE: Duration = Duration::from_millis(5);

/// Requests of server spans of HTTP requests or of log records, [`BATCH`] in each. Each item has unique ids, times and a
/// unique path.
///
/// Repeated items would be compressed to almost nothing, and the store would drop spans as duplicates.
pub(crate) struct Load {
    /// Head and body of a request, with placeholders for what is unique.
    request: Vec<u8>,
    spans: Vec<Offsets>,
    /// The number of spans in a trace.
    trace: usize,
}

/// The offsets of the unique fields of an item, from the beginning of the request.
struct Offsets {
    trace_id: usize,
    span_id: usize,
    parent_span_id: Option<usize>,
    start: usize,
    end: Option<usize>,
    path: usize,
}

/// The spans of a trace, unless said otherwise: the first is the parent of the others.
const TRACE: usize = 8;

/// The placeholders of the unique fields.
const TRACE_ID: [u8; 16] = [1; 16];
const SPAN_ID: [u8; 8] = [2; 8];
const PARENT_SPAN_ID: [u8; 8] = [3; 8];
const START: u64 = 0x0404_0404_0404_0404;
const END: u64 = 0x0505_0505_0505_0505;
const LETTERS: &str = "........";

/// The path of each span begins with this prefix and ends with unique letters.
const PATH: &str = "/orders/";

impl Load {
    pub(crate) fn new() -> Load {
        Load::with_traces_of(TRACE)
    }

    /// `trace` is the number of spans in a trace.
    pub(crate) fn with_traces_of(trace: usize) -> Load {
        Load::of((0..BATCH).map(|n| span(n, trace)).collect(), trace)
    }

    /// Requests of a single span with the status ERROR.
    pub(crate) fn failed_span() -> Load {
        let status = Some(Status { code: StatusCode::Error.into(), ..Default::default() });
        Load::of(vec![Span { status, ..span(0, 1) }], 1)
    }

    /// Requests of log records, as many for each trace as [`Load::new`] has spans.
    pub(crate) fn log_records() -> Load {
        let log_records: Vec<LogRecord> = (0..BATCH).map(log_record).collect();
        let items: Vec<Vec<u8>> = log_records.iter().map(Message::encode_to_vec).collect();
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(resource()),
                scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
                ..Default::default()
            }],
        };
        Load::with_body("/v1/logs", &request.encode_to_vec(), &items, TRACE)
    }

    fn of(spans: Vec<Span>, trace: usize) -> Load {
        let items: Vec<Vec<u8>> = spans.iter().map(Message::encode_to_vec).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource()),
                scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
                ..Default::default()
            }],
        };
        Load::with_body("/v1/traces", &request.encode_to_vec(), &items, trace)
    }

    /// `items` are the end of the body, each after its tag and length.
    fn with_body(path: &str, body: &[u8], items: &[Vec<u8>], trace: usize) -> Load {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let mut end = request.len();
        let mut spans: Vec<Offsets> = items
            .iter()
            .rev()
            .map(|item| {
                let start = end - item.len();
                end = start - prost::length_delimiter_len(item.len()) - 1;
                Offsets::find(item, start)
            })
            .collect();
        spans.reverse();
        Load { request, spans, trace }
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

    /// Sends over one connection until at least `count` spans are acknowledged.
    pub(crate) fn send_spans(&self, address: SocketAddr, count: u64) -> Result<()> {
        let send = || {
            let mut connection = Connection::open(self, address)?;
            let mut spans = 0;
            while spans < count {
                spans += connection.send()?;
            }
            Ok(())
        };
        send().map_err(|error: io::Error| Error::when(format!("a request to {address}"))(error))
    }

    /// Sends a request every `interval` over one connection, and returns the number of acknowledged spans.
    pub(crate) fn send_paced(
        &self,
        address: SocketAddr,
        interval: Duration,
        until: Instant,
    ) -> io::Result<u64> {
        let mut connection = Connection::open(self, address)?;
        let (mut spans, mut next) = (0, Instant::now());
        while next < until {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            spans += connection.send()?;
            next += interval;
        }
        Ok(spans)
    }

    fn send_until(&self, address: SocketAddr, until: Instant) -> io::Result<u64> {
        let mut connection = Connection::open(self, address)?;
        let mut spans = 0;
        while Instant::now() < until {
            spans += connection.send()?;
        }
        Ok(spans)
    }

    /// Gives the spans of a request new ids and the current time: Cloud Trace rejects old spans.
    fn stamp(&self, request: &mut [u8], numbers: &mut Numbers) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        let mut put = |at: usize, bytes: &[u8]| request[at..][..bytes.len()].copy_from_slice(bytes);
        for trace in self.spans.chunks(self.trace) {
            let (trace_id, parent) = ([numbers.id(), numbers.id()].concat(), numbers.id());
            for (n, at) in trace.iter().enumerate() {
                put(at.trace_id, &trace_id);
                put(at.span_id, &if n == 0 { parent } else { numbers.id() });
                if let Some(at) = at.parent_span_id {
                    put(at, &parent);
                }
                let number = numbers.next();
                let took = number % 100_000_000;
                put(at.start, &(now - took).to_le_bytes());
                if let Some(at) = at.end {
                    put(at, &now.to_le_bytes());
                }
                put(at.path, &number.to_be_bytes().map(|byte| b'a' + byte % 26));
            }
        }
    }
}

impl Offsets {
    /// Finds the placeholders of an item that begins at `start`.
    fn find(item: &[u8], start: usize) -> Offsets {
        let find = |bytes: &[u8]| Some(start + item.windows(bytes.len()).position(|window| window == bytes)?);
        let needed = |bytes: &[u8]| find(bytes).expect("each item has its placeholders");
        Offsets {
            trace_id: needed(&TRACE_ID),
            span_id: needed(&SPAN_ID),
            parent_span_id: find(&PARENT_SPAN_ID),
            start: needed(&START.to_le_bytes()),
            end: find(&END.to_le_bytes()),
            path: needed(LETTERS.as_bytes()),
        }
    }
}

/// A connection that stays open.
struct Connection<'a> {
    load: &'a Load,
    stream: TcpStream,
    request: Vec<u8>,
    numbers: Numbers,
    buffer: Vec<u8>,
}

impl Connection<'_> {
    fn open(load: &Load, address: SocketAddr) -> io::Result<Connection<'_>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let (request, numbers) = (load.request.clone(), Numbers::new());
        Ok(Connection { load, stream, request, numbers, buffer: vec![0; 16 << 10] })
    }

    /// Sends a request with new spans, and returns the number of acknowledged ones: none after a 429 or 503, after a pause.
    fn send(&mut self) -> io::Result<u64> {
        self.load.stamp(&mut self.request, &mut self.numbers);
        self.stream.write_all(&self.request)?;
        match response(&mut self.stream, &mut self.buffer)? {
            200 => Ok(self.load.spans.len() as u64),
            429 | 503 => {
                std::thread::sleep(PAUSE);
                Ok(0)
            }
            status => Err(io::Error::other(format!("status {status}"))),
        }
    }
}

fn resource() -> Resource {
    Resource {
        attributes: vec![text("service.name", "orders"), text("service.version", "1.2.3")],
        ..Default::default()
    }
}

fn span(n: usize, trace: usize) -> Span {
    Span {
        trace_id: TRACE_ID.to_vec(),
        span_id: SPAN_ID.to_vec(),
        parent_span_id: if n.is_multiple_of(trace) { Vec::new() } else { PARENT_SPAN_ID.to_vec() },
        name: format!("GET /orders/{{id}}/{}", n % 16),
        kind: 2,
        start_time_unix_nano: START,
        end_time_unix_nano: END,
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

fn log_record(n: usize) -> LogRecord {
    let body = format!("order {n} of {PATH}{LETTERS} is packed and waits for its carrier");
    LogRecord {
        time_unix_nano: START,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![
            text("code.file.path", "src/orders/packing.rs"),
            text("order.carrier", "international"),
            text("customer.tenant", "shop-4711"),
        ],
        flags: 1,
        trace_id: TRACE_ID.to_vec(),
        span_id: SPAN_ID.to_vec(),
        ..Default::default()
    }
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

/// Returns the number of spans in a request body.
pub(crate) fn spans_in(body: &[u8]) -> usize {
    let request = ExportTraceServiceRequest::decode(body).unwrap_or_default();
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
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
        for (load, batch, trace) in
            [(Load::new(), BATCH, TRACE), (Load::with_traces_of(1), BATCH, 1), (Load::failed_span(), 1, 1)]
        {
            check(&load, batch, trace);
        }
    }

    fn check(load: &Load, batch: usize, trace: usize) {
        let (mut numbers, mut request) = (Numbers::new(), load.request.clone());
        let (mut ids, mut paths) = (HashSet::new(), HashSet::new());
        for _ in 0..2 {
            load.stamp(&mut request, &mut numbers);
            let body = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let decoded = ExportTraceServiceRequest::decode(&request[body..]).unwrap();
            let spans = &decoded.resource_spans[0].scope_spans[0].spans;
            assert_eq!(spans.len(), batch);
            for trace in spans.chunks(trace) {
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

    #[test]
    fn every_log_record_has_unique_ids_and_a_unique_path() {
        let load = Load::log_records();
        let (mut numbers, mut request) = (Numbers::new(), load.request.clone());
        load.stamp(&mut request, &mut numbers);
        let body = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let decoded = ExportLogsServiceRequest::decode(&request[body..]).unwrap();
        let records = &decoded.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(records.len(), BATCH);
        let distinct = |of: fn(&LogRecord) -> Vec<u8>| records.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|record| record.trace_id.clone()), BATCH / TRACE);
        assert_eq!(distinct(|record| record.span_id.clone()), BATCH);
        assert_eq!(distinct(|record| record.body.clone().unwrap_or_default().encode_to_vec()), BATCH);
        assert!(records.iter().all(|record| record.time_unix_nano > 1_700_000_000_000_000_000));
    }
}

//! An OTLP/HTTP receiver whose responses are set by the test.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{Error, Result, wire};

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// 200 without a body. [`Collector::spans`] returns only the spans of these requests.
    Accept,
    /// Another status.
    Status(u16),
    /// 200 with a body.
    Body(Vec<u8>),
    /// Another status with `retry-after` in seconds.
    RetryAfter(u16, u64),
    /// 200 after a delay.
    Delayed(Duration),
    /// No response: the connection is closed.
    Close,
}

/// A running receiver.
pub struct Collector {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The responses to the next requests, before `default`.
    script: Vec<Response>,
    default: Option<Response>,
    batches: Vec<Batch>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The attributes of the resource.
    pub resource: BTreeMap<String, Value>,
    /// The spans.
    pub spans: Vec<Span>,
    /// The response to it.
    pub response: Response,
}

/// A span with its ids in hexadecimal digits.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are OTLP's own")]
pub struct Span {
    pub service_name: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: String,
    pub trace_state: String,
    pub name: String,
    pub kind: &'static str,
    pub is_error: bool,
    pub flags: u32,
    pub start_unix_nanos: u64,
    pub end_unix_nanos: u64,
    pub attributes: BTreeMap<String, Value>,
    /// The links: trace id, span id and trace state.
    pub links: Vec<(String, String, String)>,
}

impl Collector {
    /// Starts a receiver that accepts everything, on a free port.
    pub fn start() -> Result<Collector> {
        Collector::at(0)
    }

    /// Starts a receiver on a port.
    pub fn at(port: u16) -> Result<Collector> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).map_err(Error::when("a port for the collector"))?;
        let port = listener.local_addr().map_err(Error::when("the port of the collector"))?.port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        wire::serve(listener, move |stream| drop(converse(stream, &shared)));
        Ok(Collector { port, state })
    }

    /// The port of its listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the responses to the next requests. Later requests get the default response.
    pub fn respond_next(&self, responses: impl IntoIterator<Item = Response>) {
        self.state().script.extend(responses);
    }

    /// Sets the default response.
    pub fn respond(&self, default: Response) {
        self.state().default = Some(default);
    }

    /// Returns every request so far, accepted or not.
    pub fn batches(&self) -> Vec<Batch> {
        self.state().batches.clone()
    }

    /// Returns every span of the accepted requests.
    pub fn spans(&self) -> Vec<Span> {
        let accepted = |batch: &&Batch| batch.response == Response::Accept;
        self.state().batches.iter().filter(accepted).flat_map(|batch| batch.spans.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn converse(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(message) = wire::read(&mut reader)? {
        let response = {
            let mut state = lock(state);
            let response = if state.script.is_empty() {
                state.default.clone().unwrap_or(Response::Accept)
            } else {
                state.script.remove(0)
            };
            state.batches.push(Batch::of(message, response.clone()));
            response
        };
        let mut more = String::new();
        let (status, body) = match response {
            Response::Accept => (200, Vec::new()),
            Response::Status(status) => (status, Vec::new()),
            Response::Body(body) => (200, body),
            Response::RetryAfter(status, seconds) => {
                more = format!("retry-after: {seconds}\r\n");
                (status, Vec::new())
            }
            Response::Delayed(delay) => {
                std::thread::sleep(delay);
                (200, Vec::new())
            }
            Response::Close => return Ok(()),
        };
        let head = format!("HTTP/1.1 {status} \r\n{more}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.into_bytes(), body].concat())?;
    }
    Ok(())
}

impl Batch {
    fn of(message: wire::Message, response: Response) -> Batch {
        let request = ExportTraceServiceRequest::decode(message.body.as_slice()).unwrap_or_default();
        let resource = request.resource_spans.iter().flat_map(|spans| &spans.resource);
        let resource = attributes(resource.flat_map(|resource| &resource.attributes));
        let service = resource.get("service.name").and_then(Value::as_str).unwrap_or_default();
        let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans).map(|span| Span::of(span, service)).collect();
        Batch { path: message.path().to_owned(), headers: message.headers, resource, spans, response }
    }

    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Span {
    fn of(span: &otlp::Span, service_name: &str) -> Span {
        Span {
            service_name: service_name.to_owned(),
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_span_id: hex(&span.parent_span_id),
            trace_state: span.trace_state.clone(),
            name: span.name.clone(),
            kind: match span.kind {
                2 => "server",
                3 => "client",
                _ => "other",
            },
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            flags: span.flags,
            start_unix_nanos: span.start_time_unix_nano,
            end_unix_nanos: span.end_time_unix_nano,
            attributes: attributes(&span.attributes),
            links: span
                .links
                .iter()
                .map(|link| (hex(&link.trace_id), hex(&link.span_id), link.trace_state.clone()))
                .collect(),
        }
    }
}

fn attributes<'a>(pairs: impl IntoIterator<Item = &'a KeyValue>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref()))).collect()
}

fn value(any: Option<&AnyValue>) -> Value {
    match any.and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::BoolValue(truth)) => json!(truth),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter().map(|item| value(Some(item))).collect()
        }
        _ => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

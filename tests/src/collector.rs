//! An OTLP/HTTP receiver that answers as it is told: the exporter on a bad day.

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

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 without a body; the only answer that keeps the spans.
    Accept,
    /// Another status.
    Status(u16),
    /// 200 with a body.
    Body(Vec<u8>),
    /// Another status, with a wish for so many seconds without requests.
    RetryAfter(u16, u64),
    /// 200, but late.
    Late(Duration),
    /// The connection is closed instead.
    Cut,
}

/// A running receiver.
pub struct Collector {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What comes next, before `usual`.
    script: Vec<Answer>,
    usual: Option<Answer>,
    batches: Vec<Batch>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// The attributes of its resource.
    pub resource: BTreeMap<String, Value>,
    /// Its spans.
    pub spans: Vec<Span>,
    /// What it was answered.
    pub answer: Answer,
}

/// A span, its ids in hexadecimal digits.
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
    /// Linked spans: the ids of trace and span, and the trace state.
    pub links: Vec<(String, String, String)>,
}

impl Collector {
    /// Starts one that accepts everything, on any port.
    pub fn start() -> Result<Collector> {
        Collector::at(0)
    }

    /// Starts one on this port.
    pub fn at(port: u16) -> Result<Collector> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).map_err(Error::when("a port for the collector"))?;
        let port = listener.local_addr().map_err(Error::when("the port of the collector"))?.port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        wire::serve(listener, move |stream| drop(converse(stream, &shared)));
        Ok(Collector { port, state })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers the next requests so, and those after them as usual.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().script.extend(answers);
    }

    /// Answers every request so that is not told otherwise.
    pub fn answer(&self, usual: Answer) {
        self.state().usual = Some(usual);
    }

    /// Every request so far, accepted or not.
    pub fn batches(&self) -> Vec<Batch> {
        self.state().batches.clone()
    }

    /// Every span of every request that was accepted.
    pub fn spans(&self) -> Vec<Span> {
        let accepted = |batch: &&Batch| batch.answer == Answer::Accept;
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
        let answer = {
            let mut state = lock(state);
            let answer = if state.script.is_empty() {
                state.usual.clone().unwrap_or(Answer::Accept)
            } else {
                state.script.remove(0)
            };
            state.batches.push(Batch::of(message, answer.clone()));
            answer
        };
        let mut more = String::new();
        let (status, body) = match answer {
            Answer::Accept => (200, Vec::new()),
            Answer::Status(status) => (status, Vec::new()),
            Answer::Body(body) => (200, body),
            Answer::RetryAfter(status, seconds) => {
                more = format!("retry-after: {seconds}\r\n");
                (status, Vec::new())
            }
            Answer::Late(pause) => {
                std::thread::sleep(pause);
                (200, Vec::new())
            }
            Answer::Cut => return Ok(()),
        };
        let head = format!("HTTP/1.1 {status} \r\n{more}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.into_bytes(), body].concat())?;
    }
    Ok(())
}

impl Batch {
    fn of(message: wire::Message, answer: Answer) -> Batch {
        let request = ExportTraceServiceRequest::decode(message.body.as_slice()).unwrap_or_default();
        let resource = request.resource_spans.iter().flat_map(|spans| &spans.resource);
        let resource = attributes(resource.flat_map(|resource| &resource.attributes));
        let service = resource.get("service.name").and_then(Value::as_str).unwrap_or_default();
        let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans).map(|span| Span::of(span, service)).collect();
        Batch { path: message.path().to_owned(), headers: message.headers, resource, spans, answer }
    }

    /// The first value of a header.
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

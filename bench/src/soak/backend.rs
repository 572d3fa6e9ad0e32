//! The backend of the exporter, which can be unavailable in several ways.

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use logtracer_harness::{Error, Result, wire};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

/// How the backend responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Accept,
    /// Accepts each request after a delay.
    Slow,
    /// Closes each connection without a response.
    Down,
    /// Responds with bytes that are not HTTP.
    Garbage,
    /// Responds 503 with `retry-after: 1`.
    Unavailable,
}

const DELAY: Duration = Duration::from_millis(500);

/// A running backend. It accepts OTLP/HTTP and remembers the ids of the spans that it has accepted.
pub(super) struct Backend {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    span_ids: HashSet<[u8; 8]>,
    spans: u64,
}

impl Backend {
    pub(super) fn start() -> Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::when("a port for the backend"))?;
        let port = listener.local_addr().map_err(Error::when("the port of the backend"))?.port();
        let state = Arc::new(Mutex::new(State { mode: Mode::Accept, span_ids: HashSet::new(), spans: 0 }));
        let shared = Arc::clone(&state);
        wire::serve(listener, move |stream| drop(converse(stream, &shared)));
        Ok(Backend { port, state })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// Returns the number of accepted spans, in which a span that was sent twice counts twice.
    pub(super) fn spans(&self) -> u64 {
        lock(&self.state).spans
    }

    /// Returns the ids of the accepted spans.
    pub(super) fn span_ids(&self) -> HashSet<[u8; 8]> {
        lock(&self.state).span_ids.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn converse(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(message) = wire::read(&mut reader)? {
        let mode = lock(state).mode;
        let response: &[u8] = match mode {
            Mode::Down => return Ok(()),
            Mode::Garbage => b"\x16\x03\x01garbage\r\n\r\n\0\xff",
            Mode::Unavailable => {
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
            }
            Mode::Accept | Mode::Slow => {
                if mode == Mode::Slow {
                    std::thread::sleep(DELAY);
                }
                let request = ExportTraceServiceRequest::decode(message.body.as_slice())?;
                let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                let mut state = lock(state);
                for span in scopes.flat_map(|scope| &scope.spans) {
                    state.span_ids.insert(span.span_id.as_slice().try_into().unwrap_or_default());
                    state.spans += 1;
                }
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
            }
        };
        stream.write_all(response)?;
        if mode == Mode::Garbage {
            return Ok(());
        }
    }
    Ok(())
}

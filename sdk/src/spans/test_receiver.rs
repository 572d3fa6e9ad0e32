//! A scripted receiver of OTLP, and an export to it with short times, for the tests of this module.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use logtracer_core::Sampling;
use logtracer_core::otlp;
use logtracer_core::span::{Span, SpanKind, SpanStatus};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::queue::Queue;
use super::sender::{Sender, Timing};
use super::{DroppedSpans, Sampler, SpanExport};
use crate::TraceContext;
use crate::current::TraceContextExt;
use crate::testing::Capture;

pub(super) const LONG: Duration = Duration::from_secs(30);

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16, &'static [(&'static str, &'static str)], &'static [u8]),
    /// 413, if the request has more spans than this.
    MaxSpans(usize),
    /// 413, if the body is longer than this.
    MaxBytes(usize),
    /// No response.
    Silence,
}

pub(super) const OK: Reply = Reply::Status(200, &[], b"");

/// A received request.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) request: ExportTraceServiceRequest,
}

impl Received {
    pub(super) fn names(&self) -> Vec<&str> {
        let scopes = self.request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
    }
}

/// The receiver: it gives these replies in order, and the last one to all further requests.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(super) fn new(replies: &[Reply]) -> Self {
        Self { replies: Arc::new(Mutex::new(replies.to_vec().into())), received: Arc::default() }
    }

    pub(super) fn router(&self) -> Router {
        Router::new().fallback(receive).with_state(self.clone())
    }

    /// Serves until the process ends; returns the URL.
    pub(super) fn serve(&self) -> String {
        let router = self.router();
        let (to, address) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                to.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        format!("http://{}", address.recv().unwrap())
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn receive(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let length = body.len();
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let received = Received { uri: uri.to_string(), headers, request };
    let spans = received.names().len();
    receiver.received.lock().unwrap().push(received);
    let reply = {
        let mut replies = receiver.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front().unwrap() } else { replies[0].clone() }
    };
    match reply {
        Reply::MaxSpans(max) if spans > max => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Reply::MaxBytes(max) if length > max => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Reply::MaxSpans(_) | Reply::MaxBytes(_) => StatusCode::OK.into_response(),
        Reply::Status(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            // Without the content type of axum.
            response.headers_mut().clear();
            for (name, value) in headers {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            response
        }
        Reply::Silence => std::future::pending().await,
    }
}

/// An export that is not the one of the process.
pub(super) struct Export {
    pub(super) queue: &'static Queue,
    lines: Capture,
    thread: JoinHandle<()>,
}

impl Export {
    /// Starts an export that retries for this time.
    pub(super) fn start(export: SpanExport, retry_time: Duration) -> Self {
        let timing = Timing {
            flush_interval: Duration::from_millis(20),
            first_backoff: Duration::from_millis(5),
            longest_backoff: Duration::from_millis(20),
            flush_backoff: Duration::from_millis(5),
            max_retry_time: retry_time,
            log_check: Duration::from_millis(1),
        };
        let transport = export.transport().unwrap();
        let queue = Queue::new(Sampler::AlwaysOn.to_rule().unwrap(), 1 << 20, Duration::from_secs(3600));
        let queue: &Queue = Box::leak(Box::new(queue));
        let sender = Sender::new(queue, transport, export.resource, timing);
        let lines = Capture::new();
        let dispatch = lines.dispatch();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tracing::dispatcher::with_default(&dispatch, || runtime.block_on(sender.run()));
        });
        Self { queue, lines, thread }
    }

    /// Ends a span with each of these names.
    pub(super) fn end_spans(&self, names: &[&str]) {
        for name in names {
            let span = Span {
                context: TraceContext::new_root().with_sampling(Sampling::Accept),
                tracestate: "",
                name: name.as_bytes(),
                kind: SpanKind::Internal,
                start_unix_nanos: 1,
                end_unix_nanos: 2,
                status: SpanStatus::Unset,
                link: None,
            };
            let mut bytes = Vec::new();
            otlp::write_span(&mut bytes, &span, |_| {});
            self.queue.push(&bytes);
        }
    }

    /// Returns the error of a flush, or an empty text.
    pub(super) fn flush(&self) -> String {
        self.queue.flush(LONG).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Returns the messages that are logged so far.
    pub(super) fn messages(&self) -> Vec<String> {
        let lines = self.lines.lines();
        for line in &lines {
            assert_eq!(line["severity"], "WARNING", "{line}");
        }
        let message = |line: &serde_json::Value| line["message"].as_str().unwrap().replace("test - ", "");
        lines.iter().map(message).collect()
    }

    /// Ends the export; returns the dropped spans and all messages.
    pub(super) fn end(mut self) -> (DroppedSpans, Vec<String>) {
        self.queue.close();
        std::mem::replace(&mut self.thread, std::thread::spawn(|| {})).join().unwrap();
        (self.queue.losses.counts(), self.messages())
    }
}

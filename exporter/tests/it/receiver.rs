//! Receivers on loopback that take what sinks send, answer what a test says, and keep it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What is answered, and when.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO }
    }

    pub(crate) fn ok() -> Self {
        Self::new(200, "")
    }
}

type Judge = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// The requests with the status of their answers.
type Seen = Arc<Mutex<Vec<(Request, u16)>>>;

/// A running receiver; it ends when dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Seen,
    at_once: Arc<AtOnce>,
    task: JoinHandle<()>,
}

/// How many requests wait for their answer, and how many have at most.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Receiver {
    pub(crate) async fn start(judge: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), judge).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        judge: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Seen::default();
        let judge: Judge = Arc::new(judge);
        let at_once = Arc::<AtOnce>::default();
        let router = Router::new().fallback(take).layer(DefaultBodyLimit::max(64 << 20)).with_state((
            judge,
            seen.clone(),
            at_once.clone(),
        ));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, seen, at_once, task }
    }

    /// The requests that were answered with success.
    pub(crate) fn accepted(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, status)| *status < 300).map(|(request, _)| request.clone()).collect()
    }

    /// How many requests were there at one time, at most.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once.most.load(Ordering::SeqCst)
    }

    /// How many requests were answered with this status.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, answered)| *answered == status).count()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State((judge, seen, at_once)): State<(Judge, Seen, Arc<AtOnce>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { method, uri, headers, body };
    let answer = judge(&request);
    let now = at_once.now.fetch_add(1, Ordering::SeqCst) + 1;
    at_once.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(answer.delay).await;
    at_once.now.fetch_sub(1, Ordering::SeqCst);
    seen.lock().unwrap().push((request, answer.status));
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// What a receiver of OTLP/HTTP has to find wrong with a request.
pub(crate) fn otlp(request: &Request) -> Result<ExportTraceServiceRequest, String> {
    if request.method != Method::POST || request.uri.path() != "/v1/traces" {
        return Err(format!("{} {}", request.method, request.uri));
    }
    if request.headers.get("content-type").is_none_or(|value| value != "application/x-protobuf") {
        return Err("the content type".to_owned());
    }
    let decoded = ExportTraceServiceRequest::decode(&request.body[..]).map_err(|error| error.to_string())?;
    let scopes = decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let mut spans = scopes.flat_map(|scope| &scope.spans).peekable();
    if spans.peek().is_none() {
        return Err("no spans".to_owned());
    }
    match spans.find(|span| span.trace_id.len() != 16 || span.span_id.len() != 8) {
        Some(span) => Err(format!("the ids of {span:?}")),
        None => Ok(decoded),
    }
}

/// Answers OTLP as a strict receiver does.
pub(crate) fn strict_otlp(request: &Request) -> Answer {
    match otlp(request) {
        Ok(_) => Answer::ok(),
        Err(reason) => Answer::new(400, reason),
    }
}

/// How often each span arrived: by trace and span id in hexadecimal digits.
pub(crate) fn arrived(requests: &[Request]) -> BTreeMap<(String, String), usize> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut arrived = BTreeMap::new();
    for request in requests {
        let decoded = otlp(request).expect("what was accepted");
        for scope in decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans) {
            for span in &scope.spans {
                *arrived.entry((hex(&span.trace_id), hex(&span.span_id))).or_default() += 1;
            }
        }
    }
    arrived
}

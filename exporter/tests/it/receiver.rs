//! Receivers on loopback for the sinks: they respond as a test specifies, and record the requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// A recorded request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A response, and how long to wait before it.
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

type Respond = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// The requests with the status of their responses.
type Recorded = Arc<Mutex<Vec<(Request, u16)>>>;

/// A running receiver. Dropping it stops it.
pub(crate) struct Receiver {
    pub(crate) url: String,
    recorded: Recorded,
    in_flight: Arc<InFlight>,
    task: JoinHandle<()>,
}

/// The number of requests that wait for their response, and the largest number so far.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    max: AtomicUsize,
}

impl Receiver {
    pub(crate) async fn start(respond: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), respond).await
    }

    /// Starts a receiver of OTLP that is unavailable while the flag is false.
    pub(crate) async fn start_switched(is_up: Arc<AtomicBool>) -> Self {
        Self::start(move |request| match otlp(request) {
            Ok(_) if is_up.load(Ordering::SeqCst) => Answer::ok(),
            Ok(_) => Answer::new(503, "not now"),
            Err(error) => Answer::new(400, error),
        })
        .await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        respond: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let recorded = Recorded::default();
        let respond: Respond = Arc::new(respond);
        let in_flight = Arc::<InFlight>::default();
        let router = Router::new().fallback(receive).layer(DefaultBodyLimit::max(64 << 20)).with_state((
            respond,
            recorded.clone(),
            in_flight.clone(),
        ));
        let task =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("a running server") });
        Self { url, recorded, in_flight, task }
    }

    /// Returns the requests with a successful response.
    pub(crate) fn accepted(&self) -> Vec<Request> {
        let recorded = self.recorded.lock().unwrap();
        recorded.iter().filter(|(_, status)| *status < 300).map(|(request, _)| request.clone()).collect()
    }

    /// Returns the largest number of concurrent requests.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.in_flight.max.load(Ordering::SeqCst)
    }

    /// Returns the number of requests with this status.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.recorded.lock().unwrap().iter().filter(|(_, answered)| *answered == status).count()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State((respond, recorded, in_flight)): State<(Respond, Recorded, Arc<InFlight>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { method, uri, headers, body };
    let answer = respond(&request);
    let now = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
    in_flight.max.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(answer.delay).await;
    in_flight.now.fetch_sub(1, Ordering::SeqCst);
    recorded.lock().unwrap().push((request, answer.status));
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// Decodes an OTLP/HTTP request. The error is the first violation of the specification.
pub(crate) fn otlp(request: &Request) -> Result<ExportTraceServiceRequest, String> {
    if request.method != Method::POST || request.uri.path() != "/v1/traces" {
        return Err(format!("{} {}", request.method, request.uri));
    }
    if request.headers.get("content-type").is_none_or(|value| value != "application/x-protobuf") {
        return Err("wrong content type".to_owned());
    }
    let decoded = ExportTraceServiceRequest::decode(&request.body[..]).map_err(|error| error.to_string())?;
    let scopes = decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let mut spans = scopes.flat_map(|scope| &scope.spans).peekable();
    if spans.peek().is_none() {
        return Err("no spans".to_owned());
    }
    match spans.find(|span| span.trace_id.len() != 16 || span.span_id.len() != 8) {
        Some(span) => Err(format!("invalid ids: {span:?}")),
        None => Ok(decoded),
    }
}

/// Responds as a strict receiver of OTLP.
pub(crate) fn strict_otlp(request: &Request) -> Answer {
    match otlp(request) {
        Ok(_) => Answer::ok(),
        Err(reason) => Answer::new(400, reason),
    }
}

/// Counts how often each span arrived, by its trace id and span id in hexadecimal digits.
pub(crate) fn arrived(requests: &[Request]) -> BTreeMap<(String, String), usize> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut arrived = BTreeMap::new();
    for request in requests {
        let decoded = otlp(request).expect("an accepted request");
        for scope in decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans) {
            for span in &scope.spans {
                *arrived.entry((hex(&span.trace_id), hex(&span.span_id))).or_default() += 1;
            }
        }
    }
    arrived
}

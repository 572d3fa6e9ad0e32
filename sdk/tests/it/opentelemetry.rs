//! OpenTelemetry beside the SDK: one trace and one current span, whichever layer comes first.

use std::future::Future;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use logtracer_sdk::opentelemetry::{RootSampler, from_context};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::{
    Format, Logging, Sampling, TraceContext, carry_traces, client, current_trace, spawn, trace_headers,
};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, trace::FutureExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracer, SdkTracerProvider, SpanData};
use tower::{Layer, ServiceExt, service_fn};
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Instrument, instrument};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const CALLER: &str = "00f067aa0ba902b7";

/// The order of layers in the subscriber.
#[derive(Debug, Clone, Copy)]
enum Order {
    LoggingFirst,
    OpenTelemetryFirst,
}

const ORDERS: [Order; 2] = [Order::LoggingFirst, Order::OpenTelemetryFirst];

/// A process with the logging of the SDK and `tracing-opentelemetry` in one subscriber.
struct Process {
    lines: Arc<Mutex<Vec<u8>>>,
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    dispatch: Dispatch,
}

impl Process {
    fn new(order: Order) -> Self {
        Self::with_sampler(order, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    fn with_sampler(order: Order, sampler: impl opentelemetry_sdk::trace::ShouldSample + 'static) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider =
            SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(sampler).build();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let logging = Logging::new("my-project", "shop").format(Format::Local).level("info");
        let logging = logging.ignore_environment().output(move |line| {
            sink.lock().unwrap().extend_from_slice(line);
        });
        let tracer = provider.tracer("shop");
        let dispatch = match order {
            Order::LoggingFirst => Dispatch::new(
                tracing_subscriber::registry()
                    .with(logging.layer().unwrap())
                    .with(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(LevelFilter::INFO)),
            ),
            Order::OpenTelemetryFirst => Dispatch::new(
                tracing_subscriber::registry()
                    .with(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(LevelFilter::INFO))
                    .with(logging.layer().unwrap()),
            ),
        };
        Self { lines, exporter, provider, dispatch }
    }

    fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let output = tracing::dispatcher::with_default(&self.dispatch, work);
        assert_eq!((current_trace(), from_context(&Context::current())), (None, None));
        output
    }

    async fn run_async<F: Future>(&self, work: F) -> F::Output {
        let output = work.with_subscriber(self.dispatch.clone()).await;
        assert_eq!((current_trace(), from_context(&Context::current())), (None, None));
        output
    }

    fn tracer(&self) -> SdkTracer {
        self.provider.tracer("shop")
    }

    /// Returns the ended span with this name.
    #[track_caller]
    fn span(&self, name: &str) -> SpanData {
        let spans = self.exporter.get_finished_spans().unwrap();
        let found = spans.iter().find(|span| span.name == name).cloned();
        found.unwrap_or_else(|| {
            panic!("no span {name:?} in {:?}", spans.iter().map(|it| it.name.clone()).collect::<Vec<_>>())
        })
    }

    /// Returns the trace id and the span id of the line with this message.
    #[track_caller]
    fn line(&self, message: &str) -> (String, String) {
        let bytes = self.lines.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains(message))
            .unwrap_or_else(|| panic!("no {message:?} in {text}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        (id("trace"), id("spanId"))
    }
}

fn ids_of(span: &SpanData) -> (String, String) {
    (span.span_context.trace_id().to_string(), span.span_context.span_id().to_string())
}

fn ids(context: &TraceContext) -> (String, String) {
    (context.trace_id.to_string(), context.span_id.to_string())
}

/// Returns the ids in each format of the headers, which must agree.
#[track_caller]
fn ids_in(headers: &HeaderMap) -> (String, String) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let ids = (header("x-b3-traceid"), header("x-b3-spanid"));
    assert!(header("traceparent").starts_with(&format!("00-{}-{}-", ids.0, ids.1)), "{headers:?}");
    let decimal = u64::from_str_radix(&ids.1, 16).unwrap();
    assert!(header("x-cloud-trace-context").starts_with(&format!("{}/{decimal}", ids.0)), "{headers:?}");
    ids
}

/// What a piece of work sees as its trace.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    current: (String, String),
    headers: (String, String),
    by_client: (String, String),
}

/// Logs a line, and returns what the SDK sees here.
async fn look(message: &'static str) -> Seen {
    tracing::info!("{message}");
    let current = ids(&current_trace().unwrap());
    let headers = ids_in(&trace_headers());
    // The client layer, whose call is polled within another future.
    let (sent, received) = tokio::sync::oneshot::channel();
    let sent = Mutex::new(Some(sent));
    let client = client::TraceLayer::new().layer(service_fn(async |request: Request<Body>| {
        tokio::task::yield_now().await;
        sent.lock().unwrap().take().unwrap().send(ids_in(request.headers())).unwrap();
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    }));
    client.oneshot(Request::new(Body::empty())).await.unwrap();
    Seen { current, headers, by_client: received.await.unwrap() }
}

#[track_caller]
fn check(process: &Process, seen: &Seen, message: &str, span: &str) {
    let expected = ids_of(&process.span(span));
    let all = Seen { current: expected.clone(), headers: expected.clone(), by_client: expected.clone() };
    assert_eq!(seen, &all, "{message}");
    assert_eq!(process.line(message), expected, "{message}");
}

#[instrument(level = "info")]
async fn inner() -> Seen {
    look("in inner").await
}

#[tokio::test]
async fn a_tracing_span_of_opentelemetry_is_the_current_trace() {
    for order in ORDERS {
        let process = Process::new(order);
        let (before, within, after) = process
            .run_async(
                async {
                    let before = look("before").await;
                    let within = inner().await;
                    (before, within, look("after").await)
                }
                .instrument(process.dispatch_span("outer")),
            )
            .await;
        check(&process, &before, "before", "outer");
        check(&process, &within, "in inner", "inner");
        check(&process, &after, "after", "outer");
        let (outer, inner) = (process.span("outer"), process.span("inner"));
        assert_eq!(inner.parent_span_id, outer.span_context.span_id());
        assert_eq!(ids_of(&inner).0, ids_of(&outer).0);
    }
}

impl Process {
    /// Returns a tracing span of this process, without a parent.
    fn dispatch_span(&self, name: &'static str) -> tracing::Span {
        tracing::dispatcher::with_default(&self.dispatch, || tracing::info_span!("span", otel.name = name))
    }
}

/// A context of OpenTelemetry without any tracing span.
#[tokio::test]
async fn a_context_of_opentelemetry_is_the_current_trace() {
    for order in ORDERS {
        let process = Process::new(order);
        let context = Context::new().with_span(process.tracer().start("only opentelemetry"));
        let seen = process.run_async(look("in a context").with_context(context.clone())).await;
        let guarded = process.run(|| {
            let _attached = context.attach();
            tracing::info!("guarded");
            ids(&current_trace().unwrap())
        });
        assert_eq!(guarded, seen.current);
        assert_eq!(process.line("guarded"), seen.current);

        // It ended with the last reference to it: nothing of the SDK keeps it.
        check(&process, &seen, "in a context", "only opentelemetry");
    }
}

/// Drops the future within the subscriber of the task. A span that is closed outside of it does not close its parent.
async fn ended_within<F: Future>(task: F) -> F::Output {
    task.await
}

/// A service whose layers and handler know both sides. The handler returns what it sees as headers.
fn service(process: &Process) -> Router {
    let tracer = process.tracer();
    let handler = async move || {
        let here = look("in the handler").await;
        let instrumented = inner().await;
        let span = tracer.start("by hand");
        let by_hand = look("by hand").with_context(Context::current_with_span(span)).await;
        let spawned = spawn(look("spawned").with_current_subscriber()).await.unwrap();
        let task = look("in a task").instrument(tracing::info_span!("task"));
        let task = tokio::spawn(ended_within(task).with_current_subscriber()).await.unwrap();
        assert_eq!(spawned, here);
        *SEEN.lock().unwrap() = vec![here, instrumented, by_hand, task];
    };
    Router::new().route("/", get(handler))
}

/// What the handler of the test that runs has seen; the tests with a service take turns.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Checks what the handler has seen within this span of the request.
#[track_caller]
fn check_handler(process: &Process, request: &(String, String)) {
    let seen = std::mem::take(&mut *SEEN.lock().unwrap());
    let [here, instrumented, by_hand, task] = seen.as_slice() else { panic!("{seen:?}") };
    let all = Seen { current: request.clone(), headers: request.clone(), by_client: request.clone() };
    assert_eq!(here, &all);
    assert_eq!(&process.line("in the handler"), request);
    assert_eq!(&process.line("spawned"), request);
    check(process, instrumented, "in inner", "inner");
    check(process, by_hand, "by hand", "by hand");
    check(process, task, "in a task", "task");
    for name in ["inner", "by hand", "task"] {
        let span = process.span(name);
        assert_eq!((ids_of(&span).0, span.parent_span_id.to_string()), *request, "{name}");
    }
}

fn requests() -> [Request<Body>; 3] {
    let builder = || Request::get("/").header("host", "shop");
    let request = |name: &str, value: String| builder().header(name, value).body(Body::empty()).unwrap();
    [
        builder().body(Body::empty()).unwrap(),
        request("traceparent", format!("00-{TRACE}-{CALLER}-01")),
        request("b3", format!("{TRACE}-{CALLER}-1")),
    ]
}

/// With the SDK's layer outermost, spans of OpenTelemetry are below the request.
#[tokio::test]
async fn opentelemetry_within_a_request() {
    let _turn = TURN.lock().await;
    for order in ORDERS {
        for (request, has_caller) in requests().into_iter().zip([false, true, true]) {
            let process = Process::new(order);
            let app = service(&process).layer(TraceLayer::new().requests(RequestLog::Single));
            let response = process.run_async(app.oneshot(request)).await.unwrap();
            assert_eq!(response.status(), 200);
            let line = process.line("shop - GET - ");
            if has_caller {
                assert_eq!(line, (TRACE.to_owned(), CALLER.to_owned()));
            }
            check_handler(&process, &line);
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// A middleware as those of OpenTelemetry: a server span under the caller's `traceparent`.
async fn opentelemetry_middleware(request: Request<Body>, next: Next) -> Response {
    let span = tracing::info_span!("request", otel.kind = "server");
    let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
    if parent.has_active_span() {
        span.set_parent(parent).unwrap();
    }
    next.run(request).instrument(span).await
}

/// With a layer of OpenTelemetry outermost, the SDK's layer joins its span.
#[tokio::test]
async fn a_request_within_opentelemetry() {
    let _turn = TURN.lock().await;
    for order in ORDERS {
        let [without, with_traceparent, _] = requests();
        for (request, has_caller) in [(without, false), (with_traceparent, true)] {
            let process = Process::new(order);
            let app = service(&process)
                .layer(TraceLayer::new().requests(RequestLog::Single))
                .layer(middleware::from_fn(opentelemetry_middleware));
            process.run_async(app.oneshot(request)).await.unwrap();
            let span = process.span("request");
            if has_caller {
                let caller = (ids_of(&span).0, span.parent_span_id.to_string());
                assert_eq!(caller, (TRACE.to_owned(), CALLER.to_owned()));
            }
            check_handler(&process, &ids_of(&span));
            assert_eq!(process.line("shop - GET - "), ids_of(&span));
        }
    }
}

/// A layer of OpenTelemetry between two of the SDK.
#[tokio::test]
async fn opentelemetry_between_two_layers() {
    let _turn = TURN.lock().await;
    for (request, _) in requests().into_iter().zip(0..2) {
        let process = Process::new(Order::OpenTelemetryFirst);
        let between = async |request: Request<Body>, next: Next| {
            next.run(request).instrument(tracing::info_span!("request")).await
        };
        let app = service(&process)
            .layer(TraceLayer::new())
            .layer(middleware::from_fn(between))
            .layer(TraceLayer::new().requests(RequestLog::Single));
        process.run_async(app.oneshot(request)).await.unwrap();
        let span = process.span("request");
        check_handler(&process, &ids_of(&span));
        assert_eq!(process.line("shop - GET - "), (ids_of(&span).0, span.parent_span_id.to_string()));
    }
}

/// OpenTelemetry's span of a connection is not a layer of the request: the trace of the caller has precedence.
#[tokio::test]
async fn a_request_keeps_the_callers_trace_within_another_one() {
    let _turn = TURN.lock().await;
    for order in ORDERS {
        let [_, request, _] = requests();
        let process = Process::new(order);
        let app = service(&process).layer(TraceLayer::new().requests(RequestLog::Single));
        let connection = process.dispatch_span("connection");
        process.run_async(app.oneshot(request).instrument(connection)).await.unwrap();
        assert_ne!(ids_of(&process.span("connection")).0, TRACE);
        check_handler(&process, &(TRACE.to_owned(), CALLER.to_owned()));
    }
}

/// A middleware that reads only W3C headers starts another trace for a caller with B3; the caller's has precedence.
#[tokio::test]
async fn the_callers_b3_within_a_layer_that_does_not_read_it() {
    let _turn = TURN.lock().await;
    let [.., request] = requests();
    let process = Process::new(Order::LoggingFirst);
    let app = service(&process).layer(TraceLayer::new()).layer(middleware::from_fn(opentelemetry_middleware));
    process.run_async(app.oneshot(request)).await.unwrap();
    check_handler(&process, &(TRACE.to_owned(), CALLER.to_owned()));
}

/// What OpenTelemetry does not carry goes on to the next hop, also from a task that runs in a span.
#[tokio::test]
async fn request_ids_and_tracestate_go_on() {
    for order in ORDERS {
        let process = Process::new(order);
        let work = async move || {
            let here = trace_headers();
            let task = async { trace_headers() }.instrument(tracing::info_span!("task"));
            let there = tokio::spawn(ended_within(task).with_current_subscriber()).await.unwrap();
            for headers in [here, there] {
                assert_eq!(headers["x-request-id"], "7", "{order:?}");
                assert_eq!(headers["tracestate"], "a=1,b=2");
                assert_eq!(headers["baggage"], "c=3");
            }
        };
        let app = Router::new().route("/", get(work)).layer(TraceLayer::new());
        let request = Request::get("/")
            .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
            .header("tracestate", "a=1,b=2")
            .header("x-request-id", "7")
            .header("baggage", "c=3");
        process.run_async(app.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
        assert_eq!(process.span("task").span_context.trace_state().header(), "a=1,b=2");

        // Extracted by OpenTelemetry alone.
        let carrier = [("traceparent", format!("00-{TRACE}-{CALLER}-01")), ("tracestate", "v=4".to_owned())];
        let carrier = std::collections::HashMap::from(carrier.map(|(name, value)| (name.to_owned(), value)));
        let context = TraceContextPropagator::new().extract(&carrier);
        let headers = process.run_async(async { trace_headers() }.with_context(context)).await;
        assert_eq!(headers["tracestate"], "v=4");
    }
}

/// The `tracestate` of OpenTelemetry's span is the one that goes on, whatever the request carries.
#[tokio::test]
async fn the_tracestate_of_the_innermost_span_goes_on() {
    for carried in [None, Some("a=1")] {
        let process = Process::new(Order::LoggingFirst);
        let work = async move || {
            let span = opentelemetry::trace::SpanContext::new(
                opentelemetry::TraceId::from_hex(TRACE).unwrap(),
                opentelemetry::SpanId::from_hex("00000000000000aa").unwrap(),
                opentelemetry::TraceFlags::SAMPLED,
                false,
                "v=4".parse().unwrap(),
            );
            let look = async || {
                let mut message = std::collections::HashMap::<String, String>::new();
                logtracer_sdk::messaging::inject(&mut message);
                let headers = trace_headers();
                assert_eq!(headers["x-request-id"], "7");
                (headers["tracestate"].to_str().unwrap().to_owned(), message.remove("tracestate").unwrap())
            };
            let within = async {
                let spawned = spawn(look()).await.unwrap();
                [look().await, spawned]
            };
            for found in within.with_context(Context::current().with_remote_span_context(span)).await {
                assert_eq!(found, ("v=4".to_owned(), "v=4".to_owned()), "{carried:?}");
            }
        };
        let app = Router::new().route("/", get(work)).layer(TraceLayer::new());
        let mut request = Request::get("/")
            .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
            .header("x-request-id", "7");
        if let Some(carried) = carried {
            request = request.header("tracestate", carried);
        }
        let response = process.run_async(app.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

/// A task that OpenTelemetry carries has the sampling decision of its trace, or none.
#[test]
fn an_undecided_trace_stays_undecided_in_a_task() {
    for sampling in [Sampling::Defer, Sampling::Accept, Sampling::Deny] {
        let trace = TraceContext::new_root().with_sampling(sampling);
        let context = trace.run(Context::current);
        let carried = std::thread::spawn(move || {
            let _attached = context.attach();
            current_trace()
        });
        let carried = carried.join().unwrap().unwrap();
        assert_eq!((carried.span_id, carried.sampling), (trace.span_id, sampling));
    }
}

/// The innermost is current, whatever the order in which guards are dropped.
#[test]
fn the_innermost_is_current() {
    let process = Process::new(Order::LoggingFirst);
    let started = || Context::new().with_span(process.tracer().start("span"));
    let (ours, theirs) = (TraceContext::new_root(), started());
    let their_ids = ids(&from_context(&theirs).unwrap());
    let current = || current_trace().map(|trace| ids(&trace));
    process.run(|| {
        let attached = theirs.clone().attach();
        assert_eq!(current(), Some(their_ids.clone()));
        let entered = ours.enter();
        assert_eq!(current(), Some(ids(&ours)));
        drop(attached);
        assert_eq!(current(), Some(ids(&ours)));
        let attached = theirs.clone().attach();
        assert_eq!(current(), Some(their_ids.clone()));
        drop(entered);
        assert_eq!(current(), Some(their_ids.clone()));
        ours.run(|| assert_eq!(current(), Some(ids(&ours))));
        drop(attached);
        assert_eq!(current(), None);

        // A guard that is held over the end of its scope has no effect.
        let mut held = None;
        ours.run(|| held = Some(TraceContext::new_root().enter()));
        assert_eq!((current(), from_context(&Context::current())), (None, None));
        drop(held);

        // The span that records stays OpenTelemetry's current span, if the same trace is entered again.
        let _attached = theirs.clone().attach();
        current_trace().unwrap().run(|| assert!(Context::current().span().is_recording()));
    });
}

/// Entering a trace of the SDK in a task or a span does not delay the end of a span that ends when it is dropped.
#[test]
fn no_span_is_kept_alive() {
    let process = Process::new(Order::LoggingFirst);
    // The layer of `tracing-opentelemetry` keeps the parents of its spans alive.
    tracing::subscriber::with_default(tracing_subscriber::registry().with(carry_traces()), || {
        let attached = Context::new().with_span(process.tracer().start("ends")).attach();
        let future = async {}.in_current_trace();
        let span = tracing::info_span!("carries");
        let entered = current_trace().unwrap().child().enter();
        drop(attached);
        process.span("ends");
        drop((future, span, entered));
    });
}

/// A deferred decision is OpenTelemetry's, with [`RootSampler`] that of its root sampler.
#[test]
fn sampling() {
    for (sampling, is_sampled) in
        [(Sampling::Accept, true), (Sampling::Debug, true), (Sampling::Deny, false), (Sampling::Defer, true)]
    {
        let process = Process::new(Order::LoggingFirst);
        let trace = TraceContext::new_root().with_sampling(sampling);
        let within =
            process.run(|| trace.run(|| tracing::info_span!("span").in_scope(current_trace))).unwrap();
        assert_eq!(
            (within.trace_id, within.sampling.is_sampled()),
            (trace.trace_id, is_sampled),
            "{sampling:?}"
        );
        assert_eq!(within.random_trace_id, trace.random_trace_id);
        assert_eq!(within.sampling == Sampling::Debug, sampling == Sampling::Debug);
    }
    let ratio = |ratio| RootSampler::new(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))));
    for (ratio, sampler) in [(0.0, ratio(0.0)), (1.0, ratio(1.0))] {
        let process = Process::with_sampler(Order::LoggingFirst, sampler);
        let sampling_within = |trace: TraceContext| {
            let in_spans = || {
                tracing::info_span!("outer").in_scope(|| tracing::info_span!("inner").in_scope(current_trace))
            };
            process.run(|| trace.run(in_spans)).unwrap().sampling.is_sampled()
        };
        let undecided = TraceContext::new_root();
        assert_eq!(sampling_within(undecided), ratio == 1.0);
        assert!(sampling_within(undecided.with_sampling(Sampling::Accept)));
        assert!(!sampling_within(undecided.with_sampling(Sampling::Deny)));
    }
}

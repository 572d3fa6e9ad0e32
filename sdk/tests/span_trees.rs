//! The spans of a trace and their parents; all tests share the export of the process.

mod exported;
mod received;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::middleware::{self, Next};
use axum::routing::get;
use logtracer_sdk::client::{self, traced, try_traced};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Excluded, Routes, TraceLayer};
use logtracer_sdk::spans::{SpanEvent, SpanKind, SpanLink, current_span, span};
use logtracer_sdk::{Sampling, TraceContext, current_trace};
use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower::{Layer, ServiceExt};

use exported::{export, sampled, spans_of};
use received::names;

fn request(path: &str, context: TraceContext) -> Request<Body> {
    let b3 = format!("{}-{}-1", context.trace_id, context.span_id);
    Request::get(path).header("b3", b3).header("host", "shop").body(Body::empty()).unwrap()
}

async fn text_of(
    response: Response<impl http_body::Body<Data = axum::body::Bytes, Error: std::fmt::Debug>>,
) -> String {
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Blocks, futures and calls to other services nest.
#[tokio::test]
async fn blocks_futures_and_calls() {
    let context = sampled();
    let inner = async {
        let mut guard = span("block").attribute("item", "bread").enter();
        guard.attribute("left", "3");
        guard.fail();
        current_trace().unwrap()
    };
    let future = async {
        tokio::task::yield_now().await;
        traced("payments", inner).await
    };
    let innermost = context.run(|| tokio::spawn(future.in_span("future"))).await.unwrap();
    assert_eq!(current_trace(), None);
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["block", "payments", "future"]);
    let [block, payments, future] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(block.span_id, innermost.span_id.to_bytes());
    assert_eq!(block.parent_span_id, payments.span_id);
    assert_eq!(payments.parent_span_id, future.span_id);
    assert_eq!(future.parent_span_id, context.span_id.to_bytes());
    assert_eq!((payments.kind, block.status.as_ref().unwrap().code), (3, 2));
    let value = |text: &str| Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
    let attributes: Vec<_> = block.attributes.iter().map(|a| (a.key.as_str(), a.value.clone())).collect();
    assert_eq!(attributes, [("item", value("bread")), ("left", value("3"))]);
    assert!(future.end_time_unix_nano >= payments.end_time_unix_nano);
}

/// The parent of a spawned call is current at the call, not in the task. A failed call is a failed span.
#[tokio::test]
async fn spawned_calls_and_failed_calls() {
    let context = sampled();
    let spawned = context.run(|| tokio::spawn(traced("spawned", async {})));
    spawned.await.unwrap();
    let fails = try_traced("fails", async { Err::<(), _>("no route") }).in_trace(context);
    assert!(fails.await.is_err());
    assert!(try_traced("returns", async { Ok::<_, String>(7) }).in_trace(context).await.is_ok());
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let refused = std::io::Error::other(refused);
    assert!(try_traced("refused", async { Err::<(), _>(refused) }).in_trace(context).await.is_err());
    let dropped = context.run(|| traced("dropped", std::future::pending::<()>()));
    let dropped = tokio::time::timeout(Duration::from_millis(5), dropped).await;
    assert!(dropped.is_err());
    let own = async {
        current_span().unwrap().attribute("error.type", "out_of_stock");
        Err::<(), _>("no eggs")
    };
    assert!(try_traced("own", own).in_trace(context).await.is_err());
    let spans = spans_of(context.trace_id).await;
    let expected = [
        ("spawned", false, None, None),
        ("fails", true, Some("_OTHER"), Some("no route")),
        ("returns", false, None, None),
        ("refused", true, Some("connection_refused"), Some("connection refused")),
        ("dropped", true, Some("cancelled"), None),
        ("own", true, Some("out_of_stock"), Some("no eggs")),
    ];
    assert_eq!(names(&spans), expected.map(|(name, ..)| name));
    for (span, (name, is_failed, error_type, message)) in spans.iter().zip(expected) {
        let texts = texts(span);
        let text = |key| texts.get(key).map(String::as_str);
        let actual = (has_failed(span), text("error.type"), text("error.message"));
        assert_eq!(actual, (is_failed, error_type, message), "{name}");
    }
    assert!(spans.iter().all(|span| span.parent_span_id == context.span_id.to_bytes()));
}

/// Work outside of a request starts a trace. A trace that is not sampled has no spans.
#[tokio::test]
async fn roots_and_sampling() {
    export();
    let root = {
        let _root = span("nightly").enter();
        current_trace().unwrap()
    };
    assert_eq!((root.parent_span_id, root.sampling), (None, Sampling::Accept));
    assert_eq!(names(&spans_of(root.trace_id).await), ["nightly"]);
    let denied = TraceContext::new_root().with_sampling(Sampling::Deny);
    denied.run(|| {
        let _span = span("not sampled").enter();
        assert_eq!(current_trace(), Some(denied));
    });
    assert_eq!(names(&spans_of(denied.trace_id).await), [""; 0]);
}

fn app(layer: TraceLayer) -> Router {
    let sampling = async || {
        let _db = span("db").enter();
        format!("{:?}", current_trace().unwrap().sampling)
    };
    Router::new()
        .route("/users/{id}", get(sampling))
        .route("/healthz", get(sampling))
        .route("/v1/app-config/x", get(sampling))
        .layer(layer)
}

/// A request has a span below that of the caller, unless its path is excluded.
#[tokio::test]
async fn requests_and_exclusions() {
    let routes = Routes::new().exact("/healthz").contains("/app-config/");
    for excluded in [Excluded::Spans, Excluded::Both, Excluded::Logs] {
        let app = app(TraceLayer::new().exclude(routes.clone()).exclude_from(excluded));
        for path in ["/healthz", "/v1/app-config/x?y", "/users/7"] {
            let context = sampled();
            let response = app.clone().oneshot(request(path, context)).await.unwrap();
            assert_eq!(text_of(response).await, "Accept");
            let spans = spans_of(context.trace_id).await;
            let is_excluded = path != "/users/7" && excluded != Excluded::Logs;
            assert_eq!(spans.len(), if is_excluded { 1 } else { 2 }, "{excluded:?} {path}: {spans:?}");
            assert_eq!(spans.last().unwrap().parent_span_id, context.span_id.to_bytes());
            if path == "/users/7" {
                assert_eq!(names(&spans), ["db", "GET /users/{id}"]);
                assert_eq!((spans[1].kind, &spans[0].parent_span_id), (2, &spans[1].span_id));
            }
        }
    }
}

/// The sampling decision of the caller goes on to other services, also from a request without a span.
#[tokio::test]
async fn an_exclusion_keeps_the_sampling_decision() {
    export();
    let app = app(TraceLayer::new().exclude(Routes::new().exact("/healthz")));
    for (name, value, expected) in [
        ("b3", "1", "Accept"),
        ("b3", "d", "Debug"),
        ("b3", "0", "Deny"),
        ("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124;o=1", "Accept"),
        ("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/0;o=1", "Accept"),
        // Nobody has decided, and there is no recorded parent.
        ("x-other", "", "Deny"),
    ] {
        let request = Request::get("/healthz").header(name, value).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(text_of(response).await, expected, "{name}: {value}");
    }
}

/// A layer inside another one adds no second span.
#[tokio::test]
async fn nested_layers_have_one_span() {
    let context = sampled();
    let app = app(TraceLayer::new()).layer(TraceLayer::new());
    text_of(app.oneshot(request("/users/7", context)).await.unwrap()).await;
    assert_eq!(names(&spans_of(context.trace_id).await), ["db", "GET /users/{id}"]);
}

/// The `tracestate` of the request is on every span, in whatever task it ends.
#[tokio::test]
async fn the_tracestate_is_on_every_span() {
    let context = sampled();
    let work = async || {
        let spawned = tokio::spawn(async { drop(span("inner").enter()) }.in_span("spawned"));
        let call = tokio::spawn(traced("call", async {}));
        let guard = span("guard").enter();
        drop(guard);
        spawned.await.unwrap();
        call.await.unwrap();
    };
    let app = Router::new().route("/", get(work)).layer(TraceLayer::new());
    let request = Request::get("/")
        .header("traceparent", format!("00-{}-{}-01", context.trace_id, context.span_id))
        .header("tracestate", "a=1,b=2")
        .body(Body::empty());
    text_of(app.oneshot(request.unwrap()).await.unwrap()).await;
    let spans = spans_of(context.trace_id).await;
    assert_eq!(spans.len(), 5, "{spans:?}");
    assert!(spans.iter().all(|span| span.trace_state == "a=1,b=2"), "{spans:?}");
}

/// No attribute has the credentials of a URL.
#[tokio::test]
async fn the_span_of_a_call() {
    let context = sampled();
    let answer = |_: Request<Body>| async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) };
    let client = client::TraceLayer::new().layer(tower::service_fn(answer));
    let call = client.oneshot(Request::get("http://me:secret@shop:81/x").body(Body::empty()).unwrap());
    call.in_trace(context).await.unwrap();
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["GET"]);
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
    let address = spans[0].attributes.iter().find(|attribute| attribute.key == "server.address").unwrap();
    assert!(format!("{:?}", address.value).contains("\"shop\""), "{address:?}");
}

/// A client layer inside another one adds no second span. An attempt of a retry between them is not a call of its own.
#[tokio::test]
async fn nested_client_layers_have_one_span() {
    let context = sampled();
    let answer = async |request: Request<Body>| {
        let parent = request.headers()["x-b3-spanid"].to_str().unwrap().to_owned();
        Ok::<_, std::convert::Infallible>(Response::new(parent))
    };
    let inner = client::TraceLayer::new().layer(tower::service_fn(answer));
    let twice = tower::service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            let (parts, body) = request.into_parts();
            let first = Request::from_parts(parts.clone(), Body::empty());
            inner.clone().oneshot(first).await?;
            inner.oneshot(Request::from_parts(parts, body)).await
        }
    });
    let client = client::TraceLayer::new().layer(twice);
    let call = client.oneshot(Request::get("http://stock/").body(Body::empty()).unwrap());
    let response = call.in_trace(context).await.unwrap();
    let parent = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["GET"]);
    assert_eq!(parent, hex(&spans[0].span_id));
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, Any)> {
    let value = |attribute: &KeyValue| attribute.value.clone().unwrap().value.unwrap();
    attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

/// Values keep their types, and zero and the empty text are values.
#[tokio::test]
async fn typed_attributes() {
    let context = sampled();
    context.run(|| {
        let _span = span("typed")
            .attribute("text", "bread")
            .attribute("empty", "")
            .attribute("integer", -7)
            .attribute("zero", 0_u64)
            .attribute("large", u64::MAX)
            .attribute("float", 0.5)
            .attribute("boolean", false)
            .attribute("texts", vec!["a", "b"])
            .attribute("integer", 8)
            .enter();
    });
    let spans = spans_of(context.trace_id).await;
    let values = [text("a"), text("b")].map(|value| AnyValue { value: Some(value) }).to_vec();
    let expected = [
        ("text", text("bread")),
        ("empty", text("")),
        ("zero", Any::IntValue(0)),
        ("large", text("18446744073709551615")),
        ("float", Any::DoubleValue(0.5)),
        ("boolean", Any::BoolValue(false)),
        ("texts", Any::ArrayValue(ArrayValue { values })),
        // A later value replaces an earlier one.
        ("integer", Any::IntValue(8)),
    ];
    assert_eq!(pairs(&spans[0].attributes), expected);
}

#[tokio::test]
async fn events_and_links() {
    let (context, sender) = (sampled(), TraceContext::new_root());
    context.run(|| {
        let link = SpanLink::new(sender).attribute("messaging.message.id", "17");
        let mut guard = span("process").kind(SpanKind::Consumer).link(link).enter();
        guard.event("cache miss");
        guard.event(SpanEvent::new("retry").attribute("attempt", 2));
        guard.link(context);
    });
    let spans = spans_of(context.trace_id).await;
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(span.kind, 5);
    let [miss, retry] = span.events.as_slice() else { panic!("{span:?}") };
    assert_eq!((miss.name.as_str(), retry.name.as_str()), ("cache miss", "retry"));
    assert_eq!(
        (pairs(&miss.attributes), pairs(&retry.attributes)),
        (vec![], vec![("attempt", Any::IntValue(2))])
    );
    let times =
        [span.start_time_unix_nano, miss.time_unix_nano, retry.time_unix_nano, span.end_time_unix_nano];
    assert!(times.is_sorted(), "{times:?}");
    let [first, second] = span.links.as_slice() else { panic!("{span:?}") };
    assert_eq!(
        (&first.trace_id[..], &first.span_id[..]),
        (&sender.trace_id.to_bytes()[..], &sender.span_id.to_bytes()[..])
    );
    assert_eq!(pairs(&first.attributes), [("messaging.message.id", text("17"))]);
    assert_eq!((&second.trace_id[..], second.attributes.len()), (&context.trace_id.to_bytes()[..], 0));
}

/// What exceeds the limits is dropped and counted in the span.
#[tokio::test]
async fn the_number_of_attributes_is_bounded() {
    let context = sampled();
    context.run(|| {
        let mut guard = span("many").enter();
        (0..130).for_each(|number| guard.attribute(format!("key {number}"), number));
        (0..131).for_each(|_| guard.event("event"));
    });
    let spans = spans_of(context.trace_id).await;
    let counts = (spans[0].attributes.len(), spans[0].events.len());
    assert_eq!(
        (counts, spans[0].dropped_attributes_count, spans[0].dropped_events_count),
        ((128, 128), 2, 3)
    );
}

/// The spans within it are children of its parent, and its log lines belong to the parent.
#[tokio::test]
async fn a_span_that_is_not_exported() {
    let context = sampled();
    let lines = context.run(|| {
        let _outer = span("outer").enter();
        logtracer_sdk::testing::capture(|| {
            let _polling = span("polling").attribute("a", 1).not_exported().enter();
            tracing::info!("polled");
            drop(span("inner").enter());
        })
    });
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["inner", "outer"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
    let outer = u64::from_be_bytes(spans[1].span_id.clone().try_into().unwrap());
    assert_eq!(lines[0]["spanId"], format!("{outer:016x}"));
    assert_eq!(lines[0]["traceSampled"], true);

    let context = sampled();
    let polling = span("polling").not_exported();
    context.run(|| async { drop(span("inner").enter()) }.in_span(polling)).await;
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["inner"]);
    assert_eq!(spans[0].parent_span_id, context.span_id.to_bytes());
}

/// A root that is not exported has no recorded span that others could belong to.
#[tokio::test]
async fn a_root_that_is_not_exported() {
    export();
    let root = {
        let _root = span("polling").not_exported().enter();
        drop(span("inner").enter());
        current_trace().unwrap()
    };
    assert_eq!(root.sampling, Sampling::Deny);
    assert_eq!(names(&spans_of(root.trace_id).await), [""; 0]);
}

/// Code within a span adds to it, also in another task and without a guard.
#[tokio::test]
async fn the_current_span() {
    let context = sampled();
    assert!(context.run(current_span).is_none(), "the span of the caller");
    let handler = async || {
        let request = current_span().unwrap();
        request.attribute("user", 7);
        let inner = async {
            let span = current_span().unwrap();
            span.event("cache miss");
            span.fail();
            tokio::task::yield_now().await;
            span.attribute("items", 3);
        };
        tokio::spawn(inner.in_span("prices")).await.unwrap();
        request.link(TraceContext::new_root());
    };
    let app = Router::new().route("/", get(handler)).layer(TraceLayer::new());
    text_of(app.oneshot(request("/", context)).await.unwrap()).await;
    let spans = spans_of(context.trace_id).await;
    let [prices, request] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(pairs(&prices.attributes), [("items", Any::IntValue(3))]);
    assert_eq!((prices.events[0].name.as_str(), prices.status.as_ref().unwrap().code), ("cache miss", 2));
    assert!(pairs(&request.attributes).contains(&("user", Any::IntValue(7))), "{request:?}");
    assert_eq!((request.links.len(), request.status.as_ref().map_or(0, |status| status.code)), (1, 0));
}

/// Returns the attributes that are texts.
fn texts(span: &Span) -> std::collections::HashMap<&str, String> {
    let attributes =
        span.attributes.iter().filter_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
            Any::StringValue(text) => Some((attribute.key.as_str(), text.clone())),
            _ => None,
        });
    attributes.collect()
}

fn has_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

/// A call without a response has its error, and a gRPC call without one is still a gRPC call.
#[tokio::test]
async fn the_span_of_a_failed_call() {
    let context = sampled();
    let refused = |_: Request<Body>| async {
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        Err::<Response<Body>, _>(Box::<dyn std::error::Error + Send + Sync>::from(error))
    };
    let stock = http::Uri::from_static("http://stock:9000");
    let client = client::TraceLayer::new().peer(stock).layer(tower::service_fn(refused));
    let get = Request::get("http://shop/users/7").body(Body::empty()).unwrap();
    let template = Request::get("http://shop/users/7").extension(client::UrlTemplate("/users/{id}"));
    let call = Request::post("/demo.Stock/Get").header("content-type", "application/grpc");
    for request in [get, template.body(Body::empty()).unwrap(), call.body(Body::empty()).unwrap()] {
        assert!(client.clone().oneshot(request).in_trace(context).await.is_err());
    }
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["GET", "GET /users/{id}", "/demo.Stock/Get"]);
    for span in &spans {
        let texts = texts(span);
        assert!(has_failed(span), "{span:?}");
        assert_eq!(texts["error.type"], "connection_refused");
        assert_eq!(texts["error.message"], "connection refused");
        assert!(!texts.contains_key("http.route"), "{texts:?}");
    }
    assert_eq!(texts(&spans[1])["url.template"], "/users/{id}");
    let call = texts(&spans[2]);
    assert_eq!((call["rpc.method"].as_str(), call["server.address"].as_str()), ("demo.Stock/Get", "stock"));
    assert_eq!(call["rpc.response.status_code"], "UNAVAILABLE");
}

/// The span of a request that a time limit ends has failed. A field of the handler is an attribute.
#[tokio::test]
async fn the_span_of_a_request_that_times_out() {
    let context = sampled();
    let limit = Duration::from_millis(20);
    let hangs = |_: Request<Body>| async {
        logtracer_sdk::server::record("user", "ada");
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>().await
    };
    let service = TraceLayer::new().timeout(limit).layer(tower::service_fn(hangs));
    assert!(tokio::time::timeout(limit, service.oneshot(request("/", context))).await.is_err());
    let spans = spans_of(context.trace_id).await;
    let texts = texts(&spans[0]);
    assert!(has_failed(&spans[0]));
    assert_eq!((texts["error.type"].as_str(), texts["user"].as_str()), ("timeout", "ada"));
}

/// The call to a peer has the name that it was given.
#[tokio::test]
async fn the_span_of_a_call_to_a_peer() {
    let context = sampled();
    let uri = http::Uri::from_static("http://pay/charge?card=4111");
    let call = context.run(|| {
        client::peer("payments")
            .request(http::Method::POST, uri)
            .run(async { current_trace() }, |_| http::StatusCode::PAYMENT_REQUIRED)
    });
    let inside = call.await.unwrap();
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["payments"]);
    assert_eq!(spans[0].span_id, inside.span_id.to_bytes());
    assert_eq!(texts(&spans[0])["url.full"], "http://pay/charge?card=REDACTED");
    assert!(has_failed(&spans[0]));
}

/// The ids of a span wherever a handler can read them: in the extensions, as the current trace, and in headers.
fn span_ids(request: &Request<Body>) -> [String; 3] {
    let extension = request.extensions().get::<TraceContext>().unwrap().span_id.to_string();
    let current = current_trace().unwrap().span_id.to_string();
    [extension, current, logtracer_sdk::trace_headers()["x-b3-spanid"].to_str().unwrap().to_owned()]
}

/// OpenTelemetry's span between two layers is the one that the handler sees. The outer layer has the request's span.
#[tokio::test]
async fn opentelemetry_between_two_layers() {
    let context = sampled();
    let tracer = SdkTracerProvider::builder().build().tracer("shop");
    let handler = async |request: Request<Body>| {
        logtracer_sdk::server::record("user", "ada");
        span_ids(&request).join(" ")
    };
    let between = move |request: Request<Body>, next: Next| {
        let otel = OtelContext::current_with_span(tracer.start("between"));
        let between = otel.span().span_context().span_id().to_string();
        async { ([("x-between", between)], next.run(request).with_context(otel).await) }
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(TraceLayer::new())
        .layer(middleware::from_fn(between))
        .layer(TraceLayer::new());
    let response = app.oneshot(request("/", context)).await.unwrap();
    let between = response.headers()["x-between"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    assert_eq!(body, [between.as_str(); 3].join(" "));
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["GET /"]);
    assert_eq!(texts(&spans[0])["user"], "ada");
}

/// A layer that only attaches the caller's span to OpenTelemetry's context has no span, so that the request gets one.
#[tokio::test]
async fn a_propagator_around_the_layer() {
    let context = sampled();
    let handler = async |request: Request<Body>| span_ids(&request).join(" ");
    let extracts = move |request: Request<Body>, next: Next| {
        next.run(request).with_context(logtracer_sdk::opentelemetry::to_context(&context))
    };
    let app = Router::new().route("/", get(handler)).layer(TraceLayer::new());
    let app = app.layer(middleware::from_fn(extracts));
    let response = app.oneshot(request("/", context)).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    let spans = spans_of(context.trace_id).await;
    assert_eq!(names(&spans), ["GET /"]);
    assert_eq!(spans[0].parent_span_id, context.span_id.to_bytes());
    let span_id = logtracer_sdk::SpanId::from_bytes(spans[0].span_id.clone().try_into().unwrap()).unwrap();
    assert_eq!(body, [span_id.to_string().as_str(); 3].join(" "));
}

/// A field of a request keeps its type, and replaces the attribute of its name.
#[tokio::test]
async fn fields_are_typed_attributes() {
    let context = sampled();
    let handler = async || {
        use logtracer_sdk::server::record;
        record("items", 3);
        current_span().unwrap().attribute("items", "three");
        record("rate", 0.5);
        record("paid", false);
        record("large", u64::MAX);
        record("user", "ada");
    };
    let app = Router::new().route("/", get(handler)).layer(TraceLayer::new());
    text_of(app.oneshot(request("/", context)).await.unwrap()).await;
    let spans = spans_of(context.trace_id).await;
    let names = ["items", "rate", "paid", "large", "user"];
    let mut fields = pairs(&spans[0].attributes);
    fields.retain(|(name, _)| names.contains(name));
    fields.sort_by_key(|(name, _)| names.iter().position(|it| it == name));
    assert_eq!(
        fields,
        [
            ("items", Any::IntValue(3)),
            ("rate", Any::DoubleValue(0.5)),
            ("paid", Any::BoolValue(false)),
            ("large", text("18446744073709551615")),
            ("user", text("ada")),
        ]
    );
}

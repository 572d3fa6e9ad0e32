//! The claims of docs/comparison.md about Envoy's own tracers and the filter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use logtracer_harness::echo::Echo;
use logtracer_harness::envoy::{self, Envoy, fill};
use logtracer_harness::hop::{Hop, Options};
use logtracer_harness::{ports, shell, wait};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::header;

const TRACE: &str = "105445aa7843bc8bf206b12000100000";
const CLOUD_TRACE: &str = "105445aa7843bc8bf206b12000100000/1;o=1";

const OPEN_TELEMETRY: &str = r#"{ name: otel, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: native,
    http_service: { http_uri: { uri: "http://backend/v1/traces", cluster: backend, timeout: 2s } } } }"#;

const ZIPKIN: &str = r#"{ name: zipkin, typed_config: {
    "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: backend,
    collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON, trace_id_128bit: true } }"#;

#[test]
fn the_opentelemetry_tracer_starts_a_second_trace_and_drops_spans() {
    check_native(OPEN_TELEMETRY, "traceparent", "tracing.opentelemetry.spans_sent");
}

#[test]
fn the_zipkin_tracer_starts_a_second_trace_and_drops_spans() {
    check_native(ZIPKIN, "x-b3-traceid", "tracing.zipkin.reports_dropped");
}

/// `dropped` is a statistic that counts a span which no backend received.
#[track_caller]
fn check_native(provider: &str, writes: &str, dropped: &str) {
    let dir = tempfile::tempdir().unwrap();
    let echo = Echo::start().unwrap();
    let (port, admin, backend) =
        (ports::reserve().unwrap(), ports::reserve().unwrap(), ports::reserve().unwrap());
    let service = echo.address().port();
    let values: [(&str, &dyn ToString); 5] = [
        ("ADMIN", &admin),
        ("LISTENER", &port),
        ("PROVIDER", &provider),
        ("SERVICE", &service),
        ("BACKEND", &backend),
    ];
    let config = fill(include_str!("native_tracers.yaml"), &values).unwrap();
    let envoy = Envoy::start(&config, admin, dir.path()).unwrap();
    let get = || -> Value {
        let request = envoy::client().unwrap().get(format!("http://127.0.0.1:{port}/"));
        request.header("x-cloud-trace-context", CLOUD_TRACE).send().unwrap().json().unwrap()
    };

    let echoed = get();
    assert_eq!(value(&echoed, "x-cloud-trace-context"), CLOUD_TRACE);
    let other = value(&echoed, writes);
    assert!(!other.contains(TRACE), "{other}");
    let line = &envoy.lines(1).unwrap()[0];
    assert!(other.contains(line["trace"].as_str().unwrap()), "{line}");

    wait::try_until(dropped, || Ok((envoy.stat(dropped)? > 0).then_some(()))).unwrap();
    let backend = Backend::start(backend);
    get();
    backend.wait_for(1);
    std::thread::sleep(std::time::Duration::from_millis(500)); // longer than some flushes
    assert_eq!(backend.spans(), 1);
}

#[test]
fn the_filter_continues_the_trace_and_retries_spans() {
    let port = ports::reserve().unwrap();
    let filter = json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } });
    let hop =
        Hop::with(Options { filter: Some(filter), exporter: Some(port), ..Options::default() }).unwrap();
    let get = || hop.echo([header("x-cloud-trace-context", CLOUD_TRACE)]).unwrap();

    let headers = get();
    for (name, value) in &headers {
        let is_of_trace = ["traceparent", "x-b3-traceid", "x-cloud-trace-context"].contains(&name.as_str());
        assert!(!is_of_trace || value.contains(TRACE), "{name}: {value}");
    }
    let retried = &shell::metric("spans_retried");
    wait::try_until(retried, || Ok((hop.envoy.stat(retried)? > 0).then_some(()))).unwrap();
    let backend = Backend::start(port);
    get();
    backend.wait_for(2);
}

/// Returns a header that the service received.
fn value<'e>(echoed: &'e Value, name: &str) -> &'e str {
    let headers = echoed["headers"].as_array().unwrap();
    let found = headers.iter().find(|pair| pair[0] == name).unwrap_or_else(|| panic!("no {name}: {echoed}"));
    found[1].as_str().unwrap()
}

/// Receives spans over OTLP or Zipkin on a port that was closed before.
struct Backend {
    spans: Arc<AtomicUsize>,
    _runtime: Runtime, // dropping the runtime stops the backend
}

impl Backend {
    fn start(port: u16) -> Backend {
        let spans = Arc::new(AtomicUsize::new(0));
        let counter = spans.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            let is_json = headers["content-type"].to_str().unwrap().starts_with("application/json");
            let count = if is_json { of_zipkin(&body) } else { of_otlp(&body) };
            counter.fetch_add(count, Ordering::Relaxed);
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let router = Router::new().fallback(take);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Backend { spans, _runtime: runtime }
    }

    fn spans(&self) -> usize {
        self.spans.load(Ordering::Relaxed)
    }

    fn wait_for(&self, count: usize) {
        wait::until(&format!("{count} spans"), || (self.spans() >= count).then_some(())).unwrap();
    }
}

fn of_otlp(body: &[u8]) -> usize {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

fn of_zipkin(body: &[u8]) -> usize {
    serde_json::from_slice::<Vec<Value>>(body).unwrap().len()
}

//! A request through `envoy/envoy.yaml` and `envoy/native.yaml`, the configurations to copy from.

use logtracer_harness::cases::values;
use logtracer_harness::echo::Echo;
use logtracer_harness::envoy::{self, Envoy};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::ports;
use logtracer_harness::shell::{self, Shell};
use serde_json::Value;

use crate::text;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[test]
fn a_request_has_its_context_its_line_and_its_span() {
    check();
}

#[test]
fn a_request_has_the_same_with_the_native_module() {
    shell::select(Shell::Native);
    check();
}

fn check() {
    let dir = tempfile::tempdir().unwrap();
    let echo = Echo::start().unwrap();
    let exporter = Exporter::start("127.0.0.1:0", &[], dir.path()).unwrap();
    let (entrance, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let config = envoy::reference(entrance, admin, echo.address().port(), exporter.http().port()).unwrap();
    let envoy = Envoy::start(&config, admin, dir.path()).unwrap();

    let client = envoy::client().unwrap();
    let get = |path: &str| client.get(format!("http://127.0.0.1:{entrance}{path}"));
    assert_eq!(get("/healthz").send().unwrap().status(), 200);
    let request = get("/echo?card=4242").header("b3", format!("{TRACE}-a2fb4a1d1a96d312-1"));
    let answer: Value = request.send().unwrap().json().unwrap();
    let headers: Vec<(String, String)> = serde_json::from_value(answer["headers"].clone()).unwrap();
    assert_eq!(values(&headers, "x-b3-traceid"), [TRACE]);
    let [span_id] = values(&headers, "x-b3-spanid")[..] else { panic!("{headers:?}") };
    assert_eq!(values(&headers, "traceparent"), [format!("00-{TRACE}-{span_id}-01")]);

    let lines = envoy.lines(2).unwrap();
    let line = lines.iter().find(|line| logtracer_harness::lines::trace_id(line) == Some(TRACE)).unwrap();
    assert_eq!(text(line, "/logging.googleapis.com~1trace"), TRACE);
    assert_eq!(text(line, "/logging.googleapis.com~1spanId"), span_id);
    assert!(text(line, "/message").starts_with("shop - GET - "), "{line}");
    assert!(text(line, "/httpRequest/requestUrl").ends_with("/echo?card=REDACTED"), "{line}");

    let trace = exporter.wait_for_trace(TRACE, 1, 0).unwrap();
    let span = trace.span("shop", "server").expect("a server span of the shop");
    assert_eq!((span.span_id.as_str(), span.name.as_str()), (span_id, "GET all"));
    assert_eq!(span.parent_span_id.as_deref(), Some("a2fb4a1d1a96d312"));
    // The probe came first. It has a line but no span.
    assert_eq!(exporter.traces(10).unwrap().len(), 1);
}

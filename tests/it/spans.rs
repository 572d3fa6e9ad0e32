//! Spans from the request to the exporter's store.

use logtracer_demo::mesh::Mesh;
use logtracer_harness::store::{Span, Trace};
use logtracer_harness::{envoy, wait};

use crate::{CALLER, TRACE};

fn get(mesh: &Mesh, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = envoy::client().unwrap().get(mesh.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().unwrap().status().as_u16()
}

/// Checks the links: caller, server span of the frontend, and for each of its calls the client span and the server span
/// of the backend.
#[track_caller]
fn check_linked(trace: &Trace, caller: Option<&str>, calls: &[&str]) {
    let inbound = span(trace, "frontend", "server");
    assert_eq!(inbound.parent_span_id.as_deref(), caller);
    assert_eq!(trace.spans.len(), 1 + 2 * calls.len(), "{trace:#?}");
    let outbound = trace.children(inbound);
    assert_eq!(outbound.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), calls);
    for call in outbound {
        assert_eq!((call.service_name.as_str(), call.kind.as_str()), ("frontend", "client"));
        let [last] = trace.children(call)[..] else { panic!("one span below {call:?}") };
        assert_eq!((last.service_name.as_str(), last.kind.as_str()), ("backend", "server"));
        for (inner, outer) in [(call, inbound), (last, call)] {
            assert!(
                outer.start() <= inner.start() && inner.end() <= outer.end(),
                "{inner:?} is not within {outer:?}"
            );
        }
    }
}

#[track_caller]
fn span<'a>(trace: &'a Trace, service: &str, kind: &str) -> &'a Span {
    trace.span(service, kind).unwrap_or_else(|| panic!("no {kind} span of the {service} in {trace:#?}"))
}

/// The calls of an order, by HTTP and by gRPC.
const CALLS: [&str; 2] = ["GET stock", "/demo.Prices/Quote"];

#[test]
fn three_hops_are_one_trace() {
    let mesh = Mesh::start("127.0.0.1:0").unwrap();
    let b3 = format!("{TRACE}-{CALLER}-1");
    assert_eq!(get(&mesh, "/orders/7", &[("b3", &b3)]), 200);

    // 5 lines of proxies, 2 of the frontend, 2 of the backend
    let trace = mesh.exporter.wait_for_trace(TRACE, 5, 9).unwrap();
    check_linked(&trace, Some(CALLER), &CALLS);
    assert_eq!(span(&trace, "frontend", "server").name, "GET orders");
    let of_backend = |name: &str| {
        let is_server = |span: &&Span| span.service_name == "backend" && span.kind == "server";
        trace.spans.iter().filter(is_server).find(|span| span.name == name).unwrap()
    };
    assert_eq!(of_backend("GET stock").attributes["http.response.status_code"], 200);
    assert_eq!(of_backend("/demo.Prices/Quote").attributes["rpc.system.name"], "grpc");
    assert!(trace.spans.iter().all(|span| span.status.code == "unset"));

    // A line of a service belongs to the span of its own sidecar.
    for (message, name) in [("stock counted", "GET stock"), ("price quoted", "/demo.Prices/Quote")] {
        let line = trace.logs.iter().find(|log| log.message.contains(message)).unwrap();
        assert_eq!(line.span_id.as_deref(), Some(of_backend(name).span_id.as_str()));
    }
}

#[test]
fn a_caller_without_a_trace_gets_one() {
    let mesh = Mesh::start("127.0.0.1:0").unwrap();
    assert_eq!(get(&mesh, "/orders/8", &[]), 200);

    let summary = wait::try_until("the trace", || {
        Ok(mesh.exporter.traces(10)?.into_iter().find(|trace| trace.span_count == 5))
    })
    .unwrap();
    assert_eq!(summary.root_name, "GET orders");
    assert_eq!(summary.error_count, 0);
    let mut services = summary.service_names.clone();
    services.sort();
    assert_eq!(services, ["backend", "frontend"]);
    check_linked(&mesh.exporter.trace(&summary.trace_id).unwrap().unwrap(), None, &CALLS);
}

#[test]
fn a_failure_is_an_error_in_every_hop() {
    let mesh = Mesh::start("127.0.0.1:0").unwrap();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    assert_eq!(get(&mesh, "/checkout/9", &[("traceparent", &traceparent)]), 502);

    let trace = mesh.exporter.wait_for_trace(TRACE, 3, 5).unwrap();
    check_linked(&trace, Some(CALLER), &["GET payments"]);
    assert_eq!(trace.spans.iter().filter(|span| span.status.code == "error").count(), 3);
    let status =
        |service, kind| trace.span(service, kind).unwrap().attributes["http.response.status_code"].clone();
    assert_eq!(status("frontend", "server"), 502);
    assert_eq!(status("frontend", "client"), 503);
    assert_eq!(status("backend", "server"), 503);
    assert!(trace.logs.iter().filter(|log| log.severity == "ERROR").count() >= 5, "{:#?}", trace.logs);
}

#[test]
fn a_denied_trace_has_lines_and_no_spans() {
    let mesh = Mesh::start("127.0.0.1:0").unwrap();
    let denied = format!("{TRACE}/123;o=0");
    assert_eq!(get(&mesh, "/orders/1", &[("x-cloud-trace-context", &denied)]), 200);
    // Spans of the first request would arrive before those of a later one.
    let b3 = format!("105445aa7843bc8bf206b12000100000-{CALLER}-1");
    assert_eq!(get(&mesh, "/orders/2", &[("b3", &b3)]), 200);
    mesh.exporter.wait_for_trace("105445aa7843bc8bf206b12000100000", 5, 9).unwrap();

    let trace = mesh.exporter.wait_for_trace(TRACE, 0, 9).unwrap();
    assert_eq!(trace.spans.len(), 0);
    for log in trace.logs {
        assert_eq!(log.line["logging.googleapis.com/trace_sampled"], false, "{}", log.line);
    }
}

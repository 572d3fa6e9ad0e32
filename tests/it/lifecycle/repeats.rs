//! Requests that Envoy sends more than once.

use logtracer_harness::wait;

use super::{END, Expected, SUCCESS, Table, exporter};
use crate::{CALLER, TRACE};

/// Rule 61: an internal redirect passes the filters again, and both have a line. The second span is a child of the
/// first.
#[test]
fn an_internal_redirect_is_two_spans_of_one_trace() {
    let table = Table::start(exporter());
    let mut connection = table.connect();
    connection
        .send(format!("GET /origin/internal HTTP/1.1\r\nhost: shop\r\nb3: {TRACE}-{CALLER}-1\r\n\r\n"))
        .unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
    assert_eq!(table.proxy.origin.request_count("/origin/ok?from=internal"), 1);

    let telemetry = wait::try_until("both spans", || {
        let telemetry = table.proxy.telemetry(&table.collector, TRACE)?;
        Ok(Some(telemetry).filter(|telemetry| telemetry.spans.len() == 2 && telemetry.lines.len() == 2))
    })
    .unwrap();
    let span = |parent: &str| {
        let found = telemetry.spans.iter().find(|span| span.parent_span_id == parent);
        found.unwrap_or_else(|| panic!("no child of {parent}: {:#?}", telemetry.spans))
    };
    let first = span(CALLER);
    assert_eq!(first.attributes["http.response.status_code"], 302);
    assert_eq!(span(&first.span_id).attributes["http.response.status_code"], 200);
}

/// Rule 61: a mirrored request has the headers of the original, and no span.
#[test]
fn a_mirrored_request_is_one_span() {
    let mut table = Table::start(exporter());
    let expected = Expected { attributes: &[("http.route", "mirrored")], ..SUCCESS };
    table.http1("mirrored", "GET /origin/mirrored", END, expected);
    let requests = wait::until("the request and its shadow", || {
        Some(table.proxy.origin.requests("/origin/mirrored")).filter(|requests| requests.len() == 2)
    })
    .unwrap();
    let (shadow, request) = if requests[0].header("host") == Some("shop") {
        (&requests[1], &requests[0])
    } else {
        (&requests[0], &requests[1])
    };
    assert_eq!((request.header("host"), shadow.header("host")), (Some("shop"), Some("shop-shadow")));
    for name in ["b3", "traceparent", "x-cloud-trace-context", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"]
    {
        assert_eq!(shadow.header(name), request.header(name), "{name}");
    }
    assert!(request.header("traceparent").is_some(), "{request:?}");
    table.check();
}

//! One request that goes out more than once.

use logtracer_tests::wait;

use super::{END, Expected, Lives, WELL, exporter};
use crate::{CALLER, TRACE};

/// Rule 61: Envoy sends the request through the filters once more, and logs both: the second is a child of the
/// first, and no new root.
#[test]
fn an_internal_redirect_is_two_spans_of_one_trace() {
    let lives = Lives::start(exporter());
    let mut connection = lives.connect();
    connection
        .send(format!("GET /origin/internal HTTP/1.1\r\nhost: shop\r\nb3: {TRACE}-{CALLER}-1\r\n\r\n"))
        .unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
    assert_eq!(lives.proxy.origin.requests("/origin/ok?from=internal"), 1);

    let traces = wait::try_until("both spans", || {
        let traces = lives.proxy.traces(&lives.collector, TRACE)?;
        Ok(Some(traces).filter(|traces| traces.spans.len() == 2 && traces.lines.len() == 2))
    })
    .unwrap();
    let span = |parent: &str| {
        let found = traces.spans.iter().find(|span| span.parent_span_id == parent);
        found.unwrap_or_else(|| panic!("nothing below {parent}: {:#?}", traces.spans))
    };
    let first = span(CALLER);
    assert_eq!(first.attributes["http.response.status_code"], 302);
    assert_eq!(span(&first.span_id).attributes["http.response.status_code"], 200);
}

/// Rule 61: a mirrored request is no request of its own; its headers are those of the one that counts.
#[test]
fn a_mirrored_request_is_one_span() {
    let mut lives = Lives::start(exporter());
    let expected = Expected { attributes: &[("http.route", "mirrored")], ..WELL };
    lives.http1("mirrored", "GET /origin/mirrored", END, expected);
    let seen = wait::until("the request and its shadow", || {
        Some(lives.proxy.origin.seen("/origin/mirrored")).filter(|seen| seen.len() == 2)
    })
    .unwrap();
    let (shadow, request) =
        if seen[0].header("host") == Some("shop") { (&seen[1], &seen[0]) } else { (&seen[0], &seen[1]) };
    assert_eq!((request.header("host"), shadow.header("host")), (Some("shop"), Some("shop-shadow")));
    for name in ["b3", "traceparent", "x-cloud-trace-context", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"]
    {
        assert_eq!(shadow.header(name), request.header(name), "{name}");
    }
    assert!(request.header("traceparent").is_some(), "{request:?}");
    lives.check();
}

//! Forwarded headers, and the fields of lines and spans.

use serde_json::{Value, json};

use super::{Keys, LABELS, shop};
use crate::{CALLER, TRACE, text, trace, values};

/// Rules 36, 42, 59, 70 and 83.
#[test]
fn forwarded_headers_and_logged_fields() {
    let keys = Keys::start(
        shop(),
        &[
            ("stripped", json!({ "propagation": { "strip_hosts": ["api.example.com", "*.partner.com"] } })),
            ("every-format", json!({ "propagation": { "inject": ["b3", "grpc-trace-bin"] } })),
            ("keep", json!({ "query": "keep" })),
            ("drop", json!({ "query": "drop" })),
            (
                "recorded",
                json!({
                    "request_headers": ["X-Tenant", "accept", "referer"],
                    "response_headers": ["x-answer", "content-type", "location"],
                    "response_header": "X-Trace-Id",
                }),
            ),
            ("client", json!({ "span_kind": "client" })),
            ("server", json!({ "span_kind": "server" })),
        ],
    );
    let b3 = |number| format!("{}-{CALLER}-1", trace(number));

    for (number, host, is_stripped) in [
        (1, "api.example.com", true),
        (2, "API.example.com:443", true),
        (3, "eu.api.partner.com", true),
        (4, "partner.com", false),
        (5, "shop", false),
    ] {
        let sent = b3(number);
        let w3c = format!("00-{}-{CALLER}-01", trace(number));
        let sent = [
            ("host", host),
            ("b3", sent.as_str()),
            ("traceparent", &w3c),
            ("tracestate", "a=1"),
            ("baggage", "user=7"),
        ];
        let done = keys.get("stripped", "/origin/ok", &sent);
        let known = [
            "b3",
            "x-b3-traceid",
            "x-b3-sampled",
            "traceparent",
            "tracestate",
            "x-cloud-trace-context",
            "baggage",
        ];
        let left: Vec<_> = done.names().into_iter().filter(|name| known.contains(name)).collect();
        assert_eq!(left.is_empty(), is_stripped, "{host}: {left:?}");
        keys.line_and_span(&trace(number)); // line and span are not affected
    }

    let sent = b3(10);
    let done = keys.get("every-format", "/origin/ok", &[("b3", &sent), ("x-b3-traceid", TRACE)]);
    let span_id = keys.line_and_span(&trace(10)).1.span_id;
    assert_eq!(done.value("b3"), format!("{}-{span_id}-1-{CALLER}", trace(10)));
    assert_eq!(done.value("grpc-trace-bin").len(), 39);
    assert!(!done.names().contains(&"x-b3-traceid") && !done.names().contains(&"traceparent"));

    for (number, listener, url, query, referer) in [
        (
            20,
            "server",
            "http://shop/origin/ok?a=REDACTED&REDACTED",
            "a=REDACTED&REDACTED",
            "http://x/?b=REDACTED",
        ),
        (21, "keep", "http://shop/origin/ok?a=1&token", "a=1&token", "http://x/?b=2"),
        (22, "drop", "http://shop/origin/ok", "-", "http://x/"),
    ] {
        let sent = b3(number);
        keys.get(listener, "/origin/ok?a=1&token", &[("b3", &sent), ("referer", "http://x/?b=2")]);
        let (line, span) = keys.line_and_span(&trace(number));
        assert_eq!(text(&line, "/httpRequest/requestUrl"), url);
        assert_eq!(text(&line, "/httpRequest/referer"), referer);
        let found = span.attributes.get("url.query").and_then(Value::as_str).unwrap_or("-");
        assert_eq!(found, query, "{listener}");
    }

    let sent = b3(30);
    let done =
        keys.get("recorded", "/origin/ok", &[("b3", &sent), ("x-tenant", "7"), ("cookie", "secret=1")]);
    assert_eq!(done.response.header("x-trace-id"), Some(trace(30).as_str()));
    let (line, span) = keys.line_and_span(&trace(30));
    let expected = [
        ("http.request.header.x-tenant", "7"),
        ("http.response.header.x-answer", "yes"),
        ("http.response.header.content-type", "application/json"),
    ];
    for (name, value) in expected {
        assert_eq!(span.attributes[name], json!([value]), "{span:?}");
        assert_eq!(line.pointer(LABELS).unwrap()[name], value, "{line}");
    }
    assert!(!span.attributes.contains_key("http.request.header.accept"));
    assert!(!line.to_string().contains("secret") && !format!("{span:?}").contains("secret"));

    // Every value of a header is logged. URLs are redacted as elsewhere.
    let sent = b3(33);
    // Envoy itself removes a referer that is an absolute URL with credentials or a fragment.
    let referer = "//me:hush@shop/cb?code=hush";
    let sent = [("b3", sent.as_str()), ("x-tenant", "7"), ("x-tenant", "8"), ("referer", referer)];
    let done = keys.get("recorded", "/origin/twice", &sent);
    assert_eq!(values(&done.response.headers, "x-trace-id"), [trace(33)]);
    let (line, span) = keys.line_and_span(&trace(33));
    let expected = [
        ("http.request.header.x-tenant", vec!["7", "8"]),
        ("http.request.header.referer", vec!["//shop/cb?code=REDACTED"]),
        ("http.response.header.x-answer", vec!["yes", "no"]),
        ("http.response.header.location", vec!["https://shop/other?token=REDACTED"]),
    ];
    for (name, values) in expected {
        assert_eq!(span.attributes[name], json!(values), "{span:?}");
        assert_eq!(line.pointer(LABELS).unwrap()[name], values.join(", "), "{line}");
    }
    assert_eq!(text(&line, "/httpRequest/referer"), "//shop/cb?code=REDACTED");
    assert!(!line.to_string().contains("hush") && !format!("{span:?}").contains("hush"), "{line} {span:?}");

    // The header is also in local replies of Envoy, except those of an earlier filter.
    for (number, path, status) in [(31, "/limited", 429), (32, "/nowhere", 404)] {
        let sent = b3(number);
        let done = keys.get("recorded", path, &[("b3", &sent)]);
        assert_eq!(done.response.status(), status);
        assert_eq!(done.response.header("x-trace-id"), Some(trace(number).as_str()), "{path}");
        keys.line_and_span(&trace(number));
    }

    for (number, listener, direction) in [(40, "client", "outbound"), (41, "server", "inbound")] {
        let sent = b3(number);
        keys.get(listener, "/origin/418", &[("b3", &sent)]);
        let (line, span) = keys.line_and_span(&trace(number));
        assert_eq!(span.kind, listener);
        assert_eq!(span.is_error, listener == "client"); // a 418 is the caller's fault
        assert_eq!(span.attributes.contains_key("url.full"), listener == "client");
        assert_eq!(span.attributes.contains_key("url.path"), listener == "server");
        assert_eq!(line.pointer(LABELS).unwrap()["direction"], direction);
    }
}

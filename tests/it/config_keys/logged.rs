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

/// The header of the caller in its other forms. `server-timing` keeps what the service reports.
#[test]
fn the_caller_gets_the_trace() {
    let keys = Keys::start(
        shop(),
        &[
            ("one", json!({ "response_header": "traceresponse" })),
            ("both", json!({ "response_header": ["X-Trace-Id", "server-timing"] })),
        ],
    );
    let b3 = |number| format!("{}-{CALLER}-1", trace(number));
    let done = keys.get("one", "/origin/ok", &[("b3", &b3(1))]);
    let span_id = keys.line_and_span(&trace(1)).1.span_id;
    assert_eq!(done.response.header("traceresponse"), Some(&*format!("00-{}-{span_id}-01", trace(1))));
    let done = keys.get("both", "/origin/ok", &[("b3", &format!("{}-{CALLER}-0", trace(2)))]);
    keys.line_only(&trace(2));
    let context = format!("00-{}-{}-00", trace(2), done.value("x-b3-spanid"));
    assert_eq!(done.response.header("x-trace-id"), Some(&*trace(2)));
    let timing = format!("traceparent;desc=\"{context}\"");
    assert_eq!(values(&done.response.headers, "server-timing"), [timing]);
}

/// A share of the lines, by trace id. Failed, aborted and slow requests have theirs, and the others are counted.
#[test]
fn a_share_of_the_lines() {
    let keys = Keys::start(
        shop(),
        &[
            ("half", json!({ "sampling": { "log_rate": 0.5, "keep_slower_than": "300ms" } })),
            ("other-half", json!({ "sampling": { "log_rate": 0.5 } })),
            (
                "rules",
                json!({ "sampling": { "log_rate": 0.0, "rules": [
                    { "path_prefix": "/origin/ok/all", "log": true },
                    { "path_prefix": "/origin/ok/half", "log": 0.5 },
                ] } }),
            ),
            ("marker", json!({})),
        ],
    );
    // The low 56 bits decide: a share has the highest.
    let id = |number: u64, is_high: bool| {
        let bits = if is_high { 0xff_ffff_ffff_ff00 + number } else { number };
        format!("463ac35c9f6413ad{:016x}", 0x4800_0000_0000_0000 | bits)
    };
    let mut skipped = 0;
    let mut number = 0;
    for (listener, path, inside, outside) in [
        ("half", "/origin/ok", Some("0.5"), None),
        ("other-half", "/origin/ok", Some("0.5"), None),
        ("half", "/origin/500", Some(""), Some("")),
        ("half", "/origin/slow", Some(""), Some("")),
        ("other-half", "/origin/slow", Some("0.5"), None),
        ("rules", "/origin/ok/all", Some(""), Some("")),
        ("rules", "/origin/ok/half", Some("0.5"), None),
        ("rules", "/origin/ok/none", None, None),
        ("rules", "/down", Some(""), Some("")),
    ] {
        for (is_high, expected) in [(true, inside), (false, outside)] {
            number += 1;
            let trace_id = id(number, is_high);
            keys.get(listener, path, &[("b3", &format!("{trace_id}-{CALLER}-1"))]);
            let Some(rate) = expected else {
                skipped += 1;
                continue;
            };
            let line = keys.line_only(&trace_id);
            let found = line.pointer(LABELS).unwrap()["log_rate"].as_str().unwrap_or_default().to_owned();
            assert_eq!(found, rate, "{listener} {path} {is_high}");
        }
    }
    keys.all_spans();
    let lines = logtracer_harness::lines::raw(keys.proxy.envoy.stdout()).unwrap();
    assert_eq!(lines.len() as u64, number - skipped + 1, "{lines:#?}");
    let count = || keys.proxy.envoy.stat(&logtracer_harness::shell::metric("lines_skipped")).unwrap();
    logtracer_harness::wait::until("the counter", || Some(()).filter(|()| count() == skipped)).unwrap();
}

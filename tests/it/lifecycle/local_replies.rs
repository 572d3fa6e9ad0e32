//! Local replies of Envoy: to requests that it does not forward, and for failed upstreams.

use logtracer_harness::collector::Collector;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{shell, wait};
use serde_json::json;

use super::{END, Expected, SUCCESS, Table, exporter};

/// Rules 53 and 54.
#[test]
fn local_replies() {
    let mut table = Table::start(exporter());

    table.http1(
        "a redirect of Envoy",
        "GET /moved",
        END,
        Expected {
            status: 301,
            message: " - 301 Moved Permanently",
            attributes: &[
                ("http.route", "moved"),
                ("upstream_cluster", "-"),
                ("response_code_details", "direct_response"),
            ],
            labels: &[("route", "moved")],
            ..SUCCESS
        },
    );
    table.http1(
        "a direct response of Envoy",
        "GET /limited",
        END,
        Expected {
            status: 429,
            severity: "WARNING",
            message: " - 429 Too Many Requests",
            attributes: &[("http.route", "limited")],
            ..SUCCESS
        },
    );
    // The filter sees only the end of this request.
    table.http1(
        "an earlier filter responds",
        "GET /forbidden?x=1",
        "user-agent: lynx\r\n\r\n",
        Expected {
            status: 403,
            severity: "WARNING",
            message: " - GET - http://shop/forbidden?x=REDACTED - 403 Forbidden",
            attributes: &[
                ("url.path", "/forbidden"),
                ("user_agent.original", "lynx"),
                ("response_code_details", "rbac_access_denied*"),
            ],
            ..SUCCESS
        },
    );
    table.http1(
        "no route",
        "GET /nowhere",
        END,
        Expected {
            status: 404,
            severity: "WARNING",
            message: " - 404 Not Found",
            attributes: &[("response_flags", "NR"), ("response_code_details", "route_not_found")],
            labels: &[("response_flags", "NR")],
            ..SUCCESS
        },
    );
    table.http1(
        "the upstream is down",
        "GET /down",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UF"), ("upstream_cluster", "down")],
            labels: &[("response_flags", "UF")],
            ..SUCCESS
        },
    );
    table.http1(
        "the upstream closes the connection",
        "GET /origin/reset",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UC")],
            ..SUCCESS
        },
    );
    table.http1(
        "two retries",
        "GET /origin/retry",
        END,
        Expected {
            attributes: &[("upstream_request_attempt_count", "3"), ("http.route", "retried")],
            ..SUCCESS
        },
    );
    assert_eq!(table.proxy.origin.request_count("/origin/retry"), 3);
    table.check();
}

/// An overloaded Envoy bypasses its filters, so these requests have no line.
#[test]
fn an_overloaded_envoy_bypasses_the_filter() {
    let collector = Collector::start().unwrap();
    let node = json!({ "id": "n", "cluster": "shop" });
    let listener = Listener::new("inbound", exporter());
    let proxy = Proxy::start_overloaded(node, &[listener], collector.port()).unwrap();
    wait::until("an overloaded response", || {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        connection.send("GET /limited HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        Some(()).filter(|()| connection.response().unwrap().status() == 503)
    })
    .unwrap();
    let pattern = "http.inbound.downstream_rq_(completed|overload_close)|logtracer_lines";
    wait::until("a line for each request except the rejected one", || {
        let counts = proxy.envoy.stats(pattern).unwrap();
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        let rejected = count("http.inbound.downstream_rq_overload_close");
        let filtered = count("http.inbound.downstream_rq_completed") - rejected;
        Some(()).filter(|()| rejected == 1 && count(&shell::metric("lines")) == filtered)
    })
    .unwrap();
}

/// Rule 54: invalid HTTP has a line without a method and a URL.
#[test]
fn invalid_requests_have_a_line() {
    let table = Table::start(exporter());
    let heads: [&[u8]; 3] = [
        b"GET /origin/ok HTTP/1.1\r\nhost: shop\r\nbad name: x\r\n\r\n",
        b"GET /origin/\xff\xfe HTTP/1.1\r\nhost: shop\r\n\r\n",
        b"\x16\x03\x01 is how TLS begins\r\n\r\n",
    ];
    for head in heads {
        let mut connection = table.connect();
        connection.send(head).unwrap();
        assert_eq!(connection.response().unwrap().status(), 400);
    }
    let lines = table.proxy.envoy.lines(heads.len()).unwrap();
    for line in &lines {
        assert_eq!(line["message"], "shop - 400 Bad Request", "{line}");
        assert_eq!(line["severity"], "WARNING", "{line}");
        assert_eq!(line["logging.googleapis.com/labels"]["response_flags"], "DPE", "{line}");
        let request = line["httpRequest"].as_object().unwrap();
        assert!(!request.contains_key("requestMethod") && !request.contains_key("requestUrl"), "{line}");
    }
    assert_eq!(lines.len(), heads.len());
}

//! Envoy's own answers: to what it does not forward, and for an upstream that does not answer.

use logtracer_tests::collector::Collector;
use logtracer_tests::proxy::{Listener, Proxy};
use logtracer_tests::wait;
use logtracer_tests::wire::Connection;
use serde_json::json;

use super::{END, Expected, Lives, WELL, exporter};

/// Rules 53 and 54.
#[test]
fn answers_of_envoy() {
    let mut lives = Lives::start(exporter());

    lives.http1(
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
            ..WELL
        },
    );
    lives.http1(
        "an answer of Envoy",
        "GET /limited",
        END,
        Expected {
            status: 429,
            severity: "WARNING",
            message: " - 429 Too Many Requests",
            attributes: &[("http.route", "limited")],
            ..WELL
        },
    );
    // The filter hears of this request only when it is over.
    lives.http1(
        "an earlier filter answers",
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
            ..WELL
        },
    );
    lives.http1(
        "no route",
        "GET /nowhere",
        END,
        Expected {
            status: 404,
            severity: "WARNING",
            message: " - 404 Not Found",
            attributes: &[("response_flags", "NR"), ("response_code_details", "route_not_found")],
            labels: &[("response_flags", "NR")],
            ..WELL
        },
    );
    lives.http1(
        "nobody listens upstream",
        "GET /down",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UF"), ("upstream_cluster", "down")],
            labels: &[("response_flags", "UF")],
            ..WELL
        },
    );
    lives.http1(
        "the upstream cuts the connection",
        "GET /origin/reset",
        END,
        Expected {
            status: 503,
            severity: "ERROR",
            message: " - 503 Service Unavailable",
            is_error: true,
            attributes: &[("response_flags", "UC")],
            ..WELL
        },
    );
    lives.http1(
        "two retries",
        "GET /origin/retry",
        END,
        Expected {
            attributes: &[("upstream_request_attempt_count", "3"), ("http.route", "retried")],
            ..WELL
        },
    );
    assert_eq!(lives.proxy.origin.requests("/origin/retry"), 3);

    broken_in_the_middle(&mut lives);
    lives.check();
}

/// The status was sent, and stays; the flags and the details tell what happened then.
fn broken_in_the_middle(lives: &mut Lives) {
    let expected = Expected {
        attributes: &[("response_flags", "U*"), ("response_code_details", "upstream_reset*")],
        ..WELL
    };
    let name = "the upstream cuts the connection in the middle of a response";
    let mut connection = lives.begin(name, "GET /origin/cut-in-half", END, expected);
    assert_eq!(connection.response_head().unwrap().status(), 200);
    assert_eq!(connection.rest(), b"0123456789");
}

/// An Envoy without memory to spare asks no filter, and so has no line of this one.
#[test]
fn an_overloaded_envoy_asks_no_filter() {
    let collector = Collector::start().unwrap();
    let node = json!({ "id": "n", "cluster": "shop" });
    let listener = Listener::new("inbound", exporter());
    let proxy = Proxy::start_overloaded(node, &[listener], collector.port()).unwrap();
    wait::until("a refusal", || {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        connection.send("GET /limited HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        Some(()).filter(|()| connection.response().unwrap().status() == 503)
    })
    .unwrap();
    let pattern = "http.inbound.downstream_rq_(completed|overload_close)|logtracer_lines";
    wait::until("a line for each request but the refused one", || {
        let counts = proxy.envoy.stats(pattern).unwrap();
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        let refused = count("http.inbound.downstream_rq_overload_close");
        let asked = count("http.inbound.downstream_rq_completed") - refused;
        Some(()).filter(|()| refused == 1 && count("wasmcustom.logtracer_lines") == asked)
    })
    .unwrap();
}

/// Rule 54: what is no HTTP, or not allowed in it, has a line without a method and a URL.
#[test]
fn what_is_no_request_has_a_line() {
    let lives = Lives::start(exporter());
    let heads: [&[u8]; 3] = [
        b"GET /origin/ok HTTP/1.1\r\nhost: shop\r\nbad name: x\r\n\r\n",
        b"GET /origin/\xff\xfe HTTP/1.1\r\nhost: shop\r\n\r\n",
        b"\x16\x03\x01 is how TLS begins\r\n\r\n",
    ];
    for head in heads {
        let mut connection = lives.connect();
        connection.send(head).unwrap();
        assert_eq!(connection.response().unwrap().status(), 400);
    }
    let lines = lives.proxy.envoy.lines(heads.len()).unwrap();
    for line in &lines {
        assert_eq!(line["message"], "shop - 400 Bad Request", "{line}");
        assert_eq!(line["severity"], "WARNING", "{line}");
        assert_eq!(line["logging.googleapis.com/labels"]["response_flags"], "DPE", "{line}");
        let request = line["httpRequest"].as_object().unwrap();
        assert!(!request.contains_key("requestMethod") && !request.contains_key("requestUrl"), "{line}");
    }
    assert_eq!(lines.len(), heads.len());
}

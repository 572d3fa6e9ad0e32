//! Envoy's own answers: to what it does not forward, and for an upstream that does not answer.

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

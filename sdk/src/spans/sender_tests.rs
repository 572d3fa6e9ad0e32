//! What happens with spans for each kind of response: the counters, the lines and the result of a flush.

use std::io::Read;
use std::time::{Duration, Instant};

use super::SpanExport;
use super::test_receiver::{Export, LONG, OK, Receiver, Reply};

/// The timeout of an attempt without a response.
const SHORT: Duration = Duration::from_millis(150);
/// Time for several attempts, also on a machine that is busy.
const RETRY_TIME: Duration = Duration::from_millis(700);

/// A `google.rpc.Status` with the message `no name` and a line break.
const STATUS: &[u8] = b"\x08\x03\x12\x08no\nname\n";
/// A partial success: one rejected span, `no name`.
const PARTIAL: &[u8] = b"\x0a\x0b\x08\x01\x12\x07no name";
/// A warning: no rejected span, `slow down`.
const WARNING: &[u8] = b"\x0a\x0b\x12\x09slow down";

const PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];
const LOCATION: &[(&str, &str)] = &[("location", "http://127.0.0.1:1/login?token=secret")];

/// How often a request is sent.
#[derive(Debug, PartialEq)]
enum Attempts {
    One,
    Many,
}

/// Sends two spans to a receiver with this reply.
#[track_caller]
fn check(reply: Reply, attempts: Attempts, loss: &str, retry_line: Option<&str>) {
    let receiver = Receiver::new(std::slice::from_ref(&reply));
    let url = receiver.serve();
    let authority = url.trim_start_matches("http://").to_owned();
    // An attempt without a response takes all the time.
    let (timeout, retry_time) =
        if matches!(reply, Reply::Silence) { (SHORT, SHORT) } else { (LONG, RETRY_TIME) };
    let export = Export::start(SpanExport::new("shop", url).timeout(timeout), retry_time);
    export.end_spans(&["one", "two"]);
    let loss = loss.replace("ADDRESS", &authority);
    let expected = if loss.is_empty() { String::new() } else { format!("dropped spans: {loss}") };
    assert_eq!(export.flush(), expected);
    // Nothing was lost since then.
    assert_eq!(export.flush(), "");
    let (dropped, messages) = export.end();
    let expected: Vec<String> =
        retry_line.map(str::to_owned).into_iter().chain((!expected.is_empty()).then_some(expected)).collect();
    assert_eq!(messages, expected);
    let (numbers, _) = loss.split_once(';').unwrap_or(("none", ""));
    assert_eq!(dropped.to_string(), numbers);
    let requests = receiver.received();
    let expected = if requests.len() == 1 { Attempts::One } else { Attempts::Many };
    assert_eq!(expected, attempts);
    assert!(requests.iter().all(|request| request.names() == ["one", "two"]));
}

#[test]
fn a_wrong_token_is_retried() {
    for status in [401, 403] {
        let (reply, error) = match status {
            401 => (Reply::Status(401, TEXT, b"no token"), "401 Unauthorized: no token"),
            _ => (Reply::Status(403, &[], b""), "403 Forbidden"),
        };
        let loss = format!("2 unauthorized; last error: {error}");
        let line = format!("retrying to send spans: {error}");
        check(reply, Attempts::Many, &loss, Some(&line));
    }
}

#[test]
fn a_wrong_endpoint_is_retried() {
    let error = "404 Not Found: page\\tnot found";
    let loss = format!("2 wrong endpoint; last error: {error}");
    let line = format!("retrying to send spans: {error}");
    check(Reply::Status(404, TEXT, b"page\tnot found"), Attempts::Many, &loss, Some(&line));
}

#[test]
fn a_body_that_is_not_otlp() {
    let error = "the response is not OTLP: 200 OK: <html>";
    let loss = format!("2 wrong endpoint; last error: {error}");
    let line = format!("retrying to send spans: {error}");
    for headers in [HTML, PROTOBUF, &[]] {
        check(Reply::Status(200, headers, b"<html>"), Attempts::Many, &loss, Some(&line));
    }
}

#[test]
fn a_bad_request_is_not_retried() {
    let loss = "2 rejected; last error: 400 Bad Request: no\\nname";
    check(Reply::Status(400, PROTOBUF, STATUS), Attempts::One, loss, None);
}

#[test]
fn a_redirect_is_not_followed() {
    let loss = "2 redirected; last error: 302 Found to http://127.0.0.1:1/login?token=REDACTED";
    check(Reply::Status(302, LOCATION, b""), Attempts::One, loss, None);
}

#[test]
fn a_partial_success_is_not_retried() {
    let loss = "1 rejected; last error: partial success: no name";
    check(Reply::Status(200, PROTOBUF, PARTIAL), Attempts::One, loss, None);
}

#[test]
fn a_warning_is_logged() {
    let line = "sent spans with a warning: slow down";
    check(Reply::Status(200, PROTOBUF, WARNING), Attempts::One, "", Some(line));
}

#[test]
fn an_unavailable_exporter_is_retried() {
    let loss = "2 unavailable; last error: 500 Internal Server Error";
    check(Reply::Status(500, &[], b""), Attempts::Many, loss, None);
}

#[test]
fn no_response() {
    let loss = "2 unreachable; last error: no response from ADDRESS within 150ms";
    check(Reply::Silence, Attempts::One, loss, None);
}

/// A listener that closes each connection, or none at all.
#[test]
fn no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The request is read, so that the connection is closed and not reset.
            let _ = stream.unwrap().read(&mut [0; 4096]);
        }
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, expected) in [
        (address, format!("no response from {address}: ")),
        (free, format!("cannot connect to {free}: Connection refused")),
    ] {
        let export = Export::start(SpanExport::new("shop", format!("http://{address}")), SHORT);
        export.end_spans(&["lost"]);
        let start = format!("dropped spans: 1 unreachable; last error: {expected}");
        let error = export.flush();
        assert!(error.starts_with(&start), "{error}");
        let (dropped, messages) = export.end();
        assert_eq!((dropped.to_string().as_str(), messages.as_slice()), ("1 unreachable", &[error][..]));
    }
}

#[test]
fn a_later_attempt_succeeds() {
    for status in [401, 403, 404, 408, 429, 500, 502, 503, 504] {
        let receiver = Receiver::new(&[Reply::Status(status, &[], b""), OK]);
        let export = Export::start(SpanExport::new("shop", receiver.serve()), LONG);
        export.end_spans(&["one"]);
        assert_eq!(export.flush(), "", "{status}");
        let (dropped, _) = export.end();
        assert_eq!((dropped.total(), receiver.received().len()), (0, 2), "{status}");
    }
}

/// A flush makes one earlier attempt. Then the receiver gets the time that it has asked for.
#[test]
fn a_flush_respects_retry_after() {
    let receiver = Receiver::new(&[Reply::Status(429, &[("retry-after", "30")], b"")]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), LONG);
    export.end_spans(&["one"]);
    let error = export.queue.flush(Duration::from_millis(400)).unwrap_err();
    assert_eq!((error.dropped().total(), error.waiting()), (0, 1));
    let attempts = receiver.received().len();
    assert!((1..=2).contains(&attempts), "{attempts}");
}

/// `Retry-After: 0` is not a reason to send without a pause.
#[test]
fn retry_after_zero_backs_off() {
    let receiver = Receiver::new(&[Reply::Status(503, &[("retry-after", "0")], b"")]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), RETRY_TIME);
    export.end_spans(&["one"]);
    let start = Instant::now();
    while export.queue.losses.counts().is_empty() {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
    // The longest back-off is 20 ms, half of it at least.
    let attempts = receiver.received().len();
    assert!(attempts < 90, "{attempts}");
}

/// Without a limit of an attempt and without a retry time, there is one attempt, and it has time.
#[test]
fn no_timeout_and_no_retry_time() {
    let receiver = Receiver::new(&[OK]);
    let mut export = SpanExport::new("shop", receiver.serve()).max_retry_time(Duration::ZERO);
    export.timeout = None;
    let export = Export::start(export, Duration::ZERO);
    export.end_spans(&["one"]);
    assert_eq!(export.flush(), "");
    assert_eq!(export.end().0.total(), 0);
}

/// Spans that end all the time do not keep a flush from returning.
#[test]
fn a_flush_of_a_busy_service() {
    let receiver = Receiver::new(&[OK]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), LONG);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                export.end_spans(&["busy"]);
                std::thread::yield_now();
            }
        });
        for _ in 0..3 {
            export.end_spans(&["one"]);
            assert_eq!(export.flush(), "");
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// The receiver takes three spans at once, or none that are longer than 300 bytes.
#[test]
fn a_request_that_is_too_large_is_halved() {
    let names: Vec<String> = (0..20).map(|number| format!("span {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let receiver = Receiver::new(&[Reply::MaxSpans(3)]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), LONG);
    export.end_spans(&names);
    assert_eq!(export.flush(), "");
    let received = receiver.received();
    let accepted = received.iter().map(|request| request.names()).filter(|names| names.len() <= 3);
    assert_eq!(accepted.flatten().collect::<Vec<_>>(), names);
    assert_eq!(export.end().0.total(), 0);

    let receiver = Receiver::new(&[Reply::MaxBytes(300)]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), LONG);
    let long = "long ".repeat(100);
    export.end_spans(&["before", &long, "after"]);
    assert_eq!(export.flush(), "dropped spans: 1 too large; last error: 413 Payload Too Large");
    let received = receiver.received();
    let accepted =
        received.iter().map(|request| request.names()).filter(|names| !names.contains(&long.as_str()));
    assert_eq!(accepted.flatten().collect::<Vec<_>>(), ["before", "after"]);
}

/// The first loss is logged at once, the others in one line an interval, or at the end.
#[test]
fn losses_are_logged_once_an_interval() {
    let receiver = Receiver::new(&[Reply::Status(400, &[], b"")]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()), SHORT);
    let line = |number| format!("dropped spans: {number} rejected; last error: 400 Bad Request");
    for number in 0..4 {
        export.end_spans(&["one"]);
        assert_eq!(export.flush(), line(1));
        let start = Instant::now();
        while number == 0 && export.messages().is_empty() {
            assert!(start.elapsed() < LONG);
            std::thread::yield_now();
        }
        assert_eq!(export.messages(), [line(1)]);
    }
    let (dropped, messages) = export.end();
    assert_eq!((dropped.total(), messages), (4, vec![line(1), line(3)]));
}

/// If the exporter is unreachable, the batch is dropped.
#[test]
fn a_flush_without_timeout_ends() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let export = Export::start(SpanExport::new("shop", format!("http://{free}")), SHORT);
    export.end_spans(&["one"]);
    let error = export.queue.flush(Duration::MAX).unwrap_err();
    assert_eq!((error.dropped().total(), error.waiting()), (1, 0));
}

#[test]
fn headers_tokens_and_resources() {
    let folder = std::env::temp_dir().join(format!("logtracer-token-{}", std::process::id()));
    std::fs::write(&folder, "\n first-token \nsecond-token\n").unwrap();
    let echo = Reply::Status(401, TEXT, b"unknown token first-token of open sesame");
    let receiver = Receiver::new(&[echo, OK]);
    let export = SpanExport::new("shop", format!("{}/?tenant=7", receiver.serve()))
        .header("x-api-key", "open sesame")
        .header("content-type", "text/plain")
        .token_file(&folder)
        .resource_attribute("service.version", "1.2")
        .resource_attribute("replicas", 3);
    let debug = format!("{export:?}");
    assert!(!debug.contains("sesame") && !debug.contains("first-token"), "{debug}");
    let export = Export::start(export, LONG);
    export.end_spans(&["one"]);
    assert_eq!(export.flush(), "");
    std::fs::write(&folder, "second-token").unwrap();
    export.end_spans(&["two"]);
    assert_eq!(export.flush(), "");
    std::fs::remove_file(&folder).unwrap();
    let (_, messages) = export.end();
    assert_eq!(messages, ["retrying to send spans: 401 Unauthorized: unknown token REDACTED of REDACTED"]);

    let received = receiver.received();
    let tokens: Vec<_> =
        received.iter().map(|request| request.headers["authorization"].to_str().unwrap()).collect();
    assert_eq!(tokens, ["Bearer first-token", "Bearer first-token", "Bearer second-token"]);
    for request in &received {
        assert_eq!(request.uri, "/v1/traces?tenant=7");
        assert_eq!(request.headers["x-api-key"], "open sesame");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        let attributes = &request.request.resource_spans[0].resource.as_ref().unwrap().attributes;
        let keys: Vec<_> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["service.name", "service.version", "replicas"]);
    }
}

/// A file that vanishes is an error of the configuration: its spans wait.
#[test]
fn a_missing_token_file() {
    let path = std::env::temp_dir().join(format!("logtracer-missing-token-{}", std::process::id()));
    let missing = SpanExport::new("shop", "http://127.0.0.1:1").token_file(&path);
    let error = missing.transport().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read the token file {}: ", path.display())), "{error}");
    for empty in ["", " \n", "to\u{7f}ken"] {
        std::fs::write(&path, empty).unwrap();
        let error = missing.transport().unwrap_err().to_string();
        assert!(error.ends_with("expected a token in its first line"), "{error}");
    }
    std::fs::write(&path, "token").unwrap();
    let receiver = Receiver::new(&[OK]);
    let export = Export::start(SpanExport::new("shop", receiver.serve()).token_file(&path), SHORT);
    std::fs::remove_file(&path).unwrap();
    export.end_spans(&["one"]);
    let start = format!(
        "dropped spans: 1 unauthorized; last error: cannot read the token file {}: No such file",
        path.display()
    );
    let error = export.flush();
    assert!(error.starts_with(&start), "{error}");
    assert!(receiver.received().is_empty());
}

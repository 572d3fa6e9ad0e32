//! The proxy's lines on stdout: one JSON object for each request. `lifecycle` tests the lines of failed requests.

use logtracer_harness::hop::Hop;
use serde_json::{Value, json};

use crate::{NONE, TRACE, header, text, values};

const B3: &str = "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1";

#[test]
fn a_line_for_cloud_logging() {
    let hop = Hop::start(json!({ "project_id": "p", "service_name": "shop" })).unwrap();
    let sent = [header("b3", B3), header("user-agent", "lynx/2.9"), header("referer", "http://example.com/")];
    let at_service = hop_headers(&hop, "/echo/a?card=4242", sent);

    let line = &hop.envoy.lines(1).unwrap()[0];
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["logging.googleapis.com/trace"], format!("projects/p/traces/{TRACE}"));
    assert_eq!(line["logging.googleapis.com/spanId"], values(&at_service, "x-b3-spanid")[0]);
    assert_eq!(line["logging.googleapis.com/trace_sampled"], true);

    let message = text(line, "/message");
    assert!(message.starts_with("shop - GET - ") && message.ends_with(" - 200 OK"), "{message}");
    let time = text(line, "/time");
    assert!(time.len() > 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");

    let request = &line["httpRequest"];
    assert_eq!(request["requestMethod"], "GET");
    assert_eq!(request["status"], 200);
    assert_eq!(request["userAgent"], "lynx/2.9");
    assert_eq!(request["referer"], "http://example.com/");
    assert_eq!(request["protocol"], "HTTP/1.1");
    let url = text(request, "/requestUrl");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/echo/a?card=REDACTED"), "{url}");
    assert!(text(request, "/remoteIp").starts_with("127.0.0.1"));
    assert!(text(request, "/responseSize").parse::<u64>().unwrap() > 0);
    assert!(text(request, "/requestSize").parse::<u64>().unwrap() > 0);
    let latency = text(request, "/latency").strip_suffix('s').unwrap();
    assert!(latency.parse::<f64>().unwrap() > 0.0, "{latency}");
}

#[test]
fn a_line_in_the_local_format() {
    let hop = Hop::start(json!({ "log_format": "local", "service_name": "shop" })).unwrap();
    hop.echo([header("b3", B3)]).unwrap();

    let line = &hop.envoy.lines(1).unwrap()[0];
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["trace"], TRACE);
    assert_eq!(text(line, "/spanId").len(), 16);
    assert_eq!(line["traceSampled"], true);
    assert_eq!(line["httpRequest"]["status"], 200);
    let google = |key: &String| key.starts_with("logging.googleapis.com");
    assert!(!line.as_object().unwrap().keys().any(google), "{line}");
}

#[test]
fn without_a_project_the_trace_has_no_path() {
    let hop = Hop::start(json!({})).unwrap();
    hop.echo([header("b3", B3)]).unwrap();
    assert_eq!(hop.envoy.lines(1).unwrap()[0]["logging.googleapis.com/trace"], TRACE);
}

#[test]
fn nothing_in_a_request_breaks_the_line() {
    let hop = Hop::start(json!({ "query": "keep" })).unwrap();
    let nasty: [&[u8]; 4] =
        [b"\"}\\\" , \"severity\":\"ALERT", b"\xff\xfe\x80", "häß 💥".as_bytes(), &[b'x'; 20_000]];
    for agent in nasty {
        assert_eq!(hop.get("/echo/%22?q=%0A\"<", [("user-agent", agent)]).unwrap().status(), 200);
    }

    let lines = hop.envoy.lines(nasty.len()).unwrap(); // parses each line
    assert_eq!(lines[0]["severity"], "INFO");
    assert_eq!(lines[0]["httpRequest"]["userAgent"], "\"}\\\" , \"severity\":\"ALERT");
    assert_eq!(lines[2]["httpRequest"]["userAgent"], "häß 💥");
    assert!(lines[3].to_string().len() < 16_000, "{} bytes", lines[3].to_string().len());
}

#[test]
fn log_format_off_prints_nothing() {
    let hop = Hop::start(json!({ "log_format": "off" })).unwrap();
    let headers = hop.echo(NONE).unwrap();
    assert_eq!(values(&headers, "x-b3-traceid").len(), 1);

    assert_eq!(hop.stop().unwrap(), Vec::<Value>::new());
}

/// Sends a request to a path and returns the headers that the service received.
fn hop_headers<'a>(
    hop: &Hop,
    path: &str,
    sent: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Vec<(String, String)> {
    let answer: Value = hop.get(path, sent).unwrap().json().unwrap();
    serde_json::from_value(answer["headers"].clone()).unwrap()
}

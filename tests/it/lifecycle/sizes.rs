//! Sizes of requests and responses: the bytes of headers and body, without separators. The size of a request has the
//! headers that the caller sent, and not what the proxy adds.

use logtracer_harness::wire::Message;

use super::{END, Expected, SUCCESS, Table, exporter};
use crate::CALLER;

/// Rule 58: a response without a body has the size of its headers, with any `content-length`.
#[test]
fn sizes_are_those_of_headers_and_body() {
    let mut table = Table::start(exporter());
    let no_content = Expected { status: 204, message: " - 204 No Content", ..SUCCESS };
    let with_body = "content-length: 5\r\n\r\nhello";
    let not_modified = Expected { status: 304, message: " - 304 Not Modified", ..SUCCESS };
    for (name, method, path, rest, expected) in [
        ("with a body", "GET", "/origin/ok/1", END, SUCCESS),
        ("HEAD", "HEAD", "/origin/head", END, Expected { method: "HEAD", ..SUCCESS }),
        ("204", "GET", "/origin/204", END, no_content),
        ("304", "GET", "/origin/304", END, not_modified),
        ("both with bodies", "POST", "/origin/ok/2", with_body, Expected { method: "POST", ..SUCCESS }),
    ] {
        let response = table.http1(name, &format!("{method} {path}"), rest, expected);
        let case = table.cases.last().unwrap();
        let telemetry = table.proxy.telemetry(&table.collector, &case.trace_id).unwrap();
        let size =
            |key: &str| telemetry.lines[0]["httpRequest"][key].as_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(size("responseSize"), response_size(&response), "{name}: {response:?}");
        let [request] = &table.proxy.origin.requests(path)[..] else { panic!("{name}") };
        assert_eq!(size("requestSize"), sent_size(request, &case.trace_id), "{name}: {request:?}");
    }
    table.check();
}

fn response_size(response: &Message) -> usize {
    ":status".len() + "200".len() + headers_size(response) + response.body.len()
}

/// Returns the size of a request as its caller sent it: the headers of [`Table::begin`] and its `content-length`.
fn sent_size(received: &Message, trace_id: &str) -> usize {
    let b3 = format!("b3{trace_id}-{CALLER}-1");
    let content_length =
        received.header("content-length").map_or(0, |value| "content-length".len() + value.len());
    ":method:path:scheme:authority".len()
        + received.method().len()
        + received.path().len()
        + "http".len()
        + "shop".len()
        + b3.len()
        + content_length
        + received.body.len()
}

fn headers_size(message: &Message) -> usize {
    message.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

//! Sizes, counted as they were on the wire without what only the wire needs.

use logtracer_tests::wire::Message;

use super::{END, Expected, Lives, WELL, exporter};

/// Rule 58: a response without a body has the size of its headers, whatever it says of its length.
#[test]
fn sizes_are_those_of_headers_and_body() {
    let mut lives = Lives::start(exporter());
    let no_content = Expected { status: 204, message: " - 204 No Content", ..WELL };
    let with_body = "content-length: 5\r\n\r\nhello";
    let not_modified = Expected { status: 304, message: " - 304 Not Modified", ..WELL };
    for (name, method, path, rest, expected) in [
        ("with a body", "GET", "/origin/ok/1", END, WELL),
        ("HEAD", "HEAD", "/origin/head", END, Expected { method: "HEAD", ..WELL }),
        ("204", "GET", "/origin/204", END, no_content),
        ("304", "GET", "/origin/304", END, not_modified),
        ("both with bodies", "POST", "/origin/ok/2", with_body, Expected { method: "POST", ..WELL }),
    ] {
        let response = lives.http1(name, &format!("{method} {path}"), rest, expected);
        let case = lives.cases.last().unwrap();
        let traces = lives.proxy.traces(&lives.collector, &case.trace_id).unwrap();
        let size =
            |key: &str| traces.lines[0]["httpRequest"][key].as_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(size("responseSize"), response_size(&response), "{name}: {response:?}");
        let [request] = &lives.proxy.origin.seen(path)[..] else { panic!("{name}") };
        assert_eq!(size("requestSize"), request_size(request), "{name}: {request:?}");
    }
    lives.check();
}

fn response_size(response: &Message) -> usize {
    ":status".len() + "200".len() + headers_size(response) + response.body.len()
}

fn request_size(request: &Message) -> usize {
    let pseudo = ":method:path:scheme:authority".len() - "host".len();
    pseudo
        + request.method().len()
        + request.path().len()
        + "http".len()
        + headers_size(request)
        + request.body.len()
}

fn headers_size(message: &Message) -> usize {
    message.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

//! HTTP/2, and its frames by hand.

use http::Request;
use logtracer_harness::http2::Http2;

use super::{Expected, SUCCESS, Table, exporter};

/// Returns the connection preface.
pub(super) fn preface() -> Vec<u8> {
    const SETTINGS: u8 = 4;
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, b"")[..]].concat()
}

/// Returns the frame of a GET, with a path that no library would send.
pub(super) fn get(stream: u32, path: &[u8], b3: &str) -> Vec<u8> {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 0x1;
    const END_HEADERS: u8 = 0x4;
    let fields: [(&str, &[u8]); 5] = [
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", b"shop"),
        (":path", path),
        ("b3", b3.as_bytes()),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0); // a literal without indexing
        for text in [name.as_bytes(), value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text);
        }
    }
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Rule 58.
#[test]
fn over_http_2() {
    let mut table = Table::start(exporter());
    let http2 = Http2::open(table.proxy.address("inbound")).unwrap();
    let expected = Expected { protocol: "HTTP/2", ..SUCCESS };

    let b3 = table.case("success", expected);
    let request = Request::get("http://shop/origin/ok").header("b3", b3).body(()).unwrap();
    let response = http2.send(request, b"").unwrap();
    assert_eq!((response.status, response.headers.contains_key("x-answer")), (200, true));

    let b3 = table.case("a body in frames", Expected { method: "POST", ..expected });
    let request = Request::post("http://shop/origin/ok").header("b3", b3).body(()).unwrap();
    assert_eq!(http2.send_frames(request, &[b"he", b"llo"]).unwrap().status, 200);
    table.check();
}

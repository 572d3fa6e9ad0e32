//! gRPC: status codes, status messages and content types.
//!
//! <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>

use core::time::Duration;

/// The maximum length of a status message, in decoded bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// The code of a successful call.
pub const OK: u32 = 0;
/// The code of a call that the client cancelled.
pub const CANCELLED: u32 = 1;
/// The code of an error that no other code describes.
pub const UNKNOWN: u32 = 2;
/// The code of a call that exceeded its time limit.
pub const DEADLINE_EXCEEDED: u32 = 4;
/// The code of a method that the server does not have.
pub const UNIMPLEMENTED: u32 = 12;
/// The code of a call to a server that cannot be reached.
pub const UNAVAILABLE: u32 = 14;

/// Returns the name of a code. Other numbers are `UNKNOWN`, as the specification requires.
pub const fn name(code: u32) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

/// Returns true for errors of the server in the semantic conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
/// INTERNAL, UNAVAILABLE and DATA_LOSS. Unknown codes count as UNKNOWN.
pub const fn is_server_error(code: u32) -> bool {
    matches!(code, UNKNOWN | 4 | 12 | 13 | 14 | 15) || code > 16
}

/// Returns the code of a response without `grpc-status`.
///
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
pub const fn from_http_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

/// Returns the time limit of a call from its `grpc-timeout`: at most eight digits and a unit.
///
/// ```
/// use core::time::Duration;
/// use logtracer_core::request::grpc::parse_timeout;
///
/// assert_eq!(parse_timeout(b"250m"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_timeout(b"2S"), Some(Duration::from_secs(2)));
/// assert_eq!(parse_timeout(b"2"), None);
/// ```
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !matches!(digits.len(), 1..=8) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Appends a percent-decoded `grpc-message`, truncated to [`MAX_MESSAGE_BYTES`] at a character boundary.
///
/// Invalid percent-encoding is copied unchanged: the specification forbids dropping the message.
/// The result may not be UTF-8.
///
/// ```
/// use logtracer_core::request::grpc::write_message;
///
/// let mut out = Vec::new();
/// write_message(&mut out, b"caf%C3%A9 is 100% closed");
/// assert_eq!(out, "café is 100% closed".as_bytes());
/// ```
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>
pub fn write_message(out: &mut Vec<u8>, mut encoded: &[u8]) {
    let start = out.len();
    while let Some((byte, rest)) = next_decoded(encoded) {
        if out.len() - start == MAX_MESSAGE_BYTES {
            // Remove a character that the limit splits. The next byte would continue it.
            if is_continuation(byte) {
                while out.len() > start && out.pop().is_some_and(is_continuation) {}
            }
            return;
        }
        out.push(byte);
        encoded = rest;
    }
}

fn next_decoded(encoded: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = encoded {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
            return Some(((high * 16 + low) as u8, rest));
        }
    }
    encoded.split_first().map(|(&byte, rest)| (byte, rest))
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Returns true for the content types of gRPC and its variants (`application/grpc+proto`, `application/grpc-web`, …).
pub fn is_content_type(value: &[u8]) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    starts_with(value, PREFIX) && matches!(value.get(PREFIX.len()), None | Some(b'+' | b';' | b'-' | b' '))
}

/// Returns true for the content types of gRPC-Web (`application/grpc-web`, `application/grpc-web-text`, …).
pub fn is_web_content_type(value: &[u8]) -> bool {
    is_content_type(value) && starts_with(value, b"application/grpc-web")
}

/// Returns true for the content types of gRPC-Web in Base64 (`application/grpc-web-text`, …).
pub fn is_web_text_content_type(value: &[u8]) -> bool {
    is_content_type(value) && starts_with(value, b"application/grpc-web-text")
}

/// Compares in any case.
fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn content_types() {
        // Content type, gRPC, gRPC-Web, gRPC-Web in Base64.
        for (value, expected) in [
            ("application/grpc", [true, false, false]),
            ("Application/gRPC", [true, false, false]),
            ("application/grpc+proto", [true, false, false]),
            ("application/grpc;charset=utf-8", [true, false, false]),
            ("application/grpc ; charset=utf-8", [true, false, false]),
            ("application/grpc-web", [true, true, false]),
            ("Application/gRPC-Web", [true, true, false]),
            ("application/grpc-web+proto", [true, true, false]),
            ("application/grpc-web-text", [true, true, true]),
            ("application/grpc-web-text+proto", [true, true, true]),
            ("Application/gRPC-Web-Text", [true, true, true]),
            ("", [false; 3]),
            ("application/grp", [false; 3]),
            ("application/json", [false; 3]),
            ("application/grpcx", [false; 3]),
            ("application/grpcx-web", [false; 3]),
            ("application/grpcx-web-text", [false; 3]),
            ("text/application/grpc", [false; 3]),
        ] {
            let bytes = value.as_bytes();
            let actual =
                [is_content_type(bytes), is_web_content_type(bytes), is_web_text_content_type(bytes)];
            assert_eq!(actual, expected, "{value}");
        }
    }

    /// <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>
    #[test]
    fn names_and_server_errors() {
        let codes = [
            ("OK", false),
            ("CANCELLED", false),
            ("UNKNOWN", true),
            ("INVALID_ARGUMENT", false),
            ("DEADLINE_EXCEEDED", true),
            ("NOT_FOUND", false),
            ("ALREADY_EXISTS", false),
            ("PERMISSION_DENIED", false),
            ("RESOURCE_EXHAUSTED", false),
            ("FAILED_PRECONDITION", false),
            ("ABORTED", false),
            ("OUT_OF_RANGE", false),
            ("UNIMPLEMENTED", true),
            ("INTERNAL", true),
            ("UNAVAILABLE", true),
            ("DATA_LOSS", true),
            ("UNAUTHENTICATED", false),
            ("UNKNOWN", true),
            ("UNKNOWN", true),
        ];
        for (code, expected) in (0..).zip(codes) {
            assert_eq!((name(code), is_server_error(code)), expected, "{code}");
        }
        assert_eq!((name(u32::MAX), is_server_error(u32::MAX)), ("UNKNOWN", true));
    }

    #[test]
    fn timeouts() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("3M", Some(Duration::from_secs(180))),
            ("0S", Some(Duration::ZERO)),
            ("00000050m", Some(Duration::from_millis(50))),
            ("7u", Some(Duration::from_micros(7))),
            ("82f", None),
            ("7n", Some(Duration::from_nanos(7))),
            ("000000050m", None),
            ("m", None),
            ("", None),
            ("-1S", None),
            ("1.5S", None),
            (" 1S", None),
            ("1s", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn codes_of_http_statuses() {
        for (status, code) in [
            (200, 2),
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
            (501, 2),
            (502, 14),
            (503, 14),
            (504, 14),
            (505, 2),
            (0, 2),
        ] {
            assert_eq!(from_http_status(status), code, "{status}");
        }
    }

    #[track_caller]
    fn check(encoded: &[u8], expected: &[u8]) {
        let mut out = b"before ".to_vec();
        write_message(&mut out, encoded);
        assert_eq!(out.strip_prefix(b"before "), Some(expected));
    }

    #[test]
    fn messages_are_decoded() {
        check(b"", b"");
        check(b"no such item", b"no such item");
        check(b"caf%C3%A9%0A%25", "caf\u{e9}\n%".as_bytes());
        check(b"caf%c3%a9", "caf\u{e9}".as_bytes());
        check(b"100% of%2", b"100% of%2");
        check(b"%zz%%41%", b"%zz%A%");
        check(b"%ff", b"\xff");
        check(b"\xc3\xa9", "\u{e9}".as_bytes());
    }

    #[test]
    fn long_messages_are_truncated_at_a_character() {
        let bound = MAX_MESSAGE_BYTES;
        check(&b"%41".repeat(2 * bound), &b"A".repeat(bound));
        check(&b"A".repeat(bound), &b"A".repeat(bound));
        let with_tail = |length: usize, tail: &[u8]| [&b"A".repeat(length), tail].concat();
        check(&with_tail(bound - 1, b"%C3%A9"), &with_tail(bound - 1, b""));
        check(&with_tail(bound - 2, b"%C3%A9"), &with_tail(bound - 2, b"\xc3\xa9"));
        check(&with_tail(bound - 3, b"%F0%9F%99%82"), &with_tail(bound - 3, b""));
        check(&with_tail(bound - 2, b"%C3%A9x"), &with_tail(bound - 2, b"\xc3\xa9"));
        // Continuation bytes without a first byte.
        check(&b"%80".repeat(2 * bound), b"");
    }
}

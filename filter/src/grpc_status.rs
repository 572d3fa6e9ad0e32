//! [`GrpcStatus`]: the status with which a gRPC call ended.

use logtracer_core::request::grpc;

use crate::host::{HeadersHost, HeadersOf};

/// The status with which a gRPC call ended.
#[derive(Debug, Clone)]
pub(crate) struct GrpcStatus {
    pub(crate) code: u32,
    /// The decoded `grpc-message`; empty if the call succeeded.
    pub(crate) message: Vec<u8>,
}

impl GrpcStatus {
    /// Reads the status from headers or trailers. Returns `None` if they have no `grpc-status`.
    pub(crate) fn read(host: &impl HeadersHost, of: HeadersOf) -> Option<Self> {
        let code = code(&host.header(of, "grpc-status")?);
        let mut message = Vec::new();
        if code != grpc::OK
            && let Some(encoded) = host.header(of, "grpc-message")
        {
            grpc::write_message(&mut message, &encoded);
        }
        Some(Self { code, message })
    }
}

/// Parses a code. Anything but a number is UNKNOWN, as the specification requires.
fn code(value: &[u8]) -> u32 {
    core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(grpc::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_host::FakeHost;

    /// Rule 57. A call that succeeds has no message.
    #[test]
    fn statuses_are_read() {
        for (lines, expected) in [
            (vec![], None),
            (vec![("grpc-message", "no")], None),
            (vec![("grpc-status", "0")], Some((0, ""))),
            (vec![("grpc-status", "0"), ("grpc-message", "no")], Some((0, ""))),
            (vec![("grpc-status", "5")], Some((5, ""))),
            (vec![("grpc-status", "5"), ("grpc-message", "caf%C3%A9")], Some((5, "caf\u{e9}"))),
            (vec![("grpc-status", "x"), ("grpc-message", "no")], Some((2, "no"))),
        ] {
            let host = FakeHost::default();
            host.set(HeadersOf::Trailers, &lines);
            let read = GrpcStatus::read(&host, HeadersOf::Trailers);
            let read = read.as_ref().map(|read| (read.code, str::from_utf8(&read.message).unwrap()));
            assert_eq!(read, expected, "{lines:?}");
            assert!(GrpcStatus::read(&host, HeadersOf::Response).is_none());
        }
    }

    #[test]
    fn codes_are_numbers() {
        for (value, expected) in
            [("0", 0), ("13", 13), ("99", 99), ("", 2), ("four", 2), ("-1", 2), ("4294967296", 2)]
        {
            assert_eq!(code(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(code(b"\xff"), 2);
    }
}

//! [`GrpcStatus`]: how a call of gRPC ended, in the words of its service.

use logtracer_core::request::grpc;

use crate::host::{self, Map};

/// What `grpc-status` and `grpc-message` say.
#[derive(Debug, Clone)]
pub(crate) struct GrpcStatus {
    pub(crate) code: u32,
    /// Decoded; empty where all went well.
    pub(crate) message: Vec<u8>,
}

impl GrpcStatus {
    /// `None` where there is no `grpc-status`.
    pub(crate) fn read(map: Map) -> Option<Self> {
        let code = code(&host::header(map, "grpc-status")?);
        let mut message = Vec::new();
        if code != grpc::OK
            && let Some(encoded) = host::header(map, "grpc-message")
        {
            grpc::write_message(&mut message, &encoded);
        }
        Some(Self { code, message })
    }
}

/// What is no number stands for UNKNOWN, as the specification asks.
fn code(value: &[u8]) -> u32 {
    core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(grpc::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! gRPC's status codes: their names, and which of them are the server's fault.
//!
//! <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>

/// Success.
pub const OK: u32 = 0;
/// The caller went away or changed its mind.
pub const CANCELLED: u32 = 1;
/// What a response without a readable `grpc-status` counts as.
pub const UNKNOWN: u32 = 2;

/// The name of a code; a number that gRPC does not know is `UNKNOWN`, as the specification asks.
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

/// True where the server is to blame: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
/// (the semantic conventions' list).
pub const fn is_server_error(code: u32) -> bool {
    matches!(code, UNKNOWN | 4 | 12 | 13 | 14 | 15) || code > 16
}

/// The code that a response without `grpc-status` stands for.
///
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
pub const fn of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

/// True for the content type of gRPC and its variants (`application/grpc+proto`, `application/grpc-web` …).
pub fn is_content_type(value: &[u8]) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    let Some(start) = value.get(..PREFIX.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(PREFIX)
        && matches!(value.get(PREFIX.len()), None | Some(b'+' | b';' | b'-' | b' '))
}

/// True for gRPC-Web (`application/grpc-web`, `application/grpc-web-text` …).
pub fn is_web_content_type(value: &[u8]) -> bool {
    is_content_type(value) && begins_with(value, b"application/grpc-web")
}

/// True for gRPC-Web in Base64 (`application/grpc-web-text`, `application/grpc-web-text+proto`).
pub fn is_web_text_content_type(value: &[u8]) -> bool {
    is_content_type(value) && begins_with(value, b"application/grpc-web-text")
}

fn begins_with(value: &[u8], start: &[u8]) -> bool {
    value.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn content_types() {
        for yes in
            ["application/grpc", "application/grpc+proto", "application/grpc-web-text", "Application/gRPC"]
        {
            assert!(is_content_type(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/json", "application/grpcx", "text/application/grpc"] {
            assert!(!is_content_type(no.as_bytes()), "{no}");
        }
    }
}

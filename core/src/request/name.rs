//! The span name of a request, of low cardinality.

use super::attributes::METHODS;
use super::{Exchange, Outcome};

/// The maximum length of a name: Cloud Trace's limit for a display name.
const MAX_NAME_BYTES: usize = 128;
/// The maximum number of path segments in a name.
const MAX_SEGMENTS: usize = 6;

impl Exchange<'_> {
    /// Appends the span name: `METHOD route`, or the path for gRPC. An unknown method is `HTTP`.
    ///
    /// Without a route name it is `METHOD path`, with `*` for each segment that looks like an id.
    pub fn write_span_name(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if matches!(self.outcome, Outcome::Grpc { .. }) {
            out.extend_from_slice(self.path());
        } else {
            // Callers could otherwise create any number of names.
            out.extend_from_slice(if METHODS.contains(&self.method) { self.method } else { b"HTTP" });
            let route = self.named_route();
            if !route.is_empty() {
                out.push(b' ');
                out.extend_from_slice(route);
            } else if self.path().starts_with(b"/") {
                out.push(b' ');
                write_low_cardinality(out, self.path());
            }
        }
        out.truncate(start + MAX_NAME_BYTES);
    }

    /// Returns the name of the route, unless it is `default`, Istio's name for every route.
    pub fn named_route(&self) -> &[u8] {
        if self.route == b"default" { b"" } else { self.route }
    }
}

fn write_low_cardinality(out: &mut Vec<u8>, path: &[u8]) {
    for (index, segment) in path.split(|&byte| byte == b'/').skip(1).enumerate() {
        out.push(b'/');
        if index == MAX_SEGMENTS {
            out.push(b'*');
            return;
        }
        if looks_like_an_id(segment) {
            out.push(b'*');
        } else {
            out.extend_from_slice(segment);
        }
    }
}

/// Returns true for numbers, UUIDs, hashes, tokens, and other texts that are unlikely in the name of a route.
fn looks_like_an_id(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let has_unusual_bytes = segment
        .iter()
        .any(|byte| !matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~'));
    let all_hex = segment.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    segment.len() > 40
        || has_unusual_bytes
        || (digits > 0 && digits == segment.len())
        || (digits > 0 && all_hex && segment.len() >= 8)
        || (digits >= 4 && segment.len() >= 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(exchange: Exchange<'_>, expected: &str) {
        let mut out = Vec::new();
        exchange.write_span_name(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn names_have_low_cardinality() {
        let get = |target: &'static str| Exchange {
            method: b"GET",
            target: target.as_bytes(),
            ..Exchange::default()
        };
        check(get("/"), "GET /");
        check(get("/basket?item=1"), "GET /basket");
        check(get("/users/42/orders"), "GET /users/*/orders");
        check(get("/users/0b7e3c6a-9c3c-4c5e-8a1b-111213141516"), "GET /users/*");
        check(get("/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709"), "GET /blob/*");
        check(get("/v1/index.html"), "GET /v1/index.html");
        check(get("/feedbeef/decade"), "GET /feedbeef/decade");
        check(get("/a/b/c/d/e/f/g/h"), "GET /a/b/c/d/e/f/*");
        check(get("/files/my%20name"), "GET /files/*");
        check(get("*"), "GET");
        check(Exchange { method: b"BREW", ..get("/pot") }, "HTTP /pot");
        check(Exchange { method: b"", ..get("/") }, "HTTP /");
        for (segment, is_id) in [
            ("a".repeat(40).as_str(), false),
            ("a".repeat(41).as_str(), true),
            ("1", true),
            ("deadbee7", true),
            ("deadbe7", false),
            ("bade-cafe-1", true),
            ("tok3n0fz9y8x", true),
            ("tok3n0fz9y8", false),
            ("tok3n0fzzyyx", false),
            ("order-2024-0099x", true),
            ("abc1", false),
            ("v1beta1", false),
            ("order-2024", false),
            ("a.b-c_d~e", false),
            ("a+b", true),
            ("caf\u{e9}", true),
        ] {
            assert_eq!(looks_like_an_id(segment.as_bytes()), is_id, "{segment}");
        }
        check(Exchange { route: b"checkout", ..get("/users/42") }, "GET checkout");
        check(Exchange { route: b"default", ..get("/users/42") }, "GET /users/*");
        let outcome = Outcome::Grpc { code: 0, http: 200 };
        check(Exchange { outcome, ..get("/demo.Shop/Buy") }, "/demo.Shop/Buy");
    }
}

//! `b3-values`: the gRPC metadata of bbc/logtracer, a JSON object with the `X-B3-*` headers.
//!
//! ```text
//! b3-values: {"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "00f067aa0ba902b7"}
//! ```

use logtracer_core::propagation::{Header, TraceHeaders};

/// The maximum length of a value. bbc/logtracer writes less than 200 bytes.
const MAX_BYTES: usize = 1024;

/// Returns the trace headers in a value; none if it is malformed.
///
/// The values of these headers are digits, so that escapes are not decoded: a value with one is invalid anyway.
pub(super) fn parse(value: &[u8]) -> TraceHeaders<'_> {
    read(value).unwrap_or_default()
}

fn read(value: &[u8]) -> Option<TraceHeaders<'_>> {
    let mut headers = TraceHeaders::default();
    let mut rest = after(value.get(..MAX_BYTES).map_or(value, |_| b""), b'{')?;
    if let Some(end) = after(rest, b'}') {
        return end.trim_ascii().is_empty().then_some(headers);
    }
    loop {
        let (name, after_name) = text(rest)?;
        let (value, after_value) = scalar(after(after_name, b':')?)?;
        if let Some(header) = Header::from_name(name).filter(is_b3) {
            headers.push(header, value);
        }
        rest = match after(after_value, b',') {
            Some(next) => next,
            None => return after(after_value, b'}')?.trim_ascii().is_empty().then_some(headers),
        };
    }
}

fn is_b3(header: &Header) -> bool {
    matches!(
        header,
        Header::XB3TraceId
            | Header::XB3SpanId
            | Header::XB3ParentSpanId
            | Header::XB3Sampled
            | Header::XB3Flags
    )
}

/// Returns what follows a byte, after white space.
fn after(json: &[u8], expected: u8) -> Option<&[u8]> {
    let (first, rest) = json.trim_ascii_start().split_first()?;
    (*first == expected).then_some(rest)
}

/// Reads a text.
fn text(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = after(json, b'"')?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = rest.split_at_checked(end)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

/// Reads a text or a number.
fn scalar(json: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(text) = text(json) {
        return Some(text);
    }
    let json = json.trim_ascii_start();
    let end = json.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
    json.split_at_checked(end).filter(|(value, _)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use logtracer_core::propagation::Propagator;

    #[test]
    fn values_of_the_original() {
        let full = r#"{"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "00f067aa0ba902b7",
            "X-B3-ParentSpanId":"00000000000000aa","X-B3-Sampled": "1" }"#;
        let headers = parse(full.as_bytes());
        let parent = Propagator::default().extract(&headers).parent.unwrap();
        assert_eq!(parent.trace_id.to_string(), "463ac35c9f6413ad48485a3953bb6124");
        assert_eq!(parent.span_id.unwrap().to_string(), "00f067aa0ba902b7");
        assert_eq!(parent.parent_span_id.unwrap().to_string(), "00000000000000aa");
        assert!(parent.sampling.is_sampled());
        assert_eq!(
            parse(br#"{"X-B3-Sampled":1,"b3":"0","other":null}"#).only_line(Header::XB3Sampled),
            Some(&b"1"[..])
        );
    }

    #[test]
    fn malformed_values_have_no_headers() {
        let long = format!(r#"{{"X-B3-Sampled":"1"{}}}"#, " ".repeat(MAX_BYTES));
        for value in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            r#"{"X-B3-Sampled"}"#,
            r#"{"X-B3-Sampled":}"#,
            r#"{"X-B3-Sampled":"1"#,
            r#"{"X-B3-Sampled":"1","#,
            r#"{"X-B3-Sampled":"1",}"#,
            r#"{"X-B3-Sampled":"1"} x"#,
            r#"{"X-B3-Sampled":["1"]}"#,
            r#"{"X-B3-Sampled":"\u0031"}"#,
            r#"{"b3":"0"}"#,
            "{\"\u{e9}",
            &long,
        ] {
            assert!(parse(value.as_bytes()).is_empty(), "{value}");
        }
    }
}

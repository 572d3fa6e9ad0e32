//! Invariants for any input: the bodies of the fuzz targets, which the filter's tests also run on the corpus.

#![allow(dead_code, reason = "each fuzz target uses one")]

use logtracer_core::SpanId;
use logtracer_core::line::{Format as LineFormat, HttpRequest, Line, Value};
use logtracer_core::otlp;
use logtracer_core::propagation::{Format, Formats, Propagator, TraceHeaders};
use logtracer_core::request::url::{self, Query};
use logtracer_filter::config::Config;
use logtracer_filter_wasm::header_map::{HeaderMap, serialize};

/// Header lines, `name: value`: extraction does not panic, and an injected context is extracted again.
pub(crate) fn headers(input: &[u8]) {
    let lines: Vec<(&[u8], &[u8])> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = line.get(colon + 1..)?;
            Some((line.get(..colon)?, value.strip_prefix(b" ").unwrap_or(value)))
        })
        .collect();
    let headers = TraceHeaders::collect(lines.iter().copied());
    let extracted = Propagator::default().extract(&headers);
    let Some(parent) = extracted.parent else {
        assert!(extracted.format.is_none() && extracted.tracestate.is_empty());
        return;
    };
    let context = parent.child(SpanId::new(u64::MAX).expect("not zero"));
    for format in Format::ALL {
        let propagator = Propagator { inject: Formats::of(&[format]), ..Propagator::default() };
        let mut injected: Vec<(String, String)> = Vec::new();
        propagator.inject(&context, &extracted.tracestate, &mut injected);
        let headers = TraceHeaders::collect(injected.iter().map(|(name, value)| (name, value)));
        let again = propagator.extract(&headers);
        assert_eq!(again.parent.map(|parent| parent.trace_id), Some(context.trace_id));
        assert_eq!(again.parent.and_then(|parent| parent.span_id), Some(context.span_id));
        assert!(again.invalid.is_empty() && !again.conflict);
    }
}

/// A configuration is accepted, or rejected with a short reason.
pub(crate) fn config(input: &[u8]) {
    if let Err(error) = Config::parse(input) {
        let message = error.to_string();
        assert!(!message.is_empty() && message.len() < 1000, "{message}");
    }
}

/// A redacted query has no values, and a dropped one has nothing.
pub(crate) fn url(input: &[u8]) {
    let mut redacted = Vec::new();
    url::write_target(&mut redacted, input, Query::Redact);
    for pair in
        redacted.split(|byte| *byte == b'?').skip(1).flat_map(|query| query.split(|byte| *byte == b'&'))
    {
        let value = pair.iter().position(|byte| *byte == b'=').map_or(pair, |equals| &pair[equals + 1..]);
        assert!(value.is_empty() || value == b"REDACTED", "{:?}", String::from_utf8_lossy(&redacted));
    }
    let mut dropped = Vec::new();
    url::write_target(&mut dropped, input, Query::Drop);
    assert!(!dropped.contains(&b'?'));
    let _ = url::split_port(input);
}

/// A line is one JSON object without a line break.
pub(crate) fn line(input: &[u8]) {
    for format in [LineFormat::Stackdriver, LineFormat::Local] {
        let mut out = Vec::new();
        let mut line = Line::new(&mut out, format, Some("p"));
        let text = String::from_utf8_lossy(input);
        line.message(|message| message.push_bytes(input))
            .http_request(&HttpRequest { url: input, user_agent: input, ..HttpRequest::default() })
            .labels(|labels| labels.text(&text, input))
            .field(&text, Value::Bytes(input));
        line.finish();
        assert!(!out.contains(&b'\n'));
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert!(json.is_object());
    }
}

/// Envoy can pass any bytes: the parsed headers are part of them, and serialized headers parse to the same headers.
pub(crate) fn header_map(input: &[u8]) {
    let headers = HeaderMap::new(input.to_vec());
    let length: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    assert!(length <= input.len() + 1, "only the last NUL can be absent");
    let lines: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)))
        .collect();
    let again = HeaderMap::new(serialize(&lines));
    assert!(again.iter().eq(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))));
}

/// An exporter can respond with any bytes.
pub(crate) fn otlp_response(input: &[u8]) {
    let _ = otlp::rejected_spans(input);
}

//! What must hold for any input at all: the bodies of the fuzz targets, which the tests run on the corpus, too.

#![allow(dead_code, reason = "each fuzz target uses one")]

use logtracer_core::SpanId;
use logtracer_core::line::{Format as LineFormat, HttpRequest, Line, Value};
use logtracer_core::otlp;
use logtracer_core::propagation::{Carrier, Format, Formats, Header, Propagator, TraceHeaders};
use logtracer_core::request::url::{self, Query};
use logtracer_filter::config::Config;
use logtracer_filter::header_map::{HeaderMap, serialize};

/// Lines `name: value`: nothing panics, and what is injected again is extracted as the same context.
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
        let mut written = Written::default();
        propagator.inject(&context, &extracted.tracestate, &mut written);
        let headers = TraceHeaders::collect(written.0.iter().map(|(header, value)| (header.name(), value)));
        let again = propagator.extract(&headers);
        assert_eq!(again.parent.map(|parent| parent.trace_id), Some(context.trace_id));
        assert_eq!(again.parent.and_then(|parent| parent.span_id), Some(context.span_id));
        assert!(again.invalid.is_empty() && !again.conflict);
    }
}

/// A configuration is taken or refused with a short reason.
pub(crate) fn config(input: &[u8]) {
    if let Err(error) = Config::parse(input) {
        let message = error.to_string();
        assert!(!message.is_empty() && message.len() < 1000, "{message}");
    }
}

/// No value of a redacted query is left, and a dropped one leaves nothing.
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

/// Whatever is put in, a line is one JSON object without a line break.
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

/// A host may hand over anything: what is read of it is part of it, and what is whole reads back.
pub(crate) fn header_map(input: &[u8]) {
    let headers = HeaderMap::new(input.to_vec());
    let length: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    assert!(length <= input.len() + 1, "the last NUL may be missing");
    let lines: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)))
        .collect();
    let again = HeaderMap::new(serialize(&lines));
    assert!(again.iter().eq(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))));
}

/// An exporter may answer anything.
pub(crate) fn otlp_response(input: &[u8]) {
    let _ = otlp::rejected_spans(input);
}

#[derive(Default)]
struct Written(Vec<(Header, String)>);

impl Carrier for Written {
    fn set(&mut self, header: Header, value: &str) {
        self.0.push((header, value.to_owned()));
    }

    fn remove(&mut self, _header: Header) {}
}

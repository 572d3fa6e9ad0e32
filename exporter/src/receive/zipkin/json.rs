//! Converting Zipkin v2 spans in JSON to OTLP.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    /// Microseconds since 1970.
    timestamp: Option<u64>,
    /// Microseconds.
    duration: Option<u64>,
    local_endpoint: Option<Endpoint>,
    remote_endpoint: Option<Endpoint>,
    annotations: Option<Vec<Annotation>>,
    tags: Option<BTreeMap<String, String>>,
    shared: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Annotation {
    /// Microseconds since 1970.
    timestamp: u64,
    value: String,
}

/// Converts a list of spans. The error contains the index of the invalid span.
pub(in crate::receive) fn convert(body: &[u8]) -> Result<ExportTraceServiceRequest, String> {
    let spans: Vec<ZipkinSpan> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    // The index in `resource_spans` by service, scope and version.
    let mut groups: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    for (index, mut span) in spans.into_iter().enumerate() {
        let mut tags = span.tags.take().unwrap_or_default();
        let service = span.local_endpoint.as_mut().and_then(|local| local.service_name.take());
        let mut tag = |name: &str, old_name: &str| tags.remove(name).or_else(|| tags.remove(old_name));
        let scope = tag("otel.scope.name", "otel.library.name").unwrap_or_default();
        let version = tag("otel.scope.version", "otel.library.version").unwrap_or_default();
        let key = (service.unwrap_or_default(), scope, version);
        let group = match groups.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                resource_spans.push(empty_group(new.key()));
                *new.insert(resource_spans.len() - 1)
            }
        };
        let converted = convert_span(span, tags).map_err(|error| format!("span {index}: {error}"))?;
        let scope_spans = resource_spans.get_mut(group).and_then(|group| group.scope_spans.first_mut());
        if let Some(scope_spans) = scope_spans {
            scope_spans.spans.push(converted);
        }
    }
    Ok(ExportTraceServiceRequest { resource_spans })
}

fn empty_group((service, scope, version): &(String, String, String)) -> ResourceSpans {
    let name = (!service.is_empty()).then(|| string_attribute("service.name", service));
    let scope = InstrumentationScope { name: scope.clone(), version: version.clone(), ..Default::default() };
    ResourceSpans {
        resource: Some(Resource { attributes: name.into_iter().collect(), ..Default::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), ..Default::default() }],
        ..Default::default()
    }
}

fn convert_span(zipkin: ZipkinSpan, mut tags: BTreeMap<String, String>) -> Result<Span, String> {
    let trace_id = trace_id(&zipkin.trace_id)?;
    let mut span_id = span_id("id", &zipkin.id)?;
    let mut parent = match zipkin.parent_id.as_deref() {
        None | Some("") => None,
        Some(parent) => Some(self::span_id("parentId", parent)?),
    };
    let kind = kind(zipkin.kind.as_deref())?;
    if zipkin.shared == Some(true) && kind == span::SpanKind::Server {
        parent = Some(span_id);
        span_id = server_span_id(span_id);
    }
    let annotations = zipkin.annotations.unwrap_or_default();
    let earliest = annotations.iter().map(|annotation| annotation.timestamp).min();
    let start = nanos(zipkin.timestamp.or(earliest).unwrap_or(0));
    let status = status(&mut tags);
    let mut attributes: Vec<KeyValue> =
        tags.iter().map(|(key, value)| string_attribute(key, value)).collect();
    endpoint(&mut attributes, zipkin.local_endpoint, "network.local.address", "network.local.port");
    endpoint(&mut attributes, zipkin.remote_endpoint, "network.peer.address", "network.peer.port");
    let event = |annotation: Annotation| span::Event {
        time_unix_nano: nanos(annotation.timestamp),
        name: annotation.value,
        ..Default::default()
    };
    Ok(Span {
        trace_id: trace_id.to_bytes().to_vec(),
        span_id: span_id.get().to_be_bytes().to_vec(),
        parent_span_id: parent.map(|id| id.get().to_be_bytes().to_vec()).unwrap_or_default(),
        flags: 1, // Zipkin clients send only sampled spans
        name: zipkin.name.unwrap_or_default(),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(nanos(zipkin.duration.unwrap_or(0))),
        attributes,
        events: annotations.into_iter().map(event).collect(),
        status,
        ..Default::default()
    })
}

/// Parses 16 or 32 hexadecimal digits.
fn trace_id(text: &str) -> Result<TraceId, String> {
    let padded = format!("{text:0>32}");
    let id = if matches!(text.len(), 16 | 32) { padded.parse().ok() } else { None };
    id.ok_or_else(|| format!("traceId {:?} is not 16 or 32 hexadecimal digits, or is all zero", brief(text)))
}

fn span_id(field: &str, text: &str) -> Result<SpanId, String> {
    let wrong = || format!("{field} {:?} is not 16 hexadecimal digits, or is all zero", brief(text));
    text.parse().map_err(|_| wrong())
}

/// Truncates a quote of the request for a message.
fn brief(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

fn kind(text: Option<&str>) -> Result<span::SpanKind, String> {
    match text {
        None => Ok(span::SpanKind::Internal),
        Some("CLIENT") => Ok(span::SpanKind::Client),
        Some("SERVER") => Ok(span::SpanKind::Server),
        Some("PRODUCER") => Ok(span::SpanKind::Producer),
        Some("CONSUMER") => Ok(span::SpanKind::Consumer),
        Some(other) => Err(format!("kind {:?} is not CLIENT, SERVER, PRODUCER or CONSUMER", brief(other))),
    }
}

/// Derives an id from a shared one. The result is always the same, so a span that arrives twice is stored once.
fn server_span_id(shared: SpanId) -> SpanId {
    const MARK: u64 = 0x5e4e_d50b_0a7a_11ed;
    SpanId::new(shared.get() ^ MARK).unwrap_or(shared)
}

/// Removes OpenTelemetry's status tags and returns the status, which can also be in the tag `error`.
fn status(tags: &mut BTreeMap<String, String>) -> Option<Status> {
    let description = tags.remove("otel.status_description");
    match (tags.remove("otel.status_code").as_deref(), tags.get("error")) {
        (Some("OK"), _) => Some(Status { code: status::StatusCode::Ok.into(), message: String::new() }),
        (Some("ERROR"), error) | (_, error @ Some(_)) => {
            let message = description.or_else(|| error.cloned()).unwrap_or_default();
            // Without a message, the tag is only a flag.
            let message = if message == "true" { String::new() } else { message };
            Some(Status { code: status::StatusCode::Error.into(), message })
        }
        _ => None,
    }
}

fn endpoint(attributes: &mut Vec<KeyValue>, endpoint: Option<Endpoint>, address: &str, port: &str) {
    let Some(endpoint) = endpoint else { return };
    if let Some(service) = endpoint.service_name.filter(|name| !name.is_empty()) {
        attributes.push(string_attribute("peer.service", &service));
    }
    if let Some(ip) = endpoint.ipv4.or(endpoint.ipv6) {
        attributes.push(string_attribute(address, &ip));
    }
    if let Some(number) = endpoint.port.filter(|port| *port > 0) {
        let value = Some(AnyValue { value: Some(Any::IntValue(number.into())) });
        attributes.push(KeyValue { key: port.to_owned(), value, key_strindex: 0 });
    }
}

fn string_attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: &str = r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"00f067aa0ba902b7"}"#;

    fn attributes(span: &Span) -> Vec<String> {
        let show = |a: &KeyValue| format!("{}={}", a.key, crate::otlp::any_value::text(a.value.as_ref()));
        span.attributes.iter().map(show).collect()
    }

    #[test]
    fn every_field_is_converted() {
        let body = r#"[{"traceId":"48485a3953bb6124","id":"00f067aa0ba902b7","parentId":"1111111111111111",
            "name":"get /","kind":"CLIENT","timestamp":1500000,"duration":250,"debug":true,
            "localEndpoint":{"serviceName":"shop","ipv4":"10.0.0.1","port":80},
            "remoteEndpoint":{"serviceName":"stock","ipv6":"::1","port":0},
            "annotations":[{"timestamp":1500001,"value":"sent"}],
            "tags":{"http.method":"GET","otel.scope.name":"lib","otel.scope.version":"2","error":"gone"}}]"#;
        let request = convert(body.as_bytes()).unwrap();
        let [group] = &request.resource_spans[..] else { panic!("one service") };
        assert_eq!(group.resource.as_ref().unwrap().attributes, [string_attribute("service.name", "shop")]);
        let scope = group.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "2"));
        let span = &group.scope_spans[0].spans[0];
        assert_eq!(span.trace_id, 0x4848_5a39_53bb_6124_u128.to_be_bytes());
        assert_eq!((span.span_id[0], span.parent_span_id[0], span.kind), (0, 0x11, 3));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_500_000_000, 1_500_250_000));
        assert_eq!((span.name.as_str(), span.events[0].name.as_str()), ("get /", "sent"));
        assert_eq!(span.status, Some(Status { code: 2, message: "gone".to_owned() }));
        assert_eq!(
            attributes(span),
            [
                "error=gone",
                "http.method=GET",
                "network.local.address=10.0.0.1",
                "network.local.port=80",
                "peer.service=stock",
                "network.peer.address=::1",
            ]
        );
    }

    #[test]
    fn spans_are_grouped_by_service() {
        let of = |service: &str, id: u8| {
            format!(
                r#"{{"traceId":"48485a3953bb6124","id":"{id:016x}","localEndpoint":{{"serviceName":"{service}"}}}}"#
            )
        };
        let body = format!("[{},{},{},{SPAN}]", of("a", 1), of("b", 2), of("a", 3));
        let request = convert(body.as_bytes()).unwrap();
        let counts: Vec<usize> =
            request.resource_spans.iter().map(|g| g.scope_spans[0].spans.len()).collect();
        assert_eq!(counts, [2, 1, 1]);
    }

    #[test]
    fn a_shared_id_becomes_two_ids() {
        let shared = SPAN.replace('}', r#","kind":"SERVER","shared":true}"#);
        let request = convert(format!("[{SPAN},{shared}]").as_bytes()).unwrap();
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_ne!(spans[0].span_id, spans[1].span_id);
        assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    }

    #[test]
    fn errors_contain_the_span_and_the_field() {
        for (body, expected) in [
            ("{}", "expected a sequence"),
            (r#"[{"id":"00f067aa0ba902b7"}]"#, "missing field `traceId`"),
            (&format!("[{SPAN},{}]", SPAN.replace("463a", "46")), "span 1: traceId \"46c3"),
            (&format!("[{}]", SPAN.replace("00f067aa0ba902b7", "0000000000000000")), "span 0: id \"0000"),
            (&format!("[{}]", SPAN.replace('}', r#","parentId":"x"}"#)), "span 0: parentId \"x\""),
            (&format!("[{}]", SPAN.replace('}', r#","kind":"NEITHER"}"#)), "span 0: kind \"NEITHER\""),
        ] {
            let error = convert(body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

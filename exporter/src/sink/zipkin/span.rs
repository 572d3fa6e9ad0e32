//! An OTLP span as a Zipkin v2 span, by the
//! [OpenTelemetry specification](https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/).

use std::collections::BTreeMap;
use std::net::IpAddr;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde::Serialize;

use crate::otlp::any_value::{self, JsonObject};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ZipkinSpan {
    trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    name: String,
    /// In microseconds since 1970. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    /// In microseconds, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(skip_serializing_if = "String::is_empty")]
    service_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ipv4: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ipv6: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Annotation {
    /// In microseconds since 1970.
    timestamp: u64,
    value: String,
}

const UNKNOWN_SERVICE: &str = "unknown_service";

impl ZipkinSpan {
    pub(super) fn new(
        span: &Span,
        resource: Option<&Resource>,
        scope: Option<&InstrumentationScope>,
    ) -> Self {
        let resource_attributes = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
        let service_name =
            text(resource_attributes, "service.name").unwrap_or_else(|| UNKNOWN_SERVICE.to_owned());
        let (kind, calls_another) = match span.kind() {
            SpanKind::Server => (Some("SERVER"), false),
            SpanKind::Client => (Some("CLIENT"), true),
            SpanKind::Producer => (Some("PRODUCER"), true),
            SpanKind::Consumer => (Some("CONSUMER"), false),
            SpanKind::Internal | SpanKind::Unspecified => (None, false),
        };
        // A zero id is absent, and no span is its own parent.
        let has_parent =
            span.parent_span_id.iter().any(|byte| *byte != 0) && span.parent_span_id != span.span_id;
        Self {
            trace_id: hex::encode(&span.trace_id),
            parent_id: if has_parent { hex::encode(&span.parent_span_id) } else { String::new() },
            id: hex::encode(&span.span_id),
            kind,
            name: span.name.clone(),
            timestamp: micros(span.start_time_unix_nano),
            duration: duration(span),
            local_endpoint: Endpoint { service_name, ..Default::default() },
            remote_endpoint: if calls_another { remote(&span.attributes) } else { None },
            annotations: span
                .events
                .iter()
                .map(|event| annotation(event, span.start_time_unix_nano))
                .collect(),
            tags: tags(span, resource_attributes, scope),
        }
    }
}

fn micros(unix_nano: u64) -> Option<u64> {
    Some(unix_nano / 1000).filter(|micros| *micros > 0)
}

/// Rounds up to at least one microsecond, because Zipkin has no zero duration.
fn duration(span: &Span) -> Option<u64> {
    let took = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano)?;
    Some(took.div_ceil(1000).max(1))
}

/// Returns the called endpoint: the first of these attributes that is present, with its address.
fn remote(attributes: &[KeyValue]) -> Option<Endpoint> {
    let names = [
        "peer.service",
        "service.peer.name",
        "server.address",
        "net.peer.name",
        "network.peer.address",
        "db.name",
    ];
    let addresses = ["network.peer.address", "server.address", "net.sock.peer.addr", "net.peer.ip"];
    let ports = ["network.peer.port", "server.port", "net.sock.peer.port", "net.peer.port"];
    let first = |keys: &[&str]| keys.iter().find_map(|key| text(attributes, key));
    let mut endpoint = Endpoint { service_name: first(&names)?, ..Default::default() };
    match addresses.iter().find_map(|key| text(attributes, key)?.parse::<IpAddr>().ok()) {
        Some(IpAddr::V4(ip)) => endpoint.ipv4 = ip.to_string(),
        Some(IpAddr::V6(ip)) => endpoint.ipv6 = ip.to_string(),
        None => {}
    }
    endpoint.port = first(&ports).and_then(|port| port.parse().ok());
    Some(endpoint)
}

/// Returns the name of the event, and its attributes as JSON.
fn annotation(event: &Event, start: u64) -> Annotation {
    let value = if event.attributes.is_empty() {
        event.name.clone()
    } else {
        let attributes = BTreeMap::from([(&event.name, JsonObject(&event.attributes))]);
        // Cannot fail: the keys are strings.
        serde_json::to_string(&attributes).unwrap_or_default()
    };
    // An event without a time is put at the start of its span.
    let time = if event.time_unix_nano == 0 { start } else { event.time_unix_nano };
    Annotation { timestamp: time / 1000, value }
}

fn tags(
    span: &Span,
    resource_attributes: &[KeyValue],
    scope: Option<&InstrumentationScope>,
) -> BTreeMap<String, String> {
    let others = resource_attributes.iter().filter(|attribute| attribute.key != "service.name");
    // A span attribute overrides one of the resource.
    let mut tags: BTreeMap<String, String> = others
        .chain(&span.attributes)
        .map(|attribute| (attribute.key.clone(), any_value::text(attribute.value.as_ref())))
        .collect();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            tags.insert(key.to_owned(), value);
        }
    };
    if let Some(scope) = scope {
        add("otel.scope.name", scope.name.clone());
        add("otel.scope.version", scope.version.clone());
    }
    add("w3c.tracestate", span.trace_state.clone());
    for (key, count) in [
        ("otel.dropped_attributes_count", span.dropped_attributes_count),
        ("otel.dropped_events_count", span.dropped_events_count),
        ("otel.dropped_links_count", span.dropped_links_count),
    ] {
        add(key, if count > 0 { count.to_string() } else { String::new() });
    }
    for (index, link) in span.links.iter().enumerate() {
        let (trace_id, span_id) = (hex::encode(&link.trace_id), hex::encode(&link.span_id));
        add(
            &format!("otlp.link.{index}"),
            format!("{trace_id}|{span_id}|{}|{}", link.trace_state, json(&link.attributes)),
        );
    }
    match span.status.as_ref().map_or(StatusCode::Unset, |status| status.code()) {
        StatusCode::Unset => {
            // Zipkin treats every `error` tag as an error, even "false".
            if tags.get("error").is_some_and(|value| value == "false") {
                tags.remove("error");
            }
        }
        StatusCode::Ok => {
            tags.insert("otel.status_code".to_owned(), "OK".to_owned());
            tags.remove("error");
        }
        StatusCode::Error => {
            tags.insert("otel.status_code".to_owned(), "ERROR".to_owned());
            let message = span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default();
            tags.insert("error".to_owned(), message);
        }
    }
    tags
}

/// Returns attributes as a JSON object.
fn json(attributes: &[KeyValue]) -> String {
    // Cannot fail: the keys are strings.
    serde_json::to_string(&JsonObject(attributes)).unwrap_or_default()
}

/// Returns an attribute as text, unless it is empty.
fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().rfind(|attribute| attribute.key == key)?;
    Some(any_value::text(attribute.value.as_ref())).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::trace::v1::Status;
    use opentelemetry_proto::tonic::trace::v1::span::Link;

    fn attribute(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    fn string(key: &str, value: &str) -> KeyValue {
        attribute(key, Any::StringValue(value.to_owned()))
    }

    fn span() -> Span {
        Span {
            trace_id: vec![0x46; 16],
            span_id: vec![1; 8],
            name: "GET /orders".to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: 1_700_000_000_000_000_999,
            end_time_unix_nano: 1_700_000_000_002_000_000,
            ..Default::default()
        }
    }

    #[track_caller]
    fn check(span: &Span, expected: Expect) {
        let resource = Resource {
            attributes: vec![string("service.name", "shop"), string("k8s.pod.name", "shop-1")],
            ..Default::default()
        };
        let scope = InstrumentationScope { name: "logtracer".to_owned(), ..Default::default() };
        let span = ZipkinSpan::new(span, Some(&resource), Some(&scope));
        expected.assert_eq(&serde_json::to_string(&span).unwrap());
    }

    #[test]
    fn a_call_has_a_remote_endpoint() {
        let mut span = span();
        span.parent_span_id = vec![2; 8];
        span.attributes = vec![
            string("server.address", "stock"),
            string("network.peer.address", "10.0.0.7"),
            attribute("server.port", Any::IntValue(8080)),
            attribute("http.response.status_code", Any::IntValue(200)),
            attribute("sampled", Any::BoolValue(true)),
        ];
        check(
            &span,
            expect![[
                r#"{"traceId":"46464646464646464646464646464646","parentId":"0202020202020202","id":"0101010101010101","kind":"CLIENT","name":"GET /orders","timestamp":1700000000000000,"duration":2000,"localEndpoint":{"serviceName":"shop"},"remoteEndpoint":{"serviceName":"stock","ipv4":"10.0.0.7","port":8080},"tags":{"http.response.status_code":"200","k8s.pod.name":"shop-1","network.peer.address":"10.0.0.7","otel.scope.name":"logtracer","sampled":"true","server.address":"stock","server.port":"8080"}}"#
            ]],
        );
    }

    #[test]
    fn a_zero_parent_and_an_own_id_as_parent_are_absent() {
        let parents = [(vec![], ""), (vec![0; 8], ""), (vec![1; 8], ""), (vec![2; 8], "0202020202020202")];
        for (parent, expected) in parents {
            let span = Span { parent_span_id: parent, ..span() };
            assert_eq!(ZipkinSpan::new(&span, None, None).parent_id, expected);
        }
    }

    #[test]
    fn errors_events_and_links_are_kept() {
        let mut span = span();
        span.kind = SpanKind::Internal.into();
        span.end_time_unix_nano = span.start_time_unix_nano;
        span.status = Some(Status { code: 2, message: "no stock".to_owned() });
        span.events = vec![
            Event {
                time_unix_nano: 1_700_000_000_001_000_000,
                name: "retry".to_owned(),
                ..Default::default()
            },
            Event {
                time_unix_nano: 1_700_000_000_002_000_000,
                name: "exception".to_owned(),
                attributes: vec![string("exception.type", "Gone")],
                ..Default::default()
            },
        ];
        span.links = vec![Link { trace_id: vec![3; 16], span_id: vec![4; 8], ..Default::default() }];
        span.dropped_events_count = 2;
        check(
            &span,
            expect![[
                r#"{"traceId":"46464646464646464646464646464646","id":"0101010101010101","name":"GET /orders","timestamp":1700000000000000,"duration":1,"localEndpoint":{"serviceName":"shop"},"annotations":[{"timestamp":1700000000001000,"value":"retry"},{"timestamp":1700000000002000,"value":"{\"exception\":{\"exception.type\":\"Gone\"}}"}],"tags":{"error":"no stock","k8s.pod.name":"shop-1","otel.dropped_events_count":"2","otel.scope.name":"logtracer","otel.status_code":"ERROR","otlp.link.0":"03030303030303030303030303030303|0404040404040404||{}"}}"#
            ]],
        );
    }

    #[test]
    fn an_event_without_a_time_is_at_the_start_of_its_span() {
        let event = Event { name: "retry".to_owned(), ..Default::default() };
        let span = Span { events: vec![event], ..span() };
        assert_eq!(ZipkinSpan::new(&span, None, None).annotations[0].timestamp, 1_700_000_000_000_000);
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let span =
            Span { attributes: vec![string("peer.service", "a"), string("peer.service", "b")], ..span() };
        let span = ZipkinSpan::new(&span, None, None);
        assert_eq!(span.tags["peer.service"], "b");
        assert_eq!(span.remote_endpoint.unwrap().service_name, "b");
    }

    #[test]
    fn a_successful_span_has_no_error_tag() {
        for (code, error) in [(0, "false"), (1, "true")] {
            let mut span = span();
            span.attributes = vec![string("error", error)];
            span.status = Some(Status { code, ..Default::default() });
            let span = ZipkinSpan::new(&span, None, None);
            assert!(!span.tags.contains_key("error"));
            assert_eq!(span.local_endpoint.service_name, "unknown_service");
        }
    }
}

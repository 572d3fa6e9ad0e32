//! A Zipkin span, and its conversion to a span of OTLP.

use std::borrow::Cow;
use std::collections::BTreeMap;

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span, status};

use crate::otlp::arrival::TIME_SOURCE;
use crate::otlp::left_out::Reason;

/// The largest number of attributes that are not tags: the source of the time, and the two endpoints.
const DERIVED_ATTRIBUTES: usize = 6;

/// A span as it was received. Ids and kind are not parsed.
#[derive(Default)]
pub(super) struct ZipkinSpan<'a> {
    pub(super) trace_id: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) parent_id: Option<Cow<'a, str>>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) kind: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    pub(super) timestamp: Option<u64>,
    /// Microseconds.
    pub(super) duration: Option<u64>,
    pub(super) local: Endpoint<'a>,
    pub(super) remote: Endpoint<'a>,
    /// The time in microseconds since 1970, and the value.
    pub(super) annotations: Vec<(u64, Cow<'a, str>)>,
    pub(super) tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    pub(super) is_shared: bool,
    /// The tags and values of endpoints, and the annotations, that were left out.
    pub(super) dropped_attributes: u32,
    pub(super) dropped_events: u32,
}

#[derive(Default)]
pub(super) struct Endpoint<'a> {
    pub(super) service_name: Option<Cow<'a, str>>,
    pub(super) ipv4: Option<Cow<'a, str>>,
    pub(super) ipv6: Option<Cow<'a, str>>,
    pub(super) port: Option<u16>,
}

/// The ids of a span.
pub(super) struct Ids {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
}

impl ZipkinSpan<'_> {
    /// Parses the ids. As in Zipkin, a short id is read as if it had zeros in front, and a parent id is absent if it has
    /// only zeros or is that of the span.
    pub(super) fn ids(&self) -> Result<Ids, Reason> {
        let trace_id = hex(self.trace_id.as_deref(), 32, Reason::TraceIdLength)?;
        let span_id = hex(self.id.as_deref(), 16, Reason::SpanIdLength)?;
        let parent = match self.parent_id.as_deref() {
            None | Some("") => 0,
            parent => hex(parent, 16, Reason::ParentSpanIdLength)?,
        };
        let parent = if parent == span_id { 0 } else { parent };
        let short = |id: u128| u64::try_from(id).ok().and_then(SpanId::new);
        Ok(Ids {
            trace_id: TraceId::new(trace_id).ok_or(Reason::TraceIdZero)?,
            span_id: short(span_id).ok_or(Reason::SpanIdZero)?,
            parent: short(parent),
        })
    }

    /// Returns true if the client's span has the same id. A later part of the server's span can have no kind.
    pub(super) fn is_shared_server(&self) -> bool {
        self.is_shared && matches!(self.kind(), span::SpanKind::Server | span::SpanKind::Internal)
    }

    /// Returns the kind. A missing or unknown kind is `INTERNAL`.
    pub(super) fn kind(&self) -> span::SpanKind {
        let kind = self.kind.as_deref().unwrap_or_default();
        let kinds = [
            ("CLIENT", span::SpanKind::Client),
            ("SERVER", span::SpanKind::Server),
            ("PRODUCER", span::SpanKind::Producer),
            ("CONSUMER", span::SpanKind::Consumer),
        ];
        let found = kinds.into_iter().find(|(name, _)| kind.eq_ignore_ascii_case(name));
        found.map_or(span::SpanKind::Internal, |(_, kind)| kind)
    }

    /// Converts the span. Its id and its parent are left open: they can depend on the other spans of the list.
    pub(super) fn into_otlp(mut self, trace_id: TraceId, now: u64) -> Span {
        let kind = self.kind();
        // As in Zipkin, a time of zero is absent.
        let earliest =
            self.annotations.iter().map(|(timestamp, _)| *timestamp).filter(|time| *time > 0).min();
        let (start, is_stated) = match self.timestamp.or(earliest) {
            Some(micros) => (nanos(micros), true),
            None => (now, false),
        };
        let status = status(&mut self.tags);
        let mut attributes = Vec::with_capacity(self.tags.len() + DERIVED_ATTRIBUTES);
        attributes.extend(self.tags.iter().map(|(key, value)| string_attribute(key, value)));
        // Freed first, because a span can have many.
        drop(std::mem::take(&mut self.tags));
        if !is_stated {
            attributes.push(string_attribute(TIME_SOURCE, "arrival"));
        }
        endpoint(&mut attributes, &self.local, "network.local.address", "network.local.port");
        if let Some(service) = &self.remote.service_name {
            attributes.push(string_attribute("peer.service", service));
        }
        endpoint(&mut attributes, &self.remote, "network.peer.address", "network.peer.port");
        let has_two_addresses = |endpoint: &Endpoint<'_>| endpoint.ipv4.is_some() && endpoint.ipv6.is_some();
        let dropped_attributes_count = [&self.local, &self.remote]
            .into_iter()
            .filter(|endpoint| has_two_addresses(endpoint))
            .fold(self.dropped_attributes, |sum, _| sum.saturating_add(1));
        let event = |(timestamp, value): (u64, Cow<'_, str>)| span::Event {
            time_unix_nano: nanos(timestamp),
            name: value.into_owned(),
            ..Default::default()
        };
        Span {
            trace_id: trace_id.to_bytes().to_vec(),
            flags: 1, // Zipkin clients send only sampled spans
            name: self.name.unwrap_or_default().into_owned(),
            kind: kind.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start.saturating_add(nanos(self.duration.unwrap_or(0))),
            attributes,
            dropped_attributes_count,
            dropped_events_count: self.dropped_events,
            events: self.annotations.into_iter().map(event).collect(),
            status,
            ..Default::default()
        }
    }
}

/// Parses up to `digits` hexadecimal digits.
fn hex(text: Option<&str>, digits: usize, wrong_length: Reason) -> Result<u128, Reason> {
    let text = text.unwrap_or_default();
    if text.is_empty() || text.len() > digits {
        return Err(wrong_length);
    }
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Reason::IdNotHex);
    }
    u128::from_str_radix(text, 16).map_err(|_| Reason::IdNotHex)
}

/// Removes OpenTelemetry's status tags and returns the status, which can also be in the tag `error`. A status code can
/// be a number, as OpenTelemetry C++ writes it.
fn status(tags: &mut BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> Option<Status> {
    let code = tags.get("otel.status_code").map(Cow::as_ref);
    let is_known = matches!(code, None | Some("OK" | "ERROR" | "UNSET"));
    let (is_ok, is_error) = (code == Some("OK"), code == Some("ERROR"));
    if is_known {
        tags.remove("otel.status_code");
    }
    if is_ok {
        return Some(Status { code: status::StatusCode::Ok.into(), message: String::new() });
    }
    if !is_error && !tags.contains_key("error") {
        return None;
    }
    let description = tags.remove("otel.status_description");
    let message = description.as_ref().or(tags.get("error")).map(Cow::as_ref).unwrap_or_default();
    // Without a message, the tag is only a flag.
    let message = if message == "true" { "" } else { message };
    Some(Status { code: status::StatusCode::Error.into(), message: message.to_owned() })
}

fn endpoint(attributes: &mut Vec<KeyValue>, endpoint: &Endpoint<'_>, address: &str, port: &str) {
    if let Some(ip) = endpoint.ipv4.as_ref().or(endpoint.ipv6.as_ref()) {
        attributes.push(string_attribute(address, ip));
    }
    if let Some(number) = endpoint.port {
        let value = Some(AnyValue { value: Some(Any::IntValue(number.into())) });
        attributes.push(KeyValue { key: port.to_owned(), value, key_strindex: 0 });
    }
}

pub(super) fn string_attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

const fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

//! Attributes as labels, under the names that the Cloud Trace console uses, and at most as many as it takes.
//!
//! OpenTelemetry's HTTP attributes had other names before 2023. Both generations are mapped.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::model::{Attributes, Value};
use super::resource::ResourceLabels;
use super::text::{Limits, is_key, truncated, value};
use crate::otlp::any_value::unique;

const MAX_ATTRIBUTES: usize = 32;

/// The name that OpenTelemetry's mapping to Zipkin has for it.
const TRACE_STATE: &str = "w3c.tracestate";

const AGENT: &str = concat!("logtracer-exporter ", env!("CARGO_PKG_VERSION"));
pub(super) const AGENT_LABEL: &str = "g.co/agent";

/// The labels of the console by rank, each with the attributes that it shows. Lower ranks are kept first. Of the names of
/// an attribute, the first is the current one. The labels with `true` are for HTTP spans only.
const LABELS: &[(&str, bool, &[&str])] = &[
    ("/http/method", false, &["http.request.method", "http.method"]),
    ("/http/status_code", false, &["http.response.status_code", "http.status_code"]),
    ("/http/url", true, &["url.full", "http.url"]),
    ("/http/path", true, &["url.path", "http.path", "http.target"]),
    ("/http/route", false, &["http.route"]),
    ("/http/host", true, &["server.address", "http.host", "net.host.name"]),
    ("/http/user_agent", false, &["user_agent.original", "http.user_agent"]),
    (
        "/http/request/size",
        false,
        &["http.request.body.size", "http.request.size", "http.request_content_length"],
    ),
    (
        "/http/response/size",
        false,
        &["http.response.body.size", "http.response.size", "http.response_content_length"],
    ),
    ("/http/client_protocol", true, &["network.protocol.version", "http.flavor"]),
    ("/error/name", false, &["error.type"]),
    ("/tid", false, &["thread.id"]),
];

/// Returns the rank and the label of an attribute, and whether its name is one of the older conventions.
fn label(key: &str, is_http: bool) -> Option<(usize, bool, &'static str)> {
    LABELS.iter().enumerate().find_map(|(rank, (label, http_only, names))| {
        let name = names.iter().position(|name| *name == key)?;
        (is_http || !http_only).then_some((rank, name > 0, *label))
    })
}

fn is_http(span: &Span) -> bool {
    span.attributes
        .iter()
        .any(|attribute| matches!(attribute.key.as_str(), "http.request.method" | "http.method"))
}

/// Returns the labels of a span, by rank.
pub(super) fn of(
    span: &Span,
    resource: &ResourceLabels,
    scope: Option<&InstrumentationScope>,
    limits: &Limits,
) -> Attributes {
    let mut labels = Labels {
        limits,
        map: BTreeMap::new(),
        dropped: span.dropped_attributes_count.saturating_add(resource.dropped),
    };
    let is_http = is_http(span);
    let (mut named, mut others) = (Vec::new(), Vec::new());
    let mut has_agent = resource.has_agent;
    for attribute in unique(&span.attributes) {
        has_agent |= attribute.key == AGENT_LABEL;
        match label(&attribute.key, is_http) {
            Some((rank, is_old, label)) => named.push((rank, is_old, label, attribute)),
            None => others.push(attribute),
        }
    }
    named.sort_by_key(|(rank, is_old, ..)| (*rank, *is_old));

    if !has_agent {
        labels.add(AGENT_LABEL, || Value::Text(truncated(AGENT, limits.value)));
    }
    for (_, _, label, attribute) in named {
        labels.add(label, || shown(label, attribute, limits));
    }
    for (label, value) in exception(span, limits) {
        labels.add(label, || value);
    }
    if !span.trace_state.is_empty() {
        // The API has no field for it.
        labels.add(TRACE_STATE, || Value::Text(truncated(&span.trace_state, limits.value)));
    }
    for (label, value) in &resource.first {
        labels.add(label, || value.clone());
    }
    for attribute in others {
        labels.add(&attribute.key, || value(attribute.value.as_ref(), limits));
    }
    if let Some(scope) = scope {
        for (label, text) in [("otel.scope.name", &scope.name), ("otel.scope.version", &scope.version)] {
            if !text.is_empty() {
                labels.add(label, || Value::Text(truncated(text, limits.value)));
            }
        }
    }
    for (label, value) in &resource.last {
        labels.add(label, || value.clone());
    }
    Attributes { attribute_map: labels.map, dropped_attributes_count: labels.dropped.min(i32::MAX as u32) }
}

/// Returns the value as the console shows it under this label.
fn shown(label: &str, attribute: &KeyValue, limits: &Limits) -> Value {
    let value = value(attribute.value.as_ref(), limits);
    match (label, &value) {
        ("/http/client_protocol", Value::Text(text)) if !text.value.starts_with("HTTP") => {
            Value::Text(truncated(&format!("HTTP/{}", text.value), limits.value))
        }
        ("/http/path", Value::Text(text)) if text.value.contains('?') => {
            let path = text.value.split('?').next().unwrap_or_default();
            Value::Text(truncated(path, limits.value))
        }
        _ => value,
    }
}

/// Returns the type and the message of the first exception of a span.
fn exception(span: &Span, limits: &Limits) -> impl Iterator<Item = (&'static str, Value)> {
    let event = span.events.iter().find(|event| event.name == "exception");
    let attributes = event.map(|event| &event.attributes[..]).unwrap_or_default();
    unique(attributes).filter_map(|attribute| {
        let label = match attribute.key.as_str() {
            "exception.type" => "/error/name",
            "exception.message" => "/error/message",
            _ => return None,
        };
        Some((label, value(attribute.value.as_ref(), limits)))
    })
}

struct Labels<'l> {
    limits: &'l Limits,
    map: BTreeMap<String, Value>,
    dropped: u32,
}

impl Labels<'_> {
    /// Adds a label unless it exists already or there are too many.
    fn add(&mut self, key: &str, value: impl FnOnce() -> Value) {
        if self.map.contains_key(key) {
            return;
        }
        if self.map.len() < MAX_ATTRIBUTES && is_key(key, self.limits) {
            self.map.insert(key.to_owned(), value());
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::CURRENT;
    use super::*;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::Event;

    fn text(key: &str, value: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
        KeyValue { key: key.to_owned(), value, key_strindex: 0 }
    }

    /// The labels as `key=value`, without that of the agent.
    fn labels(span: Vec<KeyValue>, resource: Vec<KeyValue>) -> Vec<String> {
        let exception = Event {
            name: "exception".to_owned(),
            attributes: vec![text("exception.type", "Gone"), text("exception.message", "it is gone")],
            ..Default::default()
        };
        let has_events = span.is_empty() && resource.is_empty();
        let span = Span {
            attributes: span,
            events: has_events.then_some(exception).into_iter().collect(),
            ..Default::default()
        };
        let resource = Resource { attributes: resource, ..Default::default() };
        let project = "mesh-project".parse().unwrap();
        let labels = of(&span, &ResourceLabels::new(Some(&resource), &project, &CURRENT), None, &CURRENT);
        assert_eq!(labels.dropped_attributes_count, 0);
        let shown =
            labels.attribute_map.into_iter().filter(|(key, _)| key != AGENT_LABEL).map(|(key, value)| {
                match value {
                    Value::Text(text) => format!("{key}={}", text.value),
                    other => format!("{key}={other:?}"),
                }
            });
        shown.collect()
    }

    #[test]
    fn http_labels_are_for_http_spans_only() {
        let attributes = || vec![text("server.address", "db"), text("url.path", "/x")];
        assert_eq!(labels(attributes(), vec![]), ["server.address=db", "url.path=/x"]);
        let http = [vec![text("http.method", "GET")], attributes()].concat();
        assert_eq!(labels(http, vec![]), ["/http/host=db", "/http/method=GET", "/http/path=/x"]);
    }

    #[test]
    fn the_current_name_precedes_the_old_one() {
        let both = vec![text("http.method", "_OTHER"), text("http.request.method", "GET")];
        assert_eq!(labels(both, vec![]), ["/http/method=GET"]);
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let span = ["GET", "PUT"].map(|method| text("http.method", method));
        let other = ["1", "2"].map(|value| text("a", value));
        let resource = ["x", "y"].map(|name| text("service.name", name));
        let labels = labels([&span[..], &other[..]].concat(), resource.to_vec());
        assert_eq!(labels, ["/component=y", "/http/method=PUT", "a=2", "service.name=y"]);
    }

    #[test]
    fn an_exception_sets_the_error_labels() {
        assert_eq!(labels(vec![], vec![]), ["/error/message=it is gone", "/error/name=Gone"]);
    }

    #[test]
    fn a_resource_sets_the_monitored_resource() {
        let pod = vec![
            text("k8s.pod.name", "shop-1"),
            text("k8s.namespace.name", "default"),
            text("k8s.cluster.name", "c1"),
            text("cloud.availability_zone", "europe-west1-b"),
        ];
        let found: Vec<String> =
            labels(vec![], pod).into_iter().filter(|label| label.starts_with("g.co")).collect();
        let expected = [
            "g.co/r/k8s_container/cluster_name=c1",
            "g.co/r/k8s_container/location=europe-west1-b",
            "g.co/r/k8s_container/namespace_name=default",
            "g.co/r/k8s_container/pod_name=shop-1",
            "g.co/r/k8s_container/project_id=mesh-project",
        ];
        assert_eq!(found, expected);
        let run = vec![
            text("cloud.platform", "gcp_cloud_run"),
            text("faas.name", "shop"),
            text("cloud.account.id", "p2"),
        ];
        let found: Vec<String> =
            labels(vec![], run).into_iter().filter(|label| label.starts_with("g.co")).collect();
        assert_eq!(
            found,
            ["g.co/r/cloud_run_revision/project_id=p2", "g.co/r/cloud_run_revision/service_name=shop"]
        );
    }

    #[test]
    fn the_probability_of_a_span_is_in_its_tracestate() {
        let span = Span { trace_state: "ot=th:f3333333333333,a=1".to_owned(), ..Default::default() };
        let resource = ResourceLabels::new(None, &"mesh-project".parse().unwrap(), &CURRENT);
        let labels = of(&span, &resource, None, &CURRENT);
        assert_eq!(
            labels.attribute_map[TRACE_STATE],
            Value::Text(truncated(&span.trace_state, CURRENT.value))
        );
    }

    #[test]
    fn an_existing_agent_label_is_kept() {
        let span = Span { attributes: vec![text(AGENT_LABEL, "other 1")], ..Default::default() };
        let resource = ResourceLabels::new(None, &"mesh-project".parse().unwrap(), &CURRENT);
        let labels = of(&span, &resource, None, &CURRENT);
        assert_eq!(labels.attribute_map[AGENT_LABEL], Value::Text(truncated("other 1", CURRENT.value)));
    }
}

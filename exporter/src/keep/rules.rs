//! [`Rules`]: the rules on single spans, which are applied when a batch is appended to the outbox.

use std::hash::{BuildHasher, RandomState};

use super::Rule;
use crate::otlp::in_place::{AnyRef, Attribute, ResourceRef, SpanFrame, for_each_item};
use crate::outbox::{Observe, ObservedRun};
use crate::store::is_service;

/// The rules that spans match, as bits: the indices in the list of all rules.
pub(super) type Matches = u32;

/// Returns the bit of a rule.
pub(super) fn bit(rules: &[Rule], rule: &Rule) -> Matches {
    rules.iter().position(|known| known == rule).map_or(0, |index| 1 << index)
}

/// The rules on single spans, each with its bit.
#[derive(Debug)]
pub(super) struct Rules {
    error: Matches,
    pub(super) new_route: Matches,
    services: Vec<(String, Matches)>,
    routes: Vec<(String, Matches)>,
    attributes: Vec<AttributeRule>,
    /// Random keys, so that nobody can choose routes that collide.
    route_hasher: RandomState,
}

/// A rule `attribute=KEY=VALUE`.
#[derive(Debug)]
struct AttributeRule {
    key: String,
    value: String,
    bit: Matches,
}

/// What the rules read of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ResourceFacts {
    service: String,
    matches: Matches,
}

/// What the rules read of a route of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RouteFacts {
    /// A hash of the service and the route, if a rule needs it, else 0.
    hash: u64,
    matches: Matches,
}

/// The route of a span. The next span of the same resource often has the same one, and then it is not read again.
#[derive(Debug, Default)]
struct LastRoute<'a> {
    /// The attribute that holds the route, and its text unless that is empty.
    attribute: &'a [u8],
    text: Option<&'a str>,
    facts: Option<(&'a str, RouteFacts)>,
}

impl<'a> LastRoute<'a> {
    fn text_of(&mut self, attribute: Attribute<'a>) -> Option<&'a str> {
        if self.attribute != attribute.body() {
            self.attribute = attribute.body();
            self.text = match attribute.value() {
                AnyRef::Text(text) if !text.is_empty() => Some(text),
                _ => None,
            };
        }
        self.text
    }

    fn facts_of(&mut self, route: &'a str, read: impl FnOnce() -> RouteFacts) -> RouteFacts {
        match self.facts {
            Some((last, facts)) if last == route => facts,
            _ => self.facts.insert((route, read())).1,
        }
    }
}

impl Rules {
    /// `rules` are all rules, without repetition.
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut new = Self {
            error: bit(rules, &Rule::Error),
            new_route: bit(rules, &Rule::NewRoute),
            services: Vec::new(),
            routes: Vec::new(),
            attributes: Vec::new(),
            route_hasher: RandomState::new(),
        };
        for rule in rules {
            let bit = bit(rules, rule);
            match rule {
                Rule::Service(name) => new.services.push((name.clone(), bit)),
                Rule::Route(route) => new.routes.push((route.clone(), bit)),
                Rule::Attribute { key, value } => {
                    new.attributes.push(AttributeRule { key: key.clone(), value: value.clone(), bit });
                }
                Rule::Error | Rule::SlowerThan(_) | Rule::Rate(_) | Rule::NewRoute | Rule::Logs => {}
            }
        }
        new
    }

    fn reads_route(&self) -> bool {
        self.new_route != 0 || !self.routes.is_empty()
    }

    /// Reads a resource.
    fn resource(&self, resource: &[u8]) -> ResourceFacts {
        let reads_service = self.new_route != 0 || !self.services.is_empty();
        let mut facts = ResourceFacts::default();
        let attributes = ResourceRef(resource).attributes();
        if reads_service {
            let texts = attributes.iter().filter_map(|(key, value)| match value {
                AnyRef::Text(text) => Some((key, text)),
                _ => None,
            });
            facts.service = crate::store::service_name(texts).into_owned();
            for (wanted, bit) in &self.services {
                if is_service(&facts.service, wanted) {
                    facts.matches |= bit;
                }
            }
        }
        if !self.attributes.is_empty() {
            let mut own = 0;
            attributes.refs().for_each(|attribute| own = self.with_attribute(own, attribute));
            facts.matches |= own;
        }
        facts
    }

    /// Reads a span once. `last` is the route of the span before it.
    fn span<'a>(&self, resource: &ResourceFacts, span: &'a [u8], last: &mut LastRoute<'a>) -> ObservedRun {
        let mut own = 0;
        let reads_route = self.reads_route();
        let (mut route, mut is_rpc) = (None, false);
        let frame = if reads_route || !self.attributes.is_empty() {
            SpanFrame::read(span, |attribute| {
                own = self.with_attribute(own, attribute);
                match attribute.key {
                    b"http.route" => route = last.text_of(attribute).or(route),
                    b"rpc.system" | b"rpc.system.name" => is_rpc = true,
                    _ => {}
                }
            })
        } else {
            SpanFrame::read(span, |_| {})
        };
        let mut run = ObservedRun {
            trace_id: trace_id(frame.trace_id).unwrap_or(0),
            start_time_unix_nano: frame.start_time_unix_nano,
            end_time_unix_nano: frame.end_time_unix_nano,
            route: 0,
            matches: resource.matches | own | self.of_error(frame),
            spans: 1,
        };
        let route = route.or_else(|| is_rpc.then(|| frame.name())).filter(|_| reads_route);
        if let Some(route) = route {
            let facts = last.facts_of(route, || self.route(resource, route));
            run.route = facts.hash;
            run.matches |= facts.matches;
        }
        run
    }

    /// Reads a route.
    fn route(&self, resource: &ResourceFacts, route: &str) -> RouteFacts {
        let known = self.routes.iter().filter(|(wanted, _)| wanted == route);
        let matches = known.fold(0, |bits, (_, bit)| bits | bit);
        let hash = match self.new_route {
            0 => 0,
            _ => self.route_hasher.hash_one((&resource.service, route)).max(1),
        };
        RouteFacts { hash, matches }
    }

    const fn of_error(&self, frame: SpanFrame<'_>) -> Matches {
        if frame.is_error { self.error } else { 0 }
    }

    /// Returns the rules that are matched with this attribute. Of attributes with the same key, the last counts.
    #[inline]
    fn with_attribute(&self, matches: Matches, attribute: Attribute<'_>) -> Matches {
        let rules = self.attributes.iter().filter(|rule| rule.key.as_bytes() == attribute.key);
        rules.fold(matches, |bits, rule| {
            let is_matched = has_text(attribute.value(), &rule.value);
            if is_matched { bits | rule.bit } else { bits & !rule.bit }
        })
    }
}

impl Observe for Rules {
    fn observe(&self, body: &[u8]) -> Vec<ObservedRun> {
        let mut runs: Vec<ObservedRun> = Vec::new();
        let (mut number, mut resource) = (None, ResourceFacts::default());
        let mut route = LastRoute::default();
        for_each_item(body, |of, span| {
            if number != Some(of.number) {
                (number, resource) = (Some(of.number), self.resource(of.bytes));
                route = LastRoute::default();
            }
            let span = self.span(&resource, span, &mut route);
            match runs.last_mut() {
                Some(run) if run.can_take(&span) => run.add(&span),
                _ => runs.push(span),
            }
        });
        runs.shrink_to_fit();
        runs
    }
}

/// Returns a trace id in its binary form, unless its length is wrong.
pub(super) fn trace_id(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

/// Returns whether a value, or an element of a list, is this text or has it as its JSON.
fn has_text(value: AnyRef<'_>, text: &str) -> bool {
    match value {
        AnyRef::Array(elements) => elements.iter().any(|element| is_text(element, text)),
        value => is_text(value, text),
    }
}

fn is_text(value: AnyRef<'_>, text: &str) -> bool {
    match value {
        AnyRef::Text(value) => value == text,
        AnyRef::Bool(value) => text == if value { "true" } else { "false" },
        AnyRef::Int(number) => text.parse() == Ok(number),
        AnyRef::Double(number) => text.parse() == Ok(number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    fn rules(rules: &[&str]) -> Rules {
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Rules::new(&rules)
    }

    fn attributes(pairs: &[(&str, Value)]) -> Vec<KeyValue> {
        let of = |(key, value): &(&str, Value)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(value.clone()) }),
            key_strindex: 0,
        };
        pairs.iter().map(of).collect()
    }

    fn text(value: &str) -> Value {
        Value::StringValue(value.to_owned())
    }

    #[test]
    fn attributes_of_spans_and_resources_are_matched_as_text() {
        let rules = rules(&[
            "attribute=a=1",
            "attribute=b=true",
            "attribute=c=x y",
            "attribute=d=2.5",
            "service=cart",
            "route=/r",
        ]);
        #[track_caller]
        fn check(rules: &Rules, resource: &[(&str, Value)], span: &[(&str, Value)], expected: Matches) {
            let resource =
                Resource { attributes: attributes(resource), ..Default::default() }.encode_to_vec();
            let span = Span {
                trace_id: vec![1; 16],
                attributes: attributes(span),
                name: "/r".to_owned(),
                ..Default::default()
            }
            .encode_to_vec();
            assert_eq!(
                rules.span(&rules.resource(&resource), &span, &mut LastRoute::default()).matches,
                expected
            );
        }
        check(&rules, &[], &[], 0);
        check(&rules, &[], &[("a", Value::IntValue(1))], 1);
        check(&rules, &[], &[("a", text("1"))], 1);
        check(&rules, &[("a", text("1"))], &[], 1);
        check(&rules, &[], &[("a", Value::IntValue(11)), ("A", Value::IntValue(1))], 0);
        check(&rules, &[], &[("b", Value::BoolValue(true)), ("c", text("x y"))], 0b110);
        check(&rules, &[], &[("b", Value::BoolValue(false)), ("d", Value::DoubleValue(2.5))], 0b1000);
        check(&rules, &[("service.name", text("cart")), ("k8s.namespace.name", text("shop"))], &[], 0b1_0000);
        check(&rules, &[("service.name", text("carts"))], &[], 0);
        // An element of a list, as the filter records headers.
        let list = |values: Vec<Value>| {
            let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
            Value::ArrayValue(ArrayValue { values })
        };
        check(&rules, &[], &[("c", list(vec![text("x"), text("x y")])), ("a", list(vec![]))], 0b100);
        check(
            &rules,
            &[],
            &[("a", list(vec![Value::IntValue(1)])), ("c", list(vec![list(vec![text("x y")])]))],
            1,
        );
        // The last of equal keys counts, and that of the resource counts whatever the span has.
        check(&rules, &[], &[("a", text("1")), ("a", text("2"))], 0);
        check(&rules, &[], &[("a", text("2")), ("a", text("1"))], 1);
        check(&rules, &[("a", text("1"))], &[("a", text("2"))], 1);
        check(&rules, &[("a", text("1")), ("a", text("2"))], &[], 0);
        check(&rules, &[], &[("http.route", text("/r"))], 0b10_0000);
        check(&rules, &[], &[("rpc.system", text("grpc"))], 0b10_0000);
    }

    #[test]
    fn spans_that_follow_each_other_are_observed_together() {
        let span = |trace: u8, start: u64, route: &str| Span {
            trace_id: vec![trace; 16],
            start_time_unix_nano: start,
            end_time_unix_nano: start + 10,
            attributes: attributes(&[("http.route", text(route))]),
            ..Default::default()
        };
        let spans =
            [span(1, 5, "/a"), span(1, 3, "/a"), span(1, 9, "/b"), span(2, 1, "/b"), span(1, 1, "/b")];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans { spans: spans.into(), ..Default::default() }],
                ..Default::default()
            }],
        };
        let seen = |names: &[&str], mut request: ExportTraceServiceRequest, last_id: Vec<u8>| {
            request.resource_spans[0].scope_spans[0].spans[4].trace_id = last_id;
            let run = |run: &ObservedRun| {
                (run.trace_id as u8, run.spans, run.start_time_unix_nano, run.end_time_unix_nano, run.matches)
            };
            rules(names).observe(&request.encode_to_vec()).iter().map(run).collect::<Vec<_>>()
        };
        let all = [(1, 3, 3, 19, 0), (2, 1, 1, 11, 0), (1, 1, 1, 11, 0)];
        assert_eq!(seen(&["error"], request.clone(), vec![1; 16]), all);
        let without_id = [all[0], all[1], (0, 1, 1, 11, 0)];
        assert_eq!(seen(&["error"], request.clone(), vec![1; 8]), without_id);
        let by_route = [(1, 2, 3, 15, 0), (1, 1, 9, 19, 1), (2, 1, 1, 11, 1), (1, 1, 1, 11, 1)];
        assert_eq!(seen(&["route=/b"], request.clone(), vec![1; 16]), by_route);
        let by_hash = by_route.map(|(id, spans, start, end, _)| (id, spans, start, end, 0));
        assert_eq!(seen(&["new-route"], request, vec![1; 16]), by_hash);
    }

    /// A route is read again if it, its service or its attribute changes.
    #[test]
    fn each_span_has_its_own_route() {
        let span = |name: &str, attribute: (&str, Value)| Span {
            name: name.to_owned(),
            attributes: attributes(&[attribute]),
            ..Default::default()
        };
        let route = |route: &str| span("", ("http.route", text(route)));
        let rpc = |name: &str| span(name, ("rpc.system", text("grpc")));
        let of_service = |service: &str, spans: Vec<Span>| ResourceSpans {
            resource: Some(Resource {
                attributes: attributes(&[("service.name", text(service))]),
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        };
        let none = span("", ("http.route", Value::IntValue(1)));
        let request = ExportTraceServiceRequest {
            resource_spans: vec![
                of_service("shop", vec![route("/a"), route("/b"), none, route("/b"), route("/a"), rpc("/b")]),
                of_service("cart", vec![rpc("/b"), route("/a"), route("")]),
            ],
        };
        let runs = rules(&["new-route", "route=/b"]).observe(&request.encode_to_vec());
        let matches: Vec<(Matches, u32)> = runs.iter().map(|run| (run.matches, run.spans)).collect();
        let expected = [(0, 1), (2, 1), (0, 1), (2, 1), (0, 1), (2, 1), (2, 1), (0, 1), (0, 1)];
        assert_eq!(matches, expected);
        let hashes: Vec<u64> = runs.iter().map(|run| run.route).collect();
        let [a, b, none, again_b, again_a, rpc_b, cart_b, cart_a, cart_none] = hashes[..] else { panic!() };
        assert_eq!((none, cart_none), (0, 0));
        assert_eq!((again_a, again_b, rpc_b), (a, b, b));
        let mut all = [a, b, cart_a, cart_b];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]) && all[0] != 0, "{all:?}");
    }
}

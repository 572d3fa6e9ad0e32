//! What a search can ask for: the terms of spans.

use std::borrow::Cow;

use super::bits::mix;
use crate::otlp::in_place::{AnyRef, ResourceRef, SpanRef};
use crate::store::service_name::without_namespace;
use logtracer_core::request::grpc;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

/// A term of the index, by its hash. The hashes are stored, so they are the same in all versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Term(pub(super) u64);

/// The kinds of terms. The numbers are stored.
#[derive(Clone, Copy)]
enum Kind {
    /// A service has a span.
    Service = 1,
    /// A span has a route.
    Route = 2,
    /// A span has a status: `404`, `4xx`, `error`, `UNAVAILABLE`.
    Status = 3,
    /// A span of a service has a route.
    ServiceRoute = 4,
    /// A span of a service has a status.
    ServiceStatus = 5,
    /// A span with a route has a status.
    RouteStatus = 6,
    /// A span or its resource has an attribute.
    Attribute = 7,
    /// A span of a service with a route has a status that is not a success.
    ServiceRouteStatus = 8,
}

/// Hashes the kind and the parts, eight bytes at a time, each part with its length.
fn term(kind: Kind, parts: &[&str]) -> Term {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let add = |hash: u64, number: u64| (hash.rotate_left(5) ^ number).wrapping_mul(FACTOR);
    let hash = parts.iter().fold(kind as u64, |hash, part| {
        let (chunks, rest) = part.as_bytes().as_chunks::<8>();
        let hash = chunks.iter().fold(hash, |hash, chunk| add(hash, u64::from_le_bytes(*chunk)));
        let rest = rest.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        add(add(hash, rest), part.len() as u64)
    });
    Term(mix(hash))
}

/// What searches know of a span, beside its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store) struct SpanFacts<'a> {
    pub(in crate::store) service: Cow<'a, str>,
    /// The attribute `http.route`. Empty if there is none.
    pub(in crate::store) route: &'a str,
    /// An HTTP status code, or the name of a gRPC status code. Empty if there is none.
    pub(in crate::store) status: Cow<'a, str>,
    pub(in crate::store) is_error: bool,
}

impl<'a> SpanFacts<'a> {
    pub(in crate::store) fn new(span: &SpanRef<'a>, service: Cow<'a, str>) -> Self {
        Self::with_attributes(span, service, |_, _| {})
    }

    /// Reads a span, and calls `each` with each of its attributes.
    fn with_attributes(
        span: &SpanRef<'a>,
        service: Cow<'a, str>,
        mut each: impl FnMut(&'a str, AnyRef<'a>),
    ) -> Self {
        let is_error = span.status() == StatusCode::Error;
        let mut facts = Self { service, is_error, ..Self::default() };
        let mut rpc_status: Cow<'a, str> = "".into();
        for (key, value) in span.attributes().iter() {
            each(key, value);
            match (key, value) {
                ("http.route", AnyRef::Text(route)) => facts.route = route,
                ("http.response.status_code" | "http.status_code", AnyRef::Int(code)) => {
                    facts.status = code.to_string().into();
                }
                ("http.response.status_code" | "http.status_code", AnyRef::Text(code)) => {
                    facts.status = code.into();
                }
                ("rpc.response.status_code", AnyRef::Text(name)) => rpc_status = name.into(),
                ("rpc.grpc.status_code", AnyRef::Int(code)) if rpc_status.is_empty() => {
                    rpc_status = u32::try_from(code).map_or("", grpc::name).into();
                }
                _ => {}
            }
        }
        if !rpc_status.is_empty() {
            facts.status = rpc_status;
        }
        facts
    }

    /// Returns the class of an HTTP status code: `5xx`.
    pub(in crate::store) fn class(&self) -> Option<&'static str> {
        match self.status.as_bytes() {
            [digit @ b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                ["1xx", "2xx", "3xx", "4xx", "5xx"].get(usize::from(digit - b'1')).copied()
            }
            _ => None,
        }
    }

    fn statuses(&self) -> impl Iterator<Item = &str> {
        let status = Some(&*self.status).filter(|status| !status.is_empty());
        [status, self.class(), self.is_error.then_some("error")].into_iter().flatten()
    }
}

/// Calls `add` with each term of a span, without those of its resource.
pub(in crate::store) fn span_terms(span: &SpanRef<'_>, service: &str, mut add: impl FnMut(Term)) {
    let each = |key: &str, value: AnyRef<'_>| add(Term::of_attribute(key, value));
    let facts = SpanFacts::with_attributes(span, service.into(), each);
    let route = facts.route;
    if !route.is_empty() {
        add(Term::route(None, route));
    }
    for status in facts.statuses() {
        add(term(Kind::Status, &[status]));
        if !route.is_empty() {
            add(term(Kind::RouteStatus, &[route, status]));
        }
    }
    // A filter may name the service without its namespace.
    let bare = Some(without_namespace(service)).filter(|bare| *bare != service);
    for service in [Some(service), bare].into_iter().flatten() {
        service_terms(&facts, service, &mut add);
    }
}

/// Calls `add` with each term of a span of the service with this name.
fn service_terms(facts: &SpanFacts<'_>, service: &str, add: &mut impl FnMut(Term)) {
    let route = facts.route;
    add(Term::service(service));
    if !route.is_empty() {
        add(Term::route(Some(service), route));
    }
    for status in facts.statuses() {
        add(term(Kind::ServiceStatus, &[service, status]));
        if !route.is_empty() && !is_success(status) {
            add(term(Kind::ServiceRouteStatus, &[service, route, status]));
        }
    }
}

/// Calls `add` with each term of a resource.
pub(in crate::store) fn resource_terms(resource: ResourceRef<'_>, mut add: impl FnMut(Term)) {
    resource.attributes().iter().for_each(|(key, value)| add(Term::of_attribute(key, value)));
}

/// The text of a span that a search reads.
pub(in crate::store) const fn span_text<'a>(span: &SpanRef<'a>) -> &'a str {
    span.name
}

impl Term {
    pub(in crate::store) fn service(service: &str) -> Self {
        term(Kind::Service, &[service])
    }

    pub(in crate::store) fn route(service: Option<&str>, route: &str) -> Self {
        match service {
            None => term(Kind::Route, &[route]),
            Some(service) => term(Kind::ServiceRoute, &[service, route]),
        }
    }

    /// Returns the terms of a status, a class or `error`, in spans of this service and with this route.
    pub(in crate::store) fn status(
        service: Option<&str>,
        route: Option<&str>,
        status: &str,
    ) -> impl Iterator<Item = Self> {
        let of_service = service.map(|service| term(Kind::ServiceStatus, &[service, status]));
        let of_route = route.map(|route| term(Kind::RouteStatus, &[route, status]));
        let of_both = service.zip(route).filter(|_| !is_success(status));
        let of_both =
            of_both.map(|(service, route)| term(Kind::ServiceRouteStatus, &[service, route, status]));
        [Some(term(Kind::Status, &[status])), of_service, of_route, of_both].into_iter().flatten()
    }

    /// Returns the term of an attribute whose value has this text, see [`AnyRef::text_within`].
    pub(in crate::store) fn attribute(key: &str, value: &str) -> Self {
        term(Kind::Attribute, &[key, value])
    }

    fn of_attribute(key: &str, value: AnyRef<'_>) -> Self {
        match value {
            AnyRef::Text(value) => Self::attribute(key, value),
            value => Self::attribute(key, &value.text_within(usize::MAX).0),
        }
    }
}

/// Returns whether a status is frequent, so that its terms with both service and route would fill the blocks.
fn is_success(status: &str) -> bool {
    status.starts_with(['1', '2', '3']) || status == "OK"
}

/// The length up to which a searched text is compared at each place. With a longer one, that would take too long in a text
/// that repeats its beginning.
const MAX_COMPARED_BYTES: usize = 32;

/// Returns whether a text contains another one. Letters of ASCII are equal in upper and lower case.
pub(crate) fn contains_text(text: &[u8], searched: &[u8]) -> bool {
    if searched.len() > MAX_COMPARED_BYTES {
        return contains_long_text(text, searched);
    }
    let Some((first, rest)) = searched.split_first() else { return true };
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr::memchr2_iter(lower, upper, text).any(|position| {
        let after = text.get(position + 1..position + 1 + rest.len());
        after.is_some_and(|after| after.eq_ignore_ascii_case(rest))
    })
}

/// Converts the text to lower case in parts that overlap, so that it takes little memory.
fn contains_long_text(text: &[u8], searched: &[u8]) -> bool {
    let finder = memchr::memmem::Finder::new(&searched.to_ascii_lowercase()).into_owned();
    let part_bytes = 16 * searched.len();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= searched.len()) {
        let part = rest.get(..part_bytes).unwrap_or(rest);
        if finder.find(&part.to_ascii_lowercase()).is_some() {
            return true;
        }
        at += part.len() - (searched.len() - 1);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use prost::Message;

    fn span(attributes: &[(&str, Any)]) -> Vec<u8> {
        let attribute = |(key, value): &(&str, Any)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(value.clone()) }),
            key_strindex: 0,
        };
        let status = Some(Status { code: 2, message: String::new() });
        Span { attributes: attributes.iter().map(attribute).collect(), status, ..Span::default() }
            .encode_to_vec()
    }

    fn text(text: &str) -> Any {
        Any::StringValue(text.to_owned())
    }

    #[test]
    fn the_status_is_read_from_both_generations_of_attributes() {
        for (attributes, status, class) in [
            (vec![("http.response.status_code", Any::IntValue(503))], "503", Some("5xx")),
            (vec![("http.status_code", text("404"))], "404", Some("4xx")),
            (vec![("rpc.response.status_code", text("UNAVAILABLE"))], "UNAVAILABLE", None),
            (
                vec![
                    ("rpc.grpc.status_code", Any::IntValue(14)),
                    ("http.response.status_code", Any::IntValue(200)),
                ],
                "UNAVAILABLE",
                None,
            ),
            (vec![("http.response.status_code", Any::IntValue(1000))], "1000", None),
            (vec![], "", None),
        ] {
            let body = span(&attributes);
            let facts = SpanFacts::new(&SpanRef::new(&body), "shop".into());
            assert_eq!((&*facts.status, facts.class()), (status, class));
        }
    }

    /// The file has these hashes: a change makes old blocks lack what they have.
    #[test]
    fn hashes_never_change() {
        assert_eq!(Term::service("shop").0, 3_941_855_857_807_968_666);
        assert_eq!(Term::attribute("user", "7").0, 2_274_476_479_142_068_010);
    }

    #[test]
    fn a_span_has_the_terms_that_filters_look_for() {
        let body = span(&[
            ("http.route", text("/basket")),
            ("http.response.status_code", Any::IntValue(503)),
            ("retries", Any::IntValue(2)),
            ("is_new", Any::BoolValue(true)),
        ]);
        let span = SpanRef::new(&body);
        let mut terms = Vec::new();
        span_terms(&span, "shop", |term| terms.push(term));
        for wanted in [
            Term::service("shop"),
            Term::route(Some("shop"), "/basket"),
            Term::route(None, "/basket"),
            Term::attribute("retries", "2"),
            Term::attribute("is_new", "true"),
        ] {
            assert!(terms.contains(&wanted));
        }
        for status in ["503", "5xx", "error"] {
            assert!(Term::status(Some("shop"), Some("/basket"), status).all(|term| terms.contains(&term)));
        }
        assert!(!terms.contains(&Term::route(Some("other"), "/basket")));
        let mut namespaced = Vec::new();
        span_terms(&span, "team/shop", |term| namespaced.push(term));
        for service in ["shop", "team/shop"] {
            assert!(namespaced.contains(&Term::service(service)));
            assert!(
                Term::status(Some(service), Some("/basket"), "503").all(|term| namespaced.contains(&term))
            );
        }
        assert!(terms.iter().all(|term| namespaced.contains(term)));
    }

    #[test]
    fn text_is_found_in_either_case() {
        for (searched, expected) in [
            ("", true),
            ("a", true),
            ("CARD d", true),
            ("declined", true),
            ("declined ", false),
            ("x", false),
        ] {
            assert_eq!(contains_text(b"Card Declined", searched.as_bytes()), expected, "{searched}");
        }
        // Long ones, at every place of the parts.
        let searched = [b"a".repeat(MAX_COMPARED_BYTES), b"B".to_vec()].concat();
        for before in 0..2000 {
            let text = [b"a".repeat(before), searched.to_ascii_uppercase(), b"a".repeat(7)].concat();
            assert!(contains_text(&text, &searched), "{before}");
            assert!(!contains_text(&text[..before + MAX_COMPARED_BYTES], &searched), "{before}");
        }
    }
}

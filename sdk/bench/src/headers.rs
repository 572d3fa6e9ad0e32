//! Extracting a context from the headers of a request and injecting it into those of the next, in each format.

use std::hint::black_box;

use http::{HeaderMap, HeaderValue};
use logtracer_allocations::measure;
use logtracer_core::SpanId;
use logtracer_core::propagation::{Carrier, Format, Formats, Header, Propagator, TraceHeaders};
use logtracer_sdk::client::inject_with;
use logtracer_sdk::prelude::*;

use crate::report;

/// Headers that every request has.
const OTHERS: [(&str, &str); 3] = [("host", "shop:8080"), ("user-agent", "curl/8.5.0"), ("accept", "*/*")];

const B3: [(&str, &str); 3] = [
    ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-sampled", "1"),
];

const W3C: [(&str, &str); 1] = [("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")];

/// A carrier that writes nothing, to measure without a map.
struct Discard;

impl Carrier for Discard {
    fn set(&mut self, header: Header, value: &str) {
        black_box((header, value));
    }

    fn remove(&mut self, header: Header) {
        black_box(header);
    }
}

pub(crate) fn run() {
    for (format, lines) in [(Format::B3Multi, &B3[..]), (Format::TraceContext, &W3C[..])] {
        let incoming: HeaderMap = OTHERS
            .iter()
            .chain(lines)
            .filter_map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_static(value))))
            .collect::<HeaderMap>();
        ours(format, &incoming);
        #[cfg(feature = "peers")]
        peers::run(format, &incoming);
    }
}

fn ours(format: Format, incoming: &HeaderMap) {
    let formats = Formats::of(&[format]);
    let propagator = Propagator { extract: formats, inject: formats };
    let mut number = 0;
    let mut next_hop = || {
        number += 1;
        let headers = TraceHeaders::collect(black_box(incoming));
        let extracted = propagator.extract(&headers);
        Some(extracted.parent?.child(SpanId::new(number)?))
    };
    let nothing = Default::default();
    report(
        &format!("logtracer-core: {format}, extract and inject, no map"),
        measure(|| {
            if let Some(context) = next_hop() {
                propagator.inject(&context, &nothing, &mut Discard);
            }
        }),
    );
    let mut outgoing = HeaderMap::new();
    report(
        &format!("logtracer-sdk: {format}, extract and inject, HeaderMap"),
        measure(|| {
            if let Some(context) = next_hop() {
                context.run(|| inject_with(&propagator, &mut outgoing));
            }
        }),
    );
}

#[cfg(feature = "peers")]
mod peers {
    use std::hint::black_box;

    use http::{HeaderMap, HeaderName};
    use logtracer_allocations::measure;
    use logtracer_core::propagation::Format;
    use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
    use opentelemetry_propagator_b3::{B3Encoding, Propagator};
    use opentelemetry_sdk::propagation::TraceContextPropagator;

    use crate::report;

    struct Reader<'a>(&'a HeaderMap);

    impl Extractor for Reader<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }

    struct Writer<'a>(&'a mut HeaderMap);

    impl Injector for Writer<'_> {
        fn set(&mut self, key: &str, value: String) {
            if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), value.parse()) {
                self.0.insert(name, value);
            }
        }
    }

    pub(super) fn run(format: Format, incoming: &HeaderMap) {
        let propagator: Box<dyn TextMapPropagator> = match format {
            Format::TraceContext => Box::new(TraceContextPropagator::new()),
            _ => Box::new(Propagator::with_encoding(B3Encoding::MultipleHeader)),
        };
        let root = opentelemetry::Context::new();
        let mut outgoing = HeaderMap::new();
        report(
            &format!("opentelemetry: {format}, extract and inject, HeaderMap"),
            measure(|| {
                let context = propagator.extract_with_context(&root, &Reader(black_box(incoming)));
                propagator.inject_context(&context, &mut Writer(&mut outgoing));
            }),
        );
    }
}

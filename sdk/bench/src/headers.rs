//! Extracting a context from the headers of a request and injecting it into those of the next, in B3.

use std::hint::black_box;

use http::{HeaderMap, HeaderName, HeaderValue};
use logtracer_allocations::measure;
use logtracer_core::SpanId;
use logtracer_core::propagation::{Carrier, Format, Formats, Header, Propagator, TraceHeaders};

use crate::report;

const LINES: [(&str, &str); 6] = [
    ("host", "shop:8080"),
    ("user-agent", "curl/8.5.0"),
    ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-sampled", "1"),
    ("accept", "*/*"),
];

struct Headers<'a>(&'a mut HeaderMap);

impl Carrier for Headers<'_> {
    fn set(&mut self, header: Header, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.insert(HeaderName::from_static(header.name()), value);
        }
    }

    fn remove(&mut self, header: Header) {
        self.0.remove(header.name());
    }
}

/// Counts what would be written, so that the map's own work is left out.
struct Nowhere;

impl Carrier for Nowhere {
    fn set(&mut self, header: Header, value: &str) {
        black_box((header, value));
    }

    fn remove(&mut self, header: Header) {
        black_box(header);
    }
}

pub(crate) fn run() {
    let incoming: HeaderMap = LINES
        .iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_static(value))))
        .collect::<HeaderMap>();
    let mut outgoing = HeaderMap::new();
    let multi = Formats::of(&[Format::B3Multi]);
    let propagator = Propagator { extract: multi, inject: multi };
    let mut number = 1;
    let mut hop = |carrier: &mut dyn FnMut(&Propagator, &logtracer_core::TraceContext)| {
        number += 1;
        let lines = TraceHeaders::collect(black_box(&incoming));
        let extracted = propagator.extract(&lines);
        if let (Some(parent), Some(span_id)) = (extracted.parent, SpanId::new(number)) {
            carrier(&propagator, &parent.child(span_id));
        }
    };
    let nothing = Default::default();
    report(
        "logtracer: b3multi, extract and inject, no map",
        measure(|| hop(&mut |propagator, context| propagator.inject(context, &nothing, &mut Nowhere))),
    );
    report(
        "logtracer: b3multi, extract and inject, http::HeaderMap",
        measure(|| {
            hop(&mut |propagator, context| propagator.inject(context, &nothing, &mut Headers(&mut outgoing)));
        }),
    );
    #[cfg(feature = "peers")]
    peer(&incoming);
}

#[cfg(feature = "peers")]
fn peer(incoming: &HeaderMap) {
    use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
    use opentelemetry_propagator_b3::{B3Encoding, Propagator};

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
    let propagator = Propagator::with_encoding(B3Encoding::MultipleHeader);
    let root = opentelemetry::Context::new();
    let mut outgoing = HeaderMap::new();
    report(
        "opentelemetry-propagator-b3: the same, http::HeaderMap",
        measure(|| {
            let context = propagator.extract_with_context(&root, &Reader(black_box(incoming)));
            propagator.inject_context(&context, &mut Writer(&mut outgoing));
        }),
    );
}

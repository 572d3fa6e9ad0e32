//! Extraction and injection do not allocate, for any headers.

use std::hint::black_box;

use logtracer_allocations::count;
use logtracer_core::propagation::{Carrier, Format, Formats, Header, Propagator, TraceHeaders};
use logtracer_core::{SpanId, TraceContext, TraceId};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "../../tests/data/extract.rs"]
mod extract;

/// Counts what is written and removed, without storing it.
#[derive(Default)]
struct Length(usize);

impl Carrier for Length {
    fn set(&mut self, _header: Header, value: &str) {
        self.0 += value.len();
    }

    fn remove(&mut self, _header: Header) {
        self.0 += 1;
    }
}

#[test]
fn extract_and_inject_allocate_nothing() {
    let mut rows: Vec<Vec<(&str, Vec<u8>)>> =
        extract::rows().unwrap().into_iter().map(|row| row.headers).collect();
    assert!(rows.len() > 150);
    let two_lines = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "a=1,b=2"),
        ("tracestate", "c=3"),
    ];
    rows.push(two_lines.map(|(name, value)| (name, value.into())).into());
    let propagator = Propagator { inject: Formats::of(&Format::ALL), ..Propagator::default() };
    let (trace_id, span_id) = (TraceId::new(9).unwrap(), SpanId::new(7).unwrap());

    let allocations = count(|| {
        for row in &rows {
            let headers = TraceHeaders::collect(row.iter().map(|(name, value)| (name, value)));
            let extracted = propagator.extract(&headers);
            let context = extracted.parent.map_or_else(
                || TraceContext::root(trace_id, span_id, extracted.sampling),
                |parent| parent.child(span_id),
            );
            let mut carrier = Length::default();
            propagator.inject(&context, &extracted.tracestate, &mut carrier);
            assert!(black_box(carrier.0) > 0);
        }
    });
    assert_eq!(allocations, 0);
}

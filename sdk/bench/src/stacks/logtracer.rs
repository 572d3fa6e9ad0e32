//! The SDK: `Logging`, and the layers of server and client.

use std::hint::black_box;

use http::HeaderMap;
use logtracer_core::SpanId;
use logtracer_core::propagation::{Format, Formats, Propagator, TraceHeaders};
use logtracer_sdk::client::{self, inject_with};
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{self, RequestLog};
use logtracer_sdk::{Logging, TraceContext, current_trace};
use tower::Layer;

use crate::case::Case;
use crate::measure::Meter;
use crate::sink;
use crate::work::{self, Respond};

pub(super) fn run(meter: &mut Meter) -> Result<(), String> {
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment().output(sink::write);
    let _handle = logging.install().map_err(|error| error.to_string())?;

    TraceContext::new_root().run(|| {
        work::lines(meter);
        meter.run(Case::CurrentIds, || {
            black_box(current_trace());
        });
    });
    work::serve(meter, server::TraceLayer::new().requests(RequestLog::Single).layer(Respond));
    TraceContext::new_root().run(|| {
        work::call(meter, client::TraceLayer::new().requests(RequestLog::Single).layer(Respond));
    });
    for (case, format) in [(Case::HopW3c, Format::TraceContext), (Case::HopB3, Format::B3Multi)] {
        hop(meter, case, format);
    }
    Ok(())
}

/// Extracts the context of a request, and injects a child of it into the next.
fn hop(meter: &mut Meter, case: Case, format: Format) {
    let formats = Formats::of(&[format]);
    let propagator = Propagator { extract: formats, inject: formats };
    let incoming = work::incoming();
    let mut outgoing = HeaderMap::new();
    let mut number = 0;
    meter.run(case, || {
        number += 1;
        let headers = TraceHeaders::collect(black_box(&incoming));
        let extracted = propagator.extract(&headers);
        if let (Some(parent), Some(span_id)) = (extracted.parent, SpanId::new(number)) {
            parent.child(span_id).run(|| inject_with(&propagator, &mut outgoing));
        }
    });
}

//! The trace headers of a request: counts what was extracted, and sets the headers of the next hop.
//!
//! ```text
//!  request headers ──► Propagator::extract (core/src/propagation: one file for each format, which drops a malformed value)
//!                        ├──► count: the format, malformed and conflicting headers, the decision
//!                        └──► forward: inject the new context, and remove every other trace header
//! ```

use logtracer_core::propagation::{Carrier, Extracted, Header, Propagator, TraceHeaders, TraceState};

use crate::config::{Edge, Propagation};
use crate::decision::Decision;
use crate::hostcalls::{self, MapType};
use crate::metrics::{self, Metric};

/// Counts what was extracted, each malformed format, and the decision.
pub(crate) fn count(extracted: &Extracted<'_>, decision: &Decision) {
    metrics::count(Metric::Requests);
    metrics::count(extracted.format.map_or(Metric::ExtractedNone, Metric::extracted));
    for format in extracted.invalid.iter() {
        metrics::count(Metric::invalid(format));
    }
    if extracted.conflict {
        metrics::count(Metric::Conflicts);
    }
    metrics::count(decision.reason.metric());
    metrics::count(if decision.context.sampling.is_sampled() { Metric::Sampled } else { Metric::Denied });
}

/// Sets the trace headers of the next hop, or removes them for a host of `propagation.strip_hosts`.
pub(crate) fn forward(
    config: &Propagation,
    received: &TraceHeaders<'_>,
    authority: &[u8],
    decision: &Decision,
    extracted: &Extracted<'_>,
) {
    let is_trusted = config.edge == Edge::Trust;
    let is_stripped = config.strip_hosts.iter().any(|host| host.matches(authority));
    let mut carrier = NextHopHeaders { received };
    if is_stripped {
        Propagator::strip(&mut carrier);
    } else if is_trusted {
        config.propagator.inject(&decision.context, &extracted.tracestate, &mut carrier);
    } else {
        config.propagator.inject(&decision.context, &TraceState::default(), &mut carrier);
    }
    if is_stripped || !is_trusted {
        hostcalls::remove_header(MapType::RequestHeaders, "baggage");
    }
}

/// The headers that the next hop receives.
struct NextHopHeaders<'h> {
    received: &'h TraceHeaders<'h>,
}

impl Carrier for NextHopHeaders<'_> {
    fn set(&mut self, header: Header, value: &str) {
        let name = header.name();
        match self.received.only_line(header) {
            Some(line) if line == value.as_bytes() => {}
            Some(_) => hostcalls::set_header(MapType::RequestHeaders, name, value),
            None => {
                // Replacing a header with several lines would change the first one only.
                self.remove(header);
                hostcalls::add_header(MapType::RequestHeaders, name, value);
            }
        }
    }

    fn remove(&mut self, header: Header) {
        if self.received.present().contains(header) {
            hostcalls::remove_header(MapType::RequestHeaders, header.name());
        }
    }
}

//! The trace headers of a request: counts what was extracted, and sets the headers of the next hop.
//!
//! ```text
//!  request headers ──► Propagator::extract (core/src/propagation: one file for each format, which drops a malformed value)
//!                        ├──► count: the format, malformed and conflicting headers, the decision
//!                        └──► forward: inject the new context, and remove every other trace header
//! ```

use logtracer_core::propagation::{
    Carrier, Extracted, Header, Propagator, TraceHeaders, TraceState, is_third_party,
};

use crate::config::{Edge, Propagation};
use crate::decision::Decision;
use crate::host::{ForwardingHost, HeaderLines, HeadersOf};
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

/// Sets the trace headers of the next hop, or removes them for a host of `propagation.strip_hosts`. What an untrusted
/// caller wants to reach the next hop in other headers is removed: its baggage, and the contexts of other tracers.
pub(crate) fn forward<H: ForwardingHost>(
    host: &H,
    config: &Propagation,
    lines: &H::Lines,
    received: &TraceHeaders<'_>,
    authority: &[u8],
    decision: &Decision,
    extracted: &Extracted<'_>,
) {
    let is_trusted = config.edge == Edge::Trust;
    let is_stripped = config.strip_hosts.iter().any(|host| host.matches(authority));
    let mut carrier = NextHopHeaders { host, received };
    if is_stripped {
        Propagator::strip(&mut carrier);
    } else if is_trusted {
        config.propagator.inject(&decision.context, &extracted.tracestate, &mut carrier);
    } else {
        config.propagator.inject(&decision.context, &TraceState::default(), &mut carrier);
    }
    if is_stripped || !is_trusted {
        remove_others(host, lines);
    }
}

/// Removes the baggage and the headers of other tracers.
fn remove_others<H: ForwardingHost>(host: &H, lines: &H::Lines) {
    for (name, _) in lines.iter().filter(|(name, _)| *name == b"baggage" || is_third_party(name)) {
        if let Ok(name) = core::str::from_utf8(name) {
            host.remove_header(HeadersOf::Request, name);
        }
    }
}

/// The headers that the next hop receives.
struct NextHopHeaders<'h, H> {
    host: &'h H,
    received: &'h TraceHeaders<'h>,
}

impl<H: ForwardingHost> Carrier for NextHopHeaders<'_, H> {
    fn set(&mut self, header: Header, value: &str) {
        let name = header.name();
        match self.received.only_line(header) {
            Some(line) if line == value.as_bytes() => {}
            Some(_) => self.host.replace_header(HeadersOf::Request, name, value),
            None => {
                // Replacing a header with several lines would change the first one only.
                self.remove(header);
                self.host.add_header(HeadersOf::Request, name, value);
            }
        }
    }

    fn remove(&mut self, header: Header) {
        if self.received.present().contains(header) {
            self.host.remove_header(HeadersOf::Request, header.name());
        }
    }
}

//! Propagation of the trace context in headers: [`Propagator::extract`] and [`Propagator::inject`].
//!
//! Each format has a module that documents its grammar.
//!
//! Invariant: extraction never fails, panics or allocates, even if headers are malformed, repeated or hostile. The
//! limits of [`TraceHeaders`] bound its work.

mod b3;
mod cloud_trace;
mod format;
mod grpc_trace_bin;
mod headers;
mod text;
mod third_party;
mod tracecontext;
mod tracestate;

pub use format::{Format, FormatSet, Formats, PropagationFormat, UnknownFormat};
pub use headers::{Header, HeaderSet, TraceHeaders};
pub use third_party::is_third_party;
pub(crate) use tracecontext::parse as parse_traceparent;
pub use tracestate::TraceState;

use std::collections::HashMap;
use std::hash::BuildHasher;

use crate::{RemoteContext, Sampling, TraceContext};

/// Extracts the caller's context from headers, and injects the context of this hop into them.
///
/// ```
/// # use logtracer_core::propagation::{Format, Propagator, TraceHeaders};
/// let headers = TraceHeaders::collect([
///     ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1;o=1"),
///     ("b3", "not a b3 header"),
/// ]);
/// let extracted = Propagator::default().extract(&headers);
/// assert_eq!(extracted.format, Some(Format::CloudTrace)); // the first valid one
/// assert!(extracted.invalid.contains(Format::B3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagator {
    /// The formats to extract, in order. The first valid one provides the context.
    pub extract: Formats,
    /// The formats to inject. All other known trace headers are removed.
    pub inject: Formats,
}

impl Default for Propagator {
    /// Extracts every format, B3 first; injects `b3multi`, `tracecontext` and `cloud-trace`.
    fn default() -> Self {
        Self {
            extract: Formats::of(&[
                Format::B3,
                Format::B3Multi,
                Format::TraceContext,
                Format::CloudTrace,
                Format::GrpcTraceBin,
            ]),
            inject: Formats::of(&[Format::B3Multi, Format::TraceContext, Format::CloudTrace]),
        }
    }
}

/// The result of extracting the headers of a request.
///
/// ```
/// # use logtracer_core::propagation::{Format, Propagator, TraceHeaders};
/// let headers = TraceHeaders::collect([
///     ("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1"),
///     ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
///     ("tracestate", "vendor=1"),
///     ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1"),
/// ]);
/// let extracted = Propagator::default().extract(&headers);
/// assert_eq!(extracted.format, Some(Format::B3));
/// assert_eq!(extracted.tracestate.with_line(str::len), Some(8));
/// assert!(extracted.conflict); // Google's header has another trace id
/// assert!(extracted.invalid.is_empty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Extracted<'h> {
    /// The caller's context, with the decision of `sampling`.
    pub parent: Option<RemoteContext>,
    /// The format that provided `parent`.
    pub format: Option<Format>,
    /// The caller's decision, even if it sent no trace id (`b3: 0`).
    pub sampling: Sampling,
    /// The W3C `tracestate`, if there is a valid `traceparent` with the trace id of `parent`. `parent` itself can come
    /// from another format.
    pub tracestate: TraceState<'h>,
    /// The formats that are present but malformed.
    pub invalid: FormatSet,
    /// True if two formats have different trace ids, or two lines of one header differ (two `traceparent` lines are
    /// invalid instead).
    pub conflict: bool,
    /// True if `parent` is not sampled and `x-cloud-trace-context` has `;o=0` for its trace, unless a header of B3
    /// denies it as well, with or without ids (`b3: 0`). Google's load balancers often send `;o=0` for a trace on which
    /// nobody has decided, but they send no B3.
    pub cloud_trace_zero: bool,
}

/// The ids of a context in hexadecimal digits, which most formats write.
#[derive(Debug, Clone, Copy)]
struct Ids<'i> {
    trace_id: &'i str,
    span_id: &'i str,
}

/// The result of extracting one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Found {
    context: Option<RemoteContext>,
    /// A decision without valid ids: `b3: 0`, or only `x-b3-sampled`.
    sampling: Option<Sampling>,
    invalid: bool,
    conflict: bool,
}

/// The outgoing headers that [`Propagator::inject`] writes to.
///
/// Two plain types implement it: `HashMap<String, String>` and `Vec<(String, String)>`. They match names in any case
/// and insert them in lower case.
///
/// ```
/// # use logtracer_core::propagation::{Propagator, TraceState};
/// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
/// use std::collections::HashMap;
///
/// let context = TraceContext::root(TraceId::new(7).unwrap(), SpanId::new(74).unwrap(), Sampling::Accept);
/// let mut headers = HashMap::from([("Host".to_owned(), "shop".to_owned()), ("B3".to_owned(), "0".to_owned())]);
/// Propagator::default().inject(&context, &TraceState::default(), &mut headers);
/// assert_eq!(headers["x-cloud-trace-context"], "00000000000000000000000000000007/74;o=1");
/// assert_eq!(headers["x-b3-sampled"], "1");
/// assert!(!headers.contains_key("B3")); // not in the inject list
/// ```
pub trait Carrier {
    /// Replaces all lines of the header with one line.
    fn set(&mut self, header: Header, value: &str);
    /// Removes all lines of the header.
    fn remove(&mut self, header: Header);
}

impl<S: BuildHasher> Carrier for HashMap<String, String, S> {
    fn set(&mut self, header: Header, value: &str) {
        Carrier::remove(self, header);
        self.insert(header.name().to_owned(), value.to_owned());
    }

    fn remove(&mut self, header: Header) {
        self.retain(|name, _| !name.eq_ignore_ascii_case(header.name()));
    }
}

impl Carrier for Vec<(String, String)> {
    fn set(&mut self, header: Header, value: &str) {
        Carrier::remove(self, header);
        self.push((header.name().to_owned(), value.to_owned()));
    }

    fn remove(&mut self, header: Header) {
        self.retain(|(name, _)| !name.eq_ignore_ascii_case(header.name()));
    }
}

impl Propagator {
    /// Extracts the caller's context from the first *valid* format in the extract list.
    ///
    /// A decision without ids (`b3: 0`, or only `x-b3-sampled`) applies to the ids of a later format, or to new ids if
    /// no format has any.
    /// If the first valid format defers the decision, a later format with the same trace id can make it.
    pub fn extract<'h>(&self, headers: &'h TraceHeaders<'_>) -> Extracted<'h> {
        let mut extracted = Extracted {
            parent: None,
            format: None,
            sampling: Sampling::Defer,
            tracestate: TraceState::default(),
            invalid: FormatSet::default(),
            conflict: false,
            cloud_trace_zero: false,
        };
        if headers.is_empty() {
            return extracted;
        }
        let mut decided = None;
        let mut cloud_trace_denied = None;
        let mut b3_denied = None;
        let mut traceparent = None;
        let mut later_decision = Sampling::Defer;
        for format in self.extract.iter().filter(|format| format.is_in(headers)) {
            let found = format.extract(headers);
            extracted.conflict |= found.conflict;
            if found.invalid {
                extracted.invalid.insert(format);
            }
            let denied = found.context.filter(|context| context.sampling == Sampling::Deny);
            match format {
                Format::CloudTrace => cloud_trace_denied = denied,
                Format::B3 | Format::B3Multi => b3_denied = b3_denied.or(denied),
                Format::TraceContext => traceparent = found.context,
                Format::GrpcTraceBin => {}
            }
            match (found.context, extracted.parent) {
                (Some(context), None) => {
                    extracted.parent = Some(context);
                    extracted.format = Some(format);
                }
                (Some(context), Some(parent)) => {
                    if context.trace_id != parent.trace_id {
                        extracted.conflict = true;
                    } else if later_decision == Sampling::Defer {
                        later_decision = format.decision(context.sampling);
                    }
                }
                (None, None) => decided = decided.or(found.sampling),
                (None, Some(_)) => {}
            }
        }
        if let Some(parent) = &mut extracted.parent {
            if parent.sampling == Sampling::Defer {
                parent.sampling = later_decision;
            }
            let trace_id = parent.trace_id;
            let is_of_parent =
                |denied: Option<RemoteContext>| denied.is_some_and(|denied| denied.trace_id == trace_id);
            extracted.cloud_trace_zero = decided.is_none()
                && parent.sampling == Sampling::Deny
                && is_of_parent(cloud_trace_denied)
                && !is_of_parent(b3_denied);
            parent.sampling = decided.unwrap_or(parent.sampling);
            extracted.sampling = parent.sampling;
        } else {
            extracted.sampling = decided.unwrap_or_default();
        }
        // The previous hop can have injected its context in several formats, and any of them can be the first here.
        match (traceparent, &mut extracted.parent) {
            (Some(traceparent), Some(parent)) if traceparent.trace_id == parent.trace_id => {
                parent.random_trace_id = traceparent.random_trace_id;
                extracted.tracestate = TraceState::read(headers);
            }
            _ => {}
        }
        extracted
    }

    /// Injects `context` in every format of the inject list, with the same ids and decision.
    ///
    /// Removes all other known trace headers, so that the next hop cannot find a different context.
    /// `tracecontext` and `grpc-trace-bin` have no deferred decision: they write it as not sampled.
    pub fn inject(&self, context: &TraceContext, tracestate: &TraceState<'_>, carrier: &mut impl Carrier) {
        let ids = Ids { trace_id: &context.trace_id.to_hex(), span_id: &context.span_id.to_hex() };
        let mut written = HeaderSet::default();
        for format in self.inject.iter() {
            let mut set = |header: Header, value: &str| {
                written.insert(header);
                carrier.set(header, value);
            };
            match format {
                Format::B3 => b3::inject_single(context, ids, &mut set),
                Format::B3Multi => b3::inject_multi(context, ids, &mut set),
                Format::TraceContext => tracecontext::inject(context, ids, tracestate, &mut set),
                Format::CloudTrace => cloud_trace::inject(context, ids, &mut set),
                Format::GrpcTraceBin => grpc_trace_bin::inject(context, &mut set),
            }
        }
        for header in Header::ALL {
            if !written.contains(header) {
                carrier.remove(header);
            }
        }
    }

    /// Removes all known trace headers, for requests to third parties.
    pub fn strip(carrier: &mut impl Carrier) {
        for header in Header::ALL {
            carrier.remove(header);
        }
    }
}

impl Format {
    /// Returns true if the request has a header of this format.
    const fn is_in(self, headers: &TraceHeaders<'_>) -> bool {
        let own: &[Header] = match self {
            Self::B3 => &[Header::B3],
            Self::B3Multi => &[
                Header::XB3TraceId,
                Header::XB3SpanId,
                Header::XB3ParentSpanId,
                Header::XB3Sampled,
                Header::XB3Flags,
            ],
            Self::TraceContext => &[Header::Traceparent],
            Self::CloudTrace => &[Header::XCloudTraceContext],
            Self::GrpcTraceBin => &[Header::GrpcTraceBin],
        };
        headers.present().contains_any(HeaderSet::of(own))
    }

    fn extract(self, headers: &TraceHeaders<'_>) -> Found {
        match self {
            Self::B3 => b3::extract_single(headers),
            Self::B3Multi => b3::extract_multi(headers),
            Self::TraceContext => tracecontext::extract(headers),
            Self::CloudTrace => cloud_trace::extract(headers),
            Self::GrpcTraceBin => grpc_trace_bin::extract(headers),
        }
    }

    /// Returns the decision of this format for a trace for which another format deferred it.
    const fn decision(self, sampling: Sampling) -> Sampling {
        match self {
            // These formats have no deferred decision: the sender wrote it as not sampled.
            Self::TraceContext | Self::GrpcTraceBin if !sampling.is_sampled() => Sampling::Defer,
            _ => sampling,
        }
    }
}

impl Found {
    const INVALID: Self = Self { context: None, sampling: None, invalid: true, conflict: false };

    /// Returns the first valid value of a header. A later valid value that differs is a conflict.
    fn first_valid(
        headers: &TraceHeaders<'_>,
        header: Header,
        parse: impl Fn(&[u8]) -> Option<Self>,
    ) -> Self {
        let first = headers.first_valid(header, parse, |one: &Self, other| {
            (one.context, one.sampling) == (other.context, other.sampling)
        });
        let mut found = first.value.unwrap_or_default();
        found.invalid |= first.invalid;
        found.conflict = first.conflict;
        found
    }
}

impl From<RemoteContext> for Found {
    fn from(context: RemoteContext) -> Self {
        Self { context: Some(context), ..Self::default() }
    }
}

//! Headers to context and back: [`Propagator::extract`] and [`Propagator::inject`].
//!
//! One module per format, each with the grammar that it follows.
//! A header can be missing, malformed, repeated or hostile: nothing here fails, panics or allocates, and the work
//! is bounded by the caps of [`TraceHeaders`].

mod b3;
mod cloud_trace;
mod format;
mod grpc_trace_bin;
mod headers;
mod text;
mod tracecontext;
mod tracestate;

pub use format::{Format, FormatSet, Formats, UnknownFormat};
pub use headers::{Header, HeaderSet, TraceHeaders};
pub use tracestate::TraceState;

use crate::{RemoteContext, Sampling, TraceContext};

/// Reads the caller's context from headers and writes the context of this hop into them.
///
/// ```
/// use logtracer_core::propagation::{Format, Propagator, TraceHeaders};
///
/// let headers = TraceHeaders::collect([
///     ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1;o=1"),
///     ("b3", "not a b3 header"),
/// ]);
/// let extracted = Propagator::default().extract(&headers);
/// assert_eq!(extracted.format, Some(Format::CloudTrace)); // the first that is valid, not the first present
/// assert!(extracted.invalid.contains(Format::B3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagator {
    /// The formats that are read, in this order: the first that is valid gives the context.
    pub extract: Formats,
    /// The formats that are written; every other known trace header is removed.
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

/// What the headers of a request say.
///
/// ```
/// use logtracer_core::propagation::{Format, Propagator, TraceHeaders};
///
/// let headers = TraceHeaders::collect([
///     ("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1"),
///     ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
///     ("tracestate", "vendor=1"),
///     ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1"),
/// ]);
/// let extracted = Propagator::default().extract(&headers);
/// assert_eq!(extracted.format, Some(Format::B3));
/// assert_eq!(extracted.tracestate.with_line(str::len), Some(8));
/// assert!(extracted.conflict); // Google's header names another trace
/// assert!(extracted.invalid.is_empty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Extracted<'h> {
    /// The caller's context, with the decision that holds for it.
    pub parent: Option<RemoteContext>,
    /// The format that gave `parent`.
    pub format: Option<Format>,
    /// The caller's decision, also where it named no trace (`b3: 0`).
    pub sampling: Sampling,
    /// The W3C `tracestate` that belongs to `parent`: that of a valid `traceparent` of the same trace, whichever
    /// format won.
    pub tracestate: TraceState<'h>,
    /// The formats that were present but malformed.
    pub invalid: FormatSet,
    /// True where two formats name different traces, or two lines of one header say different things.
    pub conflict: bool,
    /// True where `x-cloud-trace-context` says `;o=0` of this trace, and no format says that it is recorded:
    /// Google's load balancers often send that for "nobody has asked".
    pub cloud_trace_zero: bool,
}

/// What one format found in the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Found {
    context: Option<RemoteContext>,
    /// A decision without usable ids: B3's `b3: 0`, or only `x-b3-sampled`.
    sampling: Option<Sampling>,
    invalid: bool,
    conflict: bool,
}

/// Where [`Propagator::inject`] writes: the headers of a request on its way to the next hop.
///
/// ```
/// use std::collections::BTreeMap;
/// use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};
/// use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
///
/// #[derive(Default)]
/// struct Headers(BTreeMap<&'static str, String>);
///
/// impl Carrier for Headers {
///     fn set(&mut self, header: Header, value: &str) {
///         self.0.insert(header.name(), value.to_owned());
///     }
///     fn remove(&mut self, header: Header) {
///         self.0.remove(header.name());
///     }
/// }
///
/// let context = TraceContext::root(TraceId::new(7).unwrap(), SpanId::new(74).unwrap(), Sampling::Accept);
/// let mut headers = Headers::default();
/// Propagator::default().inject(&context, &TraceState::default(), &mut headers);
/// assert_eq!(headers.0["x-cloud-trace-context"], "00000000000000000000000000000007/74;o=1");
/// assert_eq!(headers.0["x-b3-sampled"], "1");
/// ```
pub trait Carrier {
    /// Sets the header to this one value, whatever lines of it there were.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};
    /// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    /// #
    /// # #[derive(Default)]
    /// # struct Headers(BTreeMap<&'static str, String>);
    /// #
    /// # impl Carrier for Headers {
    /// #     fn set(&mut self, header: Header, value: &str) {
    /// #         self.0.insert(header.name(), value.to_owned());
    /// #     }
    /// #     fn remove(&mut self, header: Header) {
    /// #         self.0.remove(header.name());
    /// #     }
    /// # }
    /// let mut headers = Headers::default();
    /// headers.set(Header::B3, "1");
    /// headers.set(Header::B3, "0");
    /// assert_eq!(headers.0["b3"], "0");
    /// ```
    fn set(&mut self, header: Header, value: &str);
    /// Removes every line of the header.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};
    /// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    /// #
    /// # #[derive(Default)]
    /// # struct Headers(BTreeMap<&'static str, String>);
    /// #
    /// # impl Carrier for Headers {
    /// #     fn set(&mut self, header: Header, value: &str) {
    /// #         self.0.insert(header.name(), value.to_owned());
    /// #     }
    /// #     fn remove(&mut self, header: Header) {
    /// #         self.0.remove(header.name());
    /// #     }
    /// # }
    /// let mut headers = Headers::default();
    /// headers.set(Header::B3, "1");
    /// headers.remove(Header::B3);
    /// assert!(headers.0.is_empty());
    /// ```
    fn remove(&mut self, header: Header);
}

impl Propagator {
    /// Finds the caller's context: the first format in order that parses *validly* wins.
    ///
    /// A decision without ids (`b3: 0`, or only `x-b3-sampled`) stands over the ids of a later format, and over
    /// newly made ids where no format has any.
    /// Where the winner leaves the decision open, a later format of the same trace makes it.
    ///
    /// ```
    /// use logtracer_core::Sampling;
    /// use logtracer_core::propagation::{Format, Propagator, TraceHeaders};
    ///
    /// let headers = TraceHeaders::collect([
    ///     ("b3", "0"),
    ///     ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
    /// ]);
    /// let extracted = Propagator::default().extract(&headers);
    /// assert_eq!((extracted.format, extracted.sampling), (Some(Format::TraceContext), Sampling::Deny));
    /// ```
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
        let mut zero = None;
        let mut traceparent = None;
        let mut later = Sampling::Defer;
        for format in self.extract.iter() {
            let found = format.extract(headers);
            extracted.conflict |= found.conflict;
            if found.invalid {
                extracted.invalid.insert(format);
            }
            if format == Format::CloudTrace {
                zero = found.context.filter(|context| context.sampling == Sampling::Deny);
            }
            if format == Format::TraceContext {
                traceparent = found.context;
            }
            match (found.context, extracted.parent) {
                (Some(context), None) => {
                    extracted.parent = Some(context);
                    extracted.format = Some(format);
                }
                (Some(context), Some(winner)) => {
                    if context.trace_id != winner.trace_id {
                        extracted.conflict = true;
                    } else if later == Sampling::Defer {
                        later = format.decision(context.sampling);
                    }
                }
                (None, None) => decided = decided.or(found.sampling),
                (None, Some(_)) => {}
            }
        }
        if let Some(parent) = &mut extracted.parent {
            if parent.sampling == Sampling::Defer {
                parent.sampling = later;
            }
            extracted.cloud_trace_zero = decided.is_none()
                && parent.sampling == Sampling::Deny
                && zero.is_some_and(|zero| zero.trace_id == parent.trace_id);
            parent.sampling = decided.unwrap_or(parent.sampling);
            extracted.sampling = parent.sampling;
        } else {
            extracted.sampling = decided.unwrap_or_default();
        }
        // The hop before this one wrote the same context in several formats, and any of them may have won.
        match (traceparent, &mut extracted.parent) {
            (Some(traceparent), Some(parent)) if traceparent.trace_id == parent.trace_id => {
                parent.random_trace_id = traceparent.random_trace_id;
                extracted.tracestate = TraceState::read(headers);
            }
            _ => {}
        }
        extracted
    }

    /// Writes `context` in every format of the inject list: the same trace, span and decision in each.
    ///
    /// Every other known trace header is removed, so that no two can disagree further down.
    /// W3C knows no deferred decision: decide before injecting, or it goes out as "not sampled".
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};
    /// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    /// #
    /// # #[derive(Default)]
    /// # struct Headers(BTreeMap<&'static str, String>);
    /// #
    /// # impl Carrier for Headers {
    /// #     fn set(&mut self, header: Header, value: &str) {
    /// #         self.0.insert(header.name(), value.to_owned());
    /// #     }
    /// #     fn remove(&mut self, header: Header) {
    /// #         self.0.remove(header.name());
    /// #     }
    /// # }
    /// let context = TraceContext::root(TraceId::new(7).unwrap(), SpanId::new(74).unwrap(), Sampling::Accept);
    /// let mut headers = Headers::default();
    /// headers.set(Header::B3, "0"); // of before
    /// Propagator::default().inject(&context, &TraceState::default(), &mut headers);
    /// assert_eq!(headers.0["traceparent"], "00-00000000000000000000000000000007-000000000000004a-01");
    /// assert!(!headers.0.contains_key("b3"));
    /// ```
    pub fn inject(&self, context: &TraceContext, tracestate: &TraceState<'_>, carrier: &mut impl Carrier) {
        let mut written = HeaderSet::default();
        for format in self.inject.iter() {
            let mut set = |header: Header, value: &str| {
                written.insert(header);
                carrier.set(header, value);
            };
            match format {
                Format::B3 => b3::inject_single(context, &mut set),
                Format::B3Multi => b3::inject_multi(context, &mut set),
                Format::TraceContext => tracecontext::inject(context, tracestate, &mut set),
                Format::CloudTrace => cloud_trace::inject(context, &mut set),
                Format::GrpcTraceBin => grpc_trace_bin::inject(context, &mut set),
            }
        }
        for header in Header::ALL {
            if !written.contains(header) {
                carrier.remove(header);
            }
        }
    }

    /// Removes every known trace header: what a third party outside the mesh gets.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use logtracer_core::propagation::{Carrier, Header, Propagator, TraceState};
    /// # use logtracer_core::{Sampling, SpanId, TraceContext, TraceId};
    /// #
    /// # #[derive(Default)]
    /// # struct Headers(BTreeMap<&'static str, String>);
    /// #
    /// # impl Carrier for Headers {
    /// #     fn set(&mut self, header: Header, value: &str) {
    /// #         self.0.insert(header.name(), value.to_owned());
    /// #     }
    /// #     fn remove(&mut self, header: Header) {
    /// #         self.0.remove(header.name());
    /// #     }
    /// # }
    /// let mut headers = Headers::default();
    /// headers.set(Header::Traceparent, "00-…");
    /// Propagator::strip(&mut headers);
    /// assert!(headers.0.is_empty());
    /// ```
    pub fn strip(carrier: &mut impl Carrier) {
        for header in Header::ALL {
            carrier.remove(header);
        }
    }
}

impl Format {
    fn extract(self, headers: &TraceHeaders<'_>) -> Found {
        match self {
            Self::B3 => b3::extract_single(headers),
            Self::B3Multi => b3::extract_multi(headers),
            Self::TraceContext => tracecontext::extract(headers),
            Self::CloudTrace => cloud_trace::extract(headers),
            Self::GrpcTraceBin => grpc_trace_bin::extract(headers),
        }
    }

    /// What a value of this format decides for a trace that another format left open.
    const fn decision(self, sampling: Sampling) -> Sampling {
        match self {
            // These cannot say "not decided": whoever left it open in another format wrote a zero here.
            Self::TraceContext | Self::GrpcTraceBin if !sampling.is_sampled() => Sampling::Defer,
            _ => sampling,
        }
    }
}

impl Found {
    const INVALID: Self = Self { context: None, sampling: None, invalid: true, conflict: false };

    /// The first valid value of a header wins; a later valid one that says something else is a conflict.
    fn first_valid(
        headers: &TraceHeaders<'_>,
        header: Header,
        parse: impl Fn(&[u8]) -> Option<Self>,
    ) -> Self {
        if !headers.present().contains(header) {
            return Self::default();
        }
        if let Some(found) = headers.only_value(header).and_then(&parse) {
            return found;
        }
        let mut first: Option<Self> = None;
        let mut invalid = false;
        let mut conflict = false;
        for candidate in headers.values(header) {
            match (parse(candidate), &first) {
                (None, _) => invalid = true,
                (Some(found), None) => first = Some(found),
                (Some(found), Some(winner)) => {
                    let said = |found: &Self| (found.context, found.sampling);
                    conflict |= said(&found) != said(winner);
                }
            }
        }
        let found = first.unwrap_or_default();
        Self { invalid: found.invalid || invalid, conflict, ..found }
    }
}

impl From<RemoteContext> for Found {
    fn from(context: RemoteContext) -> Self {
        Self { context: Some(context), ..Self::default() }
    }
}

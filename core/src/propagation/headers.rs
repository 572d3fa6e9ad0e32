//! [`TraceHeaders`]: the trace headers of a request, picked out in one pass over all its header lines.

/// A header that carries trace context in one of the known formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is the header of its name
pub enum Header {
    B3,
    XB3TraceId,
    XB3SpanId,
    XB3ParentSpanId,
    XB3Sampled,
    XB3Flags,
    Traceparent,
    Tracestate,
    XCloudTraceContext,
    GrpcTraceBin,
}

impl Header {
    /// Every known trace header.
    pub const ALL: [Self; 10] = [
        Self::B3,
        Self::XB3TraceId,
        Self::XB3SpanId,
        Self::XB3ParentSpanId,
        Self::XB3Sampled,
        Self::XB3Flags,
        Self::Traceparent,
        Self::Tracestate,
        Self::XCloudTraceContext,
        Self::GrpcTraceBin,
    ];

    /// The name on the wire, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::B3 => "b3",
            Self::XB3TraceId => "x-b3-traceid",
            Self::XB3SpanId => "x-b3-spanid",
            Self::XB3ParentSpanId => "x-b3-parentspanid",
            Self::XB3Sampled => "x-b3-sampled",
            Self::XB3Flags => "x-b3-flags",
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
            Self::XCloudTraceContext => "x-cloud-trace-context",
            Self::GrpcTraceBin => "grpc-trace-bin",
        }
    }

    /// The known trace header of this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        // The length tells all but four apart, and most other headers are ruled out by it.
        let candidates: &[Self] = match name.len() {
            2 => &[Self::B3],
            10 => &[Self::Tracestate, Self::XB3Flags],
            11 => &[Self::Traceparent, Self::XB3SpanId],
            12 => &[Self::XB3TraceId, Self::XB3Sampled],
            14 => &[Self::GrpcTraceBin],
            17 => &[Self::XB3ParentSpanId],
            21 => &[Self::XCloudTraceContext],
            _ => return None,
        };
        candidates.iter().copied().find(|header| name.eq_ignore_ascii_case(header.name().as_bytes()))
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of trace headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderSet(u16);

impl HeaderSet {
    /// Adds the header.
    pub fn insert(&mut self, header: Header) {
        self.0 |= header.bit();
    }

    /// True where the header is in the set.
    pub const fn contains(self, header: Header) -> bool {
        self.0 & header.bit() != 0
    }
}

/// The number of header lines that are read.
const MAX_LINES: usize = 24;

/// The lines of a request's trace headers, borrowed.
///
/// Keeps the first 24 lines; a request that has more is not a tracer's work, and the rest
/// is not looked at (but removed on injection like all others).
#[derive(Debug, Clone, Copy)]
pub struct TraceHeaders<'a> {
    lines: [(Header, &'a [u8]); MAX_LINES],
    len: usize,
    present: HeaderSet,
    repeated: HeaderSet,
}

impl<'a> TraceHeaders<'a> {
    /// Picks the trace headers out of all header lines of a request.
    pub fn collect<N, V>(lines: impl IntoIterator<Item = (N, &'a V)>) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let mut headers = Self::default();
        for (name, value) in lines {
            if let Some(header) = Header::from_name(name.as_ref()) {
                headers.push(header, value.as_ref());
            }
        }
        headers
    }

    /// True where the request has no trace header at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The headers that the request has.
    pub const fn present(&self) -> HeaderSet {
        self.present
    }

    /// The headers that the request has on more than one line.
    pub const fn repeated(&self) -> HeaderSet {
        self.repeated
    }

    /// Adds one header line.
    pub fn push(&mut self, header: Header, value: &'a [u8]) {
        if self.present.contains(header) {
            self.repeated.insert(header);
        }
        self.present.insert(header);
        if let Some(line) = self.lines.get_mut(self.len) {
            *line = (header, value);
            self.len += 1;
        }
    }

    /// The values of one header, one per line, in order.
    pub(super) fn lines(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + Clone + '_ {
        self.lines.iter().take(self.len).filter(move |(known, _)| *known == header).map(|(_, value)| *value)
    }

    /// The values of one header with lists that a proxy joined by commas taken apart again.
    pub(super) fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.lines(header).flat_map(|line| {
            let joined = line.contains(&b',');
            line.split(|&byte| byte == b',')
                .map(move |part| if joined { super::text::trim(part) } else { part })
        })
    }
}

impl Default for TraceHeaders<'_> {
    fn default() -> Self {
        Self {
            lines: [(Header::B3, &[]); MAX_LINES],
            len: 0,
            present: HeaderSet::default(),
            repeated: HeaderSet::default(),
        }
    }
}

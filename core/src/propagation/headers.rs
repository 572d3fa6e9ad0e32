//! [`TraceHeaders`]: the trace headers of a request, picked out in one pass over all its header lines.

/// A header that carries trace context in one of the known formats.
///
/// ```
/// use logtracer_core::propagation::Header;
///
/// assert!(Header::ALL.iter().all(|header| Header::from_name(header.name().as_bytes()) == Some(*header)));
/// ```
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
    ///
    /// ```
    /// use logtracer_core::propagation::Header;
    ///
    /// assert_eq!(Header::XB3TraceId.name(), "x-b3-traceid");
    /// ```
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
    ///
    /// ```
    /// use logtracer_core::propagation::Header;
    ///
    /// assert_eq!(Header::from_name(b"X-B3-TraceId"), Some(Header::XB3TraceId));
    /// assert_eq!(Header::from_name(b"x-b3"), None);
    /// ```
    pub fn from_name(name: &[u8]) -> Option<Self> {
        // The length tells all but six apart, and most other headers are ruled out by it.
        let (one, other) = match name.len() {
            2 => (Self::B3, None),
            10 => (Self::Tracestate, Some(Self::XB3Flags)),
            11 => (Self::Traceparent, Some(Self::XB3SpanId)),
            12 => (Self::XB3TraceId, Some(Self::XB3Sampled)),
            14 => (Self::GrpcTraceBin, None),
            17 => (Self::XB3ParentSpanId, None),
            21 => (Self::XCloudTraceContext, None),
            _ => return None,
        };
        let is = |header: Self| {
            let known = header.name().as_bytes();
            name == known || name.eq_ignore_ascii_case(known)
        };
        if is(one) { Some(one) } else { other.filter(|header| is(*header)) }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of trace headers.
///
/// ```
/// use logtracer_core::propagation::{Header, HeaderSet};
///
/// let mut set = HeaderSet::default();
/// set.insert(Header::B3);
/// assert_ne!(set, HeaderSet::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderSet(u16);

impl HeaderSet {
    /// Adds the header.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, HeaderSet};
    ///
    /// let mut set = HeaderSet::default();
    /// set.insert(Header::Traceparent);
    /// assert!(set.contains(Header::Traceparent));
    /// ```
    pub fn insert(&mut self, header: Header) {
        self.0 |= header.bit();
    }

    /// True where the header is in the set.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, HeaderSet};
    ///
    /// let mut set = HeaderSet::default();
    /// assert!(!set.contains(Header::B3));
    /// ```
    pub const fn contains(self, header: Header) -> bool {
        self.0 & header.bit() != 0
    }
}

/// The lines that are read of headers that stand more than once, in all.
const MAX_MORE: usize = 14;
/// The longest line that is taken apart at its commas: more than all lines that are read, joined by a proxy.
const MAX_LIST: usize = 1024;

/// The lines of a request's trace headers, borrowed.
///
/// Keeps the first line of each header and 14 more of those that are repeated; a request that has more is not a
/// tracer's work, and the rest is not looked at (but removed on injection like all others, and a `tracestate` that
/// is not read whole is none).
///
/// ```
/// use logtracer_core::propagation::{Header, TraceHeaders};
///
/// let headers = TraceHeaders::collect([("Host", "shop"), ("B3", "0"), ("b3", "1")]);
/// assert!(headers.present().contains(Header::B3));
/// assert!(headers.repeated().contains(Header::B3));
/// assert!(!headers.present().contains(Header::Traceparent));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TraceHeaders<'a> {
    /// The first line of each header, by its number.
    first: [&'a [u8]; Header::ALL.len()],
    /// Further lines, in order.
    more: [Option<(Header, &'a [u8])>; MAX_MORE],
    more_len: usize,
    present: HeaderSet,
    repeated: HeaderSet,
    /// Those that have lines for which there was no room.
    cut: HeaderSet,
}

impl<'a> TraceHeaders<'a> {
    /// Picks the trace headers out of all header lines of a request.
    ///
    /// ```
    /// use logtracer_core::propagation::TraceHeaders;
    ///
    /// assert!(TraceHeaders::collect([("host", "shop"), ("accept", "*/*")]).is_empty());
    /// assert!(!TraceHeaders::collect([("host", "shop"), ("b3", "0")]).is_empty());
    /// ```
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
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, TraceHeaders};
    ///
    /// let headers = TraceHeaders::collect([("b3", "0"), ("host", "shop")]);
    /// assert!(!headers.is_empty());
    /// assert!(TraceHeaders::default().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.present.0 == 0
    }

    /// The headers that the request has.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, TraceHeaders};
    ///
    /// let headers = TraceHeaders::collect([("b3", "0"), ("host", "shop")]);
    /// assert!(headers.present().contains(Header::B3));
    /// ```
    pub const fn present(&self) -> HeaderSet {
        self.present
    }

    /// The headers that the request has on more than one line.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, TraceHeaders};
    ///
    /// let headers = TraceHeaders::collect([("b3", "0"), ("host", "shop")]);
    /// assert!(!headers.repeated().contains(Header::B3));
    /// ```
    pub const fn repeated(&self) -> HeaderSet {
        self.repeated
    }

    /// Adds one header line.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, TraceHeaders};
    ///
    /// let mut headers = TraceHeaders::default();
    /// headers.push(Header::XB3Sampled, b"1");
    /// assert!(headers.present().contains(Header::XB3Sampled));
    /// ```
    pub fn push(&mut self, header: Header, value: &'a [u8]) {
        if !self.present.contains(header) {
            self.present.insert(header);
            if let Some(first) = self.first.get_mut(header as usize) {
                *first = value;
            }
            return;
        }
        self.repeated.insert(header);
        match self.more.get_mut(self.more_len) {
            Some(line) => {
                *line = Some((header, value));
                self.more_len += 1;
            }
            None => self.cut.insert(header),
        }
    }

    /// True where a header has more lines than are kept.
    pub(super) const fn is_cut(&self, header: Header) -> bool {
        self.cut.contains(header)
    }

    /// The value of a header that the request has on one line.
    ///
    /// ```
    /// use logtracer_core::propagation::{Header, TraceHeaders};
    ///
    /// let headers = TraceHeaders::collect([("b3", "0"), ("traceparent", "one"), ("traceparent", "two")]);
    /// assert_eq!(headers.only_line(Header::B3), Some(&b"0"[..]));
    /// assert_eq!(headers.only_line(Header::Traceparent), None);
    /// ```
    pub fn only_line(&self, header: Header) -> Option<&'a [u8]> {
        let is_only = self.present.contains(header) && !self.repeated.contains(header);
        if is_only { self.first.get(header as usize).copied() } else { None }
    }

    /// The value of a header that the request has on one line, where that is no list: nearly every one.
    pub(super) fn only_value(&self, header: Header) -> Option<&'a [u8]> {
        self.only_line(header).filter(|line| !is_list(line))
    }

    /// The values of one header, one per line, in order.
    pub(super) fn lines(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + Clone + '_ {
        let first = self.first.get(header as usize).filter(|_| self.present.contains(header));
        let more = self.more.iter().flatten().filter(move |(known, _)| *known == header);
        first.copied().into_iter().chain(more.map(|(_, value)| *value))
    }

    /// The values of one header with lists that a proxy joined by commas taken apart again.
    pub(super) fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.lines(header).flat_map(|line| {
            let joined = is_list(line);
            line.split(move |&byte| joined && byte == b',')
                .map(move |part| if joined { super::text::trim(part) } else { part })
        })
    }
}

/// True where a proxy may have joined several lines; what is longer than all of them together is no list, but read
/// as the one (too long) value that it is.
fn is_list(line: &[u8]) -> bool {
    line.len() <= MAX_LIST && line.contains(&b',')
}

impl Default for TraceHeaders<'_> {
    fn default() -> Self {
        Self {
            first: [&[]; Header::ALL.len()],
            more: [None; MAX_MORE],
            more_len: 0,
            present: HeaderSet::default(),
            repeated: HeaderSet::default(),
            cut: HeaderSet::default(),
        }
    }
}

//! [`TraceHeaders`]: the trace headers of a request, collected in one pass over all its header lines.

/// A header of one of the propagation formats.
///
/// ```
/// # use logtracer_core::propagation::Header;
/// assert_eq!(Header::XB3TraceId.name(), "x-b3-traceid");
/// assert_eq!(Header::from_name(b"X-B3-TraceId"), Some(Header::XB3TraceId));
/// assert_eq!(Header::from_name(b"x-b3"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // `name` returns the names
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
    /// All trace headers.
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

    /// Returns the name in lower case.
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

    /// Returns the trace header with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::from_lower_case(name).or_else(|| {
            let is_name = |header: &Self| header.name().as_bytes().eq_ignore_ascii_case(name);
            Self::ALL.into_iter().find(is_name)
        })
    }

    /// Returns the trace header with this name in lower case, as HTTP/2 and Envoy write all names.
    ///
    /// ```
    /// # use logtracer_core::propagation::Header;
    /// assert_eq!(Header::from_lower_case(b"x-b3-traceid"), Some(Header::XB3TraceId));
    /// assert_eq!(Header::from_lower_case(b"X-B3-TraceId"), None);
    /// ```
    pub const fn from_lower_case(name: &[u8]) -> Option<Self> {
        // The compiler makes a decision tree of this, which reads few bytes of most other names.
        Some(match name {
            b"b3" => Self::B3,
            b"x-b3-traceid" => Self::XB3TraceId,
            b"x-b3-spanid" => Self::XB3SpanId,
            b"x-b3-parentspanid" => Self::XB3ParentSpanId,
            b"x-b3-sampled" => Self::XB3Sampled,
            b"x-b3-flags" => Self::XB3Flags,
            b"traceparent" => Self::Traceparent,
            b"tracestate" => Self::Tracestate,
            b"x-cloud-trace-context" => Self::XCloudTraceContext,
            b"grpc-trace-bin" => Self::GrpcTraceBin,
            _ => return None,
        })
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of trace headers.
///
/// ```
/// # use logtracer_core::propagation::{Header, HeaderSet};
/// let mut set = HeaderSet::default();
/// set.insert(Header::B3);
/// assert!(set.contains(Header::B3) && !set.contains(Header::Traceparent));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderSet(u16);

impl HeaderSet {
    /// Returns the set of these headers.
    pub(super) const fn of(mut headers: &[Header]) -> Self {
        let mut set = Self(0);
        while let [header, rest @ ..] = headers {
            set.0 |= header.bit();
            headers = rest;
        }
        set
    }

    /// Adds a header.
    pub fn insert(&mut self, header: Header) {
        self.0 |= header.bit();
    }

    /// Returns true if the set contains the header.
    pub const fn contains(self, header: Header) -> bool {
        self.0 & header.bit() != 0
    }

    pub(super) const fn contains_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// The maximum number of lines after the first line of each header, for all headers together.
const MAX_FURTHER_LINES: usize = 14;
/// The maximum length of a line that is split at its commas. A longer line is one invalid value.
const MAX_LIST_BYTES: usize = 1024;

/// The trace headers of a request, borrowed.
///
/// Holds the first line of each header and 14 further lines of all headers together. No tracer sends more.
/// Lines beyond these are ignored, but injection removes them like all others. A `tracestate` with an ignored line is
/// dropped.
///
/// ```
/// # use logtracer_core::propagation::{Header, TraceHeaders};
/// let headers = TraceHeaders::collect([("Host", "shop"), ("B3", "0"), ("b3", "1")]);
/// assert!(headers.present().contains(Header::B3));
/// assert!(headers.repeated().contains(Header::B3));
/// assert_eq!(headers.only_line(Header::B3), None);
/// assert!(!headers.present().contains(Header::Traceparent) && !headers.is_empty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TraceHeaders<'a> {
    /// The first line of each header, indexed by `Header as usize`.
    first: [&'a [u8]; Header::ALL.len()],
    /// The further lines, in order.
    further: [Option<(Header, &'a [u8])>; MAX_FURTHER_LINES],
    further_len: usize,
    present: HeaderSet,
    repeated: HeaderSet,
    /// The headers with ignored lines.
    truncated: HeaderSet,
}

impl<'a> TraceHeaders<'a> {
    /// Collects the trace headers from all header lines of a request.
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

    /// Returns true if the request has no trace header.
    pub const fn is_empty(&self) -> bool {
        self.present.0 == 0
    }

    /// Returns the trace headers that the request has.
    pub const fn present(&self) -> HeaderSet {
        self.present
    }

    /// Returns the headers with more than one line.
    pub const fn repeated(&self) -> HeaderSet {
        self.repeated
    }

    /// Adds a header line.
    pub fn push(&mut self, header: Header, value: &'a [u8]) {
        if !self.present.contains(header) {
            self.present.insert(header);
            if let Some(first) = self.first.get_mut(header as usize) {
                *first = value;
            }
            return;
        }
        self.repeated.insert(header);
        match self.further.get_mut(self.further_len) {
            Some(line) => {
                *line = Some((header, value));
                self.further_len += 1;
            }
            None => self.truncated.insert(header),
        }
    }

    /// Returns true if lines of the header were ignored.
    pub(super) const fn is_truncated(&self, header: Header) -> bool {
        self.truncated.contains(header)
    }

    /// Returns the value of a header that has exactly one line.
    pub fn only_line(&self, header: Header) -> Option<&'a [u8]> {
        let is_only = self.present.contains(header) && !self.repeated.contains(header);
        if is_only { self.first.get(header as usize).copied() } else { None }
    }

    /// Returns the value of a header that has exactly one line, if it is not a list. Nearly all headers are like this.
    pub(super) fn only_value(&self, header: Header) -> Option<&'a [u8]> {
        self.only_line(header).filter(|line| !is_list(line))
    }

    /// Returns the lines of a header in order.
    pub(super) fn lines(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + Clone + '_ {
        let first = self.first.get(header as usize).filter(|_| self.present.contains(header));
        let further = self.further.iter().flatten().filter(move |(known, _)| *known == header);
        first.copied().into_iter().chain(further.map(|(_, value)| *value))
    }

    /// Returns the values of a header in order, after splitting the lines that a proxy joined with commas.
    pub(super) fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.lines(header).flat_map(|line| {
            let joined = is_list(line);
            line.split(move |&byte| joined && byte == b',')
                .map(move |part| if joined { super::text::trim(part) } else { part })
        })
    }

    /// Returns the first value of a header that `parse` accepts. A later valid value that does not agree with it is a
    /// conflict.
    pub(super) fn first_valid<T>(
        &self,
        header: Header,
        parse: impl Fn(&[u8]) -> Option<T>,
        agree: impl Fn(&T, &T) -> bool,
    ) -> FirstValid<T> {
        let valid = |value| FirstValid { value, invalid: false, conflict: false };
        if !self.present.contains(header) {
            return valid(None);
        }
        if let Some(value) = self.only_value(header).and_then(&parse) {
            return valid(Some(value));
        }
        let mut found = valid(None);
        for value in self.values(header) {
            match (parse(value), &found.value) {
                (None, _) => found.invalid = true,
                (Some(value), None) => found.value = Some(value),
                (Some(value), Some(first)) => found.conflict |= !agree(&value, first),
            }
        }
        found
    }
}

/// The result of [`TraceHeaders::first_valid`].
pub(super) struct FirstValid<T> {
    pub(super) value: Option<T>,
    /// True if a value is invalid.
    pub(super) invalid: bool,
    pub(super) conflict: bool,
}

/// Returns true if the line can be several lines that a proxy joined with commas. A line longer than
/// [`MAX_LIST_BYTES`] is one invalid value.
fn is_list(line: &[u8]) -> bool {
    line.len() <= MAX_LIST_BYTES && line.contains(&b',')
}

impl Default for TraceHeaders<'_> {
    fn default() -> Self {
        Self {
            first: [&[]; Header::ALL.len()],
            further: [None; MAX_FURTHER_LINES],
            further_len: 0,
            present: HeaderSet::default(),
            repeated: HeaderSet::default(),
            truncated: HeaderSet::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn sets_of_headers() {
        let mut set = HeaderSet::default();
        for header in [Header::B3, Header::GrpcTraceBin, Header::B3] {
            set.insert(header);
        }
        for header in Header::ALL {
            let is_in = matches!(header, Header::B3 | Header::GrpcTraceBin);
            assert_eq!(set.contains(header), is_in, "{header:?}");
        }
    }

    /// The lines of one header beside those of others, and what a reader of a single line sees.
    #[test]
    fn lines_of_a_header() {
        for (lines, is_empty, expected, only_line) in [
            (vec![], true, vec![], None),
            (vec![("host", "a")], true, vec![], None),
            (vec![("traceparent", "a")], false, vec![], None),
            (vec![("B3", "a")], false, vec!["a"], Some("a")),
            (vec![("b3", "a,b"), ("traceparent", "c")], false, vec!["a,b"], Some("a,b")),
            (vec![("b3", "a"), ("traceparent", "b"), ("b3", "c")], false, vec!["a", "c"], None),
            (vec![("b3", "a"), ("b3", "b"), ("B3", "c")], false, vec!["a", "b", "c"], None),
            (vec![("b3", "a"); 20], false, vec!["a"; 15], None),
        ] {
            let headers = TraceHeaders::collect(lines.iter().copied());
            assert_eq!(headers.is_empty(), is_empty, "{lines:?}");
            assert_eq!(headers.present().contains(Header::B3), !expected.is_empty(), "{lines:?}");
            assert_eq!(headers.repeated().contains(Header::B3), expected.len() > 1, "{lines:?}");
            assert_eq!(headers.is_truncated(Header::B3), lines.len() > expected.len() && expected.len() > 2);
            let read: Vec<_> = headers.lines(Header::B3).collect();
            assert_eq!(read, expected.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(), "{lines:?}");
            assert_eq!(headers.only_line(Header::B3), only_line.map(str::as_bytes), "{lines:?}");
        }
    }

    /// Rule 39: a long line is not split at its commas.
    #[test]
    fn values_of_a_line() {
        for (line, expected) in [
            ("a".to_owned(), 1),
            (" a ".to_owned(), 1),
            ("a, b,c".to_owned(), 3),
            (format!("a,{}", "b".repeat(1_022)), 2),
            (format!("a,{}", "b".repeat(1_023)), 1),
        ] {
            let headers = TraceHeaders::collect([("b3", &line)]);
            let values: Vec<_> = headers.values(Header::B3).collect();
            assert_eq!(values.len(), expected, "{} bytes", line.len());
            assert_eq!(headers.only_value(Header::B3).is_some(), expected == 1, "{} bytes", line.len());
            // The space around a value is only that of a list.
            let first = if expected == 1 { line.as_str() } else { "a" };
            assert_eq!(values.first(), Some(&first.as_bytes()));
        }
    }

    #[test]
    fn the_first_valid_value() {
        let digit = |value: &[u8]| match value {
            [digit @ b'0'..=b'9', ..] => Some(*digit),
            _ => None,
        };
        for (lines, value, invalid, conflict) in [
            (vec![], None, false, false),
            (vec!["1"], Some(b'1'), false, false),
            (vec!["x"], None, true, false),
            (vec!["1,1"], Some(b'1'), false, false),
            (vec!["1", "1"], Some(b'1'), false, false),
            (vec!["1", "2"], Some(b'1'), false, true),
            (vec!["1, 2, 1"], Some(b'1'), false, true),
            (vec!["1", "2", "3"], Some(b'1'), false, true),
            (vec!["x", "2"], Some(b'2'), true, false),
            (vec!["1", "x"], Some(b'1'), true, false),
            (vec!["x", "y", "z"], None, true, false),
        ] {
            let headers = TraceHeaders::collect(lines.iter().map(|line| ("b3", *line)));
            let found = headers.first_valid(Header::B3, digit, u8::eq);
            assert_eq!((found.value, found.invalid, found.conflict), (value, invalid, conflict), "{lines:?}");
        }
    }
}

//! W3C `tracestate`: what other vendors put beside a `traceparent`, passed on as it came.
//!
//! ```text
//! tracestate = member *31( OWS "," OWS member )      ; over all lines, in order; empty members are allowed
//! member     = key "=" value
//! key        = 1*256 of lower-case letters, digits, _ - * / @, the first a letter or a digit
//! value      = 1*256 printable ASCII but "," and "=", not ending in a space
//! ```
//!
//! <https://www.w3.org/TR/trace-context-2/#tracestate-header>

use super::text::{Buffer, trim};
use super::{Header, TraceHeaders};

/// The number of members that the specification allows.
const MAX_MEMBERS: usize = 32;
/// The bytes that are passed on; the specification asks for 512 at least.
const MAX_LENGTH: usize = 8192;

/// A valid `tracestate`, borrowed from the request's headers; or none.
///
/// ```
/// use logtracer_core::propagation::{Propagator, TraceHeaders};
///
/// let headers = TraceHeaders::collect([
///     ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
///     ("tracestate", "a=1"),
///     ("tracestate", "b=2"),
/// ]);
/// let tracestate = Propagator::default().extract(&headers).tracestate;
/// assert_eq!(tracestate.with_line(str::to_owned).as_deref(), Some("a=1,b=2"));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceState<'h> {
    lines: Option<&'h TraceHeaders<'h>>,
    text: Option<&'h str>,
}

impl<'h> TraceState<'h> {
    /// The `tracestate` of these headers; none where there is none, any part of it is malformed, or it is not all
    /// there.
    pub(super) fn read(headers: &'h TraceHeaders<'_>) -> Self {
        let is_whole = headers.present().contains(Header::Tracestate) && !headers.is_cut(Header::Tracestate);
        if !is_whole || !is_valid(headers.lines(Header::Tracestate)) {
            return Self::default();
        }
        Self { lines: Some(headers), text: None }
    }

    /// The `tracestate` in one line of text that was read before; none where it is malformed.
    ///
    /// ```
    /// use logtracer_core::propagation::TraceState;
    ///
    /// assert!(!TraceState::from_line("vendor=1").is_empty());
    /// assert!(TraceState::from_line("no member").is_empty());
    /// ```
    pub fn from_line(line: &'h str) -> Self {
        let valid = is_valid(core::iter::once(line.as_bytes()));
        Self { lines: None, text: valid.then_some(line) }
    }

    /// Hands the members of all lines on as one line; `None` where there are none.
    ///
    /// Borrowed where the request had one line, which is nearly always, and joined on the stack otherwise.
    ///
    /// ```
    /// use logtracer_core::propagation::TraceState;
    ///
    /// assert_eq!(TraceState::from_line("vendor=1").with_line(str::len), Some(8));
    /// assert_eq!(TraceState::default().with_line(str::len), None);
    /// ```
    pub fn with_line<R>(&self, hand_on: impl FnOnce(&str) -> R) -> Option<R> {
        if let Some(text) = self.text {
            return (!text.is_empty()).then(|| hand_on(text));
        }
        let headers = self.lines?;
        let mut lines = headers
            .lines(Header::Tracestate)
            .map(trim)
            .filter(|line| !line.is_empty())
            .filter_map(|line| core::str::from_utf8(line).ok());
        let first = lines.next()?;
        let Some(second) = lines.next() else {
            return Some(hand_on(first));
        };
        let mut joined = Buffer::<MAX_LENGTH>::new();
        joined.push(first);
        for line in core::iter::once(second).chain(lines) {
            joined.push(",");
            joined.push(line);
        }
        Some(hand_on(joined.as_str()))
    }

    /// True where there is nothing to pass on.
    ///
    /// ```
    /// use logtracer_core::propagation::TraceState;
    ///
    /// assert!(TraceState::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.lines.is_none() && self.text.is_none()
    }
}

fn is_valid<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut members = 0;
    let mut length = 0;
    for line in lines {
        length += line.len() + 1;
        if length > MAX_LENGTH {
            return false;
        }
        for member in line.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty()) {
            members += 1;
            if members > MAX_MEMBERS || !is_member(member) {
                return false;
            }
        }
    }
    true
}

fn is_member(member: &[u8]) -> bool {
    let mut parts = member.splitn(2, |&byte| byte == b'=');
    match (parts.next(), parts.next()) {
        (Some(key), Some(value)) => is_key(key) && is_value(value),
        _ => false,
    }
}

fn is_key(key: &[u8]) -> bool {
    let starts_well = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    starts_well
        && key.len() <= 256
        && key.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len()) && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && *byte != b'=')
}

//! W3C `tracestate`: the data of other vendors beside a `traceparent`, propagated unchanged.
//!
//! ```text
//! tracestate = member *31( OWS "," OWS member )      ; across all lines, in order; empty members are allowed
//! member     = key "=" value
//! key        = 1*256 of lower-case letters, digits, _ - * / @, the first a letter or a digit
//! value      = 1*256 printable ASCII except "," and "=", not ending in a space
//! ```
//!
//! <https://www.w3.org/TR/trace-context-2/#tracestate-header>

use super::text::{Buffer, trim};
use super::{Header, TraceHeaders};

/// The maximum number of members, from the specification.
const MAX_MEMBERS: usize = 32;
/// The maximum length that is propagated. The specification requires at least 512 bytes.
const MAX_LENGTH: usize = 8192;

/// A valid `tracestate`, borrowed from the headers of the request, or an empty one.
///
/// ```
/// # use logtracer_core::propagation::{Propagator, TraceHeaders, TraceState};
/// let headers = TraceHeaders::collect([
///     ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
///     ("tracestate", "a=1"),
///     ("tracestate", "b=2"),
/// ]);
/// let tracestate = Propagator::default().extract(&headers).tracestate;
/// assert_eq!(tracestate.with_line(str::to_owned).as_deref(), Some("a=1,b=2"));
///
/// assert!(TraceState::from_line("not a member").is_empty());
/// assert!(TraceState::from_line(" , ").is_empty());
/// assert_eq!(TraceState::default().with_line(str::len), None);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceState<'h> {
    lines: Option<&'h TraceHeaders<'h>>,
    text: Option<&'h str>,
}

impl<'h> TraceState<'h> {
    /// Reads the `tracestate` of these headers. It is empty if a member is malformed or a line was ignored.
    pub(super) fn read(headers: &'h TraceHeaders<'_>) -> Self {
        let is_complete =
            headers.present().contains(Header::Tracestate) && !headers.is_truncated(Header::Tracestate);
        if !is_complete || !has_members(headers.lines(Header::Tracestate)) {
            return Self::default();
        }
        Self { lines: Some(headers), text: None }
    }

    /// Parses a `tracestate` in one line. It is empty if a member is malformed or if there is none.
    pub fn from_line(line: &'h str) -> Self {
        let has_members = has_members(core::iter::once(line.as_bytes()));
        Self { lines: None, text: has_members.then_some(line) }
    }

    /// Calls `use_line` with all members in one line. Returns `None` if there are no members.
    ///
    /// A single line, as nearly all requests have, is borrowed from the request. Several lines are joined on the stack.
    pub fn with_line<R>(&self, use_line: impl FnOnce(&str) -> R) -> Option<R> {
        if let Some(text) = self.text {
            return Some(use_line(text));
        }
        let headers = self.lines?;
        let mut lines = headers
            .lines(Header::Tracestate)
            .map(trim)
            .filter(|line| !line.is_empty())
            .filter_map(|line| core::str::from_utf8(line).ok());
        let first = lines.next()?;
        let Some(second) = lines.next() else {
            return Some(use_line(first));
        };
        let mut joined = Buffer::<MAX_LENGTH>::new();
        joined.push(first);
        for line in core::iter::once(second).chain(lines) {
            joined.push(",");
            joined.push(line);
        }
        Some(use_line(joined.as_str()))
    }

    /// Returns true if there is no `tracestate`.
    pub fn is_empty(&self) -> bool {
        self.lines.is_none() && self.text.is_none()
    }
}

/// Returns whether the lines have members, all of them valid and within the limits.
fn has_members<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
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
    members > 0
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

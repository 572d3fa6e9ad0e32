//! [`TraceContext`] as the value of a W3C `traceparent`, for messages, jobs and other text that is not an HTTP header.

use core::fmt;
use core::str::FromStr;

use crate::TraceContext;
use crate::propagation::parse_traceparent;

impl TraceContext {
    /// Returns the value of a W3C `traceparent` of version 00 with these ids.
    ///
    /// The format has no deferred decision ([`Sampling::Defer`](crate::Sampling::Defer)): it writes it as not sampled.
    ///
    /// <https://www.w3.org/TR/trace-context-2/#traceparent-header>
    ///
    /// ```
    /// # use logtracer_core::TraceContext;
    /// let value = "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01";
    /// let context: TraceContext = value.parse()?;
    /// assert_eq!(context.to_traceparent(), value);
    /// # Ok::<(), logtracer_core::TraceparentError>(())
    /// ```
    pub fn to_traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags())
    }
}

/// Parses the value of a W3C `traceparent`.
///
/// The context is that of the span in the value, as with [`RemoteContext::join`](crate::RemoteContext::join).
impl FromStr for TraceContext {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        // A traceparent always has a span id.
        parse_traceparent(text.as_bytes())?.join().ok_or(TraceparentError::SpanId)
    }
}

/// The error of parsing a `traceparent`: names the part that is invalid, and does not repeat the (foreign) input.
///
/// ```
/// # use logtracer_core::{TraceContext, TraceparentError};
/// for (text, expected) in [
///     ("00-463ac35c9f6413ad48485a3953bb6124", TraceparentError::Length),
///     ("ff-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01", TraceparentError::Version),
///     ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", TraceparentError::TraceId),
///     ("00-463ac35c9f6413ad48485a3953bb6124-00F067AA0BA902B7-01", TraceparentError::SpanId),
///     ("00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-0x", TraceparentError::Flags),
///     ("00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01-x", TraceparentError::MoreFields),
/// ] {
///     assert_eq!(text.parse::<TraceContext>(), Err(expected));
/// }
/// let error = "b3".parse::<TraceContext>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a traceparent such as 00-<32 digits>-<16 digits>-01: wrong length");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceparentError {
    /// Shorter than 55 or longer than 256 bytes.
    Length,
    /// The version is not two lower-case hexadecimal digits, or it is `ff`.
    Version,
    /// The trace id is not 32 lower-case hexadecimal digits, or all of them are zero.
    TraceId,
    /// The span id (`parent-id` in the specification) is not 16 lower-case hexadecimal digits, or all of them are zero.
    SpanId,
    /// The flags are not two lower-case hexadecimal digits.
    Flags,
    /// Something follows the flags, which only a later version than 00 allows, after a dash.
    MoreFields,
}

impl fmt::Display for TraceparentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a traceparent such as 00-<32 digits>-<16 digits>-01: ")?;
        f.write_str(match self {
            Self::Length => "wrong length",
            Self::Version => "invalid version",
            Self::TraceId => "invalid trace id",
            Self::SpanId => "invalid span id",
            Self::Flags => "invalid flags",
            Self::MoreFields => "more than four fields",
        })
    }
}

impl std::error::Error for TraceparentError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sampling, SpanId, TraceId};
    use proptest::prelude::*;

    #[test]
    fn later_versions_and_bounds() {
        let ids = "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7";
        let parse = |text: String| text.parse::<TraceContext>();
        assert!(parse(format!("01-{ids}-01-more")).is_ok());
        assert_eq!(parse(format!("01-{ids}-01.more")), Err(TraceparentError::MoreFields));
        assert_eq!(parse(format!("01-{ids}-01-{}", "x".repeat(256))), Err(TraceparentError::Length));
        for (length, expected) in [(256, TraceparentError::Version), (257, TraceparentError::Length)] {
            let more = "x".repeat(length - 56);
            assert_eq!(parse(format!("01-{ids}-01-{more}")).err(), (length > 256).then_some(expected));
            assert_eq!(parse(format!("ff-{ids}-01-{more}")), Err(expected), "{length} bytes");
        }
        assert_eq!(parse(format!("00+{ids}-01")), Err(TraceparentError::Version));
        assert_eq!(parse(format!("00-{ids}+01")), Err(TraceparentError::SpanId));
        assert_eq!(parse(format!("00-{}é-01", &ids[..ids.len() - 2])), Err(TraceparentError::SpanId));
        assert_eq!(parse(String::new()), Err(TraceparentError::Length));
    }

    #[test]
    fn errors_in_text() {
        for (error, expected) in [
            (TraceparentError::Length, "wrong length"),
            (TraceparentError::Version, "invalid version"),
            (TraceparentError::TraceId, "invalid trace id"),
            (TraceparentError::SpanId, "invalid span id"),
            (TraceparentError::Flags, "invalid flags"),
            (TraceparentError::MoreFields, "more than four fields"),
        ] {
            let expected =
                format!("expected a traceparent such as 00-<32 digits>-<16 digits>-01: {expected}");
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_written_traceparent_is_parsed(trace_id in 1u128.., span_id in 1u64.., flags in 0u8..4) {
            let context = TraceContext {
                trace_id: TraceId::new(trace_id).unwrap(),
                span_id: SpanId::new(span_id).unwrap(),
                parent_span_id: None,
                sampling: Sampling::from_sampled(flags & 1 == 1),
                random_trace_id: flags & 2 == 2,
            };
            prop_assert_eq!(context.to_traceparent().parse(), Ok(context));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<TraceContext>();
        }

        /// With one byte replaced, the error names the part of this byte.
        #[test]
        fn the_error_names_the_part(position in 0usize..55) {
            let mut text = *b"00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01";
            text[position] = b'G';
            let expected = match position {
                0..=2 => TraceparentError::Version,
                3..=35 => TraceparentError::TraceId,
                36..=52 => TraceparentError::SpanId,
                _ => TraceparentError::Flags,
            };
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(text.parse::<TraceContext>(), Err(expected));
        }
    }
}

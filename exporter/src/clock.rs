//! The wall clock, in the units of the databases and the log lines.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the milliseconds since 1970.
pub(crate) fn unix_millis() -> i64 {
    i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)
}

/// Converts a duration to whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Converts a duration to whole nanoseconds.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the times in nanoseconds that a clock of today can show: from the year 2000 on, because an earlier time is that
/// of a clock that was never set, and until a day from now.
pub(crate) fn plausible(now: u64) -> RangeInclusive<i64> {
    const YEAR_2000: i64 = 946_684_800_000_000_000;
    const DAY: i64 = 86_400_000_000_000;
    YEAR_2000..=i64::try_from(now).unwrap_or(i64::MAX).saturating_add(DAY)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Parses a duration above zero with its unit, such as `250ms` or `3d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok().filter(|duration| !duration.is_zero())
}

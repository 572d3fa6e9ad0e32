//! The rate limit of repeated log lines.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Severity, Value, line};
use crate::truncate::truncate;

/// The interval in which a message with the same cause is written once.
const INTERVAL: Duration = Duration::from_secs(60);

/// The number of causes that are distinguished. The text of an error can be anything.
const MAX_CAUSES: usize = 256;

/// Writes a [`rate_limited`] line of severity INFO.
pub(crate) fn info(message: &'static str, fields: &[(&str, Value<'_>)]) {
    rate_limited(Severity::Info, message, fields);
}

/// Writes a [`rate_limited`] line of severity WARNING.
pub(crate) fn warn(message: &'static str, fields: &[(&str, Value<'_>)]) {
    rate_limited(Severity::Warning, message, fields);
}

/// Writes a [`rate_limited`] line of severity ERROR.
pub(crate) fn error(message: &'static str, fields: &[(&str, Value<'_>)]) {
    rate_limited(Severity::Error, message, fields);
}

/// Writes a line about a problem that can repeat.
///
/// The same message is written at most once a minute for each sink and reason, with the number of lines that were
/// suppressed since the last one.
pub(crate) fn rate_limited(severity: Severity, message: &'static str, fields: &[(&str, Value<'_>)]) {
    static LIMIT: Mutex<Option<RateLimit>> = Mutex::new(None);
    let suppressed = LIMIT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(RateLimit::default)
        .try_acquire(message, cause(fields), Instant::now());
    match suppressed {
        None => {}
        Some(0) => line(severity, message, fields),
        Some(suppressed) => {
            let mut fields = fields.to_vec();
            fields.push(("repeats_left_out", Value::U64(suppressed)));
            line(severity, message, &fields);
        }
    }
}

/// Returns the sink, the reason and the error of a line, if they are [`Value::Str`]. Digits are removed, because they
/// differ between repeats.
fn cause(fields: &[(&str, Value<'_>)]) -> String {
    const MAX_BYTES: usize = 200;
    let mut cause = String::new();
    for (name, value) in fields {
        if let Value::Str(text) = value
            && ["sink", "reason", "error"].contains(name)
        {
            cause.extend(truncate(text, MAX_BYTES).chars().filter(|c| !c.is_ascii_digit()));
            cause.push('\n');
        }
    }
    cause
}

/// For each message and cause: when it was last written, and the number of lines that were suppressed since.
#[derive(Default)]
struct RateLimit(HashMap<(&'static str, String), (Instant, u64)>);

impl RateLimit {
    /// Returns the number of suppressed lines if this line is to be written, and `None` if it is suppressed, too.
    fn try_acquire(&mut self, message: &'static str, cause: String, now: Instant) -> Option<u64> {
        let mut key = (message, cause);
        if self.0.len() >= MAX_CAUSES && !self.0.contains_key(&key) {
            self.0.retain(|_, (last, _)| now.duration_since(*last) < INTERVAL);
            if self.0.len() >= MAX_CAUSES {
                key.1.clear();
            }
        }
        match self.0.get_mut(&key) {
            Some((last, suppressed)) if now.duration_since(*last) < INTERVAL => {
                *suppressed += 1;
                None
            }
            Some((last, suppressed)) => {
                *last = now;
                Some(std::mem::take(suppressed))
            }
            None => {
                self.0.insert(key, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_differ_by_sink_and_error_but_not_by_digits() {
        let of = |sink, error| cause(&[("error", Value::Str(error)), ("sink", Value::Str(sink))]);
        assert_eq!(of("a", "batch 17 is bad"), of("a", "batch 4 is bad"));
        assert_ne!(of("a", "bad"), of("b", "bad"));
        assert_ne!(of("a", "bad"), of("a", "worse"));
    }

    #[test]
    fn the_number_of_causes_is_limited() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        for n in 0..2 * MAX_CAUSES {
            limit.try_acquire("a", "x".repeat(n), start);
        }
        assert!(limit.0.len() <= MAX_CAUSES + 1);
        assert_eq!(limit.try_acquire("a", "x".repeat(1000), start + INTERVAL), Some(0));
    }

    #[test]
    fn a_repeated_line_is_written_once_a_minute() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        for (message, cause, seconds, expected) in [
            ("a", "", 0, Some(0)),
            ("a", "", 1, None),
            ("b", "", 1, Some(0)),
            ("a", "zipkin", 1, Some(0)),
            ("a", "", 59, None),
            ("a", "", 60, Some(2)),
        ] {
            let now = start + Duration::from_secs(seconds);
            let suppressed = limit.try_acquire(message, cause.to_owned(), now);
            assert_eq!(suppressed, expected, "{message} {cause} after {seconds} s");
        }
    }
}

//! Severities as OTLP numbers them and as log libraries name them, converted to Cloud Logging's.

use logtracer_core::line::Severity;

/// Returns the severity of a log record: that of its number, or else of its text.
pub(crate) fn of(number: i32, text: &str) -> Severity {
    from_number(number).or_else(|| Severity::from_text(text)).unwrap_or_default()
}

/// Converts a severity number: 1 to 4 are TRACE, 5 to 8 DEBUG, …, 21 to 24 FATAL. The higher ones of INFO and FATAL are
/// the severities that only Cloud Logging has, as in the OpenTelemetry Collector's exporter for it.
pub(crate) const fn from_number(number: i32) -> Option<Severity> {
    Some(match number {
        1..=8 => Severity::Debug,
        9..=10 => Severity::Info,
        11..=12 => Severity::Notice,
        13..=16 => Severity::Warning,
        17..=20 => Severity::Error,
        21..=22 => Severity::Critical,
        23 => Severity::Alert,
        24 => Severity::Emergency,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_four() {
        for (numbers, expected) in [
            (1..=8, Some(Severity::Debug)),
            (9..=10, Some(Severity::Info)),
            (11..=12, Some(Severity::Notice)),
            (13..=16, Some(Severity::Warning)),
            (17..=20, Some(Severity::Error)),
            (21..=22, Some(Severity::Critical)),
            (23..=23, Some(Severity::Alert)),
            (24..=24, Some(Severity::Emergency)),
            (-1..=0, None),
            (25..=26, None),
        ] {
            for number in numbers {
                assert_eq!(from_number(number), expected, "{number}");
            }
        }
    }
}

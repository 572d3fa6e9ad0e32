//! Formats times, durations and counts for people.

use jiff::Timestamp;

/// Formats a time in UTC: `14:04:05.499`, preceded by the date if it is not today.
pub(super) fn clock_time(unix_nano: u64, now: u64) -> String {
    let day = |nanos: u64| nanos / 86_400_000_000_000;
    let format = if day(unix_nano) == day(now) { "%H:%M:%S.%3f" } else { "%Y-%m-%d %H:%M:%S.%3f" };
    timestamp(unix_nano).strftime(format).to_string()
}

/// Formats a time as RFC 3339 in UTC.
pub(super) fn rfc3339(unix_nano: u64) -> String {
    timestamp(unix_nano).to_string()
}

/// Formats an age: `just now`, `12 s ago`, `3 min ago` …
pub(super) fn ago(unix_nano: u64, now: u64) -> String {
    let seconds = now.saturating_sub(unix_nano) / 1_000_000_000;
    match seconds {
        0..=1 => "just now".to_owned(),
        2..=59 => format!("{seconds} s ago"),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Formats a duration with three significant digits and a suitable unit: `850 ns`, `12.3 µs`, `1.20 s`, `2 min 5 s`,
/// `3 h 20 min`, `2 d 4 h`.
pub(crate) fn duration(nanos: u64) -> String {
    let scaled = |unit: f64, name: &str| {
        let value = nanos as f64 / unit;
        let digits = if value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
        format!("{value:.digits$} {name}")
    };
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..999_500 => scaled(1e3, "µs"),
        999_500..999_500_000 => scaled(1e6, "ms"),
        999_500_000..60_000_000_000 => scaled(1e9, "s"),
        _ => {
            let seconds = nanos / 1_000_000_000;
            match seconds {
                0..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
                3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
                _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
            }
        }
    }
}

/// Formats a count: `1 span`, `2 spans`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn timestamp(unix_nano: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_nano)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_significant_digits() {
        for (nanos, expected) in [
            (0, "0 ns"),
            (850, "850 ns"),
            (12_345, "12.3 µs"),
            (1_000, "1.00 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (9_996_000, "10.0 ms"),
            (123_456_789, "123 ms"),
            (1_200_000_000, "1.20 s"),
            (125_000_000_000, "2 min 5 s"),
            (3_599_000_000_000, "59 min 59 s"),
            (12_000_000_000_000, "3 h 20 min"),
            (187_200_000_000_000, "2 d 4 h"),
        ] {
            assert_eq!(duration(nanos), expected, "{nanos}");
        }
        duration(u64::MAX);
    }

    #[test]
    fn times_of_other_days_have_a_date() {
        let time = 1_532_527_445_499_727_000;
        assert_eq!(clock_time(time, time), "14:04:05.499");
        assert_eq!(clock_time(time, time + 86_400_000_000_000), "2018-07-25 14:04:05.499");
        assert_eq!(ago(time, time + 125_000_000_000), "2 min ago");
        assert_eq!(ago(time, 0), "just now");
        clock_time(u64::MAX, 0);
        assert_eq!(rfc3339(time), "2018-07-25T14:04:05.499727Z");
    }
}

//! Parses durations and sizes with a unit: `500ms`, `2s`, `1MiB`.

use core::time::Duration;

/// Parses a number with the unit `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Parses a number with the unit `B`, `KiB`, `MiB`, `KB` or `MB`, or without one. Returns bytes.
pub(super) fn size(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "KB" => 1e3,
        "MB" => 1e6,
        _ => return None,
    };
    let bytes = number * factor;
    (0.0..=f64::from(u32::MAX)).contains(&bytes).then_some(bytes as usize)
}

/// Returns the number before the first letter, and the unit after it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let unit_at = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number = number.trim_end();
    // `parse` alone also accepts signs, exponents and `inf`.
    let is_decimal = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_decimal { Some((number.parse().ok()?, unit)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("0.5ms", Some(0)),
            ("2s", Some(2_000)),
            ("1.5s", Some(1_500)),
            (" 2 s ", Some(2_000)),
            ("3m", Some(180_000)),
            ("2h", Some(7_200_000)),
            ("2", None),
            ("2d", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1e3s", None),
            ("1.2.3s", None),
            ("1\u{e9}s", None),
            ("infs", None),
        ] {
            let millis = duration(text).map(|duration| duration.as_millis());
            assert_eq!(millis, expected, "{text:?}");
        }
        assert_eq!(duration(&format!("{}h", "9".repeat(300))), None);
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("7B", Some(7)),
            ("3KiB", Some(3_072)),
            ("3 MiB", Some(3_145_728)),
            ("1.5KiB", Some(1_536)),
            ("3KB", Some(3_000)),
            ("3MB", Some(3_000_000)),
            ("4294967295", Some(4_294_967_295)),
            ("4294967296", None),
            ("5GiB", None),
            ("3kib", None),
            ("-1", None),
            ("", None),
            ("KiB", None),
        ] {
            assert_eq!(size(text), expected, "{text:?}");
        }
    }
}

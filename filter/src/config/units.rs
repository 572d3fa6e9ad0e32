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

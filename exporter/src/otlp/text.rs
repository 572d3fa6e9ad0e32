//! Doubles and bytes as text, as OpenTelemetry writes them for protocols other than OTLP
//! (<https://opentelemetry.io/docs/specs/otel/common/#anyvalue-representation-for-non-otlp-protocols>).

use std::fmt::{self, Write};

/// Returns the text of a double that is not finite.
pub(crate) fn not_finite(number: f64) -> &'static str {
    match number {
        number if number.is_nan() => "NaN",
        number if number > 0. => "Infinity",
        _ => "-Infinity",
    }
}

/// Bytes that are displayed as Base64.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for chunk in self.0.chunks(3) {
            let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4_usize {
                let value = (bits >> (18 - 6 * digit)) & 63;
                let character = DIGITS.get(value as usize).copied().map_or('=', char::from);
                f.write_char(if digit <= chunk.len() { character } else { '=' })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (bytes, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(Base64(bytes).to_string(), expected);
        }
    }
}

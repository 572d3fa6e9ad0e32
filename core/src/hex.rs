//! Hexadecimal digits: parsing and formatting without allocation.

use core::fmt;

/// The error of parsing an id. It names what was expected and does not repeat the (foreign) input.
///
/// ```
/// # use logtracer_core::SpanId;
/// let error = "secret".parse::<SpanId>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a span id of 16 hexadecimal digits that are not all zero");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexError {
    pub(crate) expected: &'static str,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for HexError {}

/// Parses 1 to 32 digits of either case. Returns `None` for anything else.
pub(crate) fn decode(digits: &[u8]) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    let mut value = 0u128;
    let mut words = digits.chunks_exact(8);
    for word in &mut words {
        value = value << 32 | u128::from(decode_word(word.try_into().ok()?)?);
    }
    for &digit in words.remainder() {
        value = value << 4 | u128::from(char::from(digit).to_digit(16)?);
    }
    Some(value)
}

/// Returns the low `4 * N` bits of `value` as `N` lower-case digits. `N` must be a multiple of eight.
pub(crate) fn encode<const N: usize>(value: u128) -> HexText<N> {
    let mut digits = [b'0'; N];
    let mut rest = value;
    for word in digits.rchunks_exact_mut(8) {
        word.copy_from_slice(&encode_word(rest as u32));
        rest >>= 32;
    }
    HexText(digits)
}

/// Returns true if no byte is an upper-case letter, as W3C Trace Context requires.
pub(crate) fn is_lower_case(digits: &[u8]) -> bool {
    // Without an early exit the compiler checks many bytes at once.
    !digits.iter().fold(false, |is_upper, digit| is_upper | digit.is_ascii_uppercase())
}

/// `N` lower-case hexadecimal digits on the stack.
///
/// ```
/// # use logtracer_core::SpanId;
/// let digits = SpanId::new(74).unwrap().to_hex();
/// assert_eq!(digits.as_str(), "000000000000004a");
/// assert_eq!(digits.as_bytes(), b"000000000000004a");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HexText<const N: usize>([u8; N]);

impl<const N: usize> HexText<N> {
    /// Returns the digits as text.
    pub fn as_str(&self) -> &str {
        // Invariant: all bytes are ASCII digits.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the digits as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> core::ops::Deref for HexText<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> fmt::Debug for HexText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === eight digits at a time: each is a byte of a 64-bit word, the first digit is the highest byte ===

const fn each_byte(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the high bit of each byte that is at least `limit`. All bytes and the limit must be below 0x80.
const fn at_least(bytes: u64, limit: u8) -> u64 {
    // The sums are below 0x100, so no byte carries into the next.
    bytes.wrapping_add(each_byte(0x80 - limit))
}

fn decode_word(digits: [u8; 8]) -> Option<u32> {
    const HIGH: u64 = each_byte(0x80);
    let word = u64::from_be_bytes(digits);
    let ascii = word & !HIGH;
    let lower = ascii | each_byte(0x20);
    let is_digit = at_least(ascii, b'0') & !at_least(ascii, b'9' + 1);
    let is_letter = at_least(lower, b'a') & !at_least(lower, b'f' + 1);
    if word & HIGH != 0 || (is_digit | is_letter) & HIGH != HIGH {
        return None;
    }
    // The low four bits of a digit are its value. Letters have bit 6 set, and their low bits are 9 less.
    let values = (word & each_byte(0x0f)) + (word >> 6 & each_byte(1)) * 9;
    let bytes = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((pairs | pairs >> 16) as u32)
}

fn encode_word(value: u32) -> [u8; 8] {
    let pairs = u64::from(value);
    let pairs = (pairs | pairs << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (bytes | bytes << 4) & each_byte(0x0f);
    // Bit 4 of the sum is set for values from 10, which are letters.
    let is_letter = (values + each_byte(6)) >> 4 & each_byte(1);
    (values + each_byte(b'0') + is_letter * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The standard library gives the expected result.
    #[test]
    fn every_byte_at_every_position() {
        for byte in 0..=255u8 {
            for position in 0..16 {
                let mut digits = *b"0123456789abcdef";
                digits[position] = byte;
                let text = std::str::from_utf8(&digits).ok();
                let expected = text
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|text| u128::from_str_radix(text, 16).ok());
                assert_eq!(decode(&digits), expected, "{byte:#x} at {position}");
            }
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[b'0'; 33]), None);
    }

    proptest! {
        #[test]
        fn encoded_digits_decode_to_the_same_number(value: u128) {
            prop_assert_eq!(encode::<32>(value).to_string(), format!("{value:032x}"));
            prop_assert_eq!(encode::<16>(value).to_string(), format!("{:016x}", value as u64));
            for width in 1..=32 {
                let value = value >> (128 - 4 * width);
                let digits = format!("{value:0width$X}");
                prop_assert_eq!(decode(digits.as_bytes()), Some(value));
            }
        }
    }
}

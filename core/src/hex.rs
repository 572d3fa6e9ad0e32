//! Hexadecimal digits to numbers and back, without allocation.

use core::fmt;

/// Why a text is not an id: says what was expected, without repeating the (foreign) text.
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

/// Reads up to 32 digits of either case; `None` for anything else, the empty text included.
pub(crate) fn decode(digits: &[u8]) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    let mut value = 0u128;
    for &digit in digits {
        value = value << 4 | u128::from(nibble(digit)?);
    }
    Some(value)
}

/// The two digits of each byte.
static PAIRS: [[u8; 2]; 256] = pairs();

// Runs in the compiler only, where an index that is out of bounds is an error of the build.
#[allow(clippy::indexing_slicing)]
const fn pairs() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    pairs
}

/// The `N` lower-case digits of the low `4 * N` bits of `value`; `N` is even.
pub(crate) fn encode<const N: usize>(value: u128) -> HexText<N> {
    let mut digits = [b'0'; N];
    let bytes = value.to_be_bytes();
    let low_bytes = bytes.iter().skip(bytes.len() - N / 2);
    for (pair, byte) in digits.chunks_exact_mut(2).zip(low_bytes) {
        pair.copy_from_slice(PAIRS.get(usize::from(*byte)).unwrap_or(b"00"));
    }
    HexText(digits)
}

/// True where no digit is an upper-case letter, as W3C demands.
pub(crate) fn is_lower_case(digits: &[u8]) -> bool {
    !digits.iter().any(u8::is_ascii_uppercase)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `N` lower-case hexadecimal digits on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HexText<const N: usize>([u8; N]);

impl<const N: usize> HexText<N> {
    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // Invariant: only ASCII digits are ever stored.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digits as bytes.
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

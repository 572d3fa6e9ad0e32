//! [`TraceId`] and [`SpanId`]: never zero, formatted as lower-case hexadecimal digits.

use core::fmt;
use core::num::{NonZeroU64, NonZeroU128};
use core::str::FromStr;

use crate::hex::{self, HexError, HexText};

/// The 128-bit id of a trace. It is never zero.
///
/// A 64-bit id of an older B3 tracer is the same number: its high half is zero.
///
/// ```
/// # use logtracer_core::TraceId;
/// let id: TraceId = "48485a3953bb6124".parse()?;
/// assert_eq!(id.to_string(), "000000000000000048485a3953bb6124");
/// assert_eq!(TraceId::from_bytes(id.to_bytes()), Some(id));
/// assert!("00000000000000000000000000000000".parse::<TraceId>().is_err());
/// assert_eq!(TraceId::new(0), None);
/// # Ok::<(), logtracer_core::HexError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The 64-bit id of a span. It is never zero.
///
/// ```
/// # use logtracer_core::SpanId;
/// let id: SpanId = "00f067aa0ba902b7".parse()?;
/// assert_eq!(id.get(), 67667974448284343); // the decimal form in X-Cloud-Trace-Context
/// assert_eq!(id.to_string(), "00f067aa0ba902b7");
/// assert_eq!(SpanId::from_bytes(id.to_bytes()), Some(id));
/// assert_eq!(SpanId::from_hex(b"00F067AA0BA902B7"), Ok(id));
/// assert!(SpanId::from_hex(b"f067aa0ba902b7").is_err());
/// assert_eq!(SpanId::new(0), None);
/// # Ok::<(), logtracer_core::HexError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// Creates the id with this number. Returns `None` for zero.
    pub const fn new(value: u128) -> Option<Self> {
        match NonZeroU128::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the id as a number.
    pub const fn get(self) -> u128 {
        self.0.get()
    }

    /// Creates the id from 16 big-endian bytes, its form in OTLP. Returns `None` for zero.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        Self::new(u128::from_be_bytes(bytes))
    }

    /// Returns the id as 16 big-endian bytes, its form in OTLP.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.get().to_be_bytes()
    }

    /// Returns the 32 lower-case hexadecimal digits of the id, without allocation.
    pub fn to_hex(self) -> HexText<32> {
        hex::encode(self.get())
    }

    /// Parses 32 digits, or the 16 of a 64-bit id, of either case.
    pub fn from_hex(digits: &[u8]) -> Result<Self, HexError> {
        const EXPECTED: HexError =
            HexError { expected: "a trace id of 32 (or 16) hexadecimal digits that are not all zero" };
        if digits.len() != 32 && digits.len() != 16 {
            return Err(EXPECTED);
        }
        hex::decode(digits).and_then(Self::new).ok_or(EXPECTED)
    }
}

impl SpanId {
    /// Creates the id with this number. Returns `None` for zero.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the id as a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Creates the id from 8 big-endian bytes, its form in OTLP. Returns `None` for zero.
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::new(u64::from_be_bytes(bytes))
    }

    /// Returns the id as 8 big-endian bytes, its form in OTLP.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.get().to_be_bytes()
    }

    /// Returns the 16 lower-case hexadecimal digits of the id, without allocation.
    pub fn to_hex(self) -> HexText<16> {
        hex::encode(u128::from(self.get()))
    }

    /// Parses 16 digits of either case.
    pub fn from_hex(digits: &[u8]) -> Result<Self, HexError> {
        const EXPECTED: HexError =
            HexError { expected: "a span id of 16 hexadecimal digits that are not all zero" };
        if digits.len() != 16 {
            return Err(EXPECTED);
        }
        let value = hex::decode(digits).ok_or(EXPECTED)?;
        u64::try_from(value).ok().and_then(Self::new).ok_or(EXPECTED)
    }
}

// === text ===

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl FromStr for TraceId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::from_hex(text.as_bytes())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

impl FromStr for SpanId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::from_hex(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// In text, in lines of the debugger, and as digits on the stack.
    #[test]
    fn forms_of_ids() {
        let (trace_id, span_id) = (TraceId::new(0xab).unwrap(), SpanId::new(74).unwrap());
        assert_eq!(trace_id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(format!("{trace_id:?}"), "TraceId(000000000000000000000000000000ab)");
        assert_eq!(span_id.to_string(), "000000000000004a");
        assert_eq!(format!("{span_id:?}"), "SpanId(000000000000004a)");
        assert_eq!(format!("{:?}", span_id.to_hex()), "000000000000004a");
    }

    /// An error names what is expected, and does not repeat the input.
    #[test]
    fn errors_of_ids() {
        for text in ["", "secret", "0000000000000000", "4a"] {
            assert_eq!(
                text.parse::<TraceId>().unwrap_err().to_string(),
                "expected a trace id of 32 (or 16) hexadecimal digits that are not all zero"
            );
            assert_eq!(
                text.parse::<SpanId>().unwrap_err().to_string(),
                "expected a span id of 16 hexadecimal digits that are not all zero"
            );
        }
    }
}

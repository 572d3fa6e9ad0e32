//! [`TraceId`] and [`SpanId`]: never zero, printed as lower-case hexadecimal digits.

use core::fmt;
use core::num::{NonZeroU64, NonZeroU128};
use core::str::FromStr;

use crate::hex::{self, HexError, HexText};

/// The 128-bit id of a trace; an all-zero id cannot exist.
///
/// A 64-bit id of an older B3 tracer is the same number with the high half zero.
///
/// ```
/// use logtracer_core::TraceId;
///
/// let id: TraceId = "48485a3953bb6124".parse()?;
/// assert_eq!(id.to_string(), "000000000000000048485a3953bb6124");
/// assert!("00000000000000000000000000000000".parse::<TraceId>().is_err());
/// # Ok::<(), logtracer_core::HexError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The 64-bit id of a span; zero cannot exist.
///
/// ```
/// use logtracer_core::SpanId;
///
/// let id: SpanId = "00f067aa0ba902b7".parse()?;
/// assert_eq!(id.get(), 67667974448284343); // the decimal form of X-Cloud-Trace-Context
/// assert_eq!(id.to_string(), "00f067aa0ba902b7");
/// # Ok::<(), logtracer_core::HexError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// The id with this number, or `None` for zero.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// assert!(TraceId::new(7).is_some());
    /// assert_eq!(TraceId::new(0), None);
    /// ```
    pub const fn new(value: u128) -> Option<Self> {
        match NonZeroU128::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The id as a number.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// assert_eq!(TraceId::new(7).map(TraceId::get), Some(7));
    /// ```
    pub const fn get(self) -> u128 {
        self.0.get()
    }

    /// The id of 16 big-endian bytes, as OTLP carries it.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// assert!(TraceId::from_bytes([1; 16]).is_some());
    /// assert_eq!(TraceId::from_bytes([0; 16]), None);
    /// ```
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        Self::new(u128::from_be_bytes(bytes))
    }

    /// The id as 16 big-endian bytes, as OTLP carries it.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// let id = TraceId::new(7).unwrap();
    /// assert_eq!(TraceId::from_bytes(id.to_bytes()), Some(id));
    /// ```
    pub const fn to_bytes(self) -> [u8; 16] {
        self.get().to_be_bytes()
    }

    /// 32 lower-case digits, without allocation.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// assert_eq!(TraceId::new(7).unwrap().to_hex().as_str(), "00000000000000000000000000000007");
    /// ```
    pub fn to_hex(self) -> HexText<32> {
        hex::encode(self.get())
    }

    /// Reads 32 digits, or the 16 of a 64-bit id, of either case.
    ///
    /// ```
    /// use logtracer_core::TraceId;
    ///
    /// assert_eq!(TraceId::from_hex(b"48485A3953bb6124").map(TraceId::get), Ok(0x48485a3953bb6124));
    /// assert!(TraceId::from_hex(b"48485a39").is_err());
    /// ```
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
    /// The id with this number, or `None` for zero.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// assert!(SpanId::new(7).is_some());
    /// assert_eq!(SpanId::new(0), None);
    /// ```
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The id as a number.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// assert_eq!(SpanId::new(7).map(SpanId::get), Some(7));
    /// ```
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The id of 8 big-endian bytes, as OTLP carries it.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// assert!(SpanId::from_bytes([1; 8]).is_some());
    /// assert_eq!(SpanId::from_bytes([0; 8]), None);
    /// ```
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::new(u64::from_be_bytes(bytes))
    }

    /// The id as 8 big-endian bytes, as OTLP carries it.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// let id = SpanId::new(7).unwrap();
    /// assert_eq!(SpanId::from_bytes(id.to_bytes()), Some(id));
    /// ```
    pub const fn to_bytes(self) -> [u8; 8] {
        self.get().to_be_bytes()
    }

    /// 16 lower-case digits, without allocation.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// assert_eq!(SpanId::new(7).unwrap().to_hex().as_str(), "0000000000000007");
    /// ```
    pub fn to_hex(self) -> HexText<16> {
        hex::encode(u128::from(self.get()))
    }

    /// Reads 16 digits of either case.
    ///
    /// ```
    /// use logtracer_core::SpanId;
    ///
    /// assert_eq!(SpanId::from_hex(b"00F067aa0ba902b7").map(SpanId::get), Ok(67667974448284343));
    /// assert!(SpanId::from_hex(b"f067aa0ba902b7").is_err());
    /// ```
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

//! Bytes and header lines of Envoy, as slices and as copies.

use std::cell::Cell;

use logtracer_filter::host::{HeaderLines, HeadersOf};

use crate::abi::{self, EnvoyBuffer, EnvoyHeader};

impl EnvoyBuffer {
    /// Returns the bytes; none if the value is absent.
    ///
    /// # Safety
    ///
    /// Envoy filled the buffer, and its bytes stay unchanged during `'b`.
    pub(crate) const unsafe fn as_slice<'b>(self) -> &'b [u8] {
        if self.data.is_null() {
            return b"";
        }
        // SAFETY: the caller promises it.
        unsafe { core::slice::from_raw_parts(self.data, self.length) }
    }
}

/// Copies of header lines, because Envoy's own end with the first change of a header.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// For each line the lengths of name and value, then both. One allocation, because every request has them.
    bytes: Vec<u8>,
}

/// The bytes of a length.
const LENGTH: usize = size_of::<u32>();

thread_local! {
    /// The lines of Envoy while they are copied.
    static HEADERS: Cell<Vec<EnvoyHeader>> = const { Cell::new(Vec::new()) };
}

impl Lines {
    /// Copies lines, of which there are at most `size`.
    ///
    /// # Safety
    ///
    /// `fill` writes lines to the start of an array of `size` elements, or returns false. Their bytes are readable
    /// until this function returns.
    pub(crate) unsafe fn copy(size: usize, fill: impl FnOnce(*mut EnvoyHeader) -> bool) -> Self {
        let mut headers = HEADERS.take();
        headers.clear();
        headers.resize(size, EnvoyHeader::EMPTY);
        let mut lines = Self::default();
        if size > 0 && fill(headers.as_mut_ptr()) {
            let bytes = headers.iter().map(|header| 2 * LENGTH + header.key.length + header.value.length);
            lines.bytes.reserve_exact(bytes.sum());
            for header in &headers {
                // SAFETY: Envoy filled the elements; those that it did not are empty.
                let (name, value) = unsafe { (header.key.as_slice(), header.value.as_slice()) };
                lines.push(name, value);
            }
        }
        HEADERS.set(headers);
        lines
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        // Envoy's own limit for all headers is below 8 MiB.
        let length = |text: &[u8]| u32::try_from(text.len());
        let (Ok(name_length), Ok(value_length)) = (length(name), length(value)) else { return };
        self.bytes.extend_from_slice(&name_length.to_ne_bytes());
        self.bytes.extend_from_slice(&value_length.to_ne_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
    }
}

impl HeaderLines for Lines {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        core::iter::from_fn(move || {
            let (name, after) = rest.split_first_chunk::<LENGTH>()?;
            let (value, after) = after.split_first_chunk::<LENGTH>()?;
            let (name, after) = after.split_at_checked(u32::from_ne_bytes(*name) as usize)?;
            let (value, after) = after.split_at_checked(u32::from_ne_bytes(*value) as usize)?;
            rest = after;
            Some((name, value))
        })
    }
}

pub(crate) const fn header_map(of: HeadersOf) -> u32 {
    match of {
        HeadersOf::Request => abi::REQUEST_HEADERS,
        HeadersOf::Response => abi::RESPONSE_HEADERS,
        HeadersOf::Trailers => abi::RESPONSE_TRAILERS,
    }
}

//! Bytes and header lines of Envoy, as slices and as copies.

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
    text: Vec<u8>,
    /// The lengths of name and value of each line.
    lengths: Vec<(usize, usize)>,
}

impl Lines {
    /// Copies lines, of which there are at most `size`.
    ///
    /// # Safety
    ///
    /// `fill` writes lines to the start of an array of `size` elements, or returns false. Their bytes are readable
    /// until this function returns.
    pub(crate) unsafe fn copy(size: usize, fill: impl FnOnce(*mut EnvoyHeader) -> bool) -> Self {
        let mut headers = vec![EnvoyHeader::EMPTY; size];
        if size == 0 || !fill(headers.as_mut_ptr()) {
            return Self::default();
        }
        // SAFETY: Envoy filled the elements; those that it did not are empty.
        let slices = headers.iter().map(|header| unsafe { (header.key.as_slice(), header.value.as_slice()) });
        let bytes = slices.clone().map(|(name, value)| name.len() + value.len()).sum();
        let mut lines = Self { text: Vec::with_capacity(bytes), lengths: Vec::with_capacity(size) };
        for (name, value) in slices {
            lines.text.extend_from_slice(name);
            lines.text.extend_from_slice(value);
            lines.lengths.push((name.len(), value.len()));
        }
        lines
    }
}

impl HeaderLines for Lines {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.text.as_slice();
        self.lengths.iter().map_while(move |(name, value)| {
            let (name, after) = rest.split_at_checked(*name)?;
            let (value, after) = after.split_at_checked(*value)?;
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

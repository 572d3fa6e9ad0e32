//! Compression of bodies on disk: LZ4, if it makes the body smaller.
//!
//! Names and attributes of spans repeat, so a body shrinks to a fraction. Writing the rest to the WAL and then to the
//! file would cost more than compressing it.

use bytes::Bytes;

use super::schema::PAGE_BYTES;

/// Shorter bodies share a page with others and are stored as they are.
const MIN_BYTES: usize = 1024;

/// A body as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compressed {
    pub(super) bytes: Bytes,
    /// The length of the body if it is compressed, else 0.
    pub(super) unpacked_len: u32,
}

impl Compressed {
    /// Compresses a body, unless that saves less than an eighth of it.
    pub(super) fn new(body: Bytes) -> Self {
        match u32::try_from(body.len()) {
            Ok(unpacked_len) if body.len() >= MIN_BYTES => {
                let compressed = lz4_flex::block::compress(&body);
                if compressed.len() < body.len() - body.len() / 8 {
                    return Self { bytes: Bytes::from(compressed), unpacked_len };
                }
                Self::none(body)
            }
            _ => Self::none(body),
        }
    }

    /// Returns the body as it is.
    pub(super) const fn none(body: Bytes) -> Self {
        Self { bytes: body, unpacked_len: 0 }
    }

    /// Estimates the bytes that the body takes in the WAL: whole pages, unless it shares one.
    pub(super) fn wal_bytes(&self) -> u64 {
        let bytes = self.bytes.len() as u64;
        if bytes < PAGE_BYTES / 4 { bytes } else { (bytes / PAGE_BYTES + 2) * PAGE_BYTES }
    }
}

/// Returns the body. Corrupt bytes are returned as they are: the sinks reject them.
pub(super) fn decompress(bytes: Vec<u8>, unpacked_len: u32) -> Bytes {
    let body = match unpacked_len {
        0 => None,
        length => lz4_flex::block::decompress(&bytes, length as usize).ok(),
    };
    body.map_or_else(|| Bytes::from(bytes), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_body_is_decompressed() {
        let noise: Vec<u8> = (0..5000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (body, is_compressed) in [
            (vec![], false),
            (vec![7; MIN_BYTES - 1], false),
            (vec![7; MIN_BYTES], true),
            (b"GET /orders".repeat(100_000), true),
            (noise, false),
        ] {
            let stored = Compressed::new(Bytes::from(body.clone()));
            assert_eq!(
                (stored.unpacked_len > 0, stored.bytes.len() < body.len()),
                (is_compressed, is_compressed)
            );
            assert_eq!(decompress(stored.bytes.to_vec(), stored.unpacked_len), body);
        }
    }

    #[test]
    fn corrupt_bytes_are_returned_unchanged() {
        let stored = Compressed::new(Bytes::from(vec![7; 5000]));
        for (bytes, length) in [(&stored.bytes[..5], 5000), (b"", 5000), (&stored.bytes[..], 10)] {
            assert_eq!(decompress(bytes.to_vec(), length), bytes);
        }
    }
}

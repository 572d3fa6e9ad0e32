//! Bodies as they lie on disk: with LZ4 where that makes them smaller.
//!
//! The names and attributes of spans repeat, so that a body shrinks to a fraction, and to write the rest to the log and
//! then to the file costs more than to pack it.

use bytes::Bytes;

use super::schema::PAGE_BYTES;

/// Shorter bodies fit in a page with others, and are kept as they are.
const SHORTEST: usize = 1024;

/// Packing more than this would hold up the other requests of a thread.
const AT_ONCE_BYTES: usize = 256 << 10;

/// A body as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compressed {
    pub(super) bytes: Bytes,
    /// The length of the body if it is packed, else 0.
    pub(super) unpacked_len: u32,
}

impl Compressed {
    /// Packs a body, unless it gains less than an eighth by that.
    pub(super) async fn new(body: Bytes) -> Self {
        if body.len() <= AT_ONCE_BYTES {
            return Self::pack(body);
        }
        let copy = body.clone();
        // Without the thread the body is kept as it is.
        let packed = tokio::task::spawn_blocking(move || Self::pack(copy)).await;
        packed.unwrap_or(Self { bytes: body, unpacked_len: 0 })
    }

    /// About what it takes in the log: whole pages, unless it shares one.
    pub(super) fn log_bytes(&self) -> u64 {
        let bytes = self.bytes.len() as u64;
        if bytes < PAGE_BYTES / 4 { bytes } else { (bytes / PAGE_BYTES + 2) * PAGE_BYTES }
    }

    fn pack(body: Bytes) -> Self {
        match u32::try_from(body.len()) {
            Ok(unpacked_len) if body.len() >= SHORTEST => {
                let packed = lz4_flex::block::compress(&body);
                if packed.len() < body.len() - body.len() / 8 {
                    return Self { bytes: Bytes::from(packed), unpacked_len };
                }
                Self { bytes: body, unpacked_len: 0 }
            }
            _ => Self { bytes: body, unpacked_len: 0 },
        }
    }
}

/// The body; what cannot be unpacked is given as it is, and no sink will take it.
pub(super) fn unpack(bytes: Vec<u8>, unpacked_len: u32) -> Bytes {
    let unpacked = match unpacked_len {
        0 => None,
        length => lz4_flex::block::decompress(&bytes, length as usize).ok(),
    };
    unpacked.map_or_else(|| Bytes::from(bytes), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_packed_is_unpacked() {
        let noise: Vec<u8> = (0..5000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (body, is_packed) in [
            (vec![], false),
            (vec![7; SHORTEST - 1], false),
            (vec![7; SHORTEST], true),
            (b"GET /orders".repeat(100_000), true),
            (noise, false),
        ] {
            let packed = Compressed::new(Bytes::from(body.clone())).await;
            assert_eq!((packed.unpacked_len > 0, packed.bytes.len() < body.len()), (is_packed, is_packed));
            assert_eq!(unpack(packed.bytes.to_vec(), packed.unpacked_len), body);
        }
    }

    #[test]
    fn what_is_damaged_is_given_as_it_is() {
        let packed = Compressed::pack(Bytes::from(vec![7; 5000]));
        for (bytes, length) in [(&packed.bytes[..5], 5000), (b"", 5000), (&packed.bytes[..], 10)] {
            assert_eq!(unpack(bytes.to_vec(), length), bytes);
        }
    }
}

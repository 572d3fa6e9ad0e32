//! Decompressing gzip: a series of members, each with its own checksum and length (RFC 1952, section 2.2).
//!
//! Zeros after the last member are padding, as for gzip(1). Any other bytes are an error, because they can be a member
//! whose beginning was lost.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::body::{BufferedBody, spawn_if_large};
use super::error::RequestError;
use super::limits::MAX_BODY_BYTES;

/// The memory for decompressing beside the two bodies: the state of the decoder and its window.
const DECODER_BYTES: usize = 96 << 10;

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// The decompressed bytes that are handled at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// A stated length of more than this many times the compressed length is not trusted.
const MAX_TRUSTED_RATIO: usize = 32;

/// Decompresses a gzip body. The compressed bytes keep their permit until then.
///
/// The length that a body states is tried first. If it has more than one member, or states a wrong length, its members
/// are decompressed once more, to count the bytes before memory is taken for them.
pub(super) async fn decompress(mut body: BufferedBody) -> Result<BufferedBody, RequestError> {
    let held = body.permit.bytes() + DECODER_BYTES;
    body.permit.grow_to(held).await?;
    if let Some(length) = stated_length(&body.bytes) {
        body.permit.grow_to(held + length).await?;
        let decompressed;
        (body, decompressed) = decompress_to(body, length).await?;
        if let Some(bytes) = decompressed {
            return body.replaced_by(bytes);
        }
        body.permit.shrink_to(held);
    }
    let (mut body, length) = spawn_if_large(body.bytes.len(), move || {
        let length = measure(&body.bytes)?;
        Ok((body, length))
    })
    .await?;
    body.permit.grow_to(held + length).await?;
    let (body, decompressed) = decompress_to(body, length).await?;
    body.replaced_by(decompressed.ok_or(RequestError::DecompressedTooLong)?)
}

/// Decompresses a body, unless it has more than `length` bytes. The permit goes along, because the work continues if
/// the request is cancelled.
async fn decompress_to(
    body: BufferedBody,
    length: usize,
) -> Result<(BufferedBody, Option<Vec<u8>>), RequestError> {
    spawn_if_large(length.max(body.bytes.len()), move || {
        let decompressed = decompress_members(&body.bytes, length)?;
        Ok((body, decompressed))
    })
    .await
}

/// Returns the length in the last four bytes, which is the decompressed length if there is one member and nothing
/// behind it. The client can write any length there, so a very large one is not returned.
fn stated_length(wire: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(*wire.last_chunk::<4>()?)).ok()?;
    (length <= MAX_BODY_BYTES && length <= MAX_TRUSTED_RATIO * wire.len()).then_some(length)
}

/// Decompresses all members. Returns `None` if they have more than this many bytes, and then has taken no more memory.
fn decompress_members(wire: &[u8], max_bytes: usize) -> Result<Option<Vec<u8>>, RequestError> {
    let mut body = Vec::with_capacity(max_bytes);
    let is_whole = read_members(wire, |chunk| {
        let fits = body.len() + chunk.len() <= max_bytes;
        if fits {
            body.extend_from_slice(chunk);
        }
        fits
    })?;
    Ok(is_whole.then_some(body))
}

/// Returns the decompressed length of all members, by decompressing them and keeping nothing.
fn measure(wire: &[u8]) -> Result<usize, RequestError> {
    let mut bytes = 0;
    let is_whole = read_members(wire, |chunk| {
        bytes += chunk.len();
        bytes <= MAX_BODY_BYTES
    })?;
    if is_whole { Ok(bytes) } else { Err(RequestError::DecompressedTooLong) }
}

/// Decompresses the members in chunks, until the end or until `take` returns false. Returns true at the end.
fn read_members(wire: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Result<bool, RequestError> {
    let mut chunk = [0; CHUNK_BYTES];
    // One decoder reads all members: a new one for each would make many small members expensive.
    let mut decoder = GzDecoder::new(wire);
    loop {
        loop {
            let read = decoder.read(&mut chunk).map_err(|error| gzip_error(&error))?;
            if read == 0 {
                break;
            }
            if !take(chunk.get(..read).unwrap_or_default()) {
                return Ok(false);
            }
        }
        let rest = *decoder.get_ref();
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        if !rest.starts_with(MAGIC) {
            let error = format!("the last member is followed by {} bytes that are not gzip", rest.len());
            return Err(RequestError::Gzip(error));
        }
        decoder.reset(rest);
    }
}

fn gzip_error(error: &io::Error) -> RequestError {
    RequestError::Gzip(match error.kind() {
        io::ErrorKind::UnexpectedEof => "the end is missing".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::body::read;
    use crate::receive::budget::Budget;
    use crate::receive::limits::MAX_WIRE_BYTES;
    use axum::body::Body;
    use bytes::Bytes;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::time::Duration;

    /// Work on this many bytes runs on another thread.
    const MANY_BYTES: usize = 1 << 20;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read_gzip(wire: Vec<u8>) -> Result<Bytes, RequestError> {
        let budget = Budget::default();
        let compressed = read(&budget, Body::from(wire)).await?;
        decompress(compressed).await.map(|body| body.bytes)
    }

    #[tokio::test]
    async fn gzip_is_decompressed() {
        assert_eq!(read_gzip(gzip(b"spans")).await.unwrap(), "spans");
        assert_eq!(read_gzip(gzip(b"")).await.unwrap(), "");
        let long = vec![7; MANY_BYTES];
        assert_eq!(read_gzip(gzip(&long)).await.unwrap(), long, "on another thread");
    }

    #[tokio::test]
    async fn a_decompression_bomb_is_rejected_before_it_is_decompressed() {
        let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read_gzip(bomb).await, Err(RequestError::DecompressedTooLong));
    }

    #[tokio::test]
    async fn all_members_of_gzip_are_decompressed() {
        let (long, empty) = (vec![7; MANY_BYTES], gzip(b""));
        for (members, expected) in [
            (vec![gzip(b"one "), gzip(b"two")], &b"one two"[..]),
            (vec![gzip(b"one"), empty.clone()], b"one"),
            (vec![empty.clone(), gzip(b"one"), empty.clone(), gzip(b" two")], b"one two"),
            (vec![gzip(b"one"), vec![0; 1000]], b"one"),
            (vec![empty.clone(), vec![0; 3]], b""),
            (vec![gzip(&long), gzip(b"")], &long),
            (vec![gzip(&long[1..]), gzip(&long[..1])], &long),
            (vec![empty.repeat(100_000), gzip(b"x")], b"x"),
        ] {
            assert_eq!(read_gzip(members.concat()).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn invalid_gzip_is_rejected_with_the_reason() {
        let with_trailer = |at: usize, value: u32| {
            let mut body = gzip(&vec![b'a'; 1 << 20]);
            let at = body.len() - at;
            body[at..at + 4].copy_from_slice(&value.to_le_bytes());
            body
        };
        let checksum = "corrupt gzip stream does not have a matching checksum";
        let one = gzip(b"one");
        for (wire, expected) in [
            (b"".to_vec(), "the end is missing"),
            (b"abc".to_vec(), "the end is missing"),
            (b"not gzip at all".to_vec(), "invalid gzip header"),
            (one[..12].to_vec(), "the end is missing"),
            (one[..one.len() - 1].to_vec(), "the end is missing"),
            ([&one[..], &one[..12]].concat(), "the end is missing"),
            ([&one[..], &one[..one.len() - 1]].concat(), "the end is missing"),
            ([&one[..], b"tail"].concat(), "the last member is followed by 4 bytes that are not gzip"),
            ([&one[..], b"\0\0\0tail"].concat(), "the last member is followed by 7 bytes that are not gzip"),
            ([&one[..], &[0xff; 9]].concat(), "the last member is followed by 9 bytes that are not gzip"),
            // The checksum, and a length that is too small and too large.
            (with_trailer(8, 1), checksum),
            (with_trailer(4, 10), checksum),
            (with_trailer(4, (1 << 20) + 1), checksum),
            (with_trailer(4, u32::MAX), checksum),
            ([with_trailer(8, 1), one.clone()].concat(), checksum),
        ] {
            let start = wire.get(..20).unwrap_or(&wire).to_vec();
            assert_eq!(
                read_gzip(wire).await,
                Err(RequestError::Gzip(expected.to_owned())),
                "{}",
                start.escape_ascii()
            );
        }
    }

    /// The client can write any length into the trailer.
    #[tokio::test]
    async fn a_stated_length_takes_no_memory_from_others() {
        let budget = Budget::default();
        let whole = budget.acquire_body(usize::MAX).await.unwrap().bytes();
        let mut wire = gzip(b"one");
        let trailer = wire.len() - 4;
        wire[trailer..].copy_from_slice(&(16u32 << 20).to_le_bytes());
        let compressed = read(&budget, Body::from(wire)).await.unwrap();
        let rest = budget.acquire_body(whole - compressed.permit.bytes() - DECODER_BYTES).await.unwrap();
        let result = tokio::time::timeout(Duration::from_secs(1), decompress(compressed)).await.unwrap();
        assert!(matches!(result, Err(RequestError::Gzip(_))));
        drop(rest);
    }

    #[tokio::test]
    async fn the_sum_of_all_members_is_limited() {
        let members = |each: usize, count: usize| gzip(&vec![0; each]).repeat(count);
        let max = MAX_BODY_BYTES;
        assert_eq!(read_gzip(members(max / 4, 4)).await.unwrap().len(), max);
        for wire in [members(max / 4, 5), members(max / 2 + 1, 2), [members(max, 1), gzip(b"x")].concat()] {
            assert_eq!(read_gzip(wire).await, Err(RequestError::DecompressedTooLong));
        }
    }

    #[tokio::test]
    async fn many_empty_members_take_little_time() {
        let wire = gzip(b"").repeat(MAX_WIRE_BYTES / 20);
        let start = std::time::Instant::now();
        assert_eq!(read_gzip(wire).await.unwrap(), "");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_gzip_body_keeps_its_permit_while_it_waits_for_more() {
        let budget = Budget::default();
        let whole = budget.acquire_body(usize::MAX).await.unwrap().bytes();
        let compressed = read(&budget, Body::from(gzip(&vec![7; 1 << 20]))).await.unwrap();
        let held = compressed.permit.bytes();
        let rest = budget.acquire_body(whole - held).await.unwrap();
        let waiting = tokio::spawn(decompress(compressed));
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(rest);
        let body = waiting.await.unwrap().unwrap();
        assert_eq!(body.permit.bytes(), 1 << 20);
        drop(budget.acquire_body(whole - (1 << 20)).await.unwrap());
    }
}

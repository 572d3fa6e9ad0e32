//! From the wire to the bytes of the message: bounded in size, time and memory, and unpacked.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;

use super::limits::{BODY_TIMEOUT, Budget, MAX_BODY_BYTES, MAX_WIRE_BYTES, Permit};
use super::status::Refusal;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::None);
        };
        let value = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match value.as_str() {
            "" | "identity" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            _ => Err(Refusal::ContentEncoding(value)),
        }
    }
}

/// Reads and unpacks a body; the permit stands for the memory that it takes.
pub(super) async fn read(
    budget: &Budget,
    packing: Packing,
    body: Body,
) -> Result<(Bytes, Permit<'_>), Refusal> {
    let hint = body.size_hint();
    if hint.lower() > MAX_WIRE_BYTES as u64 {
        drain(body).await;
        return Err(Refusal::TooLong);
    }
    let expected = hint.exact().map_or(MAX_WIRE_BYTES, |bytes| bytes as usize);
    let permit = budget.take(expected).await?;
    let wire = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_WIRE_BYTES)).await {
        Err(_) => return Err(Refusal::Timeout),
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => return Err(broken_off(&error)),
    };
    match packing {
        Packing::None => Ok((wire, permit)),
        Packing::Gzip => {
            let length = unpacked_length(&wire)?;
            // What the packed form holds is given back first: two that wait for each other would never get on.
            drop(permit);
            let permit = budget.take(length).await?;
            Ok((unpack(&wire, length)?, permit))
        }
    }
}

/// Takes the rest of a refused body in, within bounds: a client that is still sending does not read the answer, and
/// would see no more of it than a broken connection.
async fn drain(mut body: Body) {
    const MOST: usize = 2 * MAX_WIRE_BYTES;
    const LONGEST: Duration = Duration::from_secs(2);
    let take_in = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > MOST {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LONGEST, take_in).await;
}

fn broken_off(error: &axum::Error) -> Refusal {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        // The one way to tell the limit of `to_bytes` from a broken connection.
        if error.to_string().contains("length limit exceeded") {
            return Refusal::TooLong;
        }
        cause = error.source();
    }
    Refusal::Aborted(error.to_string())
}

/// The length that a gzip member says it has, in its last four bytes.
fn unpacked_length(wire: &[u8]) -> Result<usize, Refusal> {
    if !wire.starts_with(&[0x1f, 0x8b]) {
        return Err(Refusal::Gzip("it does not begin like gzip".to_owned()));
    }
    let trailer = wire.last_chunk::<4>().ok_or_else(|| Refusal::Gzip("it is too short".to_owned()))?;
    let length = u32::from_le_bytes(*trailer) as usize;
    if length > MAX_BODY_BYTES { Err(Refusal::TooLongUnpacked) } else { Ok(length) }
}

/// Unpacks exactly this many bytes: a body that is longer than it says takes no more memory than it said.
fn unpack(wire: &[u8], length: usize) -> Result<Bytes, Refusal> {
    let mut body = Vec::with_capacity(length + 1);
    let mut reader = GzDecoder::new(wire).take(length as u64 + 1);
    reader.read_to_end(&mut body).map_err(|error| Refusal::Gzip(error.to_string()))?;
    if body.len() != length {
        return Err(Refusal::Gzip("it does not have the length that it says".to_owned()));
    }
    Ok(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read_gzip(wire: Vec<u8>) -> Result<Bytes, Refusal> {
        read(&Budget::default(), Packing::Gzip, Body::from(wire)).await.map(|(bytes, _)| bytes)
    }

    #[tokio::test]
    async fn gzip_is_unpacked() {
        assert_eq!(read_gzip(gzip(b"spans")).await.unwrap(), "spans");
        assert_eq!(read_gzip(gzip(b"")).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read_gzip(bomb).await, Err(Refusal::TooLongUnpacked));
    }

    #[tokio::test]
    async fn a_gzip_that_lies_about_its_length_is_refused() {
        let mut lie = gzip(&vec![0; 1 << 20]);
        let trailer = lie.len() - 4;
        lie[trailer..].copy_from_slice(&10u32.to_le_bytes());
        assert!(matches!(read_gzip(lie).await, Err(Refusal::Gzip(_))));
        for broken in [&b""[..], b"abc", b"not gzip at all", &gzip(b"spans")[..12]] {
            let refusal = read_gzip(broken.to_vec()).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Gzip(_) | Refusal::TooLongUnpacked), "{refusal:?}");
        }
    }

    #[tokio::test]
    async fn a_long_body_is_refused_with_and_without_a_length() {
        let budget = Budget::default();
        let long = vec![0; MAX_WIRE_BYTES + 1];
        let refusal = read(&budget, Packing::None, Body::from(long.clone())).await.unwrap_err();
        assert_eq!(refusal, Refusal::TooLong);
        assert_eq!(
            broken_off(&to_bytes(Body::from(long), MAX_WIRE_BYTES).await.unwrap_err()),
            Refusal::TooLong
        );
    }

    #[test]
    fn other_encodings_are_refused() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            Packing::of(&headers)
        };
        assert_eq!(Packing::of(&HeaderMap::new()), Ok(Packing::None));
        assert_eq!(of("identity"), Ok(Packing::None));
        assert_eq!(of("GZIP"), Ok(Packing::Gzip));
        assert_eq!(of("zstd"), Err(Refusal::ContentEncoding("zstd".to_owned())));
        assert_eq!(of("gzip, gzip"), Err(Refusal::ContentEncoding("gzip, gzip".to_owned())));
    }
}

//! From the wire to the bytes of the message: bounded in size, time and memory, and unpacked.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::AsHeaderName;
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body_util::BodyExt;

use super::budget::{BODY_TIMEOUT, Budget, MAX_BODY_BYTES, MAX_WIRE_BYTES, Permit};
use super::error::RequestError;

/// A body in memory, with the permit that stands for what it takes.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) permit: Permit,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    /// What this header says.
    pub(super) fn of(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Self, RequestError> {
        let Some(value) = headers.get(name) else {
            return Ok(Self::None);
        };
        let value = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match value.as_str() {
            "" | "identity" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            _ => Err(RequestError::ContentEncoding(value)),
        }
    }
}

/// Work on fewer bytes than this is done at once; more of it would hold up the other requests of the thread.
const AT_ONCE_BYTES: usize = 256 << 10;

/// What is taken from the budget for a body that does not say how long it is, to begin with.
const FIRST_BYTES: usize = 64 << 10;

/// Reads a body as it is on the wire.
pub(super) async fn read(budget: &Budget, body: Body) -> Result<Held, RequestError> {
    let hint = body.size_hint();
    if hint.lower() > MAX_WIRE_BYTES as u64 {
        drain(body).await;
        return Err(RequestError::TooLong);
    }
    let expected = hint.exact().and_then(|bytes| usize::try_from(bytes).ok());
    let permit = budget.take(expected.unwrap_or(FIRST_BYTES)).await?;
    match tokio::time::timeout(BODY_TIMEOUT, collect(budget, body, expected, permit)).await {
        Ok(result) => result,
        Err(_) => Err(RequestError::Timeout),
    }
}

async fn collect(
    budget: &Budget,
    mut body: Body,
    expected: Option<usize>,
    mut permit: Permit,
) -> Result<Held, RequestError> {
    let mut held = expected.unwrap_or(FIRST_BYTES);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| RequestError::Aborted(error.to_string()))?.into_data() else {
            continue;
        };
        if bytes.is_empty() && expected == Some(data.len()) {
            return Ok(Held { bytes: data, permit });
        }
        let length = bytes.len() + data.len();
        if length > MAX_WIRE_BYTES {
            drain(body).await;
            return Err(RequestError::TooLong);
        }
        if length > held {
            let more = held.max(length - held);
            permit.merge(budget.take(more).await?);
            held += more;
        }
        if bytes.capacity() < length {
            bytes.reserve(held - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.freeze(), permit })
}

/// Unpacks what is packed with gzip.
pub(super) async fn unpack(budget: &Budget, packed: Held) -> Result<Held, RequestError> {
    let length = unpacked_length(&packed.bytes)?;
    // What the packed form holds is given back first: two that wait for each other would never get on.
    let Held { bytes, permit } = packed;
    drop(permit);
    let permit = budget.take(length).await?;
    blocking(length, move || Ok(Held { bytes: gunzip(&bytes, length)?, permit })).await
}

/// Does work on so many bytes, on a thread of its own if they are many.
pub(super) async fn blocking<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    if bytes < AT_ONCE_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime is going away.
        Err(_) => Err(RequestError::Closing),
    }
}

/// Takes the rest of a refused body in, within bounds: a client that is still sending does not read the answer, and
/// would see no more of it than a broken connection.
pub(super) async fn drain(mut body: Body) {
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

/// The length that a gzip member says it has, in its last four bytes.
fn unpacked_length(wire: &[u8]) -> Result<usize, RequestError> {
    if !wire.starts_with(&[0x1f, 0x8b]) {
        return Err(RequestError::Gzip("it does not begin like gzip".to_owned()));
    }
    let trailer = wire.last_chunk::<4>().ok_or_else(|| RequestError::Gzip("it is too short".to_owned()))?;
    let length = u32::from_le_bytes(*trailer) as usize;
    if length > MAX_BODY_BYTES { Err(RequestError::TooLongUnpacked) } else { Ok(length) }
}

/// Unpacks exactly this many bytes: a body that is longer than it says takes no more memory than it said.
fn gunzip(wire: &[u8], length: usize) -> Result<Bytes, RequestError> {
    let mut body = Vec::with_capacity(length + 1);
    let mut reader = GzDecoder::new(wire).take(length as u64 + 1);
    reader.read_to_end(&mut body).map_err(|error| RequestError::Gzip(error.to_string()))?;
    if body.len() != length {
        return Err(RequestError::Gzip("it does not have the length that it says".to_owned()));
    }
    Ok(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read_gzip(wire: Vec<u8>) -> Result<Bytes, RequestError> {
        let budget = Budget::default();
        let packed = read(&budget, Body::from(wire)).await?;
        unpack(&budget, packed).await.map(|held| held.bytes)
    }

    #[tokio::test]
    async fn gzip_is_unpacked() {
        assert_eq!(read_gzip(gzip(b"spans")).await.unwrap(), "spans");
        assert_eq!(read_gzip(gzip(b"")).await.unwrap(), "");
        let long = vec![7; 3 * AT_ONCE_BYTES];
        assert_eq!(read_gzip(gzip(&long)).await.unwrap(), long, "on another thread");
    }

    #[tokio::test]
    async fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read_gzip(bomb).await, Err(RequestError::TooLongUnpacked));
    }

    #[tokio::test]
    async fn a_gzip_that_lies_about_its_length_is_refused() {
        let mut lie = gzip(&vec![0; 1 << 20]);
        let trailer = lie.len() - 4;
        lie[trailer..].copy_from_slice(&10u32.to_le_bytes());
        assert!(matches!(read_gzip(lie).await, Err(RequestError::Gzip(_))));
        for broken in [&b""[..], b"abc", b"not gzip at all", &gzip(b"spans")[..12]] {
            let error = read_gzip(broken.to_vec()).await.unwrap_err();
            assert!(matches!(error, RequestError::Gzip(_) | RequestError::TooLongUnpacked), "{error:?}");
        }
    }

    /// A body in pieces, which does not say how long it is.
    fn slices(length: usize, size: usize) -> Body {
        let bytes = Bytes::from(vec![9; length]);
        let slices = (0..length).step_by(size).map(move |from| bytes.slice(from..length.min(from + size)));
        let frames = slices.map(|slice| Ok::<_, std::io::Error>(http_body::Frame::data(slice)));
        Body::new(http_body_util::StreamBody::new(Frames(frames)))
    }

    struct Frames<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
        type Item = I::Item;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }

    #[tokio::test]
    async fn a_long_body_is_refused_with_and_without_a_length() {
        let budget = Budget::default();
        let error = read(&budget, Body::from(vec![0; MAX_WIRE_BYTES + 1])).await.unwrap_err();
        assert_eq!(error, RequestError::TooLong);
        let error = read(&budget, slices(MAX_WIRE_BYTES + 1, 100_000)).await.unwrap_err();
        assert_eq!(error, RequestError::TooLong);
    }

    #[tokio::test]
    async fn a_body_in_pieces_holds_what_it_takes() {
        let budget = Budget::default();
        for (length, size) in [(0, 1), (10, 1), (FIRST_BYTES, 1000), (MAX_WIRE_BYTES, 70_000)] {
            let held = read(&budget, slices(length, size)).await.unwrap();
            assert_eq!(held.bytes, vec![9; length]);
            assert!(held.permit.num_permits() * 1024 >= length);
        }
    }

    #[test]
    fn other_encodings_are_refused() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            Packing::of(&headers, header::CONTENT_ENCODING)
        };
        assert_eq!(Packing::of(&HeaderMap::new(), "grpc-encoding"), Ok(Packing::None));
        assert_eq!(of("identity"), Ok(Packing::None));
        assert_eq!(of("GZIP"), Ok(Packing::Gzip));
        assert_eq!(of("zstd"), Err(RequestError::ContentEncoding("zstd".to_owned())));
        assert_eq!(of("gzip, gzip"), Err(RequestError::ContentEncoding("gzip, gzip".to_owned())));
    }
}

//! Reading the body of a request: bounded in size, time and memory ([`Budget`]), and decompressed.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::AsHeaderName;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;

use super::budget::Budget;
use super::error::RequestError;
use super::limits::{BODY_TIMEOUT, MAX_BODY_BYTES, MAX_WIRE_BYTES};
use super::memory::Permit;

/// A body in memory, with the permit for its size.
#[derive(Debug)]
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    pub(super) permit: Permit,
}

/// The compression of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Compression {
    /// Reads the header of this name.
    pub(super) fn from_header(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Self, RequestError> {
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

/// Work on fewer bytes runs on the current thread. More work would delay the other requests of that thread.
const MAX_INLINE_BYTES: usize = 256 << 10;

/// Reads a body without decompressing it.
pub(super) async fn read(budget: &Budget, body: Body) -> Result<BufferedBody, RequestError> {
    let hint = body.size_hint();
    if hint.lower() > MAX_WIRE_BYTES as u64 {
        drain(body).await;
        return Err(RequestError::TooLong);
    }
    let declared = hint.exact().and_then(|bytes| usize::try_from(bytes).ok());
    let max_bytes = declared.unwrap_or(MAX_WIRE_BYTES).min(MAX_WIRE_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, collect(budget.body(), body, max_bytes)).await {
        Ok(result) => result,
        Err(_) => Err(RequestError::Timeout),
    }
}

/// Collects the frames of a body. The buffer grows with the bytes that have arrived: a declared length takes no memory.
async fn collect(mut permit: Permit, mut body: Body, max_bytes: usize) -> Result<BufferedBody, RequestError> {
    let mut bytes = Vec::new();
    while let Some(frame) = permit.receive(body.frame()).await? {
        let Ok(data) = frame.map_err(|error| RequestError::Aborted(error.to_string()))?.into_data() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > max_bytes {
            drop((bytes, permit));
            drain(body).await;
            return Err(RequestError::TooLong);
        }
        if length > bytes.capacity() {
            let capacity = length.max(2 * bytes.capacity()).min(max_bytes);
            permit.grow_to(capacity).await?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        // A frame is copied, because it can be a small part of a large buffer.
        bytes.extend_from_slice(&data);
    }
    Ok(BufferedBody { bytes: bytes.into(), permit })
}

/// Decompresses a gzip body. The compressed bytes keep their permit until then.
pub(super) async fn decompress(compressed: BufferedBody) -> Result<BufferedBody, RequestError> {
    let BufferedBody { bytes, mut permit } = compressed;
    let length = decompressed_length(&bytes)?;
    permit.grow_to(permit.bytes() + length).await?;
    spawn_if_large(length, move || {
        let decompressed = gunzip(&bytes, length)?;
        drop(bytes);
        permit.shrink_to(length);
        Ok(BufferedBody { bytes: decompressed, permit })
    })
    .await
}

/// Runs work on this many bytes. Work on many bytes runs on a separate thread.
pub(super) async fn spawn_if_large<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    if bytes < MAX_INLINE_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime is shutting down.
        Err(_) => Err(RequestError::ShuttingDown),
    }
}

/// Reads and drops the rest of a rejected body, within limits. A client that is still sending does not read the
/// response, and would only see a closed connection.
pub(super) async fn drain(mut body: Body) {
    const MAX_BYTES: usize = 2 * MAX_WIRE_BYTES;
    const TIMEOUT: Duration = Duration::from_secs(2);
    let read_all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MAX_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, read_all).await;
}

/// Returns the decompressed length, which is in the last four bytes of a gzip member.
fn decompressed_length(wire: &[u8]) -> Result<usize, RequestError> {
    if !wire.starts_with(&[0x1f, 0x8b]) {
        return Err(RequestError::Gzip("the magic number is absent".to_owned()));
    }
    let trailer =
        wire.last_chunk::<4>().ok_or_else(|| RequestError::Gzip("the trailer is absent".to_owned()))?;
    let length = u32::from_le_bytes(*trailer) as usize;
    if length > MAX_BODY_BYTES { Err(RequestError::DecompressedTooLong) } else { Ok(length) }
}

/// Decompresses exactly this many bytes. A body that is longer than its trailer declares takes no more memory.
fn gunzip(wire: &[u8], length: usize) -> Result<Bytes, RequestError> {
    let mut body = Vec::with_capacity(length + 1);
    let mut reader = GzDecoder::new(wire).take(length as u64 + 1);
    reader.read_to_end(&mut body).map_err(|error| RequestError::Gzip(error.to_string()))?;
    if body.len() != length {
        return Err(RequestError::Gzip("the length differs from the trailer".to_owned()));
    }
    Ok(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;
    use flate2::write::GzEncoder;
    use std::io::Write;

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
        let long = vec![7; 3 * MAX_INLINE_BYTES];
        assert_eq!(read_gzip(gzip(&long)).await.unwrap(), long, "on another thread");
    }

    #[tokio::test]
    async fn a_decompression_bomb_is_rejected_before_it_is_decompressed() {
        let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read_gzip(bomb).await, Err(RequestError::DecompressedTooLong));
    }

    #[tokio::test]
    async fn gzip_with_a_wrong_length_is_rejected() {
        let mut wrong = gzip(&vec![0; 1 << 20]);
        let trailer = wrong.len() - 4;
        wrong[trailer..].copy_from_slice(&10u32.to_le_bytes());
        assert!(matches!(read_gzip(wrong).await, Err(RequestError::Gzip(_))));
        for invalid in [&b""[..], b"abc", b"not gzip at all", &gzip(b"spans")[..12]] {
            let error = read_gzip(invalid.to_vec()).await.unwrap_err();
            assert!(matches!(error, RequestError::Gzip(_) | RequestError::DecompressedTooLong), "{error:?}");
        }
    }

    /// Returns a body in frames of this size, without a declared length.
    fn framed(length: usize, size: usize) -> Body {
        let bytes = Bytes::from(vec![9; length]);
        let data = (0..length).step_by(size).map(move |from| bytes.slice(from..length.min(from + size)));
        let frames = data.map(|data| Ok::<_, std::io::Error>(http_body::Frame::data(data)));
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
    async fn a_too_long_body_is_rejected_with_and_without_a_declared_length() {
        let budget = Budget::default();
        let error = read(&budget, Body::from(vec![0; MAX_WIRE_BYTES + 1])).await.unwrap_err();
        assert_eq!(error, RequestError::TooLong);
        let error = read(&budget, framed(MAX_WIRE_BYTES + 1, 100_000)).await.unwrap_err();
        assert_eq!(error, RequestError::TooLong);
    }

    #[tokio::test]
    async fn a_body_in_frames_has_a_permit_for_its_size() {
        let budget = Budget::default();
        for (length, size) in [(0, 1), (10, 1), (64 << 10, 1000), (MAX_WIRE_BYTES, 70_000)] {
            let body = read(&budget, framed(length, size)).await.unwrap();
            assert_eq!(body.bytes, vec![9; length]);
            let permitted = body.permit.bytes();
            assert!((length..=2 * length).contains(&permitted), "{permitted} for {length}");
        }
    }

    #[tokio::test]
    async fn a_body_takes_memory_only_for_the_bytes_that_have_arrived() {
        let budget = Budget::default();
        let whole = budget.acquire_body(usize::MAX).await.unwrap().bytes();
        let announced = || Body::new(Announced { first: Some(Bytes::from_static(b"x")) });
        let silent: Vec<_> = (0..100)
            .map(|_| {
                let (permit, body) = (budget.body(), announced());
                tokio::spawn(collect(permit, body, MAX_WIRE_BYTES))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(budget.acquire_body(whole - 100).await.unwrap());
        silent.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// Promises the longest body, and sends one frame of it.
    struct Announced {
        first: Option<Bytes>,
    }

    impl HttpBody for Announced {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
            match self.first.take() {
                Some(bytes) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
                None => std::task::Poll::Pending,
            }
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(MAX_WIRE_BYTES as u64)
        }
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

    #[test]
    fn other_encodings_are_rejected() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            Compression::from_header(&headers, header::CONTENT_ENCODING)
        };
        assert_eq!(Compression::from_header(&HeaderMap::new(), "grpc-encoding"), Ok(Compression::None));
        assert_eq!(of("identity"), Ok(Compression::None));
        assert_eq!(of("GZIP"), Ok(Compression::Gzip));
        assert_eq!(of("zstd"), Err(RequestError::ContentEncoding("zstd".to_owned())));
        assert_eq!(of("gzip, gzip"), Err(RequestError::ContentEncoding("gzip, gzip".to_owned())));
    }
}

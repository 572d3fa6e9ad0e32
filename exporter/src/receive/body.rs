//! Reading the body of a request: bounded in size, time and memory ([`Budget`]), and decompressed.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::AsHeaderName;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::budget::Budget;
use super::error::RequestError;
use super::limits::{BODY_TIMEOUT, MAX_WIRE_BYTES};
use super::memory::Permit;

/// A body in memory, with the permit for its size.
#[derive(Debug)]
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    pub(super) permit: Permit,
}

impl BufferedBody {
    /// Releases the bytes, and adjusts the permit to those that replace them.
    pub(super) fn replaced_by(self, bytes: Vec<u8>) -> Result<Self, RequestError> {
        let Self { bytes: replaced, mut permit } = self;
        drop(replaced);
        permit.try_grow_to(bytes.len())?;
        permit.shrink_to(bytes.len());
        Ok(Self { bytes: bytes.into(), permit })
    }
}

/// The compression of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Compression {
    /// Reads the header of this name: a list of encodings, of which one can be a compression.
    pub(super) fn from_header(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Self, RequestError> {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let list = values.join(",").to_ascii_lowercase();
        let mut compressions =
            list.split(',').map(str::trim).filter(|encoding| !matches!(*encoding, "" | "identity"));
        match (compressions.next(), compressions.next()) {
            (None, _) => Ok(Self::None),
            // RFC 9110, section 8.4.1.3: the two names are equivalent.
            (Some("gzip" | "x-gzip"), None) => Ok(Self::Gzip),
            _ => Err(RequestError::ContentEncoding(list)),
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
            // The bytes may have to be copied.
            permit.grow_to(bytes.capacity() + capacity).await?;
            bytes.reserve_exact(capacity - bytes.len());
            permit.shrink_to(capacity);
        }
        // A frame is copied, because it can be a small part of a large buffer.
        bytes.extend_from_slice(&data);
    }
    Ok(BufferedBody { bytes: bytes.into(), permit })
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

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

    #[test]
    fn other_encodings_are_rejected() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            Compression::from_header(&headers, header::CONTENT_ENCODING)
        };
        assert_eq!(Compression::from_header(&HeaderMap::new(), "grpc-encoding"), Ok(Compression::None));
        for gzip in ["gzip", "GZIP", "x-gzip", "gzip, identity", "identity,Gzip,", " gzip\t"] {
            assert_eq!(of(gzip), Ok(Compression::Gzip), "{gzip}");
        }
        for identity in ["", "Identity", "identity, identity"] {
            assert_eq!(of(identity), Ok(Compression::None), "{identity}");
        }
        for other in ["zstd", "gzip, gzip", "deflate, gzip", "gzip;q=1", "br"] {
            assert_eq!(of(other), Err(RequestError::ContentEncoding(other.to_owned())));
        }
        let mut twice = HeaderMap::new();
        twice.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        twice.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        let error = Compression::from_header(&twice, header::CONTENT_ENCODING).unwrap_err();
        assert_eq!(error.message(), "content encoding \"gzip,gzip\" is not supported: send gzip or none");
    }
}

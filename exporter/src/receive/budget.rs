//! The limits of one request, and the memory limit of all requests together. `body.rs` acquires the memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::RequestError;
use crate::otlp::check::MAX_DECODED_BYTES;

/// The longest body on the wire.
pub(super) const MAX_WIRE_BYTES: usize = 8 << 20;

/// The longest body after decompression.
pub(super) const MAX_BODY_BYTES: usize = 16 << 20;

/// The largest size of all headers of a request together.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 10;

/// The longest time for a body to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory for all bodies that are being read or wait for their commit, in KiB.
const BODIES_KIB: usize = 32 << 10;

/// The memory for all requests that are being decoded, in KiB: JSON, and protobuf that cannot be stored unchanged.
const DECODING_KIB: usize = MAX_DECODED_BYTES >> 10;

/// How long a request waits for memory before it is rejected as [`RequestError::Busy`].
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The memory that all requests share.
///
/// Invariant: a body is read, decompressed and decoded only while a permit for its size is held. The permit of the body
/// is held until the commit. The permit for decoding is acquired after it and released before it, so a body and a
/// decoding cannot wait for each other.
///
/// Two exceptions: a body of unknown length acquires more while it holds its permit, and [`ACQUIRE_TIMEOUT`] ends that
/// wait. The compressed bytes of a body are not counted while it waits for the permit of its decompressed size.
#[derive(Debug)]
pub(super) struct Budget {
    bodies: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
}

/// A share of the budget. Dropping it releases the memory.
pub(super) type Permit = OwnedSemaphorePermit;

impl Default for Budget {
    fn default() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            decoding: Arc::new(Semaphore::new(DECODING_KIB)),
        }
    }
}

impl Budget {
    /// Waits until this many bytes are free for a body.
    pub(super) async fn acquire_body(&self, bytes: usize) -> Result<Permit, RequestError> {
        acquire(&self.bodies, bytes, BODIES_KIB).await
    }

    /// Waits until this many bytes are free to decode a body.
    pub(super) async fn acquire_decoding(&self, bytes: usize) -> Result<Permit, RequestError> {
        acquire(&self.decoding, bytes, DECODING_KIB).await
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, bytes: usize, all_kib: usize) -> Result<Permit, RequestError> {
    let kib = u32::try_from(bytes.div_ceil(1024).min(all_kib)).unwrap_or(u32::MAX);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, semaphore.clone().acquire_many_owned(kib)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(RequestError::Busy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::time::Instant;

    #[tokio::test]
    async fn a_request_that_waits_too_long_for_memory_is_rejected_as_busy() {
        let budget = Budget::default();
        let all = budget.acquire_body(usize::MAX).await.unwrap();
        let start = Instant::now();
        let error = budget.acquire_body(1).await.unwrap_err();
        assert!(start.elapsed() >= ACQUIRE_TIMEOUT);
        assert_eq!(error.codes().0, StatusCode::TOO_MANY_REQUESTS);
        assert!(error.is_transient());
        drop(all);
        drop(budget.acquire_body(1).await.unwrap());
    }
}

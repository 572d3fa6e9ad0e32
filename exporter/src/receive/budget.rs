//! What one request, and all of them together, may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::RequestError;
use crate::otlp::check::MAX_DECODED_BYTES;

/// The longest body on the wire.
pub(super) const MAX_WIRE_BYTES: usize = 8 << 20;

/// The longest body after decompression.
pub(super) const MAX_BODY_BYTES: usize = 16 << 20;

/// All header lines of a request together.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 10;

/// How long a body may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// All bodies that are in memory at one time, in KiB: those being read and those waiting for their commit.
const BODIES_KIB: usize = 32 << 10;

/// All requests that are being decoded at one time, in KiB: JSON, and protobuf that cannot be kept as it came.
const DECODED_KIB: usize = MAX_DECODED_BYTES >> 10;

/// How long a request waits for memory before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory that all requests share.
///
/// Invariant: a body is read, unpacked and decoded only under permits for its size; that of the body is held until the
/// commit. A permit to decode is taken after that of the body and given back before it, so that no two requests can
/// wait for each other.
#[derive(Debug)]
pub(super) struct Budget {
    bodies: Arc<Semaphore>,
    decoded: Arc<Semaphore>,
}

/// A part of the budget, given back when dropped.
pub(super) type Permit = OwnedSemaphorePermit;

impl Default for Budget {
    fn default() -> Self {
        Self { bodies: Arc::new(Semaphore::new(BODIES_KIB)), decoded: Arc::new(Semaphore::new(DECODED_KIB)) }
    }
}

impl Budget {
    /// Waits until this many bytes are free for a body.
    pub(super) async fn take(&self, bytes: usize) -> Result<Permit, RequestError> {
        take(&self.bodies, bytes, BODIES_KIB).await
    }

    /// Waits until this many bytes are free to decode a body.
    pub(super) async fn take_decoded(&self, bytes: usize) -> Result<Permit, RequestError> {
        take(&self.decoded, bytes, DECODED_KIB).await
    }
}

async fn take(semaphore: &Arc<Semaphore>, bytes: usize, all_kib: usize) -> Result<Permit, RequestError> {
    let kib = u32::try_from(bytes.div_ceil(1024).min(all_kib)).unwrap_or(u32::MAX);
    match tokio::time::timeout(PATIENCE, semaphore.clone().acquire_many_owned(kib)).await {
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
    async fn who_waits_for_memory_too_long_is_told_to_come_back() {
        let budget = Budget::default();
        let all = budget.take(usize::MAX).await.unwrap();
        let start = Instant::now();
        let error = budget.take(1).await.unwrap_err();
        assert!(start.elapsed() >= PATIENCE);
        assert_eq!(error.codes().0, StatusCode::TOO_MANY_REQUESTS);
        assert!(error.is_transient());
        drop(all);
        drop(budget.take(1).await.unwrap());
    }
}

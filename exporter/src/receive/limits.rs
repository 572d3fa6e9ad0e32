//! What one request, and all of them together, may take.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::status::Refusal;

/// The longest body on the wire.
pub(super) const MAX_WIRE_BYTES: usize = 8 << 20;

/// The longest body after decompression.
pub(super) const MAX_BODY_BYTES: usize = 32 << 20;

/// The largest request when decoded: its bytes, the elements of its lists and the allocations of its texts.
///
/// Two bytes on the wire can stand for an element of a hundred, so the length of a body alone bounds nothing.
pub(super) const MAX_DECODED_BYTES: usize = 64 << 20;

/// The most spans or log records in one request.
pub(super) const MAX_ITEMS: u32 = 50_000;

/// How long a body may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// All bodies that are in memory at one time, in KiB: those being read and those waiting for their commit.
const BUDGET_KIB: usize = 64 << 10;

/// How long a request waits for memory before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory that all requests share.
///
/// Invariant: a body is read and unpacked only under a permit for its size, and the permit is held until the commit.
#[derive(Debug)]
pub(super) struct Budget(Semaphore);

/// A part of the budget, given back when dropped.
pub(super) type Permit<'a> = SemaphorePermit<'a>;

impl Default for Budget {
    fn default() -> Self {
        Self(Semaphore::new(BUDGET_KIB))
    }
}

impl Budget {
    /// Waits until this many bytes are free.
    pub(super) async fn take(&self, bytes: usize) -> Result<Permit<'_>, Refusal> {
        let kib = u32::try_from(bytes.div_ceil(1024).min(BUDGET_KIB)).unwrap_or(u32::MAX);
        match tokio::time::timeout(PATIENCE, self.0.acquire_many(kib)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Refusal::Busy),
        }
    }
}

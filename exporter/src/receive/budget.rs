//! The memory limit of all requests together.

use super::error::RequestError;
use super::memory::{Memory, Permit};
use crate::listen::Connections;
use crate::otlp::check::MAX_DECODED_BYTES;

/// The memory for all bodies that are being read or wait for their commit.
const BODIES_BYTES: usize = 32 << 20;

/// The memory for all requests that are being decoded: JSON, and protobuf that cannot be stored unchanged.
const DECODING_BYTES: usize = MAX_DECODED_BYTES;

/// The memory that all requests share.
///
/// Invariant: a body is read, decompressed and decoded only while a permit for its size is held. The permit of the body
/// grows with the bytes that have arrived, and is held until the commit. The permit for decoding is acquired after it
/// and released before it, so a body and a decoding cannot wait for each other. [`Memory`] resolves bodies that wait for
/// each other.
#[derive(Debug)]
pub(super) struct Budget {
    bodies: Memory,
    decoding: Memory,
}

impl Budget {
    /// The connections of the requests give way if they and the bodies exceed their limit together.
    pub(super) fn new(connections: Option<Connections>) -> Self {
        let bodies = Memory::new(BODIES_BYTES, connections.clone());
        Self { bodies, decoding: Memory::new(DECODING_BYTES, connections) }
    }

    /// Returns the permit of a body of which nothing has arrived.
    pub(super) fn body(&self) -> Permit {
        self.bodies.permit()
    }

    /// Waits until this many bytes are free to decode a body.
    pub(super) async fn acquire_decoding(&self, bytes: usize) -> Result<Permit, RequestError> {
        if bytes > DECODING_BYTES {
            return Err(RequestError::TooLargeDecoded);
        }
        let mut permit = self.decoding.permit();
        permit.grow_to(bytes).await?;
        Ok(permit)
    }
}

#[cfg(test)]
impl Default for Budget {
    fn default() -> Self {
        Self::new(None)
    }
}

#[cfg(test)]
impl Budget {
    /// Waits until this many bytes are free for a body.
    pub(super) async fn acquire_body(&self, bytes: usize) -> Result<Permit, RequestError> {
        let mut permit = self.body();
        permit.grow_to(bytes.min(BODIES_BYTES)).await?;
        Ok(permit)
    }
}

//! The limits of one request.

use std::time::Duration;

/// The longest body on the wire.
pub(super) const MAX_WIRE_BYTES: usize = 8 << 20;

/// The longest body after decompression.
pub(super) const MAX_BODY_BYTES: usize = 16 << 20;

/// The largest size of all headers of a request together.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 10;

/// The longest time for a body to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

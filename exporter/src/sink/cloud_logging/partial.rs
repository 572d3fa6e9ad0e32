//! The entries of a call that Cloud Logging has not written
//! (<https://cloud.google.com/logging/docs/reference/v2/rpc/google.logging.v2#writelogentriespartialerrors>).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::deliver::{Chunk, DeliveryError, Denied};
use crate::truncate::truncate;

/// The length to which the message of an error is truncated.
const MAX_REASON_BYTES: usize = 500;

#[derive(Deserialize)]
struct Body {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    details: Vec<Detail>,
}

/// A detail of `google.rpc.Status`. Only `WriteLogEntriesPartialErrors` is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    log_entry_errors: BTreeMap<u32, EntryError>,
}

/// A `google.rpc.Status`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct EntryError {
    #[serde(default)]
    code: i32,
    #[serde(default)]
    message: String,
}

/// Returns the items whose entries were not written, by error. None if the response does not name entries: then all or none
/// were written.
pub(super) fn errors(body: &[u8], chunk: &Chunk) -> Vec<(DeliveryError, Chunk)> {
    let Ok(Body { error }) = serde_json::from_slice(body) else { return Vec::new() };
    let errors: BTreeMap<u32, EntryError> =
        error.details.into_iter().flat_map(|detail| detail.log_entry_errors).collect();
    // The entries are in the order of the items.
    let chunks = chunk.by_index(|index| errors.get(&index).cloned());
    chunks.into_iter().map(|(error, chunk)| (error.meaning(), chunk)).collect()
}

impl EntryError {
    /// Returns the meaning of an error by its code, a `google.rpc.Code`.
    fn meaning(self) -> DeliveryError {
        let reason = format!("gRPC code {}: {}", self.code, truncate(&self.message, MAX_REASON_BYTES));
        let retry_after = None;
        match self.code {
            // Cancelled, deadline exceeded, resource exhausted, aborted, unavailable.
            1 | 4 | 8 | 10 | 14 => DeliveryError::Unavailable { reason, retry_after },
            // Unknown, internal.
            2 | 13 => DeliveryError::Failed { reason, retry_after },
            // Not found, permission denied.
            5 | 7 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Resource },
            16 => DeliveryError::AccessDenied { reason, retry_after, denied: Denied::Token },
            // No smaller part of the entries is accepted either.
            _ => DeliveryError::Undeliverable { reason },
        }
    }
}

//! The insert id of an entry. Of the entries of a project with the same time and the same insert id, Cloud Logging stores
//! one.

use std::collections::HashMap;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use sha2::{Digest, Sha256};

use super::super::json_body::Shared;

/// The insert ids of one call.
#[derive(Debug, Default)]
pub(super) struct InsertIds {
    /// How often each record is in the call. Records that are equal in all fields are different lines.
    seen: HashMap<[u8; 16], u32>,
}

impl InsertIds {
    /// Returns an id that depends only on the record, its scope and its resource.
    pub(super) fn of(&mut self, shared: &Shared, record: &LogRecord) -> String {
        let mut hash = Sha256::new();
        let resource = shared.resource.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        let scope = shared.scope.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        for part in [resource, scope, record.encode_to_vec()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize().first_chunk().copied().unwrap_or_default();
        let before = self.seen.entry(digest).or_default();
        let id = if *before == 0 { hex::encode(digest) } else { format!("{}-{before}", hex::encode(digest)) };
        *before += 1;
        id
    }
}

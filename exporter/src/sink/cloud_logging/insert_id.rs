//! The insert ids of the entries of a call. Of the entries of a project with the same time and the same insert id, Cloud
//! Logging stores one.
//!
//! An id is a hash of the record, its scope and its resource, as they are in the outbox. Records of one batch that are equal
//! in all of these are different lines, so the second and later ones have a number. It counts the equal records before in
//! the whole batch. So an entry has the same id in every call, however the batch is split.
//! For that, each call of a batch reads the batch from its beginning. It has at most 16 MiB and 50,000 records, and only
//! records that can be equal are hashed.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::deliver::{Chunk, DeliveryError, Slice};

/// A SHA-256 digest, of which an id has the first half.
type Digest = [u8; 32];

/// Returns the insert ids of the items of a chunk, in their order.
pub(super) fn insert_ids(chunk: &Chunk) -> Result<Vec<String>, DeliveryError> {
    let mut ids = Vec::new();
    for slice in chunk.slices() {
        add(slice, &mut sha256, &mut ids)
            .map_err(|error| DeliveryError::Rejected { reason: format!("cannot be decoded: {error}") })?;
    }
    Ok(ids)
}

/// Adds the ids of the items of a slice. Each resource, each scope and each item that is equal to one of the slice is hashed
/// once.
fn add(
    slice: &Slice,
    hash: &mut impl FnMut(&[&[u8]]) -> Digest,
    ids: &mut Vec<String>,
) -> Result<(), prost::DecodeError> {
    let request = slice.whole_request()?;
    let items = || request.resources.iter().flat_map(|of| &of.scopes).flat_map(|of| &of.items);
    let own: HashSet<&[u8]> =
        (0..).zip(items()).filter(|(index, _)| slice.has(*index)).map(|(_, item)| &item[..]).collect();
    let end = ids.len() + slice.items as usize;
    let mut counts: HashMap<Digest, u32> = HashMap::new();
    let mut index = 0;
    for resource_items in &request.resources {
        let mut resource = None;
        for scope_items in &resource_items.scopes {
            let mut scope = None;
            for item in &scope_items.items {
                if ids.len() >= end {
                    return Ok(());
                }
                if own.contains(&item[..]) {
                    let resource =
                        resource.get_or_insert_with(|| hash(&[bytes(resource_items.resource.as_ref())]));
                    let scope = scope.get_or_insert_with(|| hash(&[bytes(scope_items.scope.as_ref())]));
                    let digest = hash(&[&resource[..], &scope[..], item]);
                    let before = counts.entry(digest).or_default();
                    if slice.has(index) {
                        ids.push(id(&digest, *before));
                    }
                    *before += 1;
                }
                index += 1;
            }
        }
    }
    Ok(())
}

fn bytes(part: Option<&Bytes>) -> &[u8] {
    part.map(|part| &part[..]).unwrap_or_default()
}

fn id(digest: &Digest, before: u32) -> String {
    let (half, _) = digest.split_at(digest.len() / 2);
    let half = hex::encode(half);
    if before == 0 { half } else { format!("{half}-{before}") }
}

fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    use super::*;
    use crate::deliver::Origin;
    use crate::otlp::Signal;

    /// A batch of two resources with records of these times.
    fn batch(times: [&[u64]; 2]) -> Chunk {
        let of = |(resource, times): (u32, &[u64])| {
            let record = |time: &u64| LogRecord { time_unix_nano: *time, ..Default::default() };
            let log_records = times.iter().map(record).collect();
            ResourceLogs {
                resource: Some(Resource { dropped_attributes_count: resource, ..Default::default() }),
                scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
                ..Default::default()
            }
        };
        let items = u32::try_from(times[0].len() + times[1].len()).unwrap();
        let request = ExportLogsServiceRequest { resource_logs: (1..).zip(times).map(of).collect() };
        Chunk::new(Signal::Logs, Slice::new(Origin::Batch(1), items, request.encode_to_vec().into()))
    }

    #[test]
    fn the_ids_of_equal_records_do_not_depend_on_the_call() {
        let whole = batch([&[7, 8, 7, 7], &[7, 8, 7]]);
        let all = insert_ids(&whole).unwrap();
        let number = |id: &String| id.split_once('-').map_or("", |(_, number)| number).to_owned();
        assert_eq!(all.iter().map(number).collect::<Vec<_>>(), ["", "", "1", "2", "", "", "1"]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 7);
        // In each subset, as one call and as one for each half of the indices.
        for subset in 1..1 << 7_u32 {
            let chunks = whole.by_index(|index| ((subset >> index) & 1 == 1).then_some(index / 4));
            let ids: Vec<String> = chunks.values().flat_map(|chunk| insert_ids(chunk).unwrap()).collect();
            let together = whole.by_index(|index| ((subset >> index) & 1 == 1).then_some(()));
            assert_eq!(insert_ids(&together[&()]).unwrap(), ids);
            let expected = (0..7).filter(|index| (subset >> index) & 1 == 1).map(|index| all[index].clone());
            assert_eq!(ids, expected.collect::<Vec<_>>(), "{subset:b}");
        }
    }

    #[test]
    fn a_resource_and_a_scope_are_hashed_once() {
        let chunk = batch([&[1; 100], &[2; 50]]);
        let (mut shared, mut of_items, mut ids) = (0, 0, Vec::new());
        let mut counting = |parts: &[&[u8]]| {
            *if parts.len() == 1 { &mut shared } else { &mut of_items } += 1;
            sha256(parts)
        };
        add(&chunk.slices()[0], &mut counting, &mut ids).unwrap();
        assert_eq!((shared, of_items, ids.len()), (4, 150, 150));
    }
}

//! [`retain_items`]: a request with some of its spans or log records. What stays is copied, and nothing is decoded.

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::wire::{Value, read_field};

/// The field with the nested messages of a request, of the items of a resource, and of the items of a scope.
const NESTED: [u32; 3] = [1, 2, 2];

/// Returns the items for which `keep` returns bytes, which can differ from the stored ones, and their number. Resources and
/// scopes without items are left out. Returns `None` if the request is malformed.
pub(crate) fn retain_items<'a>(
    body: &'a [u8],
    mut keep: impl FnMut(&'a [u8]) -> Option<Cow<'a, [u8]>>,
) -> Option<(u32, Vec<u8>)> {
    let mut out = Vec::new();
    let items = retain(body, &NESTED, &mut keep, &mut out)?;
    Some((items, out))
}

/// Appends a message with the items that stay. Returns their number.
fn retain<'a>(
    message: &'a [u8],
    levels: &[u32],
    keep: &mut impl FnMut(&'a [u8]) -> Option<Cow<'a, [u8]>>,
    out: &mut Vec<u8>,
) -> Option<u32> {
    let (nested, deeper) = levels.split_first()?;
    let mut items = 0_u32;
    let mut rest = message;
    while !rest.is_empty() {
        let before = rest;
        match read_field(&mut rest).ok()? {
            (number, Value::Bytes(item)) if number == *nested && deeper.is_empty() => {
                if let Some(item) = keep(item) {
                    items = items.saturating_add(1);
                    encode_key(number, WireType::LengthDelimited, out);
                    encode_varint(item.len() as u64, out);
                    out.extend_from_slice(&item);
                }
            }
            (number, Value::Bytes(inner)) if number == *nested => {
                let start = out.len();
                let inner_items = retain(inner, deeper, keep, out)?;
                if inner_items == 0 {
                    out.truncate(start);
                    continue;
                }
                items = items.saturating_add(inner_items);
                // The length is known now: its bytes are appended, and moved before the message.
                let length = (out.len() - start) as u64;
                let end = out.len();
                encode_key(number, WireType::LengthDelimited, out);
                encode_varint(length, out);
                let key_bytes = out.len() - end;
                out.get_mut(start..)?.rotate_right(key_bytes);
            }
            _ => out.extend_from_slice(before.get(..before.len() - rest.len())?),
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{log_request, request};
    use super::super::envelope::Envelope;
    use super::*;
    use bytes::Bytes;
    use prost::Message;

    /// As a decoded request with the same items.
    #[track_caller]
    fn check(body: &[u8], is_kept: impl Fn(u32) -> bool) {
        let mut expected = Envelope::from_body(&Bytes::copy_from_slice(body)).unwrap();
        let mut index = 0;
        let mut next = || {
            index += 1;
            is_kept(index - 1)
        };
        expected.retain_items(|_| next());
        index = 0;
        let (items, retained) = retain_items(body, |item| {
            index += 1;
            is_kept(index - 1).then_some(Cow::Borrowed(item))
        })
        .unwrap();
        assert_eq!(Envelope::from_body(&retained.into()).unwrap(), expected);
        assert_eq!(items, expected.items());
    }

    #[test]
    fn the_same_items_stay_as_in_a_decoded_request() {
        let mut requests = request(40).encode_to_vec();
        requests.extend(request(3).encode_to_vec());
        for body in [requests, log_request(300).encode_to_vec()] {
            check(&body, |_| true);
            check(&body, |_| false);
            check(&body, |index| index == 1);
            check(&body, |index| index % 3 == 0);
            check(&body, |index| index > 20);
        }
    }

    #[test]
    fn an_item_can_be_replaced() {
        let body = request(2).encode_to_vec();
        let (items, replaced) = retain_items(&body, |_| Some(Cow::Owned(vec![0x2a, 1, b'x']))).unwrap();
        let envelope = Envelope::from_body(&replaced.into()).unwrap();
        assert_eq!((items, envelope.items()), (2, 2));
        let all =
            envelope.resources.iter().flat_map(|resource| &resource.scopes).flat_map(|scope| &scope.items);
        assert!(all.into_iter().all(|item| item == &b"\x2a\x01x"[..]));
    }

    #[test]
    fn a_malformed_request_is_not_read() {
        let mut body = request(2).encode_to_vec();
        body.truncate(body.len() - 1);
        assert_eq!(retain_items(&body, |item| Some(item.into())), None);
    }
}

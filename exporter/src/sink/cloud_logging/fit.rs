//! Brings an entry within the size that Cloud Logging accepts: the longest texts are truncated.

use std::io;

use serde_json::Value;

use super::model::LogEntry;
use crate::truncate::truncate;

/// The size of an entry as JSON. Cloud Logging accepts about 256 KiB (<https://cloud.google.com/logging/quotas>).
pub(super) const MAX_ENTRY_BYTES: usize = 240 << 10;

/// A character takes up to this many bytes in JSON.
const MAX_ESCAPED: usize = 6;

/// How often texts are truncated in proportion to the excess.
const MAX_STEPS: usize = 4;

/// Truncates the longest texts of an entry that is too large, and marks it.
pub(super) fn fit(entry: &mut LogEntry) {
    let mut size = size(entry);
    if size <= MAX_ENTRY_BYTES {
        return;
    }
    entry.mark_truncated();
    for _ in 0..MAX_STEPS {
        let texts = total(entry);
        shorten(entry, texts * MAX_ENTRY_BYTES / size);
        size = self::size(entry);
        if size <= MAX_ENTRY_BYTES {
            return;
        }
    }
    // Without its texts, an entry is far smaller than the limit.
    let others = size.saturating_sub(total(entry));
    shorten(entry, MAX_ENTRY_BYTES.saturating_sub(others) / MAX_ESCAPED);
}

/// Truncates texts, so that all of them have at most `max_bytes`. The texts that are shorter than the others stay.
fn shorten(entry: &mut LogEntry, max_bytes: usize) {
    let mut lengths = Vec::new();
    for_each_text(entry, &mut |text| lengths.push(text.len()));
    lengths.sort_unstable();
    let (mut left, mut longest) = (max_bytes, 0);
    for (index, length) in lengths.iter().enumerate() {
        longest = left / (lengths.len() - index);
        if *length > longest {
            break;
        }
        left -= length;
    }
    for_each_text(entry, &mut |text| {
        let kept = truncate(text, longest.max(1)).len();
        text.truncate(kept);
    });
}

fn total(entry: &mut LogEntry) -> usize {
    let mut total = 0;
    for_each_text(entry, &mut |text| total += text.len());
    total
}

fn for_each_text(entry: &mut LogEntry, each: &mut impl FnMut(&mut String)) {
    entry.labels.values_mut().for_each(&mut *each);
    let objects =
        [&mut entry.json_payload, &mut entry.http_request, &mut entry.operation, &mut entry.source_location];
    objects.into_iter().flat_map(|object| object.values_mut()).for_each(|value| texts_of(value, each));
}

fn texts_of(value: &mut Value, each: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter_mut().for_each(|item| texts_of(item, each)),
        Value::Object(members) => members.values_mut().for_each(|member| texts_of(member, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn size(entry: &LogEntry) -> usize {
    let mut counter = Counter(0);
    // Cannot fail: a counter takes all bytes, and all keys are texts.
    let _ = serde_json::to_writer(&mut counter, entry);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

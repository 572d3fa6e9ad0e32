//! Writing the spans or log records of a chunk as JSON, within [`MAX_BODY_BYTES`].
//!
//! ```text
//!  chunk ──► one item at a time ──► JSON ──► body
//!                    ▲                │
//!                    └─ within limits ┘ the first item is too large
//!                                     │ another item does not fit: the chunk is halved
//! ```

use std::io;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::body::MAX_BODY_BYTES;
use super::limits::{LARGE, Limits, SMALL};
use crate::deliver::{Chunk, DeliveryError};

/// The attribute of an item that was too large, so that its texts or those of its resource were truncated.
pub(super) const TRUNCATED: &str = "logtracer.truncated";

/// A part of a chunk that is larger than this is brought within the limits before it is written.
const MAX_PART_BYTES: usize = MAX_BODY_BYTES / 2;

/// What an item is written with: what the items of a scope share, and its place.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) resource: Option<Resource>,
    pub(super) resource_schema_url: String,
    pub(super) scope: Option<InstrumentationScope>,
    pub(super) scope_schema_url: String,
    /// Changes whenever the resource changes.
    pub(super) resource_id: usize,
    /// The index of the item in the chunk.
    pub(super) index: usize,
    is_truncated: bool,
}

/// The text around the items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) start: &'static str,
    pub(super) separator: &'static str,
    pub(super) end: &'static str,
}

/// Items as JSON.
#[derive(Debug)]
pub(super) struct JsonBody {
    pub(super) bytes: Bytes,
    /// The number of items whose texts were truncated.
    pub(super) truncated: u32,
}

/// A span or a log record.
pub(super) trait Item: Message + Default {
    fn limit(&mut self, limits: Limits);
    fn attributes(&mut self) -> &mut Vec<KeyValue>;
}

impl Item for Span {
    fn limit(&mut self, limits: Limits) {
        limits.span(self);
    }

    fn attributes(&mut self) -> &mut Vec<KeyValue> {
        &mut self.attributes
    }
}

impl Item for LogRecord {
    fn limit(&mut self, limits: Limits) {
        limits.log_record(self);
    }

    fn attributes(&mut self) -> &mut Vec<KeyValue> {
        &mut self.attributes
    }
}

/// Writes the items of a chunk, which has the signal of this kind of item, with `write`, which returns whether it has
/// truncated a text of the item itself.
pub(super) fn write_items<T: Item>(
    chunk: &Chunk,
    frame: Frame,
    mut write: impl FnMut(&mut Buffer, &Shared, &T) -> serde_json::Result<bool>,
) -> Result<JsonBody, DeliveryError> {
    let mut body =
        Buffer { bytes: frame.start.into(), max_bytes: MAX_BODY_BYTES - frame.end.len(), is_full: false };
    let (mut truncated, mut resource_id, mut index) = (0, 0, 0);
    for envelope in chunk.envelopes() {
        for resource_items in envelope.map_err(undecodable)?.resources {
            resource_id += STEPS.len();
            let mut shared = Shared {
                resource: decode(resource_items.resource)?,
                resource_schema_url: text(&resource_items.schema_url),
                resource_id,
                ..Default::default()
            };
            for scope_items in resource_items.scopes {
                shared.scope = decode(scope_items.scope)?;
                shared.scope_schema_url = text(&scope_items.schema_url);
                for item in scope_items.items {
                    shared.index = index;
                    index += 1;
                    truncated += u32::from(body.add(frame, &mut shared, item, &mut write)?);
                }
            }
        }
    }
    body.bytes.extend_from_slice(frame.end.as_bytes());
    // The budget of the sink counts the bytes, not the capacity.
    body.bytes.shrink_to_fit();
    Ok(JsonBody { bytes: body.bytes.into(), truncated })
}

/// What is truncated, step by step, until an item fits.
const STEPS: [(Target, Limits); 4] =
    [(Target::Item, LARGE), (Target::Shared, LARGE), (Target::Item, SMALL), (Target::Shared, SMALL)];

#[derive(Debug, Clone, Copy)]
enum Target {
    Item,
    /// The resource and the scope: all later items share them.
    Shared,
}

impl Shared {
    fn limit(&mut self, limits: Limits) {
        if let Some(resource) = &mut self.resource {
            limits.resource(resource);
        }
        if let Some(scope) = &mut self.scope {
            limits.scope(scope);
        }
        for url in [&mut self.resource_schema_url, &mut self.scope_schema_url] {
            if url.len() > limits.value {
                url.clear();
            }
        }
        self.resource_id += 1;
        self.is_truncated = true;
    }
}

/// A body that has a maximum size.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    max_bytes: usize,
    /// Set if something did not fit.
    is_full: bool,
}

impl Buffer {
    /// Adds an item, which is protobuf. Returns whether it was truncated.
    fn add<T: Item>(
        &mut self,
        frame: Frame,
        shared: &mut Shared,
        item: Bytes,
        write: &mut impl FnMut(&mut Self, &Shared, &T) -> serde_json::Result<bool>,
    ) -> Result<bool, DeliveryError> {
        let mut is_truncated = item.len() > MAX_PART_BYTES;
        let mut item = T::decode(item).map_err(|error| undecodable(error.to_string()))?;
        if is_truncated {
            item.limit(LARGE);
            mark(&mut item);
        }
        let len = self.bytes.len();
        let is_first = len == frame.start.len();
        let mut steps = STEPS.into_iter();
        loop {
            if shared.is_truncated {
                mark(&mut item);
                is_truncated = true;
            }
            let separator = if is_first { "" } else { frame.separator };
            let written = io::Write::write_all(self, separator.as_bytes())
                .map_err(serde_json::Error::io)
                .and_then(|()| write(self, shared, &item));
            match written {
                Ok(by_writer) => return Ok(is_truncated || by_writer),
                Err(error) if !self.is_full => {
                    return Err(DeliveryError::Rejected { reason: error.to_string() });
                }
                Err(_) => {}
            }
            self.bytes.truncate(len);
            self.is_full = false;
            // Without the items before it, it may fit.
            match steps.next().filter(|_| is_first) {
                Some((Target::Item, limits)) => {
                    item.limit(limits);
                    mark(&mut item);
                    is_truncated = true;
                }
                Some((Target::Shared, limits)) => shared.limit(limits),
                None => {
                    let reason = format!("larger than {} MiB as JSON", MAX_BODY_BYTES >> 20);
                    return Err(DeliveryError::TooLarge { reason });
                }
            }
        }
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max_bytes {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn mark(item: &mut impl Item) {
    let is_marked = item.attributes().first().is_some_and(|attribute| attribute.key == TRUNCATED);
    if !is_marked {
        let value = Some(AnyValue { value: Some(Any::BoolValue(true)) });
        // First, so that no limit drops it.
        item.attributes().insert(0, KeyValue { key: TRUNCATED.to_owned(), value, key_strindex: 0 });
    }
}

fn decode<M: Message + Default>(bytes: Option<Bytes>) -> Result<Option<M>, DeliveryError> {
    bytes.map(M::decode).transpose().map_err(|error| undecodable(error.to_string()))
}

fn undecodable(error: String) -> DeliveryError {
    DeliveryError::Rejected { reason: format!("cannot be decoded: {error}") }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

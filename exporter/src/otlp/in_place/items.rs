//! The spans of a request, each with its resource, read in place.

use super::{Attribute, Fields, Value, messages, text};

/// Calls `each` with the resource and the bytes of each span or log record of a request, in their order.
///
/// What is malformed ends the iteration, as for the other readers of stored requests.
pub(crate) fn for_each_item<'a>(body: &'a [u8], mut each: impl FnMut(ResourceBytes<'a>, &'a [u8])) {
    for (number, resource_items) in (0..).zip(messages(body, 1)) {
        let resource = messages(resource_items, 1).last().unwrap_or_default();
        let resource = ResourceBytes { number, bytes: resource };
        for scope_items in messages(resource_items, 2) {
            messages(scope_items, 2).for_each(|item| each(resource, item));
        }
    }
}

/// A `Resource`, and its number in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResourceBytes<'a> {
    pub(crate) number: usize,
    pub(crate) bytes: &'a [u8],
}

/// The facts of a span that are read without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpanFrame<'a> {
    pub(crate) trace_id: &'a [u8],
    name: &'a [u8],
    pub(crate) start_time_unix_nano: u64,
    pub(crate) end_time_unix_nano: u64,
    /// The status code is ERROR.
    pub(crate) is_error: bool,
}

impl<'a> SpanFrame<'a> {
    /// Returns the trace id of a span. Its length is not checked.
    pub(crate) fn trace_id(span: &'a [u8]) -> &'a [u8] {
        messages(span, 1).next().unwrap_or_default()
    }

    /// Reads a span once, and calls `each` with its attributes.
    #[inline]
    pub(crate) fn read(span: &'a [u8], mut each: impl FnMut(Attribute<'a>)) -> Self {
        const ERROR: u64 = 2;
        let mut frame = Self::default();
        for field in Fields(span) {
            match field {
                (1, Value::Bytes(id)) => frame.trace_id = id,
                (5, Value::Bytes(name)) => frame.name = name,
                (7, Value::Fixed64(time)) => frame.start_time_unix_nano = time,
                (8, Value::Fixed64(time)) => frame.end_time_unix_nano = time,
                (9, Value::Bytes(attribute)) => each(Attribute::new(attribute)),
                (15, Value::Bytes(status)) => {
                    let code = Fields(status).filter_map(|field| match field {
                        (3, Value::Varint(code)) => Some(code),
                        _ => None,
                    });
                    frame.is_error = code.last() == Some(ERROR);
                }
                _ => {}
            }
        }
        frame
    }

    pub(crate) fn name(&self) -> &'a str {
        text(self.name)
    }
}

//! Writing a request as protobuf, without the parts that are invalid.

use prost::encoding::encode_varint;

use super::ids::Ids;
use super::left_out::{LeftOut, Reason};
use super::schema::{Field, Kind, MessageType, Role};

/// A request that is being written.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) left_out: LeftOut,
    /// The spans or log records in `bytes`.
    items: u32,
}

/// The start of a field in the output.
#[derive(Clone, Copy)]
pub(super) struct Start {
    key_at: usize,
    length_at: usize,
    items: u32,
}

/// What is known about a message while its fields are written.
#[derive(Default)]
pub(super) struct Open {
    pub(super) ids: Ids,
    /// The elements that were left out of a list: the number of the field that counts them, and how many.
    left_out: Vec<(u8, u32)>,
    /// The values of these fields in the request.
    stated: Vec<(u8, u64)>,
}

impl Open {
    /// Records the value of a field in case that it counts elements.
    pub(super) fn record_count(&mut self, message: &MessageType, number: u32, value: u64) {
        let counts = |field: &Field| field.dropped.is_some_and(|dropped| u32::from(dropped) == number);
        if value > 0
            && message.fields.iter().any(counts)
            && let Ok(number) = u8::try_from(number)
        {
            self.stated.retain(|(stated, _)| *stated != number);
            self.stated.push((number, value));
        }
    }
}

impl Output {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    pub(super) fn varint(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        encode_varint(value, &mut self.bytes);
    }

    pub(super) fn fixed64(&mut self, number: u32, value: u64) {
        self.key(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, number: u32, value: u32) {
        self.key(number, 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn delimited(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        encode_varint(value.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(value);
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        encode_varint(u64::from(number << 3 | wire_type), &mut self.bytes);
    }

    /// Starts a message, which [`Output::finish`] ends.
    pub(super) fn start(&mut self, number: u32) -> Start {
        let key_at = self.bytes.len();
        self.key(number, 2);
        let length_at = self.bytes.len();
        self.bytes.push(0);
        Start { key_at, length_at, items: self.items }
    }

    /// Ends a field of `owner`, which is a message if `start` is the start of one.
    ///
    /// If the field is invalid, it is left out and counted, or its error is returned because it costs the owner.
    pub(super) fn finish(
        &mut self,
        start: Option<Start>,
        (owner, owner_open): (&MessageType, &mut Open),
        field: &Field,
        result: Result<(), Reason>,
    ) -> Result<(), Reason> {
        let role = match field.kind {
            Kind::Message(inner) => Some(inner.role),
            _ => None,
        };
        if let Some(start) = start {
            let is_empty = role == Some(Role::Envelope) && self.items == start.items;
            if result.is_err() || is_empty {
                self.bytes.truncate(start.key_at);
                self.items = start.items;
            } else {
                self.close(start);
            }
        }
        match result {
            Ok(()) => Ok(()),
            Err(reason) if !field.can_be_left_out_of(owner) => Err(reason),
            Err(reason) => {
                match role {
                    // What encloses items is counted as one, because nobody knows how many it has.
                    Some(Role::Span | Role::LogRecord | Role::Envelope) => self.left_out.count_item(reason),
                    _ => self.left_out.count_part(reason),
                }
                if let Some(dropped) = field.dropped {
                    match owner_open.left_out.iter_mut().find(|(number, _)| *number == dropped) {
                        Some((_, count)) => *count += 1,
                        None => owner_open.left_out.push((dropped, 1)),
                    }
                }
                Ok(())
            }
        }
    }

    /// Checks a message whose fields are written, and adds the number of elements that were left out.
    pub(super) fn complete(&mut self, message: &MessageType, open: &Open) -> Result<(), Reason> {
        for (number, count) in &open.left_out {
            let stated =
                open.stated.iter().find(|(stated, _)| stated == number).map_or(0, |(_, value)| *value);
            // The last value of a field counts.
            let value = stated.saturating_add(u64::from(*count)).min(u64::from(u32::MAX));
            self.varint(u32::from(*number), value);
        }
        match message.role {
            Role::Span => open.ids.check()?,
            Role::LogRecord => {}
            _ => return Ok(()),
        }
        self.items += 1;
        Ok(())
    }

    /// Writes the length of a message or of a text in front of its bytes.
    pub(super) fn close(&mut self, Start { length_at, .. }: Start) {
        let length = self.bytes.len() - length_at - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => {
                if let Some(byte) = self.bytes.get_mut(length_at) {
                    *byte = short;
                }
            }
            _ => {
                let mut prefix = Vec::with_capacity(5);
                encode_varint(length as u64, &mut prefix);
                self.bytes.splice(length_at..=length_at, prefix);
            }
        }
    }
}

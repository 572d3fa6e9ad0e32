//! The ids of a span, while its message is read.

use super::left_out::Reason;
use super::schema::Role;

/// The lengths of the ids of a span, and whether all of their bytes are zero. If a field is repeated, the last one
/// counts, as in every protobuf message.
#[derive(Default)]
pub(super) struct Ids {
    trace_id: Id,
    span_id: Id,
    parent_span_id: Id,
}

struct Id {
    length: usize,
    is_zero: bool,
}

impl Default for Id {
    fn default() -> Self {
        Self { length: 0, is_zero: true }
    }
}

/// Checks the length of a field if it is an id of a log record. An empty one is absent.
pub(super) fn check_of_record(role: Role, number: u32, bytes: &[u8]) -> Result<(), Reason> {
    match (role, number, bytes.len()) {
        (Role::LogRecord, 9, 1..=15 | 17..) => Err(Reason::TraceIdLength),
        (Role::LogRecord, 10, 1..=7 | 9..) => Err(Reason::SpanIdLength),
        _ => Ok(()),
    }
}

impl Ids {
    /// Records a field if it is an id of a span.
    pub(super) fn record(&mut self, role: Role, number: u32, bytes: &[u8]) {
        let id = match (role, number) {
            (Role::Span, 1) => &mut self.trace_id,
            (Role::Span, 2) => &mut self.span_id,
            (Role::Span, 4) => &mut self.parent_span_id,
            _ => return,
        };
        *id = Id { length: bytes.len(), is_zero: bytes.iter().all(|byte| *byte == 0) };
    }

    /// Returns the first error in the ids.
    pub(super) fn check(&self) -> Result<(), Reason> {
        match self {
            Self { trace_id: Id { length, .. }, .. } if *length != 16 => Err(Reason::TraceIdLength),
            Self { span_id: Id { length, .. }, .. } if *length != 8 => Err(Reason::SpanIdLength),
            Self { parent_span_id: Id { length, .. }, .. } if *length != 8 && *length != 0 => {
                Err(Reason::ParentSpanIdLength)
            }
            Self { trace_id: Id { is_zero: true, .. }, .. } => Err(Reason::TraceIdZero),
            Self { span_id: Id { is_zero: true, .. }, .. } => Err(Reason::SpanIdZero),
            _ => Ok(()),
        }
    }
}

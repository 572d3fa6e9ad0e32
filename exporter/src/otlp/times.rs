//! The times of a span or a log record, while its message is read.

use super::schema::Role;

/// If a field is repeated, the last one counts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Times {
    /// The start of a span, or the time of a log record.
    pub(super) first: u64,
    /// The end of a span, or when a log record was observed.
    pub(super) second: u64,
}

/// The fields of a span.
pub(super) const START: u32 = 7;
pub(super) const END: u32 = 8;

/// The fields of a log record.
const TIME: u32 = 1;
pub(super) const OBSERVED_TIME: u32 = 11;

impl Times {
    /// Records a field if it is a time of a span or a log record.
    #[inline]
    pub(super) fn record(&mut self, role: Role, number: u32, nanos: u64) {
        match (role, number) {
            (Role::Span, START) | (Role::LogRecord, TIME) => self.first = nanos,
            (Role::Span, END) | (Role::LogRecord, OBSERVED_TIME) => self.second = nanos,
            _ => {}
        }
    }

    /// Returns whether a message with this role lacks a time.
    #[inline]
    pub(super) const fn is_incomplete(self, role: Role) -> bool {
        match role {
            Role::Span => self.first == 0 || self.second == 0,
            Role::LogRecord => self.first == 0 && self.second == 0,
            _ => false,
        }
    }
}

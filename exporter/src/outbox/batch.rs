//! What waits in the outbox, and what each sink wants of it.

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::otlp::{Items, Signal};

/// One request, as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    pub(crate) signal: Signal,
    /// How many spans or log records it has.
    pub(crate) items: u32,
    /// The request of the signal as protobuf; empty for a sink that does not take the signal.
    pub(crate) body: Bytes,
}

/// What one sink wants of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The name of the sink, under which its cursor is kept.
    pub(crate) sink: String,
    /// Every sink takes traces; one that does not take logs passes them over.
    pub(crate) takes_logs: bool,
}

impl Subscription {
    /// Returns those of the items that the sink takes.
    pub(super) fn wanted(&self, items: Items) -> Items {
        if self.takes_logs { items } else { Items { log_records: 0, ..items } }
    }

    pub(crate) fn takes(&self, signal: Signal) -> bool {
        match signal {
            Signal::Traces => true,
            Signal::Logs => self.takes_logs,
        }
    }
}

impl ToSql for Signal {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number: i64 = match self {
            Self::Traces => 1,
            Self::Logs => 2,
        };
        Ok(number.into())
    }
}

impl FromSql for Signal {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            1 => Ok(Self::Traces),
            2 => Ok(Self::Logs),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

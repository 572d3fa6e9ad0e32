//! A batch in the outbox, and the signals that each sink takes.

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::verdict::Verdicts;
use crate::otlp::{Items, Signal};

/// A committed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    /// When it was received, in milliseconds since 1970.
    pub(crate) received_ms: i64,
    pub(crate) signal: Signal,
    /// The number of spans or log records.
    pub(crate) items: u32,
    /// The signal's request message as protobuf. Empty for a sink that does not take the signal.
    pub(crate) body: Bytes,
    /// The verdicts of tail sampling, for a sink with rules.
    pub(crate) verdicts: Option<Verdicts>,
}

/// The name of a sink and the signals that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The name of the sink. Its cursor is stored under this name.
    pub(crate) sink: String,
    /// Whether the sink takes logs. Every sink takes traces.
    pub(crate) takes_logs: bool,
    /// Whether the sink has rules of tail sampling. It gets a batch when there are verdicts on its traces.
    pub(crate) has_rules: bool,
}

impl Subscription {
    /// Returns the numbers of items that the sink takes.
    pub(super) fn filter(&self, items: Items) -> Items {
        if self.takes_logs { items } else { Items { log_records: 0, ..items } }
    }

    /// Returns whether the sink takes this signal.
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

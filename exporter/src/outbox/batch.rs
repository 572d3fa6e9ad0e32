//! What waits in the outbox, and what each sink wants of it.

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// What kind of telemetry a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    /// Spans: `ExportTraceServiceRequest`.
    Traces,
    /// Log records: `ExportLogsServiceRequest`.
    Logs,
}

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

/// How many there are of each signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Items {
    pub(crate) spans: u64,
    pub(crate) log_records: u64,
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
    pub(crate) fn takes(&self, signal: Signal) -> bool {
        match signal {
            Signal::Traces => true,
            Signal::Logs => self.takes_logs,
        }
    }
}

impl Items {
    pub(crate) fn add(&mut self, signal: Signal, count: u64) {
        match signal {
            Signal::Traces => self.spans += count,
            Signal::Logs => self.log_records += count,
        }
    }

    /// What of it this sink wants.
    pub(super) fn wanted_by(self, subscription: &Subscription) -> Self {
        if subscription.takes_logs { self } else { Self { log_records: 0, ..self } }
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::default()
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

//! A batch in the outbox, and what each sink takes of the batches.

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
    pub(crate) content: BatchContent,
    /// The number of spans or log records.
    pub(crate) items: u32,
    /// The signal's request message as protobuf. Empty for a sink that does not take the content.
    pub(crate) body: Bytes,
    /// The verdicts of tail sampling, for a sink with rules.
    pub(crate) verdicts: Option<Verdicts>,
}

impl Batch {
    pub(crate) fn signal(&self) -> Signal {
        self.content.signal()
    }
}

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchContent {
    Traces,
    Logs,
    /// Log records that `--tail` has read. The store has them already.
    TailedLogs,
}

impl BatchContent {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Traces => Signal::Traces,
            Self::Logs | Self::TailedLogs => Signal::Logs,
        }
    }
}

/// The content of a request that was received.
impl From<Signal> for BatchContent {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces,
            Signal::Logs => Self::Logs,
        }
    }
}

/// The contents that a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signals {
    pub(crate) traces: bool,
    pub(crate) logs: bool,
    pub(crate) tailed_logs: bool,
}

impl Signals {
    pub(crate) const NONE: Self = Self { traces: false, logs: false, tailed_logs: false };
    pub(crate) const ALL: Self = Self { traces: true, logs: true, tailed_logs: true };
    pub(crate) const TRACES: Self = Self { traces: true, logs: false, tailed_logs: false };
    pub(crate) const LOGS: Self = Self { traces: false, logs: true, tailed_logs: true };
    /// `--tail` writes its log records to the store itself.
    pub(crate) const STORE: Self = Self { tailed_logs: false, ..Self::ALL };

    pub(crate) fn take(self, content: BatchContent) -> bool {
        match content {
            BatchContent::Traces => self.traces,
            BatchContent::Logs => self.logs,
            BatchContent::TailedLogs => self.tailed_logs,
        }
    }

    /// Returns the contents that are in both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            traces: self.traces && other.traces,
            logs: self.logs && other.logs,
            tailed_logs: self.tailed_logs && other.tailed_logs,
        }
    }

    /// Returns the contents that are in one of the sets.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            traces: self.traces || other.traces,
            logs: self.logs || other.logs,
            tailed_logs: self.tailed_logs || other.tailed_logs,
        }
    }

    pub(crate) fn has_logs(self) -> bool {
        self.logs || self.tailed_logs
    }

    pub(crate) fn is_empty(self) -> bool {
        !(self.traces || self.has_logs())
    }
}

/// The number of items of each content in some batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ContentItems {
    traces: u64,
    logs: u64,
    tailed_logs: u64,
}

impl ContentItems {
    pub(super) fn add(&mut self, content: BatchContent, items: u64) {
        match content {
            BatchContent::Traces => self.traces += items,
            BatchContent::Logs => self.logs += items,
            BatchContent::TailedLogs => self.tailed_logs += items,
        }
    }

    /// Returns the items that a sink takes.
    pub(super) fn taken_by(self, signals: Signals) -> Items {
        let taken = |items, content| if signals.take(content) { items } else { 0 };
        Items {
            spans: taken(self.traces, BatchContent::Traces),
            log_records: taken(self.logs, BatchContent::Logs)
                + taken(self.tailed_logs, BatchContent::TailedLogs),
        }
    }
}

/// The name of a sink and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The name of the sink. Its cursor is stored under this name.
    pub(crate) sink: String,
    pub(crate) signals: Signals,
    /// Whether the sink has rules of tail sampling. It gets a batch when there are verdicts on its traces.
    pub(crate) has_rules: bool,
}

impl ToSql for BatchContent {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number: i64 = match self {
            Self::Traces => 1,
            Self::Logs => 2,
            Self::TailedLogs => 3,
        };
        Ok(number.into())
    }
}

impl FromSql for BatchContent {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            1 => Ok(Self::Traces),
            2 => Ok(Self::Logs),
            3 => Ok(Self::TailedLogs),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// As in the outbox, for the file of dead letters.
impl ToSql for Signal {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Traces => 1_i64,
            Self::Logs => 2,
        }
        .into())
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

//! The two signals that the exporter accepts, and the number of their items.

use super::schema::{self, MessageType};

/// A kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    /// Spans, as an `ExportTraceServiceRequest`.
    Traces,
    /// Log records, as an `ExportLogsServiceRequest`.
    Logs,
}

impl Signal {
    /// Returns the message of an export request.
    pub(super) const fn request_type(self) -> &'static MessageType {
        match self {
            Self::Traces => &schema::TRACES,
            Self::Logs => &schema::LOGS,
        }
    }
}

/// The number of items of each signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Items {
    pub(crate) spans: u64,
    pub(crate) log_records: u64,
}

impl Items {
    pub(crate) fn add(&mut self, signal: Signal, count: u64) {
        match signal {
            Signal::Traces => self.spans += count,
            Signal::Logs => self.log_records += count,
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

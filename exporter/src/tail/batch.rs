//! The lines that are committed together, with the read positions after them.

use crate::clock;
use crate::metrics::{Metrics, ReasonLabel};
use crate::store::{LogLine, ReadPositions, Store};

use super::line::{self, Skip};
use super::lines::RawLine;

/// A batch of this size is committed.
const MAX_BYTES: usize = 1 << 20;

/// What a line takes beside its text.
const LINE_OVERHEAD: usize = 256;

/// Parsed lines that are not committed yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<LogLine>,
    bytes: usize,
    positions: Vec<ReadPositions>,
    /// The number of lines, with those that are skipped.
    read: u64,
    skipped: [u64; Skip::ALL.len()],
}

impl Batch {
    /// Parses a line.
    pub(super) fn push(&mut self, line: RawLine<'_>) {
        self.read += 1;
        let result = match line {
            RawLine::Bytes(bytes) => line::parse(bytes, clock::unix_nanos()),
            RawLine::TooLong => Err(Skip::TooLong),
        };
        match result {
            Ok(line) => {
                self.bytes += line.line.len() + line.message.len() + LINE_OVERHEAD;
                self.lines.push(line);
            }
            Err(skip) => {
                let counts = Skip::ALL.into_iter().zip(&mut self.skipped);
                counts.filter(|(reason, _)| *reason == skip).for_each(|(_, count)| *count += 1);
            }
        }
    }

    /// Adds the positions of a file, up to which the lines have been read.
    pub(super) fn save(&mut self, positions: ReadPositions) {
        self.positions.push(positions);
    }

    /// Returns whether the batch is to be committed before more is read.
    pub(super) fn is_full(&self, store: &Store) -> bool {
        self.bytes >= MAX_BYTES.min(store.max_write_bytes())
    }

    /// Stores the lines and the positions, and then counts the lines. A batch that is not stored stays as it is.
    pub(super) fn commit(&mut self, store: &Store, metrics: &Metrics) -> Result<(), String> {
        if !self.lines.is_empty() || !self.positions.is_empty() {
            store
                .append_lines(&self.lines, &self.positions)
                .map_err(|error| format!("failed to write to the store: {error}"))?;
        }
        metrics.log_lines_tailed.inc_by(self.read);
        for (reason, count) in Skip::ALL.into_iter().zip(self.skipped).filter(|(_, count)| *count > 0) {
            let label = ReasonLabel { reason: reason.as_str() };
            metrics.log_lines_skipped.get_or_create(&label).inc_by(count);
        }
        *self = Self::default();
        Ok(())
    }
}

//! The lines that are committed together, with the read positions after them.

use crate::clock;
use crate::log::{self, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::storage::DirectoryId;
use crate::store::{LogLine, ReadPositions, Store};

use super::forward::{Blocked, Forward};
use super::line::{self, Skip};
use super::lines::RawLine;
use super::record_id::{RecordId, Source};

/// A batch of this size is committed.
const MAX_BYTES: usize = 1 << 20;

/// What a line takes beside its text.
const LINE_OVERHEAD: usize = 256;

/// Parsed lines that are not committed yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<LogLine>,
    /// The id of the data directory, if any sink takes the lines.
    directory: Option<DirectoryId>,
    /// The ids of the lines, if any sink takes them.
    ids: Vec<RecordId>,
    /// The number of lines that are in the outbox. They stay there if the store fails.
    appended: usize,
    bytes: usize,
    positions: Vec<ReadPositions>,
    /// The number of lines, with those that are skipped.
    read: u64,
    skipped: [u64; Skip::ALL.len()],
}

/// The reason why a batch was not stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CommitError {
    /// The outbox does not take the lines. That is logged.
    Blocked,
    /// The store failed.
    Store(String),
}

impl Batch {
    /// A batch whose lines are stored, and forwarded to the sinks if any sink takes them.
    pub(super) fn new(forward: Option<&Forward>) -> Self {
        Self { directory: forward.map(Forward::directory), ..Self::default() }
    }

    /// Parses a line.
    pub(super) fn push(&mut self, line: RawLine<'_>, source: Source<'_>) {
        self.read += 1;
        let result = match line {
            RawLine::Bytes(bytes) => line::parse(bytes, clock::unix_nanos()),
            RawLine::TooLong => Err(Skip::TooLong),
        };
        match result {
            Ok(line) => {
                self.bytes += line.line.len() + line.message.len() + LINE_OVERHEAD;
                self.ids.extend(self.directory.map(|directory| RecordId::of(directory, source, &line)));
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

    /// Forwards the lines to the sinks, stores them with the positions, and then counts them. A batch that is not stored
    /// stays as it is.
    ///
    /// The outbox is first: a crash repeats lines at the sinks, which have the same ids, and loses none.
    pub(super) fn commit(
        &mut self,
        store: &Store,
        metrics: &Metrics,
        forward: Option<&Forward>,
    ) -> Result<(), CommitError> {
        if let Some(forward) = forward {
            let appended = forward.append(&self.lines, &self.ids, &mut self.appended);
            appended.map_err(|Blocked| CommitError::Blocked)?;
        }
        if !self.lines.is_empty() || !self.positions.is_empty() {
            store
                .append_lines(&self.lines, &self.positions)
                .map_err(|error| CommitError::Store(format!("failed to write to the store: {error}")))?;
        }
        self.count(metrics);
        *self = Self::new(forward);
        Ok(())
    }

    /// Commits the lines for the last time, because the exporter ends: lines that the outbox does not take are only stored.
    /// Counts and logs what is dropped.
    pub(super) fn commit_last(mut self, store: &Store, metrics: &Metrics, forward: Option<&Forward>) {
        let mut result = self.commit(store, metrics, forward);
        if let (Err(CommitError::Blocked), Some(forward)) = (&result, forward) {
            forward.count_dropped(self.lines.len().saturating_sub(self.appended));
            result = self.commit(store, metrics, None);
        }
        if let Err(CommitError::Store(error)) = result {
            self.count(metrics);
            let lines = self.lines.len() as u64;
            metrics.log_lines_skipped.get_or_create(&ReasonLabel { reason: "shutdown" }).inc_by(lines);
            let fields = [("error", Value::Str(&error)), ("lines", Value::U64(lines))];
            log::error("log lines dropped: the exporter ends before they are stored", &fields);
        }
    }

    /// Counts the lines that were read.
    fn count(&self, metrics: &Metrics) {
        metrics.log_lines_tailed.inc_by(self.read);
        for (reason, count) in Skip::ALL.into_iter().zip(self.skipped).filter(|(_, count)| *count > 0) {
            let label = ReasonLabel { reason: reason.as_str() };
            metrics.log_lines_skipped.get_or_create(&label).inc_by(count);
        }
    }
}

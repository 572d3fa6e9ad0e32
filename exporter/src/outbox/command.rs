//! The commands of the writer, and the outcome of one commit.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::AppendError;
use super::batch::{BatchContent, ContentItems};
use super::compression::Compressed;
use super::observation::{ObservedBatch, ObservedRun};
use super::schema::PAGE_BYTES;
use super::verdict::Verdicts;
use crate::metrics::Tally;
use crate::otlp::{Items, Signal};

/// A command to the writer. It sends the reply after the commit that contains the command.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        content: BatchContent,
        body: Compressed,
        /// What was observed of its spans, if there is an observer.
        runs: Option<Vec<ObservedRun>>,
        items: u32,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
    Advance {
        sink: usize,
        to: i64,
        /// The outcome of the items in the acknowledged batches.
        settled: Vec<Settled>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Stores verdicts, so that the sinks with rules get the batches up to `until`.
    Decide {
        decisions: Arc<Decisions>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    DropExpired {
        now_ms: i64,
    },
    Probe {
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Checks the file for corruption, because a reader got an error that indicates it.
    CheckFile,
    /// Checks that the open files are those at the path. The writer checks that before each group of commands, so there is
    /// only the reply: the reason if they are not.
    CheckPath {
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// The verdicts on some batches.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// The id of the last batch that is decided.
    pub(crate) until: i64,
    /// The id of a batch, the index of a sink, and the verdicts for it.
    pub(crate) verdicts: Vec<(i64, usize, Verdicts)>,
    /// The traces that were decided with these batches, for the spans that come later.
    pub(crate) traces: Vec<u8>,
    /// The hash of the rules.
    pub(crate) policy: u64,
    pub(crate) now_ms: i64,
    /// Traces that were decided with batches up to this one are forgotten.
    pub(crate) forget_until: i64,
}

impl Decisions {
    /// Estimates the bytes that they take in the WAL.
    pub(crate) fn wal_bytes(&self) -> u64 {
        let verdicts: usize = self.verdicts.iter().map(|(_, _, of_sink)| of_sink.as_bytes().len() + 64).sum();
        (verdicts + 2 * self.traces.len()) as u64 + PAGE_BYTES
    }
}

/// Items of one batch with the same delivery outcome.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// The id of the batch.
    pub(crate) id: i64,
    pub(crate) signal: Signal,
    pub(crate) items: u64,
    /// The counters of this outcome.
    pub(crate) tally: Tally,
}

/// The replies and counts of one group of commands. They are collected before the commit and published after it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) appended: Vec<oneshot::Sender<Result<(), AppendError>>>,
    /// The appended batches, if there is an observer.
    pub(super) observed: Vec<ObservedBatch>,
    pub(super) items: Items,
    /// An estimate of the bytes written to the WAL.
    pub(super) bytes: u64,
    pub(super) rejected: Vec<(oneshot::Sender<Result<(), AppendError>>, AppendError)>,
    /// The replies to all other commands.
    pub(super) replies: Vec<oneshot::Sender<Result<(), String>>>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) settled: Vec<Settled>,
    pub(super) must_check_file: bool,
}

/// The items of batches dropped for one sink.
pub(super) struct Dropped {
    pub(super) sink: usize,
    pub(super) reason: &'static str,
    pub(super) items: ContentItems,
}

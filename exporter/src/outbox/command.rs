//! The commands of the writer, and the outcome of one commit.

use tokio::sync::oneshot;

use super::AppendError;
use super::compression::Compressed;
use crate::metrics::Tally;
use crate::otlp::{Items, Signal};

/// A command to the writer. It sends the reply after the commit that contains the command.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        signal: Signal,
        body: Compressed,
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

/// Items dropped for one sink.
pub(super) struct Dropped {
    pub(super) sink: usize,
    pub(super) reason: &'static str,
    pub(super) items: Items,
}

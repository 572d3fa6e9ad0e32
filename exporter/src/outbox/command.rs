//! The commands that the writer takes, and the outcome of one commit of them.

use tokio::sync::oneshot;

use super::AppendError;
use super::compression::Compressed;
use crate::metrics::Tally;
use crate::otlp::{Items, Signal};

/// What the writer can be asked for; each reply is sent after the commit that it is part of.
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
        /// What has become of the items up to there.
        passed: Vec<Settled>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Expire {
        now_ms: i64,
    },
    Probe {
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Somebody has read what cannot be right.
    Examine,
}

/// Items of one batch that have met their fate.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// Of the batch.
    pub(crate) id: i64,
    pub(crate) signal: Signal,
    pub(crate) items: u64,
    /// What counts them.
    pub(crate) tally: Tally,
}

/// The replies and counts of one group, made before the commit and told after it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) appended: Vec<oneshot::Sender<Result<(), AppendError>>>,
    pub(super) items: Items,
    /// About what was written to the log.
    pub(super) bytes: u64,
    pub(super) rejected: Vec<(oneshot::Sender<Result<(), AppendError>>, AppendError)>,
    pub(super) done: Vec<oneshot::Sender<Result<(), String>>>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) settled: Vec<Settled>,
    pub(super) is_suspect: bool,
}

/// What is given up for one sink.
pub(super) struct Dropped {
    pub(super) sink: usize,
    pub(super) reason: &'static str,
    pub(super) items: Items,
}

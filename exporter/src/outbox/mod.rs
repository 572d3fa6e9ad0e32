//! The outbox: batches of spans and log records on disk. A batch is kept from the acknowledgement of its request until
//! every sink has it.
//!
//! ```text
//!  receive ──► Outbox::append ──► writer thread: many appends, one commit ──► outbox.db
//!     ▲               │                                                          │
//!     └── committed ◄─┘                                   Reader (one per sink) ◄─┘ reads in order
//!                                                            └──► Cursor::advance: the sink has the batch
//! ```
//!
//! A batch is the body of one request as protobuf. This module does not parse it.
//! Batches have ascending ids. Each sink has a cursor: the id of the last batch that it has acknowledged.
//! A sink with rules of tail sampling gets a batch with the verdicts on its spans (`decision`, `verdict`).
//! A sink acknowledges a batch when its items are accepted, dropped or dead letters.
//! A sink acknowledges batches of contents that it does not take without a delivery ([`Signals`]).
//! A batch that every sink has acknowledged is deleted.
//! Batches of `--tail` take at most half of the outbox, because their lines can wait in the files.
//!
//! Invariant: only the writer thread writes `outbox.db`, and `append` returns after the commit of its batch.

mod batch;
mod command;
mod commit_mark;
mod compression;
mod corruption;
mod decision;
mod eviction;
mod file;
mod maintenance;
mod observation;
mod reader;
mod recovery;
mod rejection;
mod removal;
mod schema;
mod verdict;
mod wal_only;
mod watermarks;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::Metrics;
use crate::otlp::Signal;
use crate::storage::quarantine;
use crate::storage::{DataDir, DiskReserve};
use batch::ContentItems;
pub(crate) use batch::{Batch, BatchContent, Signals, Subscription};
use command::Command;
pub(crate) use command::{Decisions, Settled};
use commit_mark::MarkFile;
use compression::Compressed;
pub(crate) use decision::{DecidedTraces, DecisionLog};
use observation::Observations;
pub(crate) use observation::{Observe, ObservedBatch, ObservedRun};
pub(crate) use reader::{Cursor, Reader};
pub(crate) use verdict::{Verdict, Verdicts};
use writer::{Directory, Writer};

/// The limits of the outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
}

/// The reason why a batch was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The batch is larger than the outbox, or larger than one commit may be.
    TooLarge { bytes: u64, max_bytes: u64 },
    /// The outbox has reached its size limit. Dropping the batches that at least one sink has acknowledged does not
    /// free enough space.
    Full { waiting_bytes: u64 },
    /// The commit failed.
    Unwritable(String),
    /// The exporter is shutting down.
    Closed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, max_bytes } => {
                write!(f, "a batch of {bytes} bytes is larger than the limit of {max_bytes} bytes")
            }
            Self::Full { waiting_bytes } => {
                write!(f, "the outbox is full: {waiting_bytes} bytes wait for the sinks")
            }
            Self::Unwritable(reason) => f.write_str(reason),
            Self::Closed => f.write_str("the outbox is closed"),
        }
    }
}

/// A handle to the outbox. Clones share one writer.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    commands: mpsc::Sender<Command>,
    state: Arc<State>,
}

/// The state that the writer publishes to the handles.
#[derive(Debug)]
struct State {
    path: PathBuf,
    subscriptions: Box<[Subscription]>,
    /// The id of the last committed batch.
    committed: watch::Sender<i64>,
    /// The id of the last batch with verdicts for all sinks with rules.
    decided: watch::Sender<i64>,
    /// For each sink, the id of the last batch that it has acknowledged.
    cursors: watch::Sender<Vec<i64>>,
    /// The reason why the last commit failed, if it did.
    problem: Mutex<Option<String>>,
    /// When the oldest waiting batch was received, in milliseconds since 1970.
    oldest_ms: Mutex<Option<i64>>,
    /// The number of times that the file was replaced. Readers open the new file when it changes.
    replacements: watch::Sender<u64>,
    /// Set if some sink has rules.
    observer: OnceLock<Arc<dyn Observe>>,
    /// What it has observed of the committed batches.
    observations: Observations,
}

/// Longer bodies are prepared on a blocking thread, because they would delay other requests.
const MAX_INLINE_BYTES: usize = 256 << 10;

/// The maximum number of commands that wait for the writer.
const MAX_QUEUED_COMMANDS: usize = 1024;

/// Opens the outbox and starts its writer thread. The thread ends when the last [`Outbox`] is dropped.
pub(crate) fn open(
    dir: &DataDir,
    subscriptions: &[Subscription],
    limits: Limits,
    reserve: DiskReserve,
    metrics: Arc<Metrics>,
) -> anyhow::Result<(Outbox, JoinHandle<()>)> {
    let path = dir.path().join("outbox.db");
    let quarantine::Opened { mut connection, quarantined } =
        quarantine::open_or_replace(&path, &schema::KIND)?;
    let (mark_file, mark) = MarkFile::open(dir.path());
    let corruption = corruption::recover_at_start(quarantined, mark, &mut connection, &reserve, &metrics);
    let (commands, queue) = mpsc::channel(MAX_QUEUED_COMMANDS);
    let state = Arc::new(State {
        path,
        subscriptions: subscriptions.into(),
        committed: watch::Sender::new(0),
        decided: watch::Sender::new(0),
        cursors: watch::Sender::new(vec![0; subscriptions.len()]),
        problem: Mutex::new(None),
        oldest_ms: Mutex::new(None),
        replacements: watch::Sender::new(0),
        observer: OnceLock::new(),
        observations: Observations::default(),
    });
    let directory = Directory { data_dir: dir.clone(), mark_file, reserve };
    let writer = Writer::new(connection, corruption, limits, directory, state.clone(), metrics)
        .with_context(|| format!("failed to read the outbox {}", state.path.display()))?;
    let thread = std::thread::Builder::new()
        .name("outbox".to_owned())
        .spawn(move || writer.run(queue))
        .context("failed to start the outbox thread")?;
    Ok((Outbox { commands, state }, thread))
}

impl Outbox {
    /// Appends a batch. Returns when it is on disk.
    pub(crate) async fn append(
        &self,
        content: impl Into<BatchContent>,
        body: Bytes,
        items: u32,
    ) -> Result<(), AppendError> {
        let content = content.into();
        let (reply, done) = oneshot::channel();
        let observer = self.state.observer.get().cloned();
        let prepare = move |body: Bytes| {
            let runs = observer.map(|observer| match content.signal() {
                Signal::Traces => observer.observe(&body),
                Signal::Logs => Vec::new(),
            });
            (Compressed::new(body), runs)
        };
        let (body, runs) = if body.len() <= MAX_INLINE_BYTES {
            prepare(body)
        } else {
            let copy = body.clone();
            let prepared = tokio::task::spawn_blocking(move || prepare(copy)).await;
            // If the thread fails, the body is stored as it is.
            prepared.unwrap_or((Compressed::none(body), None))
        };
        let command = Command::Append { content, body, runs, items, reply };
        self.commands.send(command).await.map_err(|_| AppendError::Closed)?;
        done.await.map_err(|_| AppendError::Closed)?
    }

    /// Returns whether any sink takes this content, or has rules that need it.
    pub(crate) fn takes(&self, content: impl Into<BatchContent>) -> bool {
        let content = content.into();
        self.state.subscriptions.iter().any(|subscription| {
            subscription.signals.take(content) || (subscription.has_rules && content == BatchContent::Traces)
        })
    }

    /// Counts and logs items that are not in the outbox, for each sink that takes this content.
    pub(crate) fn count_dropped(
        &self,
        metrics: &Metrics,
        content: BatchContent,
        items: u64,
        reason: &'static str,
    ) {
        let mut dropped = ContentItems::default();
        dropped.add(content, items);
        for Subscription { sink, signals, .. } in &self.state.subscriptions {
            eviction::count_dropped(metrics, sink, reason, dropped.taken_by(*signals));
        }
    }

    /// Opens a reader for one sink. `sink` is the index of its subscription in the list passed to [`open`].
    pub(crate) fn reader(&self, sink: usize) -> anyhow::Result<Reader> {
        Reader::open(self.clone(), sink)
            .with_context(|| format!("failed to read the outbox {}", self.state.path.display()))
    }

    /// Opens the log of decisions, for the one task that decides. From now on, the observer reads the appended batches.
    pub(crate) fn decision_log(&self, observer: Arc<dyn Observe>) -> anyhow::Result<DecisionLog> {
        let observer = self.state.observer.get_or_init(|| observer).clone();
        DecisionLog::open(self.clone(), observer)
            .with_context(|| format!("failed to read the outbox {}", self.state.path.display()))
    }

    /// Checks that commits succeed; `Err` holds the reason why they fail.
    ///
    /// After a failed commit this tries a small one, so that the outbox recovers without traffic.
    pub(crate) async fn check_writable(&self) -> Result<(), String> {
        let closed = || "the outbox is closed".to_owned();
        if self.commands.is_closed() {
            return Err(closed());
        }
        if self.problem().is_none() {
            return Ok(());
        }
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Probe { reply }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    /// Looks for files that were removed or replaced, and replaces them. `Err` holds the reason if they are not replaced.
    pub(crate) async fn check_path(&self) -> Result<(), String> {
        let closed = || "the outbox is closed".to_owned();
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::CheckPath { reply }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    /// Drops batches that have waited longer than the maximum age.
    pub(crate) async fn drop_expired(&self, now_ms: i64) {
        // A closed outbox drops nothing.
        let _ = self.commands.send(Command::DropExpired { now_ms }).await;
    }

    /// Waits until every sink has acknowledged every batch committed so far.
    pub(crate) async fn drained(&self) {
        let target = *self.state.committed.borrow();
        let mut cursors = self.state.cursors.subscribe();
        // `self.state` holds the sender, so waiting cannot fail.
        let _ = cursors.wait_for(|cursors| cursors.iter().all(|cursor| *cursor >= target)).await;
    }

    /// Returns when the oldest waiting batch was received, in milliseconds since 1970.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        *self.state.oldest_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the backlog of each sink: the number of batches that it has not acknowledged yet.
    pub(crate) fn backlogs(&self) -> Vec<i64> {
        let committed = *self.state.committed.borrow();
        self.state.cursors.borrow().iter().map(|cursor| (committed - cursor).max(0)).collect()
    }

    /// Returns how far each sink is behind: the number of batches that it could have and has not acknowledged yet.
    pub(crate) fn lags(&self) -> Vec<i64> {
        let (committed, decided) = (*self.state.committed.borrow(), *self.state.decided.borrow());
        let of_sink = |subscription: &Subscription, cursor: i64| {
            let available = if subscription.has_rules { decided } else { committed };
            (available - cursor).max(0)
        };
        let cursors = self.state.cursors.borrow();
        let subscriptions = self.state.subscriptions.iter();
        subscriptions
            .zip(cursors.iter())
            .map(|(subscription, cursor)| of_sink(subscription, *cursor))
            .collect()
    }

    fn problem(&self) -> Option<String> {
        self.state.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! The outbox: batches of spans and of log records on disk, from the moment a request is acknowledged until every sink has them.
//!
//! ```text
//!  receive ──► Outbox::append ──► writer thread: many appends, one commit ──► outbox.db
//!     ▲               │                                                          │
//!     └── committed ◄─┘                                    Feed (one a sink) ◄───┘ reads, in order
//!                                                            └──► advance: the sink has it
//! ```
//!
//! A batch is the body of one request as protobuf, a blob that nothing here looks into.
//! Batches have ascending ids; a cursor for each sink tells the last batch that the sink has accepted, or passed
//! over because it does not take logs; what every sink has passed is deleted.
//!
//! Invariant: only the writer thread writes `outbox.db`, and an append is answered after the commit that holds it.

mod batch;
mod command;
mod compression;
mod corruption;
mod eviction;
mod maintenance;
mod reader;
mod recovery;
mod schema;
mod watermarks;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::Metrics;
use crate::otlp::Signal;
use crate::storage::DiskReserve;
use crate::storage::quarantine;
pub(crate) use batch::{Batch, Subscription};
use command::Command;
pub(crate) use command::Settled;
use compression::Compressed;
pub(crate) use reader::{Cursor, Reader};
use writer::Writer;

/// The bounds of the outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// It is larger than what the outbox or the disk can take at one time.
    TooLarge { bytes: u64, max_bytes: u64 },
    /// The bound by bytes is reached and every sink still needs the oldest batch.
    Full { waiting_bytes: u64 },
    /// The database refused the commit.
    Unwritable(String),
    /// The exporter is shutting down.
    Closed,
}

/// The handle that everyone else has: clones share one writer.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    commands: mpsc::Sender<Command>,
    state: Arc<State>,
}

/// What the writer shows of itself.
#[derive(Debug)]
struct State {
    path: PathBuf,
    subscriptions: Box<[Subscription]>,
    /// The id of the last committed batch.
    committed: watch::Sender<i64>,
    /// For each sink the id of the last batch that it has passed.
    cursors: watch::Sender<Vec<i64>>,
    /// Why the last commit failed, if it did.
    problem: Mutex<Option<String>>,
    /// When the oldest waiting batch was received, in milliseconds since 1970.
    oldest_ms: Mutex<Option<i64>>,
    /// How many times the file has been replaced: whoever reads opens it again.
    file: watch::Sender<u64>,
}

/// Appends and other commands that may wait for the writer.
const QUEUE: usize = 1024;

/// Opens the outbox and starts its writer thread, which ends when the last [`Outbox`] is dropped.
pub(crate) fn open(
    dir: &Path,
    subscriptions: &[Subscription],
    limits: Limits,
    reserve: DiskReserve,
    metrics: Arc<Metrics>,
) -> anyhow::Result<(Outbox, JoinHandle<()>)> {
    let path = dir.join("outbox.db");
    let quarantine::Opened { mut connection, quarantined } =
        quarantine::open_or_replace(&path, &schema::KIND)?;
    let damage = corruption::recover_at_start(quarantined, &mut connection, &reserve, &metrics);
    let (commands, queue) = mpsc::channel(QUEUE);
    let state = Arc::new(State {
        path,
        subscriptions: subscriptions.into(),
        committed: watch::Sender::new(0),
        cursors: watch::Sender::new(vec![0; subscriptions.len()]),
        problem: Mutex::new(None),
        oldest_ms: Mutex::new(None),
        file: watch::Sender::new(0),
    });
    let writer = Writer::new(connection, damage, limits, reserve, state.clone(), metrics)
        .with_context(|| format!("cannot read the outbox {}", state.path.display()))?;
    let thread = std::thread::Builder::new()
        .name("outbox".to_owned())
        .spawn(move || writer.run(queue))
        .context("cannot start the thread of the outbox")?;
    Ok((Outbox { commands, state }, thread))
}

impl Outbox {
    /// Adds a batch; returns after it is on disk.
    pub(crate) async fn append(&self, signal: Signal, body: Bytes, items: u32) -> Result<(), AppendError> {
        let (reply, done) = oneshot::channel();
        let body = Compressed::new(body).await;
        let command = Command::Append { signal, body, items, reply };
        self.commands.send(command).await.map_err(|_| AppendError::Closed)?;
        done.await.map_err(|_| AppendError::Closed)?
    }

    /// Whether any sink takes this signal.
    pub(crate) fn is_wanted(&self, signal: Signal) -> bool {
        self.state.subscriptions.iter().any(|subscription| subscription.takes(signal))
    }

    /// The batches of one sink, by the place of its subscription in the list that [`open`] got.
    pub(crate) fn reader(&self, sink: usize) -> anyhow::Result<Reader> {
        Reader::open(self.clone(), sink)
            .with_context(|| format!("cannot read the outbox {}", self.state.path.display()))
    }

    /// Whether a commit would succeed now; `Err` says why not.
    ///
    /// After a failed commit this tries a small one, so that the answer recovers without traffic.
    pub(crate) async fn writable(&self) -> Result<(), String> {
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

    /// Drops what has waited longer than the bound by age.
    pub(crate) async fn expire(&self, now_ms: i64) {
        // A closed outbox has nothing to expire.
        let _ = self.commands.send(Command::Expire { now_ms }).await;
    }

    /// Returns when every sink has accepted every batch committed so far.
    pub(crate) async fn drained(&self) {
        let target = *self.state.committed.borrow();
        let mut cursors = self.state.cursors.subscribe();
        // The sender lives in `self.state`, so waiting cannot fail.
        let _ = cursors.wait_for(|cursors| cursors.iter().all(|cursor| *cursor >= target)).await;
    }

    /// When the oldest waiting batch was received, in milliseconds since 1970.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        *self.state.oldest_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each sink how many batches it has not accepted yet.
    pub(crate) fn lags(&self) -> Vec<i64> {
        let committed = *self.state.committed.borrow();
        self.state.cursors.borrow().iter().map(|cursor| (committed - cursor).max(0)).collect()
    }

    fn problem(&self) -> Option<String> {
        self.state.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

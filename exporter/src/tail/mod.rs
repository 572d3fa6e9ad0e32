//! Reads log files as a logging agent does, stores the lines, and forwards them to the sinks.
//!
//! ```text
//!  reader ──► log_file ──► generation ──► lines (complete lines, parts) ─┬─► line (JSON) ──► batch ─┬─► 2. store
//!            (rotation,   (growth,                                       │                          │  (with the positions)
//!             truncation)  one file)        stdin ───────────────────────┘                          │
//!                                                   outbox ◄── log_record, record_id ◄── forward ◄──┴── 1.
//! ```
//!
//! One reader reads all files in turn, a part of each, with one buffer. A file that does not grow takes a read position
//! and a `stat` now and then.
//!
//! A line that is not JSON is skipped and counted.
//! The read positions of a file are committed together with its lines, so a restart neither loses nor repeats a line.
//! If a sink takes log records, the lines of a batch are in the outbox before they are stored. A crash between the two
//! repeats lines at the sinks, with the same ids. While the outbox is full, nothing is read.
//! Rotated files are read to their end, even if they were rotated while the exporter was down.
//! At the shutdown, the lines of stdin that were read are still stored: nothing else has them.

mod batch;
mod container;
mod context;
mod discovery;
mod fields;
mod file;
mod fingerprint;
mod forward;
mod generation;
mod host;
mod line;
mod lines;
mod log_file;
mod log_record;
mod reader;
mod record_id;
mod rotation;
mod stdin;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::store::Store;
use batch::CommitError;
use forward::Forward;
pub(crate) use host::Host;
use log_file::PAUSE_AFTER_ERROR;
use reader::Reader;

/// How long a rotated file has to be unchanged before its last line counts as complete.
const ROTATION_WAIT: Duration = Duration::from_secs(5);

/// The pause before a batch that the outbox has not taken is appended again.
const PAUSE_WHILE_BLOCKED: Duration = Duration::from_millis(500);

/// The two steps of the shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Nothing more is read. Lines of stdin, which cannot be read again, are still stored.
    pub(crate) reading: Shutdown,
    /// The last chance to store them.
    pub(crate) storing: Shutdown,
}

/// Follows these files until the shutdown. The path `-` is stdin.
pub(crate) async fn run(
    mut paths: Vec<PathBuf>,
    host: Host,
    dir: PathBuf,
    outbox: Outbox,
    store: Store,
    metrics: Arc<Metrics>,
    mut stop: Stop,
) {
    let forward = Forward::new(outbox, &dir, host, metrics.clone(), stop.reading.clone());
    let tail = Tail { store, metrics, forward };
    let count = paths.len();
    paths.retain(|path| path.as_os_str() != "-");
    let has_stdin = paths.len() < count;
    paths.sort();
    paths.dedup();
    let stop_of_stdin = stop.clone();
    let stdin = async {
        if has_stdin {
            stdin::run(tail.clone(), tokio::io::stdin(), stop_of_stdin).await;
        }
    };
    let files = async {
        if !paths.is_empty() {
            tokio::select! {
                () = stop.reading.begun() => {}
                () = read_files(&tail, &paths) => {}
            }
        }
    };
    tokio::join!(stdin, files);
}

#[derive(Debug, Clone)]
struct Tail {
    store: Store,
    metrics: Arc<Metrics>,
    /// `None` if no sink takes the lines.
    forward: Option<Forward>,
}

async fn read_files(tail: &Tail, paths: &[PathBuf]) {
    let mut reader = None;
    loop {
        let (tail, again) = (tail.clone(), paths.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = match reader.take() {
                Some(reader) => reader,
                None => match Reader::open(&again, ROTATION_WAIT, tail) {
                    Ok(reader) => reader,
                    Err(error) => return (None, Err(error)),
                },
            };
            let pause = reader.read_due();
            (Some(reader), pause)
        });
        let pause = match read.await {
            Ok((next, Ok(pause))) => {
                reader = next;
                pause
            }
            Ok((next, Err(error))) => {
                reader = next;
                match error {
                    CommitError::Blocked => PAUSE_WHILE_BLOCKED,
                    CommitError::Store(error) => {
                        log::warn("failed to store log lines", &[("error", Value::Str(&error))]);
                        PAUSE_AFTER_ERROR
                    }
                }
            }
            Err(error) => {
                // A panic: the next reader continues at the committed positions.
                reader = None;
                log::warn("failed to read log files", &[("error", Value::Str(&error.to_string()))]);
                PAUSE_AFTER_ERROR
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn log_error(path: &Path, error: &str) {
    log::warn(
        "failed to tail a file",
        &[("file", Value::Fmt(format_args!("{}", path.display()))), ("error", Value::Str(error))],
    );
}

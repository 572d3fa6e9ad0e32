//! Reading log lines as a logging agent would: follow a file, keep the lines that belong to a trace.
//!
//! ```text
//!  file ──► follow (complete lines; truncation, rotation) ──► line (JSON, both formats) ──► store, with the position
//! ```
//!
//! A line that is not JSON, or belongs to no trace, is counted and skipped.
//! The position of a file is committed together with its lines, so a restart neither loses nor repeats one.
//! What was written to a file that was rotated away while the exporter was down is not looked for.

mod follow;
mod line;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::clock;
use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, Reason};
use crate::shutdown::Shutdown;
use crate::sink::store::{LogLine, Position, Store};
use follow::{Follow, MAX_LINE_BYTES, Piece};
use line::Skip;

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long to wait after an error.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Follows one file (`-` is stdin) until the shutdown.
pub(crate) async fn run(path: PathBuf, store: Store, metrics: Arc<Metrics>, mut stop: Shutdown) {
    let tail = Tail { path, store, metrics };
    tokio::select! {
        () = stop.begun() => {}
        () = tail.run() => {}
    }
}

#[derive(Clone)]
struct Tail {
    path: PathBuf,
    store: Store,
    metrics: Arc<Metrics>,
}

impl Tail {
    async fn run(&self) {
        if self.path.as_os_str() == "-" {
            return self.stdin().await;
        }
        let mut follow = None;
        loop {
            let tail = self.clone();
            let turn = tokio::task::spawn_blocking(move || tail.turn(follow.take()));
            let pause = match turn.await {
                Ok(Ok((next, more))) => {
                    follow = Some(next);
                    if more { Duration::ZERO } else { INTERVAL }
                }
                Ok(Err(error)) => {
                    // Starts again from the position that is committed.
                    follow = None;
                    self.problem(&error);
                    AFTER_ERROR
                }
                Err(error) => {
                    follow = None;
                    self.problem(&error.to_string());
                    AFTER_ERROR
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads and stores what has come since the last turn; tells whether there is more.
    fn turn(&self, follow: Option<Follow>) -> Result<(Follow, bool), String> {
        let file = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let key = file.to_string_lossy().into_owned();
        let mut follow = match follow {
            Some(follow) => follow,
            None => {
                let position =
                    self.store.position(&key).map_err(|e| format!("cannot read the store: {e}"))?;
                Follow::resume(file, position.map(|position| (position.offset, position.head)))
            }
        };
        let read = follow.read().map_err(|error| error.to_string())?;
        if read.moved {
            let lines = self.parse(&read.pieces);
            let position = Position { file: key, offset: follow.offset(), head: follow.head().to_vec() };
            self.append(&lines, Some(&position))?;
        }
        Ok((follow, read.more))
    }

    /// Stdin has no position: it is read once.
    async fn stdin(&self) {
        let mut reader = BufReader::new(tokio::io::stdin());
        let mut buffer = Vec::new();
        let mut is_rest = false;
        loop {
            buffer.clear();
            let mut bounded = (&mut reader).take(MAX_LINE_BYTES as u64);
            match bounded.read_until(b'\n', &mut buffer).await {
                Ok(0) => return,
                Err(error) => return self.problem(&error.to_string()),
                Ok(_) => {}
            }
            let is_complete = buffer.last() == Some(&b'\n') || buffer.len() < MAX_LINE_BYTES;
            let was_rest = std::mem::replace(&mut is_rest, !is_complete);
            let pieces = match (is_complete, was_rest) {
                (true, false) => vec![Piece::Line(std::mem::take(&mut buffer))],
                (true, true) => vec![],
                (false, false) => vec![Piece::TooLong],
                (false, true) => vec![],
            };
            let tail = self.clone();
            let turn = tokio::task::spawn_blocking(move || tail.append(&tail.parse(&pieces), None));
            match turn.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.problem(&error),
                Err(error) => self.problem(&error.to_string()),
            }
        }
    }

    fn parse(&self, pieces: &[Piece]) -> Vec<LogLine> {
        let now = clock::unix_nanos();
        let mut lines = Vec::new();
        for piece in pieces {
            let parsed = match piece {
                Piece::Line(bytes) => line::parse(bytes, now),
                Piece::TooLong => Err(Skip::TooLong),
            };
            self.metrics.log_lines_tailed.inc();
            match parsed {
                Ok(line) => lines.push(line),
                Err(skip) => {
                    let label = Reason { reason: skip.as_str() };
                    self.metrics.log_lines_skipped.get_or_create(&label).inc();
                }
            }
        }
        lines
    }

    fn append(&self, lines: &[LogLine], position: Option<&Position>) -> Result<(), String> {
        if lines.is_empty() && position.is_none() {
            return Ok(());
        }
        self.store.append_lines(lines, position).map_err(|error| format!("cannot write the store: {error}"))
    }

    fn problem(&self, error: &str) {
        let path = self.path.display();
        log::repeated(
            Severity::Warning,
            "cannot tail a file",
            &[("file", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(error))],
        );
    }
}

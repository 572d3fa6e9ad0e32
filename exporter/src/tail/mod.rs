//! Reading log lines as a logging agent would: follow a file, keep the lines that belong to a trace.
//!
//! ```text
//!  file ──► follow (complete lines; truncation, rotation) ──► line (JSON, both formats) ──► store, with the position
//! ```
//!
//! A line that is not JSON, or belongs to no trace, is counted and skipped.
//! The position of a file is committed together with its lines, so a restart neither loses nor repeats one.
//! A file that was rotated away, also while the exporter was down, is read to its end first.

mod cri;
mod follow;
mod line;
mod rotation;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use crate::clock;
use crate::log::{self, Severity, Value};
use crate::metrics::{Metrics, Reason};
use crate::shutdown::Shutdown;
use crate::store::{LogLine, Position, Store};
use follow::{Follow, MAX_LINE_BYTES, Piece, ROTATE_WAIT};
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

/// What is read of stdin before it is stored, and how long that may take after the first of it.
const STDIN_BYTES: usize = 256 << 10;
const TOGETHER: Duration = Duration::from_millis(5);

/// The lines of a stream that comes in pieces of any length.
#[derive(Debug, Default)]
struct Lines {
    pieces: Vec<Piece>,
    /// The start of a line whose end is still to come.
    start: Vec<u8>,
    /// It is too long, and has been told.
    skipping: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.skipping {
                if self.start.len() + part.len() > MAX_LINE_BYTES {
                    self.start = Vec::new();
                    self.skipping = true;
                    self.pieces.push(Piece::TooLong);
                } else {
                    self.start.extend_from_slice(part);
                }
            }
            if part.last() == Some(&b'\n') && !std::mem::take(&mut self.skipping) {
                self.pieces.push(Piece::Line(std::mem::take(&mut self.start)));
            }
        }
    }

    /// What has no line break at the end is a line, too.
    fn end(&mut self) {
        if !self.start.is_empty() {
            self.pieces.push(Piece::Line(std::mem::take(&mut self.start)));
        }
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
                let position = position.map(|position| (position.offset, position.head));
                Follow::resume(file, position, ROTATE_WAIT)
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

    /// Stdin has no position: it is read once. What comes together is stored together.
    async fn stdin(&self) {
        let mut reader = BufReader::with_capacity(STDIN_BYTES, tokio::io::stdin());
        let mut lines = Lines::default();
        let mut at_end = false;
        while !at_end {
            let mut taken = 0;
            let mut patience = None;
            while taken < STDIN_BYTES && !at_end {
                let filled = match patience {
                    None => reader.fill_buf().await,
                    Some(until) => match tokio::time::timeout_at(until, reader.fill_buf()).await {
                        Ok(filled) => filled,
                        Err(_) => break,
                    },
                };
                match filled {
                    Ok([]) => at_end = true,
                    Ok(bytes) => {
                        lines.take(bytes);
                        let length = bytes.len();
                        reader.consume(length);
                        taken += length;
                        patience.get_or_insert_with(|| Instant::now() + TOGETHER);
                    }
                    Err(error) => {
                        self.problem(&error.to_string());
                        at_end = true;
                    }
                }
            }
            if at_end {
                lines.end();
            }
            self.store(std::mem::take(&mut lines.pieces)).await;
        }
    }

    /// Stores lines that cannot be read again: until that works, nothing more is read.
    async fn store(&self, pieces: Vec<Piece>) {
        let lines = Arc::new(self.parse(&pieces));
        loop {
            let (tail, lines) = (self.clone(), lines.clone());
            match tokio::task::spawn_blocking(move || tail.append(&lines, None)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => self.problem(&error),
                Err(error) => self.problem(&error.to_string()),
            }
            tokio::time::sleep(AFTER_ERROR).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_lines_wherever_it_is_cut() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let text = format!("one\n\n{long}\ntwo\n{long}{long}{long}\nlast");
        for step in [1000, 4096, MAX_LINE_BYTES, text.len()] {
            let mut lines = Lines::default();
            text.as_bytes().chunks(step).for_each(|bytes| lines.take(bytes));
            lines.end();
            let line = |text: &str| Piece::Line(text.as_bytes().to_vec());
            let expected =
                [line("one\n"), line("\n"), Piece::TooLong, line("two\n"), Piece::TooLong, line("last")];
            assert!(lines.pieces == expected, "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_stored_is_kept_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let store =
            Store::open(dir.path(), crate::storage::DiskReserve::small(dir.path()), metrics.clone()).unwrap();
        let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
        let trigger =
            "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
        other.execute_batch(trigger).unwrap();
        let tail = Tail { path: "-".into(), store: store.clone(), metrics };
        let line = br#"{"trace":"463ac35c9f6413ad48485a3953bb6124","message":"kept"}"#;
        let storing = tokio::spawn(async move { tail.store(vec![Piece::Line(line.to_vec())]).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!storing.is_finished());
        other.execute_batch("DROP TRIGGER no").unwrap();
        storing.await.unwrap();
        let trace = store.trace("463ac35c9f6413ad48485a3953bb6124".parse().unwrap()).unwrap().unwrap();
        assert_eq!(trace.lines.len(), 1);
    }
}

//! Reads log files as a logging agent does, and stores the lines that belong to a trace.
//!
//! ```text
//!  file ───► follow (complete lines, truncation, rotation) ─┬─► line (JSON, both formats) ──► store, with the position
//!  stdin ──► LineSplitter ──────────────────────────────────┘
//! ```
//!
//! A line that is not JSON, or does not belong to a trace, is skipped and counted.
//! The read position of a file is committed together with its lines, so a restart neither loses nor repeats a line.
//! A rotated file is read to its end before the new file, even if it was rotated while the exporter was down.

mod cri;
mod follow;
mod line;
mod rotation;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use crate::clock;
use crate::log::{self, Value};
use crate::metrics::{Metrics, ReasonLabel};
use crate::shutdown::Shutdown;
use crate::store::{LogLine, ReadPosition, Store};
use follow::{Follower, MAX_LINE_BYTES, RawLine};
use line::Skip;

/// The interval at which a file is read.
const INTERVAL: Duration = Duration::from_millis(200);

/// The pause after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(2);

/// How long a rotated file has to be unchanged before the next file is read.
const ROTATION_WAIT: Duration = Duration::from_secs(5);

/// The maximum number of bytes of stdin that are stored together.
const STDIN_BYTES: usize = 256 << 10;

/// How long stdin waits for further lines that are stored together with the first.
const STDIN_LINGER: Duration = Duration::from_millis(5);

/// Follows one file until the shutdown. The path `-` is stdin.
pub(crate) async fn run(path: PathBuf, store: Store, metrics: Arc<Metrics>, mut stop: Shutdown) {
    let tail = Tail { path, store, metrics };
    tokio::select! {
        () = stop.begun() => {}
        () = tail.run() => {}
    }
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
struct LineSplitter {
    lines: Vec<RawLine>,
    /// The start of an incomplete line.
    incomplete: Vec<u8>,
    /// The bytes up to the next line break belong to a line that is too long.
    is_skipping: bool,
}

impl LineSplitter {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_skipping {
                if self.incomplete.len() + part.len() > MAX_LINE_BYTES {
                    self.incomplete = Vec::new();
                    self.is_skipping = true;
                    self.lines.push(RawLine::TooLong);
                } else {
                    self.incomplete.extend_from_slice(part);
                }
            }
            if part.last() == Some(&b'\n') && !std::mem::take(&mut self.is_skipping) {
                self.lines.push(RawLine::Bytes(std::mem::take(&mut self.incomplete)));
            }
        }
    }

    /// Completes the last line, if it has no line break.
    fn finish(&mut self) {
        if !self.incomplete.is_empty() {
            self.lines.push(RawLine::Bytes(std::mem::take(&mut self.incomplete)));
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
            return self.read_stdin().await;
        }
        let mut follower = None;
        loop {
            let tail = self.clone();
            let read = tokio::task::spawn_blocking(move || tail.read_file(follower.take()));
            let pause = match read.await {
                Ok(Ok((next, has_more))) => {
                    follower = Some(next);
                    if has_more { Duration::ZERO } else { INTERVAL }
                }
                Ok(Err(error)) => {
                    // The next read resumes at the committed position.
                    follower = None;
                    self.log_error(&error);
                    PAUSE_AFTER_ERROR
                }
                Err(error) => {
                    follower = None;
                    self.log_error(&error.to_string());
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads and stores the new lines of the file. Returns true if there are more.
    fn read_file(&self, follower: Option<Follower>) -> Result<(Follower, bool), String> {
        let file = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let key = file.to_string_lossy().into_owned();
        let mut follower = match follower {
            Some(follower) => follower,
            None => {
                let position = self
                    .store
                    .position(&key)
                    .map_err(|error| format!("failed to read the store: {error}"))?;
                let position = position.map(|position| (position.offset, position.head));
                Follower::resume(file, position, ROTATION_WAIT)
            }
        };
        let new = follower.read().map_err(|error| error.to_string())?;
        if new.has_advanced {
            let lines = self.parse(&new.lines);
            let (offset, head) = (follower.offset(), follower.head().to_vec());
            self.append(&lines, Some(&ReadPosition { file: key, offset, head }))?;
        }
        Ok((follower, new.has_more))
    }

    /// Reads stdin to its end. It has no read position, because it can be read only once.
    async fn read_stdin(&self) {
        let mut reader = BufReader::with_capacity(STDIN_BYTES, tokio::io::stdin());
        let mut splitter = LineSplitter::default();
        let mut is_at_end = false;
        while !is_at_end {
            let mut bytes_read = 0;
            let mut deadline = None;
            while bytes_read < STDIN_BYTES && !is_at_end {
                let filled = match deadline {
                    None => reader.fill_buf().await,
                    Some(deadline) => match tokio::time::timeout_at(deadline, reader.fill_buf()).await {
                        Ok(filled) => filled,
                        Err(_) => break,
                    },
                };
                match filled {
                    Ok([]) => is_at_end = true,
                    Ok(bytes) => {
                        splitter.push(bytes);
                        let length = bytes.len();
                        reader.consume(length);
                        bytes_read += length;
                        deadline.get_or_insert_with(|| Instant::now() + STDIN_LINGER);
                    }
                    Err(error) => {
                        self.log_error(&error.to_string());
                        is_at_end = true;
                    }
                }
            }
            if is_at_end {
                splitter.finish();
            }
            self.store_with_retries(std::mem::take(&mut splitter.lines)).await;
        }
    }

    /// Stores lines that cannot be read again. Retries until they are stored.
    async fn store_with_retries(&self, lines: Vec<RawLine>) {
        let lines = Arc::new(self.parse(&lines));
        loop {
            let (tail, lines) = (self.clone(), lines.clone());
            match tokio::task::spawn_blocking(move || tail.append(&lines, None)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => self.log_error(&error),
                Err(error) => self.log_error(&error.to_string()),
            }
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }

    /// Parses lines, and counts those that are skipped.
    fn parse(&self, lines: &[RawLine]) -> Vec<LogLine> {
        let now = clock::unix_nanos();
        let mut parsed = Vec::new();
        for line in lines {
            self.metrics.log_lines_tailed.inc();
            let result = match line {
                RawLine::Bytes(bytes) => line::parse(bytes, now),
                RawLine::TooLong => Err(Skip::TooLong),
            };
            match result {
                Ok(line) => parsed.push(line),
                Err(skip) => {
                    let label = ReasonLabel { reason: skip.as_str() };
                    self.metrics.log_lines_skipped.get_or_create(&label).inc();
                }
            }
        }
        parsed
    }

    fn append(&self, lines: &[LogLine], position: Option<&ReadPosition>) -> Result<(), String> {
        if lines.is_empty() && position.is_none() {
            return Ok(());
        }
        self.store
            .append_lines(lines, position)
            .map_err(|error| format!("failed to write to the store: {error}"))
    }

    fn log_error(&self, error: &str) {
        let path = self.path.display();
        log::warn(
            "failed to tail a file",
            &[("file", Value::Fmt(format_args!("{path}"))), ("error", Value::Str(error))],
        );
    }
}

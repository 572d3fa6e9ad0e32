//! Reads the lines of stdin.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::Instant;

use super::batch::{Batch, CommitError};
use super::container::Assembler;
use super::forward::Forward;
use super::lines::{MAX_LINE_BYTES, RawLine};
use super::log_file::PAUSE_AFTER_ERROR;
use super::record_id::Source;
use super::{Stop, Tail, log_error};
use crate::clock;
use crate::shutdown::Shutdown;

/// The maximum number of bytes of stdin that are stored together.
const MAX_BYTES: usize = 256 << 10;

/// How long stdin waits for further lines that are stored together with the first.
const LINGER: Duration = Duration::from_millis(5);

/// Reads stdin, or another input, to its end or until the shutdown, and stores what was read. It has no read position,
/// because it can be read only once.
pub(super) async fn run(tail: Tail, input: impl AsyncRead + Unpin, stop: Stop) {
    let Stop { mut reading, mut storing } = stop;
    let tail = Tail { forward: tail.forward.as_ref().map(Forward::until_the_end), ..tail };
    let mut reader = BufReader::with_capacity(MAX_BYTES, input);
    let mut splitter = Splitter::default();
    let mut assembler = Assembler::default();
    let mut is_at_end = false;
    // Other than a file, stdin is not read again, so its lines need not get the same ids.
    let start = clock::unix_nanos().to_be_bytes();
    let mut count = 0;
    while !is_at_end {
        let mut batch = Batch::new(tail.forward.as_ref());
        let mut push = |batch: &mut Batch, line: RawLine<'_>| {
            count += 1;
            batch.push(line, Source { path: b"-", head: &start, offset: count });
        };
        let mut bytes_read = 0;
        let mut deadline = None;
        while bytes_read < MAX_BYTES && !is_at_end && !batch.is_full(&tail.store) {
            let filled = tokio::select! {
                biased;
                filled = reader.fill_buf() => filled,
                () = until(deadline) => break,
                () = reading.begun() => Ok(&[][..]),
            };
            match filled {
                Ok([]) => is_at_end = true,
                Ok(bytes) => {
                    splitter.push(bytes, |line| assembler.push_raw(line, &mut |line| push(&mut batch, line)));
                    let length = bytes.len();
                    reader.consume(length);
                    bytes_read += length;
                    deadline.get_or_insert_with(|| Instant::now() + LINGER);
                    is_at_end = reading.has_begun();
                }
                // Another process has made the descriptor non-blocking.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
                Err(error) => {
                    log_error("-".as_ref(), &error.to_string());
                    is_at_end = true;
                }
            }
        }
        if is_at_end {
            splitter.finish(|line| assembler.push_raw(line, &mut |line| push(&mut batch, line)));
            std::mem::take(&mut assembler).finish(&mut |line| push(&mut batch, line));
        }
        store(&tail, batch, &mut storing).await;
    }
}

/// Waits for a deadline, if there is one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Stores lines that cannot be read again. Retries until they are stored, and a last time when the exporter ends.
async fn store(tail: &Tail, mut batch: Batch, stop: &mut Shutdown) {
    loop {
        let is_last = stop.has_begun();
        let Tail { store, metrics, forward } = tail.clone();
        let commit = move || {
            if is_last {
                batch.commit_last(&store, &metrics, forward.as_ref());
                return None;
            }
            let result = batch.commit(&store, &metrics, forward.as_ref());
            result.err().map(|error| (batch, error))
        };
        match tokio::task::spawn_blocking(commit).await {
            Ok(None) => return,
            Ok(Some((unstored, error))) => {
                if let CommitError::Store(error) = error {
                    log_error("-".as_ref(), &error);
                }
                batch = unstored;
            }
            // A panic of the store, which drops the lines.
            Err(error) => return log_error("-".as_ref(), &error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE_AFTER_ERROR) => {}
            () = stop.begun() => {}
        }
    }
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
struct Splitter {
    /// The start of an incomplete line.
    incomplete: Vec<u8>,
    /// The bytes up to the next line break belong to a line that is too long.
    is_skipping: bool,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(RawLine<'_>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_skipping {
                if self.incomplete.len() + part.len() > MAX_LINE_BYTES {
                    self.incomplete = Vec::new();
                    self.is_skipping = true;
                    emit(RawLine::TooLong);
                } else {
                    self.incomplete.extend_from_slice(part);
                }
            }
            if part.last() == Some(&b'\n') && !std::mem::take(&mut self.is_skipping) {
                emit(RawLine::Bytes(&self.incomplete));
                self.incomplete.clear();
            }
        }
    }

    /// Completes the last line, if it has no line break.
    fn finish(&mut self, mut emit: impl FnMut(RawLine<'_>)) {
        if !self.incomplete.is_empty() {
            emit(RawLine::Bytes(&self.incomplete));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::Store;

    #[test]
    fn stdin_is_split_into_lines_whatever_the_sizes_of_its_reads() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let text = format!("one\n\n{long}\ntwo\n{long}{long}{long}\nlast");
        for step in [1000, 4096, MAX_LINE_BYTES, text.len()] {
            let mut lines = Vec::new();
            let mut emit = |line: RawLine<'_>| {
                lines.push(match line {
                    RawLine::Bytes(line) => String::from_utf8(line.to_vec()).unwrap(),
                    RawLine::TooLong => "TOO LONG".to_owned(),
                });
            };
            let mut splitter = Splitter::default();
            text.as_bytes().chunks(step).for_each(|bytes| splitter.push(bytes, &mut emit));
            splitter.finish(&mut emit);
            let expected = ["one\n", "\n", "TOO LONG", "two\n", "TOO LONG", "last"];
            assert!(lines == expected, "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn parts_of_a_line_from_a_container_runtime_are_joined() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let reserve = crate::storage::DiskReserve::small(dir.path());
        let store =
            Store::open(&crate::storage::DataDir::unlocked(dir.path()), reserve, metrics.clone()).unwrap();
        let tail = Tail { store: store.clone(), metrics: metrics.clone(), forward: None };
        let lines = concat!(
            "2026-11-22T23:00:01Z stdout P {\"trace\":\"463ac35c9f6413ad48485a3953bb6124\",\n",
            "2026-11-22T23:00:01Z stdout F \"message\":\"whole\"}\n",
        );
        let ((_reading, reading), (_storing, storing)) =
            (crate::shutdown::channel(), crate::shutdown::channel());
        run(tail, lines.as_bytes(), Stop { reading, storing }).await;
        let trace = store.trace("463ac35c9f6413ad48485a3953bb6124".parse().unwrap()).unwrap().unwrap();
        assert_eq!(trace.lines.len(), 1);
        assert_eq!(metrics.log_lines_tailed.get(), 1);
    }

    #[tokio::test]
    async fn a_line_of_stdin_is_retried_until_it_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let reserve = crate::storage::DiskReserve::small(dir.path());
        let store =
            Store::open(&crate::storage::DataDir::unlocked(dir.path()), reserve, metrics.clone()).unwrap();
        let other = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
        let trigger =
            "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
        other.execute_batch(trigger).unwrap();
        let tail = Tail { store: store.clone(), metrics: metrics.clone(), forward: None };
        let mut batch = Batch::default();
        for line in [&br#"{"trace":"463ac35c9f6413ad48485a3953bb6124","message":"kept"}"#[..], b"noise"] {
            batch.push(RawLine::Bytes(line), Source { path: b"-", head: b"", offset: 0 });
        }
        let (_trigger, mut stop) = crate::shutdown::channel();
        let storing = tokio::spawn(async move { super::store(&tail, batch, &mut stop).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!storing.is_finished());
        assert_eq!(metrics.log_lines_tailed.get(), 0);
        other.execute_batch("DROP TRIGGER no").unwrap();
        storing.await.unwrap();
        let trace = store.trace("463ac35c9f6413ad48485a3953bb6124".parse().unwrap()).unwrap().unwrap();
        assert_eq!(trace.lines.len(), 1);
        assert_eq!(metrics.log_lines_tailed.get(), 2);
    }
}

//! The standard output. One thread writes it, so that a blocked reader blocks nothing else.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::Duration;

use logtracer_output::QueuedWriter;
use tokio::sync::oneshot;

use super::dropped_lines;

/// The maximum number of waiting lines. Further lines are dropped and counted.
const MAX_QUEUED_LINES: usize = 1024;

/// The writer, or `None` if its thread cannot be started: there is no place to report this.
static STDOUT: LazyLock<Option<QueuedWriter>> = LazyLock::new(|| {
    let write = |bytes: &[u8]| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    };
    QueuedWriter::start("stdout", MAX_QUEUED_LINES, write, dropped_lines).ok()
});

/// Queues a line, without waiting for stdout.
pub(crate) fn line(bytes: Vec<u8>) {
    if let Some(stdout) = &*STDOUT {
        stdout.write(bytes);
    }
}

/// Writes whole lines, and returns when stdout has accepted them.
pub(crate) async fn write(bytes: Vec<u8>) -> io::Result<()> {
    let Some(stdout) = &*STDOUT else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (done, result) = oneshot::channel();
    // The caller may have stopped waiting.
    stdout.write_then(bytes, move |result| drop(done.send(result)));
    result.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

/// Waits until all lines are written, for at most `timeout`.
pub(crate) fn flush(timeout: Duration) {
    if let Some(stdout) = &*STDOUT {
        stdout.flush(timeout);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use super::*;

    /// Under load there are few reports, and their numbers add up to all dropped lines.
    #[test]
    fn every_dropped_line_is_counted_in_a_few_reports() {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let write = move |line: &[u8]| {
            assert!(line != b"line\n", "a panic drops the line");
            sink.lock().unwrap().write_all(line)
        };
        let writer = QueuedWriter::start("test", MAX_QUEUED_LINES, write, dropped_lines).unwrap();
        let start = Instant::now();
        (0..50).for_each(|_| writer.write(b"line\n".to_vec()));
        assert!(writer.flush(Duration::from_secs(10)));
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        let reports: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(reports[0]["message"], "logtracer-exporter - dropped log lines: stdout is blocked");
        assert_eq!(reports.iter().map(|line| line["lines"].as_u64().unwrap()).sum::<u64>(), 50, "{text}");
        // One at the beginning, one at the end, and one per second between them.
        assert!(reports.len() as u64 <= 2 + start.elapsed().as_secs(), "{text}");
    }
}

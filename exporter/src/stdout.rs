//! The standard output: one thread writes it, so that nothing else waits where nobody reads it.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Lines that may wait; more of them are left out, and counted.
const QUEUE: usize = 1024;

enum Job {
    Line(Vec<u8>),
    Lines { bytes: Vec<u8>, written: oneshot::Sender<io::Result<()>> },
    Flush(SyncSender<()>),
}

static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Writes a line as soon as stdout takes it, without waiting for that.
pub(crate) fn line(bytes: Vec<u8>) {
    if queue().try_send(Job::Line(bytes)).is_err() {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes whole lines; returns when stdout has taken them.
pub(crate) async fn write(bytes: Vec<u8>) -> io::Result<()> {
    let (written, answer) = oneshot::channel();
    queue().try_send(Job::Lines { bytes, written }).map_err(|error| match error {
        TrySendError::Full(_) => io::Error::new(io::ErrorKind::WouldBlock, "nobody reads it"),
        TrySendError::Disconnected(_) => io::ErrorKind::BrokenPipe.into(),
    })?;
    answer.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

/// Waits for so long at most until everything is written.
pub(crate) fn flush(within: Duration) {
    let (done, answer) = sync_channel(1);
    if queue().try_send(Job::Flush(done)).is_ok() {
        // Where it does not come about, nobody reads.
        let _ = answer.recv_timeout(within);
    }
}

fn queue() -> &'static SyncSender<Job> {
    static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();
    JOBS.get_or_init(|| {
        let (sender, jobs) = sync_channel(QUEUE);
        // Without the thread nobody can be told anything.
        let _ = std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || run(&jobs, &LEFT_OUT, io::stdout()));
        sender
    })
}

/// How often lines that were left out are told, at most.
const TELLS_EVERY: Duration = Duration::from_secs(1);

fn run(jobs: &Receiver<Job>, left_out: &AtomicU64, mut stdout: impl Write) {
    let mut told_at: Option<Instant> = None;
    let mut is_over = false;
    while !is_over {
        let mut done = None;
        let is_busy = match jobs.recv_timeout(TELLS_EVERY) {
            Ok(Job::Line(bytes)) => {
                let _ = stdout.write_all(&bytes);
                true
            }
            Ok(Job::Lines { bytes, written }) => {
                // Who has asked may have gone.
                let _ = written.send(stdout.write_all(&bytes).and_then(|()| stdout.flush()));
                true
            }
            Ok(Job::Flush(answer)) => {
                done = Some(answer);
                false
            }
            Err(error) => {
                is_over = error == RecvTimeoutError::Disconnected;
                false
            }
        };
        // While lines come this is told seldom, for it takes time in which more of them are left out.
        if !is_busy || told_at.is_none_or(|at| at.elapsed() >= TELLS_EVERY) {
            let lines = left_out.swap(0, Ordering::Relaxed);
            if lines > 0 {
                let _ = stdout.write_all(&crate::log::left_out(lines));
                told_at = Some(Instant::now());
            }
        }
        if let Some(done) = done {
            let _ = stdout.flush();
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves out one line more for each that it writes.
    struct Slow<'a> {
        left_out: &'a AtomicU64,
        text: &'a mut Vec<u8>,
    }

    impl Write for Slow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes == b"line\n" {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
            self.text.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Under load the lines that tell of lines are few, and at the end all of them are told.
    #[test]
    fn what_is_left_out_is_told_seldom_and_whole() {
        let (sender, jobs) = sync_channel(QUEUE);
        (0..50).for_each(|_| sender.send(Job::Line(b"line\n".to_vec())).unwrap());
        drop(sender);
        let (left_out, mut text) = (AtomicU64::new(0), Vec::new());
        let start = Instant::now();
        run(&jobs, &left_out, Slow { left_out: &left_out, text: &mut text });
        let text = String::from_utf8(text).unwrap();
        let told: Vec<serde_json::Value> = text
            .lines()
            .filter(|line| *line != "line")
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(told.iter().map(|line| line["lines"].as_u64().unwrap()).sum::<u64>(), 50, "{text}");
        // At first, at the end, and once in each second between.
        assert!(told.len() as u64 <= 2 + start.elapsed().as_secs(), "{text}");
    }
}

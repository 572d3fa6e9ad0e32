//! The standard output: one thread writes it, so that nothing else waits where nobody reads it.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

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
        let _ = std::thread::Builder::new().name("stdout".to_owned()).spawn(move || run(&jobs));
        sender
    })
}

fn run(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line(bytes) => drop(io::stdout().lock().write_all(&bytes)),
            Job::Lines { bytes, written } => {
                let mut stdout = io::stdout().lock();
                // Who has asked may have gone.
                let _ = written.send(stdout.write_all(&bytes).and_then(|()| stdout.flush()));
            }
            Job::Flush(done) => {
                let _ = io::stdout().flush();
                let _ = done.send(());
            }
        }
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let _ = io::stdout().lock().write_all(&crate::log::left_out(left_out));
        }
    }
}

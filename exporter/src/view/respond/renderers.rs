//! [`Renderers`]: the threads that read the store and render. There are always two, so what they hold at a time is that
//! of two rows, and what the allocator keeps of it is not spread over many threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// The queue of the threads. A view has at most one job in it. The threads end with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Renderers(Sender<Job>);

impl Renderers {
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 1..=THREADS {
            let jobs = jobs.clone();
            std::thread::Builder::new().name(format!("view-{number}")).spawn(move || run(&jobs))?;
        }
        Ok(Self(sender))
    }

    /// Runs a job on one of the threads. Returns `None` if it panics.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, result) = oneshot::channel();
        let job = Box::new(move || drop(sender.send(job())));
        self.0.send(job).ok()?;
        result.await.ok()
    }
}

fn run(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The hook has logged the panic, and the job's result is dropped.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_job() {
        let renderers = Renderers::start().unwrap();
        for _ in 0..5 {
            assert_eq!(renderers.run(|| -> u8 { panic!("a test") }).await, None);
        }
        assert_eq!(renderers.run(|| 1).await, Some(1));
    }
}

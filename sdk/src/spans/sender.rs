//! [`Sender`]: the thread that sends batches. It has its own runtime, so that it works in programs without tokio.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logtracer_core::Backoff;
use logtracer_core::otlp::{self, InstrumentationScope};
use logtracer_core::span_buffer::Batch;
use tokio::time::{sleep, timeout};

use super::AttributeValue;
use super::details::{Key, write_all};
use super::dropped::{DropReason, Failure};
use super::loss_log::When;
use super::queue::{Loss, Queue};
use super::response::Outcome;
use super::transport::Transport;
use crate::system;

/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How often a pause looks whether the queue has become nearly full.
const FULL_CHECK: Duration = Duration::from_millis(500);
/// A response of 413 does not make batches smaller than this.
const MIN_BATCH_BYTES: usize = 16 * 1024;

/// The times of the sender; tests use shorter ones.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// How long a span waits for others to be sent with it.
    pub(super) flush_interval: Duration,
    pub(super) first_backoff: Duration,
    pub(super) longest_backoff: Duration,
    /// The longest back-off during a flush.
    pub(super) flush_backoff: Duration,
    /// A batch is dropped after this time. The queue buffers new spans meanwhile.
    pub(super) max_retry_time: Duration,
    /// How often the sender looks for losses to log.
    pub(super) log_check: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(1),
            first_backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(30),
            flush_backoff: Duration::from_millis(100),
            max_retry_time: Duration::from_secs(60),
            log_check: Duration::from_secs(1),
        }
    }
}

#[derive(Debug)]
pub(super) struct Sender {
    queue: &'static Queue,
    transport: Transport,
    resource: Vec<(Key, AttributeValue)>,
    timing: Timing,
    /// The maximum size of a batch in bytes. It shrinks when the receiver refuses a larger one.
    max_batch_bytes: usize,
}

/// Why a request is not sent.
#[derive(Debug)]
enum Undelivered {
    /// A smaller request may succeed.
    TooLarge(Failure),
    /// This request will always fail.
    Rejected(Failure),
    /// The retry time is over.
    Expired(Failure),
}

impl Sender {
    pub(super) fn new(
        queue: &'static Queue,
        transport: Transport,
        resource: Vec<(Key, AttributeValue)>,
        timing: Timing,
    ) -> Self {
        Self { queue, transport, resource, timing, max_batch_bytes: usize::MAX }
    }

    /// Sends spans until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let (queue, log_check) = (self.queue, self.timing.log_check);
        let log = async {
            loop {
                sleep(log_check).await;
                queue.log.log_losses(&queue.losses, When::Limited);
            }
        };
        tokio::select! {
            () = self.send_batches() => {}
            () = log => {}
        }
        queue.log.log_losses(&queue.losses, When::Now);
    }

    async fn send_batches(&mut self) {
        let queue = self.queue;
        loop {
            if !queue.is_flushing() {
                let _ = timeout(self.timing.flush_interval, queue.wake.notified()).await;
            }
            // Read first: a closed queue gets no more spans.
            let is_closed = queue.is_closed();
            while let Some(batch) = queue.take_batch(self.max_batch_bytes) {
                self.deliver(batch).await;
            }
            if is_closed {
                return;
            }
            if queue.is_flushing() {
                // Another flush has not returned yet; do not spin until it does.
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Sends a batch, in parts if it is too large for the receiver. What is not delivered is counted.
    async fn deliver(&mut self, batch: Batch) {
        let start = Instant::now();
        let queue = self.queue;
        // The next part is the last element.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let spans = part.spans();
            let body = self.encode(&part);
            let length = body.len();
            match self.send(body, spans, start).await {
                Ok(partial) => queue.settle(spans, partial.as_ref()),
                Err(Undelivered::Rejected(failure)) => queue.settle(spans, Some(&Loss { failure, spans })),
                Err(Undelivered::TooLarge(failure)) => match part.split_in_half() {
                    Some((first, second)) => {
                        self.max_batch_bytes = self.max_batch_bytes.min((length / 2).max(MIN_BATCH_BYTES));
                        parts.extend([second, first]);
                        if !queue.is_closed() {
                            sleep(self.timing.first_backoff).await;
                        }
                    }
                    None => queue.settle(spans, Some(&Loss { failure, spans })),
                },
                Err(Undelivered::Expired(failure)) => {
                    let spans = spans + parts.iter().map(Batch::spans).sum::<usize>();
                    return queue.settle(spans, Some(&Loss { failure, spans }));
                }
            }
        }
    }

    fn encode(&self, batch: &Batch) -> Bytes {
        let mut body = Vec::new();
        let scope = InstrumentationScope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
        otlp::write_request(&mut body, |to| write_all(&self.resource, to), scope, &batch.bytes);
        body.into()
    }

    /// Sends a request, and retries until it is accepted or rejected, or until the retry time since `start` is over.
    /// Returns the spans that a partial success rejects.
    async fn send(&self, body: Bytes, spans: usize, start: Instant) -> Result<Option<Loss>, Undelivered> {
        let result = self.attempt_until_expired(body, spans, start).await;
        self.queue.losses.set_retry_error(None);
        result
    }

    async fn attempt_until_expired(
        &self,
        body: Bytes,
        spans: usize,
        start: Instant,
    ) -> Result<Option<Loss>, Undelivered> {
        let queue = self.queue;
        let mut backoff = Backoff::new(self.timing.first_backoff, self.timing.longest_backoff);
        let mut pause = backoff.next(system::random());
        let mut short_pause = self.timing.flush_backoff;
        let mut is_shortened = false;
        loop {
            let (failure, retry_after) = match self.transport.send(body.clone()).await {
                Outcome::Accepted { rejected_spans: 0, message } => {
                    queue.log.log_warning(&message);
                    return Ok(None);
                }
                Outcome::Accepted { rejected_spans, message } => {
                    let separator = if message.is_empty() { "" } else { ": " };
                    let error = format!("partial success{separator}{message}");
                    let rejected = usize::try_from(rejected_spans).unwrap_or(spans).min(spans);
                    let failure = Failure { reason: DropReason::Rejected, error };
                    return Ok(Some(Loss { failure, spans: rejected }));
                }
                Outcome::TooLarge(failure) => return Err(Undelivered::TooLarge(failure)),
                Outcome::Rejected(failure) => return Err(Undelivered::Rejected(failure)),
                Outcome::Retry { failure, after } => (failure, after),
            };
            queue.log.log_retry(&failure);
            queue.losses.set_retry_error(Some(&failure));
            let left = self.timing.max_retry_time.saturating_sub(start.elapsed());
            if left.is_zero() || queue.is_closed() {
                return Err(Undelivered::Expired(failure));
            }
            let pause_now = match retry_after {
                // A shorter time would be no back-off at all.
                Some(requested) if requested >= pause => {
                    // `Retry-After` is respected, even if a flush waits.
                    let by = if is_shortened { Event::Close } else { Event::Flush };
                    Pause::requested(requested, self.timing.first_backoff, by)
                }
                _ => {
                    Pause { length: pause, full_at: Some(queue.retry_mark()), is_shortened_by: Event::Flush }
                }
            };
            match self.wait(pause_now, short_pause, left).await {
                Waited::WholePause => pause = backoff.next(system::random()),
                // An early attempt does not make the next pause longer, but the attempts of a long flush back off, too.
                Waited::LessThanPause => {
                    is_shortened |= retry_after.is_some();
                    short_pause *= 2;
                    if short_pause > pause {
                        pause = backoff.next(system::random());
                    }
                }
            }
        }
    }

    /// Waits for a pause, at most for `left`, or only for `short_pause` once a flush has begun.
    async fn wait(&self, pause: Pause, short_pause: Duration, left: Duration) -> Waited {
        let queue = self.queue;
        let until_flush = async {
            while !match pause.is_shortened_by {
                Event::Flush => queue.is_flushing(),
                Event::Close => queue.is_closed(),
            } {
                queue.wake.notified().await;
            }
            sleep(short_pause).await;
        };
        let until_full = async {
            let Some(full) = pause.full_at else { return std::future::pending().await };
            // At least this long also if it is nearly full already.
            sleep(FULL_CHECK).await;
            while queue.bytes() < full {
                sleep(FULL_CHECK).await;
            }
        };
        tokio::select! {
            () = sleep(pause.length.min(left)) => Waited::WholePause,
            () = until_flush => Waited::LessThanPause,
            () = until_full => Waited::LessThanPause,
        }
    }
}

/// The thread of a sender, with its runtime.
#[derive(Debug)]
pub(super) struct SenderThread(SyncSender<Sender>);

impl SenderThread {
    /// Starts a thread that waits for its sender. It ends without one if this is dropped.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (to_thread, sender) = sync_channel::<Sender>(1);
        let run = move || sender.recv().map(|sender| runtime.block_on(sender.run()));
        std::thread::Builder::new().name("logtracer-spans".into()).spawn(run)?;
        Ok(Self(to_thread))
    }

    pub(super) fn run(self, sender: Sender) {
        // The thread waits, and has space for one.
        let _ = self.0.try_send(sender);
    }
}

/// A pause between two attempts.
#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    /// The number of bytes in the queue that ends the pause early, so that no span is dropped during it.
    full_at: Option<usize>,
    is_shortened_by: Event,
}

/// What shortens a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A flush, or the end of the export.
    Flush,
    /// The end of the export only.
    Close,
}

impl Pause {
    /// Returns the pause for a `Retry-After`, spread over a moment so that not all clients come back at once.
    fn requested(retry_after: Duration, spread: Duration, is_shortened_by: Event) -> Self {
        let spread = spread.mul_f64((system::random() % 1024) as f64 / 1024.);
        Self { length: retry_after.min(MAX_RETRY_AFTER) + spread, full_at: None, is_shortened_by }
    }
}

#[derive(PartialEq)]
enum Waited {
    WholePause,
    /// A flush has begun, or the queue is nearly full.
    LessThanPause,
}

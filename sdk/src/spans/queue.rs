//! [`Queue`]: finished spans on their way out, as OTLP bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use logtracer_core::otlp::{self, Attributes};
use logtracer_core::sampling::Ratio;
use logtracer_core::span::Span;
use logtracer_core::{Sampling, TraceContext};
use tokio::sync::Notify;

/// Spans of a batch at most.
pub(super) const MAX_BATCH_SPANS: usize = 512;

/// The one queue of the process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// What waits to be sent. The lock is held only to move bytes in or out, never while something is sent.
#[derive(Debug)]
pub(super) struct Queue {
    ratio: Ratio,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    /// Tells the sender that there is something to do.
    pub(super) wake: Notify,
    /// Tells those who flush that the sender has nothing left.
    idle: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Spans that the sender has taken and not done with.
    in_flight: usize,
    /// How many flushes are being waited for.
    flushes: usize,
    is_closed: bool,
}

/// The queue, if [`SpanExport::install`](super::SpanExport::install) has made it.
pub(super) fn get() -> Option<&'static Queue> {
    QUEUE.get()
}

/// Makes the queue; `None` where there is one.
pub(super) fn install(ratio: Ratio, max_bytes: usize) -> Option<&'static Queue> {
    let queue = Queue {
        ratio,
        max_bytes,
        waiting: Mutex::default(),
        wake: Notify::new(),
        idle: Condvar::new(),
        dropped: AtomicU64::new(0),
    };
    QUEUE.set(queue).ok().and_then(|()| QUEUE.get())
}

/// The context under a decision; nobody decides where no spans are sent.
pub(super) fn decided(context: TraceContext) -> TraceContext {
    match get() {
        Some(queue) if context.sampling == Sampling::Defer => {
            context.with_sampling(Sampling::from_sampled(queue.ratio.keeps(context.trace_id)))
        }
        _ => context,
    }
}

/// True where a span of this (decided) context is sent.
pub(super) fn records(context: &TraceContext) -> bool {
    context.sampling.is_sampled() && get().is_some()
}

/// Hands a finished span to the sender.
pub(super) fn record(span: &Span<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
    if let Some(queue) = get() {
        let mut bytes = Vec::with_capacity(256);
        otlp::write_span(&mut bytes, span, attributes);
        queue.push(bytes.into_boxed_slice());
    }
}

impl Queue {
    pub(super) fn push(&self, span: Box<[u8]>) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            drop(waiting);
            self.count_dropped(1);
            return;
        }
        waiting.bytes += span.len();
        waiting.spans.push_back(span);
        let mut dropped = 0;
        while waiting.bytes > self.max_bytes {
            let Some(oldest) = waiting.spans.pop_front() else { break };
            waiting.bytes -= oldest.len();
            dropped += 1;
        }
        let is_batch = waiting.spans.len() >= MAX_BATCH_SPANS;
        drop(waiting);
        self.count_dropped(dropped);
        if is_batch {
            self.wake.notify_one();
        }
    }

    /// Takes a batch out: the spans one after the other, and their number.
    pub(super) fn take_batch(&self) -> Option<(Vec<u8>, usize)> {
        let mut waiting = self.lock();
        let count = waiting.spans.len().min(MAX_BATCH_SPANS);
        if count == 0 {
            return None;
        }
        let spans: Vec<_> = waiting.spans.drain(..count).collect();
        waiting.bytes -= spans.iter().map(|span| span.len()).sum::<usize>();
        waiting.in_flight = count;
        drop(waiting);
        Some((spans.concat(), count))
    }

    /// The batch that was taken is done with, whatever became of it.
    pub(super) fn batch_is_done(&self) {
        self.lock().in_flight = 0;
        self.idle.notify_all();
    }

    pub(super) fn count_dropped(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// True where someone waits for the sender, who then does not wait for more.
    pub(super) fn is_hurried(&self) -> bool {
        let waiting = self.lock();
        waiting.flushes > 0 || waiting.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until all spans are sent, at most this long; false when some were not.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        // None is later than any clock goes.
        let until = Instant::now().checked_add(patience);
        let mut waiting = self.lock();
        waiting.flushes += 1;
        self.wake.notify_one();
        while !waiting.spans.is_empty() || waiting.in_flight > 0 {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            waiting = self.idle.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.flushes -= 1;
        waiting.spans.is_empty() && waiting.in_flight == 0
    }

    /// Takes no more spans; the sender ends when it has none left.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::spans) fn queue_of(max_bytes: usize) -> Queue {
        Queue {
            ratio: Ratio::ALL,
            max_bytes,
            waiting: Mutex::default(),
            wake: Notify::new(),
            idle: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let queue = queue_of(30);
        for number in 0..5u8 {
            queue.push(vec![number; 10].into());
        }
        assert_eq!(queue.dropped(), 2);
        let (bytes, count) = queue.take_batch().unwrap();
        assert_eq!((bytes[0], count, bytes.len()), (2, 3, 30));
        assert!(!queue.flush(Duration::from_millis(1)));
        queue.batch_is_done();
        assert!(queue.flush(Duration::from_millis(1)));
        queue.close();
        queue.push([9].into());
        assert_eq!((queue.dropped(), queue.take_batch()), (3, None));
    }
}

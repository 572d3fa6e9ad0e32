//! [`Queue`]: finished spans that wait to be sent, as OTLP bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use logtracer_core::otlp::{self, Attributes};
use logtracer_core::sampling::Ratio;
use logtracer_core::span::Span;
use logtracer_core::span_buffer::{Batch, SpanBuffer};
use logtracer_core::{Sampling, TraceContext};
use tokio::sync::Notify;

/// The maximum number of spans in a batch.
pub(super) const MAX_BATCH_SPANS: usize = 512;

/// The queue of the process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The spans that wait. The lock is held only to move bytes in or out, never while a batch is sent.
#[derive(Debug)]
pub(super) struct Queue {
    ratio: Ratio,
    state: Mutex<State>,
    /// Wakes the sender.
    pub(super) wake: Notify,
    /// Wakes flushes when the sender has finished a batch.
    finished: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    buffer: SpanBuffer,
    /// The sender has a batch.
    is_sending: bool,
    /// The number of flushes that wait.
    flushes: usize,
    is_closed: bool,
}

/// Returns the queue, if [`SpanExport::install`](super::SpanExport::install) has made it.
pub(super) fn get() -> Option<&'static Queue> {
    QUEUE.get()
}

/// Makes the queue of the process; returns `None` if there is one.
pub(super) fn install(ratio: Ratio, max_bytes: usize) -> Option<&'static Queue> {
    QUEUE.set(Queue::new(ratio, max_bytes)).ok().and_then(|()| QUEUE.get())
}

/// Returns the context with a sampling decision. Without an export, it stays undecided.
pub(super) fn decide_sampling(context: TraceContext) -> TraceContext {
    match get() {
        Some(queue) if context.sampling == Sampling::Defer => {
            context.with_sampling(Sampling::from_sampled(queue.ratio.keeps(context.trace_id)))
        }
        _ => context,
    }
}

/// Returns true if a span of this decided context is sent.
pub(super) fn is_recorded(context: &TraceContext) -> bool {
    context.sampling.is_sampled() && get().is_some()
}

/// Queues a finished span.
pub(super) fn record(span: &Span<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
    if let Some(queue) = get() {
        let mut bytes = Vec::with_capacity(256);
        otlp::write_span(&mut bytes, span, attributes);
        queue.push(&bytes);
    }
}

impl Queue {
    fn new(ratio: Ratio, max_bytes: usize) -> Self {
        let buffer = SpanBuffer::new(max_bytes);
        Self {
            ratio,
            state: Mutex::new(State { buffer, is_sending: false, flushes: 0, is_closed: false }),
            wake: Notify::new(),
            finished: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    fn push(&self, span: &[u8]) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            return self.add_dropped(1);
        }
        let dropped = state.buffer.push(|out| out.extend_from_slice(span)).total();
        let is_batch = state.buffer.spans() >= MAX_BATCH_SPANS;
        drop(state);
        self.add_dropped(dropped);
        if is_batch {
            self.wake.notify_one();
        }
    }

    /// Takes the next batch; [`finish_batch`](Self::finish_batch) must follow.
    pub(super) fn take_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.buffer.take_batch(MAX_BATCH_SPANS, usize::MAX);
        state.is_sending = batch.is_some();
        batch
    }

    /// Returns the number of bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().buffer.bytes()
    }

    /// Returns the number of bytes at which a pause that starts now must end, so that no span is dropped during it.
    pub(super) fn retry_mark(&self) -> usize {
        self.lock().buffer.retry_mark()
    }

    /// Marks the batch as finished, sent or dropped.
    pub(super) fn finish_batch(&self) {
        self.lock().is_sending = false;
        self.finished.notify_all();
    }

    pub(super) fn add_dropped(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns true while a flush or the end of the export waits for the sender.
    pub(super) fn is_flushing(&self) -> bool {
        let state = self.lock();
        state.flushes > 0 || state.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until all spans are finished, at most for `timeout`; returns false if some are not.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        // `None` exceeds the range of the clock.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        state.flushes += 1;
        self.wake.notify_one();
        while !state.is_idle() {
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.finished.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.flushes -= 1;
        state.is_idle()
    }

    /// Closes the queue: more spans are dropped, and the sender ends when the queue is empty.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.buffer.is_empty() && !self.is_sending
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::spans) fn queue_with(max_bytes: usize, spans: &[&[u8]]) -> Queue {
        let queue = Queue::new(Ratio::ALL, max_bytes);
        spans.iter().for_each(|span| queue.push(span));
        queue
    }

    #[test]
    fn the_oldest_spans_are_dropped_and_counted() {
        let queue =
            queue_with(30, &[[0; 10], [1; 10], [2; 10], [3; 10], [4; 10]].each_ref().map(|it| &it[..]));
        assert_eq!(queue.dropped(), 2);
        let batch = queue.take_batch().unwrap();
        assert_eq!((batch.bytes[0], batch.spans(), batch.bytes.len()), (2, 3, 30));
        assert!(!queue.flush(Duration::from_millis(1)));
        queue.finish_batch();
        assert!(queue.flush(Duration::from_millis(1)));
        queue.close();
        queue.push(&[9]);
        assert_eq!((queue.dropped(), queue.take_batch()), (3, None));
    }
}

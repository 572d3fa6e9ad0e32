//! [`Queue`]: finished spans that wait to be sent, as OTLP bytes.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use logtracer_core::TraceContext;
use logtracer_core::otlp::{self, SpanDetails};
use logtracer_core::span::{Span, SpanKind};
use logtracer_core::span_buffer::{Batch, SpanBuffer};
use tokio::sync::Notify;

use super::dropped::{DropReason, Failure, Losses};
use super::loss_log::LossLog;
use super::sampler::SamplingRule;
use super::{DroppedSpans, FlushError};

/// The maximum number of spans in a batch.
pub(super) const MAX_BATCH_SPANS: usize = 512;

/// The queue of the process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The spans that wait. The lock is held only to move bytes in or out, never while a batch is sent.
#[derive(Debug)]
pub(super) struct Queue {
    sampling: SamplingRule,
    state: Mutex<State>,
    /// Wakes the sender.
    pub(super) wake: Notify,
    /// Wakes flushes when the sender has finished a batch.
    finished: Condvar,
    pub(super) losses: Losses,
    pub(super) log: LossLog,
}

#[derive(Debug)]
struct State {
    buffer: SpanBuffer,
    /// The number of all spans that were put into the buffer. It numbers the spans.
    pushed: u64,
    /// The number of spans that the sender has.
    sending: usize,
    /// The number of the span after those that the sender has.
    sending_end: u64,
    /// The number of flushes that wait.
    flushes: usize,
    /// The losses that a flush has returned.
    flushed: DroppedSpans,
    is_closed: bool,
}

/// Returns the queue, if [`SpanExport::install`](super::SpanExport::install) has made it.
pub(super) fn get() -> Option<&'static Queue> {
    QUEUE.get()
}

/// Makes the queue of the process; returns `None` if there is one.
pub(super) fn install(queue: Queue) -> Option<&'static Queue> {
    QUEUE.set(queue).ok().and_then(|()| QUEUE.get())
}

/// Returns the context with a sampling decision. Without an export, it stays undecided.
pub(super) fn decide_sampling(context: TraceContext) -> TraceContext {
    match get() {
        Some(queue) => queue.sampling.decide(context),
        None => context,
    }
}

/// Returns the context around a span of this kind with a sampling decision. A decision of this process stays, whatever
/// the sampler is: it can exclude what is within. Around a server or a consumer, it is the decision of the caller.
pub(super) fn decide_around(kind: SpanKind, context: TraceContext) -> TraceContext {
    let is_of_caller = matches!(kind, SpanKind::Server | SpanKind::Consumer);
    if context.sampling.is_decided() && !is_of_caller { context } else { decide_sampling(context) }
}

/// Returns true if a span of this decided context is sent.
pub(super) fn is_recorded(context: &TraceContext) -> bool {
    context.sampling.is_sampled() && get().is_some()
}

/// Queues a finished span.
pub(super) fn record(span: &Span<'_>, details: impl FnOnce(&mut SpanDetails<'_>)) {
    if let Some(queue) = get() {
        let mut bytes = Vec::with_capacity(256);
        otlp::write_span_with(&mut bytes, span, details);
        queue.push(&bytes);
    }
}

impl Queue {
    /// `log_interval` is the time between two lines about dropped spans.
    pub(super) fn new(sampling: SamplingRule, max_bytes: usize, log_interval: Duration) -> Self {
        let state = State {
            buffer: SpanBuffer::new(max_bytes),
            pushed: 0,
            sending: 0,
            sending_end: 0,
            flushes: 0,
            flushed: DroppedSpans::default(),
            is_closed: false,
        };
        Self {
            sampling,
            state: Mutex::new(state),
            wake: Notify::new(),
            finished: Condvar::new(),
            losses: Losses::default(),
            log: LossLog::new(log_interval),
        }
    }

    pub(super) fn push(&self, span: &[u8]) {
        let mut state = self.lock();
        if state.is_closed {
            return self.losses.add(DropReason::Closed, 1);
        }
        let dropped = state.buffer.push(|out| out.extend_from_slice(span));
        // Counted under the lock, so that a flush that starts later returns them.
        self.losses.add(DropReason::BufferFull, dropped.oldest);
        self.losses.add(DropReason::TooLarge, dropped.too_large);
        state.pushed += u64::from(dropped.too_large == 0);
        let is_batch = state.buffer.spans() >= MAX_BATCH_SPANS;
        drop(state);
        if is_batch {
            self.wake.notify_one();
        }
    }

    /// Takes the next batch of at most this size; [`settle`](Self::settle) must follow, for all its spans.
    pub(super) fn take_batch(&self, max_bytes: usize) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.buffer.take_batch(MAX_BATCH_SPANS, max_bytes);
        state.sending = batch.as_ref().map_or(0, Batch::spans);
        state.sending_end = state.pushed.saturating_sub(state.buffer.spans() as u64);
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

    /// Marks the next spans of the batch as sent or, with a loss, some of them as dropped.
    pub(super) fn settle(&self, spans: usize, loss: Option<&Loss>) {
        let mut state = self.lock();
        // Under the lock, so that no flush counts them as dropped and as waiting.
        if let Some(Loss { failure, spans }) = loss {
            self.losses.add_failed(failure, *spans);
        }
        state.sending = state.sending.saturating_sub(spans);
        drop(state);
        self.finished.notify_all();
    }

    /// Returns true while a flush or the end of the export waits for the sender.
    pub(super) fn is_flushing(&self) -> bool {
        let state = self.lock();
        state.flushes > 0 || state.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until all spans that have ended before are sent or dropped, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// If spans were dropped since the last flush, or if some still wait.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        // `None` exceeds the range of the clock.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        state.flushes += 1;
        // Spans that end meanwhile do not make it longer.
        let end = state.pushed;
        self.wake.notify_one();
        while state.waiting_before(end) > 0 {
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.finished.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.flushes -= 1;
        let dropped = self.losses.counts();
        let flushed = std::mem::replace(&mut state.flushed, dropped);
        let (dropped, waiting) = (dropped.since(&flushed), state.waiting_before(end));
        if dropped.is_empty() && waiting == 0 {
            return Ok(());
        }
        Err(FlushError { dropped, waiting, last_error: self.losses.last_error(&dropped) })
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
    /// Returns how many of the spans before this number wait. The sender has the oldest ones.
    fn waiting_before(&self, end: u64) -> usize {
        let sending = end.saturating_sub(self.sending_end.saturating_sub(self.sending as u64));
        let buffered = end.saturating_sub(self.pushed.saturating_sub(self.buffer.spans() as u64));
        self.sending.min(sending as usize) + buffered as usize
    }
}

/// Spans that are dropped, and why.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) failure: Failure,
    pub(super) spans: usize,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::spans::Sampler;

    pub(in crate::spans) fn queue_with(max_bytes: usize, spans: &[&[u8]]) -> Queue {
        let queue = Queue::new(Sampler::AlwaysOn.to_rule().unwrap(), max_bytes, Duration::from_secs(60));
        spans.iter().for_each(|span| queue.push(span));
        queue
    }

    #[test]
    fn the_oldest_spans_are_dropped_and_counted() {
        let queue =
            queue_with(30, &[[0; 10], [1; 10], [2; 10], [3; 10], [4; 10]].each_ref().map(|it| &it[..]));
        queue.push(&[9; 31]);
        let batch = queue.take_batch(usize::MAX).unwrap();
        assert_eq!((batch.bytes[0], batch.spans(), batch.bytes.len()), (2, 3, 30));
        let error = queue.flush(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.to_string(), "dropped spans: 2 buffer full, 1 too large; waiting spans: 3");
        let error = queue.flush(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.to_string(), "waiting spans: 3");
        queue.settle(3, None);
        assert!(queue.flush(Duration::from_millis(1)).is_ok());
        queue.close();
        queue.push(&[9]);
        assert!(queue.take_batch(usize::MAX).is_none());
        assert_eq!(queue.losses.counts().to_string(), "2 buffer full, 1 too large, 1 closed");
    }

    /// Spans that end later do not matter, nor does what becomes of them.
    #[test]
    fn a_flush_waits_for_the_spans_before_it() {
        let queue = queue_with(30, &[&[0; 10], &[1; 10]]);
        let state = queue.lock();
        let end = state.pushed;
        drop(state);
        let waiting = || queue.lock().waiting_before(end);
        assert_eq!(waiting(), 2);
        queue.take_batch(10).unwrap();
        (0..9).for_each(|_| queue.push(&[9; 10]));
        assert_eq!(waiting(), 1, "the buffer has dropped the other");
        queue.settle(1, None);
        assert_eq!(waiting(), 0);

        let queue = queue_with(100, &[&[0; 10], &[1; 10], &[2; 10]]);
        queue.take_batch(usize::MAX).unwrap();
        let failure = Failure { reason: DropReason::Rejected, error: "400".into() };
        queue.settle(1, Some(&Loss { failure, spans: 1 }));
        let error = queue.flush(Duration::ZERO).unwrap_err();
        assert_eq!((error.dropped().total(), error.waiting()), (1, 2));
    }

    #[test]
    fn a_batch_is_bounded_in_bytes() {
        let queue = queue_with(100, &[&[0; 10], &[1; 10], &[2; 10]]);
        assert_eq!(queue.take_batch(25).unwrap().spans(), 2);
        assert_eq!(queue.take_batch(1).unwrap().spans(), 1);
    }
}

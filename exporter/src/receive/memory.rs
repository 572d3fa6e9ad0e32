//! [`Memory`]: a pool of memory that requests share, first come, first served.
//!
//! A request has one [`Permit`], which grows with the bytes that are there. If a request has to wait, and the memory
//! is held by clients that send slowly, or by requests that all wait for more, some of these requests are cut off.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::error::RequestError;
use crate::listen::Connections;

/// How long a request waits for memory before it is rejected as [`RequestError::Busy`].
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that a client has to send its body, before it can be cut off in favor of requests that wait.
const GRACE: Duration = Duration::from_secs(1);

/// How often the first request in the queue checks whether a client has become slow.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The requests that wait. Only the first one can get memory, so a large one is not passed by small ones for ever.
    queue: VecDeque<Waiter>,
    /// All requests with a permit, in the order of their start.
    holders: BTreeMap<u64, Holder>,
    next_id: u64,
    /// The connections, which have a limit together with the requests.
    connections: Option<Connections>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    bytes: usize,
    granted: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    phase: Phase,
    /// The time spent on waiting for the client, until the current phase.
    receiving: Duration,
    cut_off: Arc<Notify>,
    is_cut_off: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for bytes of the client, since then.
    Receiving(Instant),
    /// Waits for memory.
    Waiting,
    /// Continues without waiting for the client or for memory.
    Working,
}

/// The memory of a request. Dropping it releases all of it.
#[derive(Debug)]
pub(super) struct Permit {
    memory: Memory,
    id: u64,
    cut_off: Arc<Notify>,
}

impl Memory {
    pub(super) fn new(bytes: usize, connections: Option<Connections>) -> Self {
        let (queue, holders) = (VecDeque::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { free: bytes, queue, holders, next_id: 0, connections })))
    }

    /// Returns a permit for no memory.
    pub(super) fn permit(&self) -> Permit {
        let cut_off = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let holder = Holder {
            bytes: 0,
            phase: Phase::Working,
            receiving: Duration::ZERO,
            cut_off: cut_off.clone(),
            is_cut_off: false,
        };
        state.holders.insert(id, holder);
        drop(state);
        Permit { memory: self.clone(), id, cut_off }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Returns the bytes that are permitted.
    pub(super) fn bytes(&self) -> usize {
        self.memory.lock().holders.get(&self.id).map_or(0, |holder| holder.bytes)
    }

    /// Waits until this many bytes are permitted.
    pub(super) async fn grow_to(&mut self, bytes: usize) -> Result<(), RequestError> {
        let Some(granted) = self.memory.lock().request(self.id, bytes) else { return Ok(()) };
        let _until_then = Working(self);
        let wait = async {
            let mut check = tokio::time::interval(CHECK_INTERVAL);
            tokio::pin!(granted);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut granted => return Ok(()),
                    () = self.cut_off.notified() => return Err(RequestError::Busy),
                    _ = check.tick() => self.memory.lock().relieve(self.id),
                }
            }
        };
        tokio::time::timeout(ACQUIRE_TIMEOUT, wait).await.unwrap_or(Err(RequestError::Busy))
    }

    /// Takes what is missing to this many bytes, or fails if it is not free.
    pub(super) fn try_grow_to(&mut self, bytes: usize) -> Result<(), RequestError> {
        self.memory.lock().try_request(self.id, bytes)
    }

    /// Releases what exceeds this many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let mut state = self.memory.lock();
        let Some(holder) = state.holders.get_mut(&self.id) else { return };
        let released = holder.bytes.saturating_sub(bytes);
        holder.bytes -= released;
        state.release(released);
    }

    /// Waits for bytes of the client. Fails if it sends slowly while other requests wait for memory.
    pub(super) async fn receive<T>(&mut self, bytes: impl Future<Output = T>) -> Result<T, RequestError> {
        self.memory.lock().enter(self.id, Phase::Receiving(Instant::now()));
        let _until_then = Working(self);
        tokio::select! {
            biased;
            () = self.cut_off.notified() => Err(RequestError::Slow),
            bytes = bytes => Ok(bytes),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        state.queue.retain(|waiter| waiter.id != self.id);
        let held = state.holders.remove(&self.id).map_or(0, |holder| holder.bytes);
        state.release(held);
    }
}

/// Ends the phase of a permit when it is dropped, also if the request is cancelled.
struct Working<'a>(&'a Permit);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.memory.lock().enter(self.0.id, Phase::Working);
    }
}

impl State {
    /// Takes memory if it is free and no other request waits for it.
    fn try_request(&mut self, id: u64, bytes: usize) -> Result<(), RequestError> {
        let held = self.holders.get(&id).map_or(0, |holder| holder.bytes);
        let more = bytes.saturating_sub(held);
        if more > 0 && (!self.queue.is_empty() || more > self.free) {
            return Err(RequestError::Busy);
        }
        self.grant(id, more);
        Ok(())
    }

    /// Takes memory, or puts the request into the queue.
    fn request(&mut self, id: u64, bytes: usize) -> Option<oneshot::Receiver<()>> {
        if self.try_request(id, bytes).is_ok() {
            return None;
        }
        let more = bytes.saturating_sub(self.holders.get(&id)?.bytes);
        let (granted, receiver) = oneshot::channel();
        self.queue.push_back(Waiter { id, bytes: more, granted });
        self.enter(id, Phase::Waiting);
        // The request may be the last that did not wait.
        if let Some(first) = self.queue.front() {
            self.relieve(first.id);
        }
        Some(receiver)
    }

    fn grant(&mut self, id: u64, bytes: usize) {
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.bytes += bytes;
            self.free -= bytes;
            if bytes > 0
                && let Some(connections) = &self.connections
            {
                connections.add_bodies(bytes);
            }
        }
    }

    /// Returns memory, and passes it on to the first requests in the queue.
    fn release(&mut self, bytes: usize) {
        self.free += bytes;
        if bytes > 0
            && let Some(connections) = &self.connections
        {
            connections.remove_bodies(bytes);
        }
        while self.queue.front().is_some_and(|first| first.bytes <= self.free)
            && let Some(Waiter { id, bytes, granted }) = self.queue.pop_front()
        {
            self.grant(id, bytes);
            self.enter(id, Phase::Working);
            // A receiver that is gone drops its permit.
            let _ = granted.send(());
        }
    }

    fn enter(&mut self, id: u64, phase: Phase) {
        let Some(holder) = self.holders.get_mut(&id) else { return };
        if let Phase::Receiving(since) = holder.phase {
            holder.receiving += since.elapsed();
        }
        holder.phase = phase;
    }

    /// Cuts off requests until there is enough for this one, if it is the first in the queue.
    fn relieve(&mut self, id: u64) {
        let Some(first) = self.queue.front().filter(|first| first.id == id) else { return };
        let ending: usize =
            self.holders.values().filter(|holder| holder.is_cut_off).map(|holder| holder.bytes).sum();
        let mut missing = first.bytes.saturating_sub(self.free + ending);
        while missing > 0
            && let Some(victim) = self.slowest().or_else(|| self.youngest_if_all_wait(id))
            && let Some(holder) = self.holders.get_mut(&victim)
        {
            holder.is_cut_off = true;
            holder.cut_off.notify_one();
            missing = missing.saturating_sub(holder.bytes);
        }
    }

    /// Returns the request whose client has sent least in its time, if the client had enough time.
    fn slowest(&self) -> Option<u64> {
        let rate = |holder: &Holder| {
            let Phase::Receiving(since) = holder.phase else { return None };
            let time = holder.receiving + since.elapsed();
            (time >= GRACE).then(|| holder.bytes as f64 / time.as_secs_f64())
        };
        let rates = self.cuttable().filter_map(|(id, holder)| Some((id, rate(holder)?)));
        rates.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(id, _)| id)
    }

    /// If every request that holds memory waits for more, returns the one that started last.
    fn youngest_if_all_wait(&self, first: u64) -> Option<u64> {
        if self.cuttable().any(|(_, holder)| holder.phase != Phase::Waiting) {
            return None;
        }
        self.cuttable().map(|(id, _)| id).filter(|id| *id != first).last()
    }

    fn cuttable(&self) -> impl Iterator<Item = (u64, &Holder)> {
        let holders = self.holders.iter().map(|(id, holder)| (*id, holder));
        holders.filter(|(_, holder)| holder.bytes > 0 && !holder.is_cut_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    async fn grown(memory: &Memory, bytes: usize) -> Permit {
        let mut permit = memory.permit();
        permit.grow_to(bytes).await.unwrap();
        permit
    }

    fn free(memory: &Memory) -> usize {
        memory.lock().free
    }

    #[tokio::test]
    async fn a_request_that_waits_too_long_is_rejected_as_busy() {
        let memory = Memory::new(MIB, None);
        let all = grown(&memory, MIB).await;
        let start = Instant::now();
        assert_eq!(memory.permit().grow_to(1).await, Err(RequestError::Busy));
        assert!(start.elapsed() >= ACQUIRE_TIMEOUT);
        drop(all);
        drop(grown(&memory, MIB).await);
        assert_eq!(free(&memory), MIB);
    }

    #[tokio::test]
    async fn the_first_request_gets_the_memory_first() {
        let memory = Memory::new(MIB, None);
        let half = grown(&memory, MIB / 2).await;
        let mut order = Vec::new();
        let (mut large, mut small) = (memory.permit(), memory.permit());
        {
            let (mut large, mut small) = (Box::pin(large.grow_to(MIB)), Box::pin(small.grow_to(1)));
            assert!(poll_once(&mut large).await.is_none() && poll_once(&mut small).await.is_none());
            drop(half);
            order.extend(poll_once(&mut large).await);
            assert!(poll_once(&mut small).await.is_none(), "the large one has all of it");
        }
        assert_eq!(order, [Ok(())]);
        drop(large);
        small.grow_to(1).await.unwrap();
    }

    /// Polls a future once.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn requests_that_wait_for_each_other_are_resolved_at_once() {
        let memory = Memory::new(MIB, None);
        let (mut old, mut young) = (grown(&memory, MIB / 2).await, grown(&memory, MIB / 2).await);
        let start = Instant::now();
        let old = async move { old.grow_to(MIB).await };
        let young = async move { young.grow_to(MIB).await };
        assert_eq!(tokio::join!(old, young), (Ok(()), Err(RequestError::Busy)));
        assert!(start.elapsed() < GRACE);
    }

    #[tokio::test]
    async fn the_slowest_client_is_cut_off_if_others_wait() {
        let memory = Memory::new(MIB, None);
        let (mut slow, mut fast) = (grown(&memory, MIB / 4).await, grown(&memory, 3 * MIB / 4).await);
        let silent = async { slow.receive(std::future::pending::<()>()).await };
        assert!(
            tokio::time::timeout(2 * GRACE, silent).await.is_err(),
            "nobody is cut off while there is no other request"
        );
        let slow = tokio::spawn(async move { slow.receive(std::future::pending::<()>()).await });
        let fast =
            tokio::spawn(
                async move { fast.receive(tokio::time::sleep(3 * GRACE)).await.map(|()| fast.bytes()) },
            );
        let start = Instant::now();
        let other = grown(&memory, MIB / 4).await;
        assert!(start.elapsed() < 2 * GRACE);
        assert_eq!(slow.await.unwrap(), Err(RequestError::Slow));
        assert_eq!(fast.await.unwrap(), Ok(3 * MIB / 4));
        drop(other);
        assert_eq!(free(&memory), MIB);
    }

    #[tokio::test]
    async fn memory_that_is_not_free_at_once_is_refused_without_waiting() {
        let memory = Memory::new(MIB, None);
        let (mut one, other) = (grown(&memory, MIB / 2).await, grown(&memory, MIB / 4).await);
        assert_eq!(one.try_grow_to(3 * MIB / 4), Ok(()));
        assert_eq!(one.try_grow_to(MIB), Err(RequestError::Busy));
        assert_eq!(one.try_grow_to(1), Ok(()), "it has that already");
        drop(other);
        assert_eq!((one.try_grow_to(MIB), one.bytes()), (Ok(()), MIB));
    }

    #[tokio::test]
    async fn a_cancelled_request_leaves_the_queue_and_releases_its_memory() {
        let memory = Memory::new(MIB, None);
        let all = grown(&memory, MIB).await;
        let mut waiting = memory.permit();
        assert!(poll_once(&mut Box::pin(waiting.grow_to(MIB))).await.is_none());
        drop(waiting);
        assert!(memory.lock().queue.is_empty());
        drop(all);
        assert_eq!((free(&memory), memory.lock().holders.len()), (MIB, 0));
    }
}

//! [`Connections`]: the memory of the connections of one or more listeners, and which of them are closed if it is short.
//!
//! Accepting never waits: if a new connection or a request exceeds the limit, other connections are closed, first those
//! that have been idle for the longest time, then those whose requests take longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Notify;

use super::open_files;
use crate::log::{self, Value};
use crate::metrics::{Metrics, ReasonLabel};

/// The memory of an idle connection between two requests, as `logtracer-fleet-bench` measures it with 5,000: the buffers
/// and the state of hyper, and the task.
const HTTP_1_BYTES: usize = 17 << 10;
const HTTP_2_BYTES: usize = 30 << 10;

/// What TLS adds to that: the buffers and the keys of rustls.
const TLS_BYTES: usize = 14 << 10;

/// The maximum that one connection buffers before a request reads it: headers, and the flow-control window of HTTP/2.
const MAX_BUFFERED_BYTES: usize = 128 << 10;

/// The memory of a request, and of each of its headers beside their text.
const REQUEST_BYTES: usize = 4 << 10;
const HEADER_BYTES: usize = 128;

/// A connection has this time to become busy, or to complete its requests, before it is closed in favor of others.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

/// The limits of all connections together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    /// The limit of open files bounds the number.
    pub(super) count: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Of all connections, and of the bodies of their requests.
    bytes: usize,
    entries: BTreeMap<u64, Entry>,
    /// Connections without a request, by the order in which they became idle.
    idle: BTreeMap<u64, Since>,
    /// Connections with requests, by the order in which they became busy.
    busy: BTreeMap<u64, Since>,
    last: u64,
}

/// A connection, and when it became idle or busy.
#[derive(Debug, Clone, Copy)]
struct Since {
    id: u64,
    time: Instant,
}

#[derive(Debug)]
struct Entry {
    /// The key in `idle` or `busy`.
    order: u64,
    requests: usize,
    /// What the connection holds while it is idle, and its requests.
    bytes: usize,
    /// What was read since it became idle, up to a limit.
    buffered: usize,
    closed: Arc<Notify>,
}

/// An open connection. Dropping it releases its memory.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Connections,
    id: u64,
    closed: Arc<Notify>,
    has_unread_body: AtomicBool,
}

/// Closes a connection from the handler of one of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Closer(Arc<Notify>);

impl Closer {
    pub(crate) fn close(&self) {
        self.0.notify_one();
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct RequestInProgress {
    connection: Arc<Connection>,
    bytes: usize,
}

/// The limit of all connections of `--http` and `--grpc` and of their requests together, and the limits of `--view`.
///
/// With what the program takes beside them, the peak is below 256 MiB (`the_worst_bodies_from_many_clients_…`).
const RECEIVING_BYTES: usize = 208 << 20;
const VIEWING: Limits = Limits { bytes: 8 << 20, count: 256 };

/// The connections of the receivers, and those of the viewer, which cannot take the place of each other.
pub(crate) struct AllConnections {
    pub(crate) receiving: Connections,
    pub(crate) viewing: Connections,
}

impl AllConnections {
    /// Raises the limit of open files.
    pub(crate) fn new(metrics: &Arc<Metrics>) -> Self {
        let count = open_files::raise_limit();
        let viewing = Limits { count: VIEWING.count.min(count / 4).max(1), ..VIEWING };
        let receiving = Limits { bytes: RECEIVING_BYTES, count: count.saturating_sub(viewing.count).max(1) };
        Self {
            receiving: Connections::new(receiving, metrics.clone()),
            viewing: Connections::new(viewing, metrics.clone()),
        }
    }
}

impl Connections {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared { limits, metrics, state: Mutex::default() }))
    }

    /// Adds a connection. Closes others if it exceeds the limits.
    pub(super) fn add(&self, is_tls: bool) -> Connection {
        let closed = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next();
        state.idle.insert(id, Since::now(id));
        let entry = Entry { order: id, requests: 0, bytes: 0, buffered: 0, closed: closed.clone() };
        state.entries.insert(id, entry);
        self.0.metrics.connections.inc();
        self.charge(&mut state, id, HTTP_1_BYTES + if is_tls { TLS_BYTES } else { 0 });
        drop(state);
        Connection { connections: self.clone(), id, closed, has_unread_body: AtomicBool::new(false) }
    }

    /// Counts bytes of bodies, which have a limit of their own. Closes connections if there are too many for both.
    pub(crate) fn add_bodies(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes += bytes;
        self.keep_limits(&mut state, None);
    }

    /// Releases bytes of bodies.
    pub(crate) fn remove_bodies(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    /// Closes a connection, if there is one: a file descriptor is needed.
    pub(super) fn close_one(&self) {
        self.close_first(&mut self.lock(), None, "open files");
    }

    /// Adds to the memory of a connection, and closes others if the limit is exceeded.
    fn charge(&self, state: &mut State, id: u64, bytes: usize) {
        let Some(entry) = state.entries.get_mut(&id) else { return };
        entry.bytes += bytes;
        state.bytes += bytes;
        self.keep_limits(state, Some(id));
    }

    /// Closes connections, other than this one, until the limits are kept.
    fn keep_limits(&self, state: &mut State, except: Option<u64>) {
        while state.entries.len() > self.0.limits.count && self.close_first(state, except, "open files") {}
        while state.bytes > self.0.limits.bytes && self.close_first(state, except, "memory") {}
    }

    /// Closes a connection other than this one.
    fn close_first(&self, state: &mut State, except: Option<u64>, reason: &'static str) -> bool {
        let Some(id) = state.first(except) else { return false };
        if let Some(entry) = state.remove(id) {
            entry.closed.notify_one();
        }
        self.0.metrics.connections.dec();
        self.0.metrics.connections_closed.get_or_create(&ReasonLabel { reason }).inc();
        log::warn("closed a connection in favor of others", &[("reason", Value::Str(reason))]);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Since {
    fn now(id: u64) -> Self {
        Self { id, time: Instant::now() }
    }
}

impl State {
    /// Returns the connection to close first.
    fn first(&self, except: Option<u64>) -> Option<u64> {
        let first = |connections: &BTreeMap<u64, Since>| {
            connections.values().find(|since| Some(since.id) != except).copied()
        };
        let (idle, busy) = (first(&self.idle), first(&self.busy));
        let is_old = |since: &Since| since.time.elapsed() >= GRACE;
        let old = idle.filter(is_old).or_else(|| busy.filter(is_old));
        old.or(idle).or(busy).map(|since| since.id)
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.idle.remove(&entry.order);
        self.busy.remove(&entry.order);
        self.bytes -= entry.bytes + entry.buffered;
        Some(entry)
    }
}

impl Connection {
    /// Waits until the connection has to be closed.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    pub(super) fn closer(&self) -> Closer {
        Closer(self.closed.clone())
    }

    /// Returns true if the last request over HTTP/1 has a body that was not read to its end.
    pub(super) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    pub(super) fn set_unread_body(&self, is_unread: bool) {
        self.has_unread_body.store(is_unread, Ordering::Relaxed);
    }

    /// Counts bytes that were read.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.connections.lock();
        let Some(entry) = state.entries.get_mut(&self.id) else { return };
        let more = bytes.min(MAX_BUFFERED_BYTES.saturating_sub(entry.buffered));
        entry.buffered += more;
        state.bytes += more;
        self.connections.keep_limits(&mut state, Some(self.id));
    }

    /// Counts the larger buffers of HTTP/2.
    pub(super) fn speaks_http2(&self) {
        self.connections.charge(&mut self.connections.lock(), self.id, HTTP_2_BYTES - HTTP_1_BYTES);
    }

    /// Starts a request with these headers.
    pub(super) fn start(self: &Arc<Self>, headers: &HeaderMap) -> RequestInProgress {
        let of_header =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + HEADER_BYTES;
        let bytes = REQUEST_BYTES + headers.iter().map(of_header).sum::<usize>();
        let mut guard = self.connections.lock();
        let state = &mut *guard;
        let order = state.next();
        if let Some(entry) = state.entries.get_mut(&self.id) {
            entry.requests += 1;
            if entry.requests == 1 {
                state.idle.remove(&entry.order);
                state.busy.insert(order, Since::now(self.id));
                entry.order = order;
            }
        }
        self.connections.charge(state, self.id, bytes);
        drop(guard);
        RequestInProgress { connection: self.clone(), bytes }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.connections.lock().remove(self.id).is_some() {
            self.connections.0.metrics.connections.dec();
        }
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        let mut guard = self.connection.connections.lock();
        let state = &mut *guard;
        let order = state.next();
        let Some(entry) = state.entries.get_mut(&self.connection.id) else { return };
        entry.requests -= 1;
        entry.bytes -= self.bytes;
        state.bytes -= self.bytes;
        if entry.requests == 0 {
            state.bytes -= std::mem::take(&mut entry.buffered);
            state.busy.remove(&entry.order);
            state.idle.insert(order, Since::now(self.connection.id));
            entry.order = order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(bytes: usize, count: usize) -> Connections {
        Connections::new(Limits { bytes, count }, Arc::new(Metrics::new()))
    }

    fn is_open(connection: &Connection) -> bool {
        connection.connections.lock().entries.contains_key(&connection.id)
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_for_the_longest_time_is_closed_first() {
        for connections in [connections(3 * HTTP_1_BYTES + REQUEST_BYTES, 99), connections(1 << 30, 3)] {
            let all = [(); 3].map(|()| Arc::new(connections.add(false)));
            let request = all[1].start(&HeaderMap::new());
            drop(all[0].start(&HeaderMap::new()));
            let newest = connections.add(false);
            assert_eq!(all.each_ref().map(|one| is_open(one)), [true, true, false]);
            all[2].closed().await;
            let another = connections.add(false);
            assert_eq!(all.each_ref().map(|one| is_open(one)), [false, true, false]);
            assert!(is_open(&newest) && is_open(&another));
            drop((all, request, newest, another));
            let state = connections.lock();
            assert_eq!((state.bytes, state.entries.len()), (0, 0));
        }
    }

    #[tokio::test]
    async fn bytes_that_no_request_has_processed_count() {
        let connections = connections(2 * HTTP_1_BYTES + REQUEST_BYTES + MAX_BUFFERED_BYTES, 99);
        let (first, other) = (Arc::new(connections.add(false)), Arc::new(connections.add(false)));
        let request = first.start(&HeaderMap::new());
        first.read(MAX_BUFFERED_BYTES);
        drop(request);
        first.read(MAX_BUFFERED_BYTES);
        assert!(is_open(&first) && is_open(&other));
        let third = connections.add(false);
        assert!(is_open(&first) && !is_open(&other) && is_open(&third), "the other one is idle for longer");
    }

    #[tokio::test]
    async fn bodies_take_the_memory_of_connections_that_are_idle() {
        let connections = connections(4 * HTTP_1_BYTES + REQUEST_BYTES, 99);
        let all = [(); 3].map(|()| Arc::new(connections.add(false)));
        let request = all[0].start(&HeaderMap::new());
        connections.add_bodies(HTTP_1_BYTES);
        assert_eq!(all.each_ref().map(|one| is_open(one)), [true, true, true]);
        connections.add_bodies(HTTP_1_BYTES);
        assert_eq!(all.each_ref().map(|one| is_open(one)), [true, false, true]);
        connections.remove_bodies(2 * HTTP_1_BYTES);
        drop((all, request));
        assert_eq!(connections.lock().bytes, 0);
    }

    #[tokio::test]
    async fn if_none_is_idle_the_longest_request_is_closed() {
        let connections = connections(1 << 30, 2);
        let all = [(); 2].map(|()| Arc::new(connections.add(false)));
        let _requests = all.each_ref().map(|one| one.start(&HeaderMap::new()));
        let newest = connections.add(false);
        assert_eq!((is_open(&all[0]), is_open(&all[1]), is_open(&newest)), (false, true, true));
    }
}

//! The requests: a constant rate of many kinds, each of which expects a status and a decision.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logtracer_harness::wire::Connection;
use logtracer_harness::{Error, Result};

const CLIENTS: u64 = 16;
/// The requests of one trace. A trace of many requests is also one of many log lines.
const REQUESTS_PER_TRACE: u64 = 20;

/// The headers of the caller. `{trace}` is the trace id and `{span}` the span id of the caller.
const FORMATS: [(&str, bool); 8] = [
    ("", true),
    ("b3: {trace}-{span}-1\r\n", true),
    ("b3: 0\r\n", false),
    ("x-b3-traceid: {trace}\r\nx-b3-spanid: {span}\r\nx-b3-sampled: 1\r\n", true),
    ("traceparent: 00-{trace}-{span}-01\r\ntracestate: a=1\r\n", true),
    ("traceparent: 00-{trace}-{span}-00\r\n", false),
    ("x-cloud-trace-context: {trace}/1;o=1\r\n", true),
    ("b3: nonsense\r\ntraceparent: 00-{trace}-{span}-01\r\n", true),
];

/// Method, path and expected status.
const RESPONSES: [(&str, &str, u16); 11] = [
    ("GET", "/origin/ok", 200),
    ("POST", "/origin/ok", 200),
    ("GET", "/origin/204", 204),
    ("GET", "/origin/304", 304),
    ("GET", "/origin/418", 418),
    ("GET", "/origin/500", 500),
    ("GET", "/nowhere", 404),
    ("GET", "/down", 503),
    ("GET", "/limited", 429),
    ("GET", "/moved", 301),
    ("GET", "/forbidden", 403),
];

/// What has been sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Sent {
    /// The numbers of the completed requests, and whether their traces are sampled.
    pub(super) requests: HashMap<u64, bool>,
    /// The numbers of requests on a reused connection that Envoy closed before a response, as it does when it drains a
    /// listener. A client sends such a request again. Envoy may or may not have seen it.
    pub(super) unanswered: HashSet<u64>,
    /// Requests that failed, or whose response was not the expected one.
    pub(super) failures: Vec<String>,
    /// The times of the requests.
    pub(super) latencies: Vec<Duration>,
}

/// Clients that send at a constant rate until they are stopped.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Sent>>,
}

struct Shared {
    addresses: RwLock<Vec<SocketAddr>>,
    next: AtomicU64,
    in_flight: AtomicU64,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
    interval: Duration,
    pause: Mutex<()>,
}

impl Traffic {
    /// Sends `rate` requests a second to `addresses`, in turn.
    pub(super) fn start(addresses: Vec<SocketAddr>, rate: u32) -> Traffic {
        let shared = Arc::new(Shared {
            addresses: RwLock::new(addresses),
            next: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            interval: Duration::from_secs(CLIENTS) / rate.max(1),
            pause: Mutex::new(()),
        });
        let clients = (0..CLIENTS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || client(&shared))
            })
            .collect();
        Traffic { shared, clients }
    }

    /// Calls `action` while no request is in flight, and sends later requests to the addresses that it returns.
    pub(super) fn pause(&self, action: impl FnOnce() -> Result<Vec<SocketAddr>>) -> Result<()> {
        let _one = self.shared.pause.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.shared.is_paused.store(true, Ordering::SeqCst);
        while self.shared.in_flight.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let addresses = action()?;
        *self.shared.addresses.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = addresses;
        self.shared.is_paused.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Ends the clients after their current requests.
    pub(super) fn stop(self) -> Result<Sent> {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let mut all = Sent::default();
        for client in self.clients {
            let sent = client.join().map_err(|_| Error::new("a client panicked"))?;
            all.requests.extend(sent.requests);
            all.unanswered.extend(sent.unanswered);
            all.failures.extend(sent.failures);
            all.latencies.extend(sent.latencies);
        }
        all.latencies.sort_unstable();
        Ok(all)
    }
}

impl Shared {
    fn address(&self, number: u64) -> SocketAddr {
        let addresses = self.addresses.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        addresses[(number % addresses.len() as u64) as usize]
    }
}

fn client(shared: &Shared) -> Sent {
    let mut sent = Sent::default();
    let mut connections = HashMap::<SocketAddr, Connection>::new();
    let mut due = Instant::now();
    while !shared.is_stopped.load(Ordering::SeqCst) {
        due += shared.interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        if shared.is_paused.load(Ordering::SeqCst) {
            shared.in_flight.fetch_sub(1, Ordering::SeqCst);
            due = Instant::now();
            continue;
        }
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let address = shared.address(number);
        let request = Request::of(number);
        let start = Instant::now();
        let reused = connections.remove(&address);
        let is_reused = reused.is_some();
        let opened = reused.map_or_else(|| Connection::open(address), Ok);
        let response = opened.and_then(|mut connection| {
            connection.send(&request.bytes)?;
            connection.response().map(|response| (connection, response))
        });
        match response {
            Ok((connection, response)) if response.status() == request.status => {
                sent.latencies.push(start.elapsed());
                if response.header("connection") != Some("close") {
                    connections.insert(address, connection);
                }
            }
            Ok((_, response)) => sent.failures.push(format!("request {number}: {}", response.start)),
            Err(_) if is_reused => {
                sent.unanswered.insert(number);
            }
            Err(error) => sent.failures.push(format!("request {number}: {error}")),
        }
        sent.requests.insert(number, request.is_sampled);
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
    sent
}

struct Request {
    bytes: Vec<u8>,
    status: u16,
    is_sampled: bool,
}

impl Request {
    /// Returns the request of a number. Its query is the number.
    fn of(number: u64) -> Request {
        let (headers, is_sampled) = FORMATS[(number % FORMATS.len() as u64) as usize];
        let (method, path, status) = RESPONSES[(number % RESPONSES.len() as u64) as usize];
        let trace = u128::from(number / REQUESTS_PER_TRACE + 1) << 64 | 0x50a1;
        let headers = headers
            .replace("{trace}", &format!("{trace:032x}"))
            .replace("{span}", &format!("{:016x}", number + 1));
        let body = if method == "POST" { "content-length: 4\r\n" } else { "" };
        let end = if method == "POST" { "body" } else { "" };
        let bytes = format!("{method} {path}?n={number}. HTTP/1.1\r\nhost: shop\r\n{headers}{body}\r\n{end}");
        Request { bytes: bytes.into_bytes(), status, is_sampled }
    }
}

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{Barrier, Semaphore};
use tokio::time::timeout;

use super::calls::Calls;
use super::chunk::tests::{body, names};
use super::*;
use crate::otlp::Signal;
use crate::outbox::{self, Limits, Outbox, Signals, Subscription};
use crate::shutdown;
use crate::storage::{DataDir, DiskReserve};

const PACE: Pace = Pace { calls: 8, items: 4, bytes: 1 << 20, linger: Duration::ZERO };
const LONG: Duration = Duration::from_secs(30);

/// A sink that answers with a function of the span names, and records the names that it accepts.
struct Fake<F> {
    pace: Pace,
    answer: F,
    got: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
}

impl<F> Sink for Fake<F>
where
    F: AsyncAnswer,
{
    fn pace(&self) -> Pace {
        self.pace
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let names = names(chunk);
        let answer = self.answer.answer(&names).await;
        if answer.is_ok() {
            self.got.lock().unwrap().extend(names);
        }
        answer
    }
}

/// The responses of a fake sink.
trait AsyncAnswer: Send + Sync + 'static {
    fn answer(&self, names: &[String]) -> impl Future<Output = Result<Accepted, DeliveryError>> + Send;
}

impl<F, A> AsyncAnswer for F
where
    F: Fn(Vec<String>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Accepted, DeliveryError>> + Send,
{
    fn answer(&self, names: &[String]) -> impl Future<Output = Result<Accepted, DeliveryError>> + Send {
        self(names.to_vec())
    }
}

struct World {
    dir: tempfile::TempDir,
    outbox: Outbox,
    _thread: JoinHandle<()>,
    metrics: Arc<Metrics>,
    dead_letters: DeadLetters,
    got: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
    stop: Option<shutdown::Trigger>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let reserve = DiskReserve::small(dir.path());
        let limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(3600) };
        let subscription =
            Subscription { sink: "fake".to_owned(), signals: Signals::TRACES, has_rules: false };
        let (outbox, thread) = outbox::open(
            &DataDir::unlocked(dir.path()),
            &[subscription],
            limits,
            reserve.clone(),
            metrics.clone(),
        )
        .unwrap();
        let dead_letters =
            DeadLetters::open(&DataDir::unlocked(dir.path()), 1 << 20, reserve, metrics.clone()).unwrap();
        let (got, calls) = Default::default();
        Self { dir, outbox, _thread: thread, metrics, dead_letters, got, calls, stop: None }
    }

    async fn append(&self, names: &[&str]) {
        let items = u32::try_from(names.len()).unwrap();
        self.outbox.append(Signal::Traces, body(names), items).await.unwrap();
    }

    fn deliver(&mut self, pace: Pace, answer: impl AsyncAnswer) {
        let (trigger, stop) = shutdown::channel();
        let sink = Fake { pace, answer, got: self.got.clone(), calls: self.calls.clone() };
        let source = Source {
            name: "fake".to_owned(),
            window: window(4),
            reader: self.outbox.reader(0).unwrap(),
            dead_letters: self.dead_letters.clone(),
            calls: Calls::open(self.dir.path()).of("fake"),
            metrics: self.metrics.clone(),
        };
        tokio::spawn(run(sink, source, stop));
        self.stop = Some(trigger);
    }

    async fn drained(&self) {
        timeout(LONG, self.outbox.drained()).await.expect("everything is acknowledged");
    }

    fn got(&self) -> Vec<String> {
        let mut got = self.got.lock().unwrap().clone();
        got.sort();
        got
    }

    fn dead(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.dir.path().join("dead-letters.db")).unwrap();
        let mut statement = connection.prepare("SELECT items, reason FROM letter ORDER BY reason").unwrap();
        let rows = statement
            .query_map([], |row| Ok(format!("{} {}", row.get::<_, u32>(0)?, row.get::<_, String>(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Returns the numbers of delivered and of dropped spans.
    fn counted(&self) -> (u64, u64) {
        (self.metrics.delivered("fake").spans.get(), self.metrics.dropped("fake", "rejected").spans.get())
    }
}

fn rejected(reason: &str) -> Result<Accepted, DeliveryError> {
    Err(DeliveryError::Rejected { reason: reason.to_owned() })
}

fn unavailable(retry_after: Option<Duration>) -> Result<Accepted, DeliveryError> {
    Err(DeliveryError::Unavailable { reason: "not yet".to_owned(), retry_after })
}

#[tokio::test]
async fn a_bad_span_is_singled_out_within_its_batch() {
    let mut world = World::new();
    world.append(&["a", "b", "bad1", "c", "d", "e", "f"]).await;
    world.append(&["g", "bad2"]).await;
    world.append(&["h"]).await;
    world.deliver(PACE, |names: Vec<String>| async move {
        match names.iter().find(|name| name.starts_with("bad")) {
            Some(bad) => rejected(bad),
            None => Ok(Accepted::default()),
        }
    });
    world.drained().await;
    assert_eq!(world.got(), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert_eq!(world.dead(), ["1 bad1", "1 bad2"]);
    assert_eq!(world.counted(), (8, 2));
    assert_eq!(world.metrics.outbox_bytes.get(), 0, "batches that every sink has acknowledged are deleted");
}

#[tokio::test]
async fn many_calls_are_in_flight_at_one_time() {
    let mut world = World::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.append(&[name]).await;
    }
    // No call is answered before there are eight.
    let barrier = Arc::new(Barrier::new(8));
    world.deliver(Pace { items: 1, ..PACE }, move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Ok(Accepted::default())
        }
    });
    world.drained().await;
    assert_eq!(world.calls.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn the_cursor_waits_for_the_first_unsettled_batch() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.append(&[name]).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    world.deliver(Pace { items: 1, ..PACE }, move |names: Vec<String>| {
        let held = held.clone();
        async move {
            if names == ["a"] {
                held.acquire().await.unwrap().forget();
            }
            Ok(Accepted::default())
        }
    });
    let others = async {
        while world.got() != ["b", "c"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, others).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((world.outbox.backlogs(), world.counted()), (vec![3], (0, 0)));
    gate.add_permits(1);
    world.drained().await;
    assert_eq!(world.counted(), (3, 0));
}

#[tokio::test]
async fn retry_after_is_respected() {
    let mut world = World::new();
    world.append(&["a"]).await;
    let start = Instant::now();
    let calls = world.calls.clone();
    world.deliver(PACE, move |_| {
        let is_first = calls.load(Ordering::Relaxed) == 1;
        async move { if is_first { unavailable(Some(Duration::from_secs(1))) } else { Ok(Accepted::default()) } }
    });
    world.drained().await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(world.metrics.render().contains("delivery_retries_total{sink=\"fake\"} 1"));
}

#[tokio::test]
async fn a_span_that_fails_while_others_are_accepted_becomes_a_dead_letter() {
    let mut world = World::new();
    world.append(&["a", "poison", "b"]).await;
    world.append(&["c"]).await;
    world.deliver(Pace { items: 1, calls: 1, ..PACE }, |names: Vec<String>| async move {
        if names.iter().any(|name| name == "poison") {
            return Err(DeliveryError::Failed { reason: "crash".to_owned(), retry_after: None });
        }
        Ok(Accepted::default())
    });
    timeout(2 * LONG, world.outbox.drained()).await.unwrap();
    assert_eq!(world.got(), ["a", "b", "c"]);
    assert_eq!(world.dead(), ["1 it fails while others are accepted: crash"]);
}

#[tokio::test]
async fn partially_rejected_chunks_are_counted_and_stored() {
    let mut world = World::new();
    world.append(&["a", "b", "c"]).await;
    world.deliver(PACE, |_| async {
        let rejected = Some(RejectedItems { items: 1, reason: "too old".to_owned() });
        Ok(Accepted { rejected, ..Default::default() })
    });
    world.drained().await;
    assert_eq!(world.counted(), (2, 1));
    assert_eq!(world.dead(), ["3 1 of 3 items were rejected: too old"]);
    assert_eq!(world.calls.load(Ordering::Relaxed), 1, "not sent again");
}

#[tokio::test]
async fn a_sink_that_rejects_everything_is_not_called_for_every_span() {
    let mut world = World::new();
    let many: Vec<&str> = std::iter::repeat_n("a", 4000).collect();
    world.append(&many).await;
    world.deliver(Pace { items: 500, ..PACE }, |_| async { rejected("no") });
    world.drained().await;
    assert_eq!(world.counted(), (0, 4000));
    let calls = world.calls.load(Ordering::Relaxed);
    assert!(calls < 400, "{calls} calls");
}

#[tokio::test]
async fn a_chunk_is_split_as_the_sink_requires() {
    let mut world = World::new();
    world.append(&["a1", "b1", "a2"]).await;
    let chunks = Arc::new(Mutex::new(Vec::new()));
    world.deliver(PACE, {
        let chunks = chunks.clone();
        move |names: Vec<String>| {
            chunks.lock().unwrap().push(names.clone());
            async move {
                if names.iter().all(|name| name.starts_with(&names[0][..1])) {
                    return Ok(Accepted::default());
                }
                let of = |letter: &str| {
                    let names: Vec<&str> =
                        names.iter().filter(|name| name.starts_with(letter)).map(String::as_str).collect();
                    let items = u32::try_from(names.len()).unwrap();
                    Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), items, body(&names)))
                };
                Err(DeliveryError::Split { chunks: vec![of("a"), of("b")] })
            }
        }
    });
    world.drained().await;
    assert_eq!(*chunks.lock().unwrap(), [vec!["a1", "b1", "a2"], vec!["a1", "a2"], vec!["b1"]]);
    assert_eq!(world.counted(), (3, 0));
}

/// Returns a response that names these spans as failed.
fn failed(names: &[String], retry_after: Option<Duration>) -> Result<Accepted, DeliveryError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let items = u32::try_from(names.len()).unwrap();
    let chunk = Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), items, body(&names)));
    let error = DeliveryError::Unavailable { reason: "busy".to_owned(), retry_after };
    Ok(Accepted { failed: vec![FailedItems { chunk, error }], ..Default::default() })
}

#[tokio::test]
async fn a_call_of_which_all_items_failed_is_a_failed_call() {
    let mut world = World::new();
    world.append(&["a", "b"]).await;
    world.deliver(PACE, move |names: Vec<String>| async move { failed(&names, None) });
    // Each back-off is twice the one before: 0.2 s, 0.4 s, 0.8 s, each at least half of that.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let calls = world.calls.load(Ordering::Relaxed);
    assert!((2..=5).contains(&calls), "{calls} calls");
    assert_eq!(world.counted(), (0, 0));
}

#[tokio::test]
async fn retry_after_is_respected_for_items() {
    let mut world = World::new();
    world.append(&["a", "b"]).await;
    let (start, retry_after) = (Instant::now(), Duration::from_millis(700));
    let is_first = Arc::new(AtomicUsize::new(1));
    world.deliver(PACE, move |names: Vec<String>| {
        let is_first = is_first.swap(0, Ordering::Relaxed) == 1;
        async move { if is_first { failed(&names[1..], Some(retry_after)) } else { Ok(Accepted::default()) } }
    });
    world.drained().await;
    assert!(start.elapsed() >= retry_after, "{:?}", start.elapsed());
    assert_eq!(world.counted(), (2, 0));
}

#[tokio::test]
async fn a_dead_letter_is_delivered_on_request() {
    let mut world = World::new();
    world.append(&["a", "b"]).await;
    let is_fixed = Arc::new(AtomicUsize::new(0));
    let fixed = is_fixed.clone();
    world.deliver(PACE, move |_| {
        let works = fixed.load(Ordering::Relaxed) == 1;
        async move {
            if works {
                Ok(Accepted::default())
            } else {
                Err(DeliveryError::Undeliverable { reason: "no access".to_owned() })
            }
        }
    });
    world.drained().await;
    assert_eq!(world.dead(), ["2 no access"], "not halved");
    assert_eq!(world.calls.load(Ordering::Relaxed), 1);

    is_fixed.store(1, Ordering::Relaxed);
    retry_all(world.dir.path());
    let gone = async {
        while !world.dead().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
    assert_eq!(world.got(), ["a", "b"]);
    assert_eq!(world.counted(), (0, 2), "counted when it became a dead letter");
}

fn retry_all(dir: &Path) {
    let connection = rusqlite::Connection::open(dir.join("dead-letters.db")).unwrap();
    connection.execute("UPDATE letter SET is_asked = 1", []).unwrap();
}

#[test]
fn sinks_share_the_window() {
    assert_eq!([1, 2, 4, 6].map(|sinks| window(sinks) >> 20), [12, 6, 3, 2]);
}

#[tokio::test]
async fn no_more_is_read_than_the_window_holds() {
    let mut world = World::new();
    let name = "x".repeat(500_000);
    for _ in 0..60 {
        world.append(&[&name]).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    world.deliver(Pace { calls: 1000, ..PACE }, move |_| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            Ok(Accepted::default())
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = world.calls.load(Ordering::Relaxed);
    assert!(calls > 4 && calls * 500_000 <= window(4) + (2 << 20), "{calls} calls");
    gate.add_permits(1000);
    world.drained().await;
    assert_eq!(world.counted(), (60, 0));
}

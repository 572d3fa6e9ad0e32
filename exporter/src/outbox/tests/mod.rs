//! The outbox as its users see it: append, read, advance, limits, restarts.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

mod corruption;

use super::*;
use crate::clock::unix_millis;
use crate::metrics::Tally;
use crate::otlp::Signal;

const LIMITS: Limits = Limits { max_bytes: 1000, max_age: Duration::from_secs(60) };

fn open_with(dir: &Path, sinks: &[&str]) -> (Outbox, JoinHandle<()>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let sinks: Vec<_> = sinks.iter().map(|sink| subscription(sink)).collect();
    let (outbox, thread) =
        open(&DataDir::unlocked(dir), &sinks, LIMITS, DiskReserve::open(dir), metrics.clone()).unwrap();
    (outbox, thread, metrics)
}

/// Returns the subscription of a sink that takes all signals.
fn subscription(sink: &str) -> Subscription {
    Subscription { sink: sink.to_owned(), signals: Signals::ALL, has_rules: false }
}

/// Acknowledges all of these batches.
async fn acknowledge(reader: &Reader, batches: &[Batch], tally: &Tally) {
    let cursor = reader.cursor();
    let taken = batches.iter().filter(|batch| cursor.takes(batch.content));
    let settled = taken.map(|batch| Settled {
        id: batch.id,
        signal: batch.signal(),
        items: batch.items.into(),
        tally: tally.clone(),
    });
    cursor.advance(batches.last().unwrap().id, settled.collect()).await.unwrap();
}

fn batch(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 100])
}

fn ids(batches: &[Batch]) -> Vec<i64> {
    batches.iter().map(|batch| batch.id).collect()
}

fn dropped(metrics: &Metrics, sink: &str, reason: &'static str) -> u64 {
    metrics.dropped(sink, reason).spans.get()
}

#[tokio::test]
async fn batches_are_read_in_order_and_kept_until_every_sink_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_with(dir.path(), &["a", "b"]);
    for byte in 1..=3 {
        outbox.append(Signal::Traces, batch(byte), 5).await.unwrap();
    }
    let (mut a, mut b) = (outbox.reader(0).unwrap(), outbox.reader(1).unwrap());
    let batches = a.next().await.unwrap();
    assert_eq!(ids(&batches), [1, 2, 3]);
    assert_eq!((batches[1].items, &batches[1].body), (5, &batch(2)));
    a.cursor().advance(3, Vec::new()).await.unwrap();
    assert_eq!((metrics.outbox_bytes.get(), outbox.backlogs()), (300, vec![0, 3]));
    b.cursor().advance(2, Vec::new()).await.unwrap();
    assert_eq!((metrics.outbox_bytes.get(), outbox.backlogs()), (100, vec![0, 1]));
    assert_eq!(ids(&b.next().await.unwrap()), [3]);
    b.cursor().advance(3, Vec::new()).await.unwrap();
    assert_eq!((metrics.outbox_bytes.get(), outbox.oldest_ms()), (0, None));
    outbox.drained().await;
}

#[tokio::test]
async fn each_sink_continues_at_its_cursor_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_with(dir.path(), &["a", "b"]);
        for byte in 1..=3 {
            outbox.append(Signal::Traces, batch(byte), 5).await.unwrap();
        }
        outbox.reader(0).unwrap().cursor().advance(3, Vec::new()).await.unwrap();
        outbox.reader(1).unwrap().cursor().advance(1, Vec::new()).await.unwrap();
        drop(outbox);
        thread.join().unwrap();
    }
    // "a" is removed. "new" starts with the waiting batches. Ids are not reused.
    let (outbox, _thread, metrics) = open_with(dir.path(), &["b", "new"]);
    assert_eq!(metrics.outbox_bytes.get(), 200);
    outbox.append(Signal::Traces, batch(4), 5).await.unwrap();
    assert_eq!(ids(&outbox.reader(0).unwrap().next().await.unwrap()), [2, 3, 4]);
    assert_eq!(ids(&outbox.reader(1).unwrap().next().await.unwrap()), [2, 3, 4]);
    assert_eq!(dropped(&metrics, "a", "sink removed"), 0, "a has acknowledged everything");
}

#[tokio::test]
async fn the_backlog_of_a_removed_sink_is_counted_as_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, thread, _) = open_with(dir.path(), &["a", "b"]);
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    drop(outbox);
    thread.join().unwrap();
    let (_outbox, _thread, metrics) = open_with(dir.path(), &["b"]);
    assert_eq!(dropped(&metrics, "a", "sink removed"), 5);
}

#[tokio::test]
async fn a_new_sink_of_an_empty_outbox_has_no_backlog() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_with(dir.path(), &["a"]);
        outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
        outbox.reader(0).unwrap().cursor().advance(1, Vec::new()).await.unwrap();
        drop(outbox);
        thread.join().unwrap();
    }
    let (outbox, _thread, _) = open_with(dir.path(), &["a", "new"]);
    assert_eq!(outbox.backlogs(), [0, 0]);
    outbox.append(Signal::Traces, batch(2), 5).await.unwrap();
    assert_eq!(ids(&outbox.reader(1).unwrap().next().await.unwrap()), [2]);
}

#[tokio::test]
async fn a_full_outbox_drops_only_batches_that_some_sink_has_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_with(dir.path(), &["quick", "down"]);
    for byte in 0..10 {
        outbox.append(Signal::Traces, batch(byte), 5).await.unwrap();
    }
    assert_eq!(
        outbox.append(Signal::Traces, batch(10), 5).await,
        Err(AppendError::Full { waiting_bytes: 1000 })
    );

    // When one sink has the oldest batch, the other sink no longer blocks new batches.
    outbox.reader(0).unwrap().cursor().advance(4, Vec::new()).await.unwrap();
    outbox.append(Signal::Traces, batch(11), 5).await.unwrap();
    assert_eq!(dropped(&metrics, "down", "outbox full"), 5);
    assert_eq!(dropped(&metrics, "quick", "outbox full"), 0);
    assert_eq!(ids(&outbox.reader(1).unwrap().next().await.unwrap()).first(), Some(&2));
    assert!(metrics.outbox_bytes.get() <= 1000);
}

/// Opens an outbox with two sinks, of which the first takes tailed lines.
fn open_for_tail(dir: &Path) -> (Outbox, JoinHandle<()>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let sinks = [subscription("lines"), Subscription { signals: Signals::STORE, ..subscription("store") }];
    let (outbox, thread) =
        open(&DataDir::unlocked(dir), &sinks, LIMITS, DiskReserve::open(dir), metrics.clone()).unwrap();
    (outbox, thread, metrics)
}

#[tokio::test]
async fn requests_that_wait_take_nothing_of_the_half_for_tailed_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_for_tail(dir.path());
    for byte in 0..5 {
        outbox.append(Signal::Traces, batch(byte), 1).await.unwrap();
    }
    for byte in 0..5 {
        outbox.append(BatchContent::TailedLogs, batch(byte), 1).await.unwrap();
    }
    assert_eq!(metrics.outbox_bytes.get(), 1000);
    let cursors = [outbox.reader(0).unwrap().cursor(), outbox.reader(1).unwrap().cursor()];
    for cursor in &cursors {
        cursor.advance(5, Vec::new()).await.unwrap();
    }
    // The half is full, although the requests are gone.
    let full = outbox.append(BatchContent::TailedLogs, batch(0), 1).await;
    assert_eq!(full, Err(AppendError::Full { waiting_bytes: 500 }));
    cursors[0].advance(6, Vec::new()).await.unwrap();
    outbox.append(BatchContent::TailedLogs, batch(0), 1).await.unwrap();
}

#[tokio::test]
async fn a_tailed_line_drops_nothing_that_waits_for_its_sinks() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_for_tail(dir.path());
    outbox.append(BatchContent::TailedLogs, batch(0), 1).await.unwrap();
    for byte in 1..10 {
        outbox.append(Signal::Traces, batch(byte), 1).await.unwrap();
    }
    // The sink of the lines is behind: a request would drop its oldest batches.
    let (lines, store) = (outbox.reader(0).unwrap().cursor(), outbox.reader(1).unwrap().cursor());
    store.advance(9, Vec::new()).await.unwrap();
    let full = outbox.append(BatchContent::TailedLogs, batch(0), 1).await;
    assert_eq!(full, Err(AppendError::Full { waiting_bytes: 1000 }));
    // Now the other one is behind, which delays no line.
    lines.advance(10, Vec::new()).await.unwrap();
    outbox.append(Signal::Traces, batch(11), 1).await.unwrap();
    for byte in 12..20 {
        outbox.append(Signal::Traces, batch(byte), 1).await.unwrap();
    }
    assert_eq!(metrics.outbox_bytes.get(), 1000);
    lines.advance(19, Vec::new()).await.unwrap();
    outbox.append(BatchContent::TailedLogs, batch(0), 1).await.unwrap();
    let all_dropped = |sink| {
        let dropped = metrics.dropped(sink, "outbox full");
        dropped.spans.get() + dropped.log_records.get()
    };
    assert_eq!((all_dropped("lines"), all_dropped("store")), (0, 1));
}

#[tokio::test]
async fn batches_that_exceed_the_maximum_age_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_with(dir.path(), &["a", "b"]);
    for byte in 1..=3 {
        outbox.append(Signal::Traces, batch(byte), 5).await.unwrap();
    }
    outbox.reader(0).unwrap().cursor().advance(2, Vec::new()).await.unwrap();
    outbox.drop_expired(unix_millis()).await;
    outbox.append(Signal::Traces, batch(4), 5).await.unwrap();
    assert_eq!(metrics.outbox_bytes.get(), 400, "no batch is old yet");

    outbox.drop_expired(unix_millis() + 61_000).await;
    outbox.append(Signal::Traces, batch(5), 5).await.unwrap();
    assert_eq!(metrics.outbox_bytes.get(), 100);
    assert_eq!((dropped(&metrics, "a", "age"), dropped(&metrics, "b", "age")), (10, 20));
    assert_eq!(ids(&outbox.reader(0).unwrap().next().await.unwrap()), [5]);
}

#[tokio::test]
async fn a_sink_gets_empty_batches_of_what_it_does_not_take() {
    use BatchContent::{Logs, TailedLogs, Traces};
    let contents = [(Traces, 5), (Logs, 7), (TailedLogs, 11)];
    let sinks = [
        ("all", Signals::ALL, (5, 18)),
        ("spans only", Signals::TRACES, (5, 0)),
        ("logs only", Signals::LOGS, (0, 18)),
        ("store", Signals::STORE, (5, 7)),
    ];
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let subscriptions = sinks.map(|(sink, signals, _)| Subscription { signals, ..subscription(sink) });
    let (outbox, _thread) = open(
        &DataDir::unlocked(dir.path()),
        &subscriptions,
        LIMITS,
        DiskReserve::open(dir.path()),
        metrics.clone(),
    )
    .unwrap();
    for (byte, (content, items)) in (1..).zip(contents) {
        outbox.append(content, batch(byte), items).await.unwrap();
    }
    assert_eq!((metrics.committed.spans.get(), metrics.committed.log_records.get()), (5, 18));
    for (index, (sink, signals, taken)) in sinks.into_iter().enumerate() {
        let mut reader = outbox.reader(index).unwrap();
        let batches = reader.next().await.unwrap();
        for (byte, (batch_read, (content, _))) in (1..).zip(batches.iter().zip(contents)) {
            assert_eq!(batch_read.content, content);
            assert_eq!(reader.cursor().takes(content), signals.take(content), "{sink}");
            let expected = if signals.take(content) { batch(byte) } else { Bytes::new() };
            assert_eq!(batch_read.body, expected, "{sink} {content:?}");
        }
        // Only one of them acknowledges, so that the batches stay in the outbox.
        let delivered = Tally::default();
        if index == 0 {
            acknowledge(&reader, &batches, &delivered).await;
            assert_eq!((delivered.spans.get(), delivered.log_records.get()), taken);
        }
    }
    outbox.drop_expired(unix_millis() + 61_000).await;
    outbox.append(Traces, batch(4), 1).await.unwrap();
    for (sink, _, taken) in sinks.into_iter().skip(1) {
        // What a sink does not take is not counted as dropped for it.
        let dropped = metrics.dropped(sink, "age");
        assert_eq!((dropped.spans.get(), dropped.log_records.get()), taken, "{sink}");
    }
}

/// An older exporter does not know all values of `batch.signal`, so it must not open the file.
#[tokio::test]
async fn an_outbox_of_the_version_before_tailed_logs_is_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_with(dir.path(), &["a"]);
        outbox.append(Signal::Logs, batch(1), 5).await.unwrap();
        drop(outbox);
        thread.join().unwrap();
    }
    let path = dir.path().join("outbox.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let (outbox, _thread, _) = open_with(dir.path(), &["a"]);
    outbox.append(BatchContent::TailedLogs, batch(2), 7).await.unwrap();
    let batches = outbox.reader(0).unwrap().next().await.unwrap();
    let contents: Vec<_> = batches.iter().map(|batch| (batch.id, batch.content)).collect();
    assert_eq!(contents, [(1, BatchContent::Logs), (2, BatchContent::TailedLogs)]);
    let file = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert!(version > 3);
}

#[tokio::test]
async fn a_batch_dropped_during_its_delivery_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_with(dir.path(), &["a"]);
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    let mut reader = outbox.reader(0).unwrap();
    let mut batches = reader.next().await.unwrap();
    outbox.drop_expired(unix_millis() + 61_000).await;
    outbox.append(Signal::Traces, batch(2), 7).await.unwrap();
    batches.extend(reader.next().await.unwrap());
    assert_eq!(ids(&batches), [1, 2]);
    let delivered = Tally::default();
    acknowledge(&reader, &batches, &delivered).await;
    assert_eq!((dropped(&metrics, "a", "age"), delivered.spans.get()), (5, 7));
}

/// The writer commits the deletion of dropped batches before it publishes the cursors.
#[tokio::test]
async fn a_reader_waits_for_the_cursor_of_dropped_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, _) = open_with(dir.path(), &["a"]);
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    let mut reader = outbox.reader(0).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("outbox.db")).unwrap();
    other.execute("DELETE FROM batch", []).unwrap();
    assert_eq!(
        reader.next().await,
        Err("batches after 0 are missing".to_owned()),
        "the cursor does not move"
    );

    let next = tokio::spawn(async move { reader.next().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    outbox.state.cursors.send_replace(vec![1]);
    outbox.append(Signal::Traces, batch(2), 5).await.unwrap();
    assert_eq!(ids(&next.await.unwrap().unwrap()), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appends_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(60) };
    let (outbox, _thread) = open(
        &DataDir::unlocked(dir.path()),
        &[subscription("a")],
        limits,
        DiskReserve::open(dir.path()),
        metrics.clone(),
    )
    .unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for byte in 0..200 {
        let outbox = outbox.clone();
        senders.spawn(async move { outbox.append(Signal::Traces, batch(byte), 1).await });
    }
    while let Some(appended) = senders.join_next().await {
        appended.unwrap().unwrap();
    }
    assert_eq!(metrics.committed.spans.get(), 200);
    assert!(metrics.commits.get() < 100, "{} commits", metrics.commits.get());
}

#[tokio::test]
async fn a_failed_commit_is_reported_and_the_outbox_becomes_writable_again() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_with(dir.path(), &["a"]);
    assert_eq!(outbox.check_writable().await, Ok(()));
    // A trigger simulates any failure of the database.
    let other = rusqlite::Connection::open(dir.path().join("outbox.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'disk on fire'); END;
                   CREATE TRIGGER np BEFORE UPDATE ON probe BEGIN SELECT RAISE(ABORT, 'still on fire'); END;";
    other.execute_batch(trigger).unwrap();
    let error = outbox.append(Signal::Traces, batch(1), 5).await.unwrap_err();
    assert_eq!(error, AppendError::Unwritable("disk on fire".to_owned()));
    assert_eq!(outbox.check_writable().await, Err("still on fire".to_owned()));
    assert_eq!((metrics.outbox_bytes.get(), metrics.committed.spans.get()), (0, 0));
    other.execute_batch("DROP TRIGGER no; DROP TRIGGER np;").unwrap();
    assert_eq!(outbox.check_writable().await, Ok(()));
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    assert_eq!(ids(&outbox.reader(0).unwrap().next().await.unwrap()), [1]);
}

//! Corruption, and room that nobody needs any more. A full disk is in `tests/it/`, for it takes a real one.

use std::ops::RangeInclusive;

use super::*;
use crate::storage::sqlite;

const LARGE: Limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(60) };

/// Bytes that do not get shorter, and tell by their first which batch they are of.
fn noise(batch: u8, length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(batch);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let rest: Vec<u8> = std::iter::repeat_with(next).take(length - 1).collect();
    [vec![batch], rest].concat().into()
}

fn open_large(dir: &Path) -> (Outbox, JoinHandle<()>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let (outbox, thread) =
        open(dir, &[subscription("a")], LARGE, DiskReserve::open(dir), metrics.clone()).unwrap();
    (outbox, thread, metrics)
}

/// Moves the log into the file, and overwrites what is in the middle of it.
fn damage(dir: &Path) {
    let path = dir.join("outbox.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(other);
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    bytes[from..to].fill(0x55);
    // In place, as a disk would do it.
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
}

fn quarantined(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| {
            name.starts_with("outbox.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect()
}

/// Sets the outbox aside as if it were damaged and the process had ended at once.
fn set_aside_as(dir: &Path, name: &str) -> quarantine::Quarantined {
    let aside = quarantine::Quarantined { path: dir.join(name) };
    std::fs::rename(dir.join("outbox.db"), aside.pending()).unwrap();
    aside
}

/// Reads everything that there is, as a sink would that starts anew after an error.
async fn read_all(outbox: &Outbox, until: i64) -> Vec<Batch> {
    let mut reader = outbox.reader(0).unwrap();
    let mut batches: Vec<Batch> = Vec::new();
    for _ in 0..100 {
        match tokio::time::timeout(Duration::from_secs(10), reader.next()).await.unwrap() {
            Ok(next) => batches.extend(next),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        if batches.last().is_some_and(|last| last.id >= until) {
            return batches;
        }
    }
    panic!("only {} batches", batches.len());
}

#[tokio::test]
async fn a_file_found_damaged_at_the_start_is_set_aside_and_what_is_left_of_it_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_large(dir.path());
        for byte in 1..=60 {
            outbox.append(Signal::Traces, noise(byte, 40_000), 5).await.unwrap();
        }
        drop(outbox);
        thread.join().unwrap();
    }
    damage(dir.path());
    let (outbox, _thread, metrics) = open_large(dir.path());
    assert_eq!(metrics.outbox_damaged.get(), 1);
    assert_eq!(quarantined(dir.path()).len(), 1);
    outbox.append(Signal::Traces, batch(61), 5).await.unwrap();
    let batches = read_all(&outbox, 61).await;
    let last = batches.last().unwrap();
    assert_eq!((last.id, &last.body), (61, &batch(61)));
    assert!(batches.len() > 30, "most of it is in order: {}", batches.len());
    let lost = metrics.outbox_batches_lost.get();
    assert!(lost > 0, "a sixth of it was overwritten");
    assert_eq!(batches.len() as u64 - 1 + lost, 60, "what is not lost is there");
    for carried in &batches[..batches.len() - 1] {
        assert_eq!(carried.body, noise(carried.id as u8, 40_000), "batch {}", carried.id);
    }
}

#[tokio::test]
async fn a_file_found_damaged_while_running_is_replaced_and_the_loss_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_large(dir.path());
    for byte in 1..=60 {
        outbox.append(Signal::Traces, noise(byte, 40_000), 5).await.unwrap();
    }
    outbox.reader(0).unwrap().cursor().advance(2, Vec::new()).await.unwrap();
    damage(dir.path());

    let batches = read_all(&outbox, 60).await;
    assert_eq!(metrics.outbox_damaged.get(), 1);
    assert_eq!(quarantined(dir.path()).len(), 1);
    let lost = metrics.outbox_batches_lost.get();
    assert!(lost > 0, "a third of it was overwritten");
    let full = batches.iter().filter(|batch| batch.items > 0);
    // What was read before the damage was found may come twice.
    let ids: std::collections::BTreeSet<i64> = full.map(|batch| batch.id).collect();
    assert_eq!(ids.len() as u64 + lost, 58, "what is not lost is there");
    for batch in batches.iter().filter(|batch| batch.items > 0) {
        assert_eq!(batch.body, noise(batch.id as u8, 40_000), "batch {}", batch.id);
    }

    // And it goes on.
    outbox.append(Signal::Traces, batch(61), 5).await.unwrap();
    assert_eq!(read_all(&outbox, 61).await.last().unwrap().body, batch(61));
    assert_eq!(outbox.writable().await, Ok(()));
}

#[tokio::test]
async fn an_error_of_the_new_file_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_large(dir.path());
        outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
        drop(outbox);
        thread.join().unwrap();
    }
    let mut into = sqlite::open(&dir.path().join("new.db"), &schema::KIND).unwrap();
    let aside = set_aside_as(dir.path(), "outbox.db.damaged-7");
    into.execute_batch("CREATE TRIGGER no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    assert_eq!(recovery::carry_over(&aside, &mut into, None, 1 << 20).unwrap_err().to_string(), "no");
    into.execute_batch("DROP TRIGGER no").unwrap();
    recovery::carry_over(&aside, &mut into, None, 1 << 20).unwrap();
    let count: i64 = into.query_row("SELECT count(*) FROM batch", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

/// Appends batches with these ids, and lets the sink pass some of them.
async fn fill(dir: &Path, ids: RangeInclusive<u8>, passed: i64) {
    let (outbox, thread, metrics) = open_large(dir);
    for id in ids {
        outbox.append(Signal::Traces, batch(id), 5).await.unwrap();
    }
    outbox.reader(0).unwrap().cursor().advance(passed, Vec::new()).await.unwrap();
    assert_eq!(metrics.outbox_batches_lost.get(), 0);
    drop(outbox);
    thread.join().unwrap();
}

#[tokio::test]
async fn what_was_set_aside_before_a_crash_is_carried_over_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1..=3, 1).await;
    let first = set_aside_as(dir.path(), "outbox.db.damaged-7");
    fill(dir.path(), 4..=5, 3).await;
    set_aside_as(dir.path(), "outbox.db.damaged-8");
    // It could not be renamed after it had been carried over.
    std::fs::rename(&first.path, first.pending()).unwrap();

    let metrics = Arc::new(Metrics::new());
    let sinks = [subscription("a"), subscription("new")];
    let (outbox, _thread) =
        open(dir.path(), &sinks, LARGE, DiskReserve::open(dir.path()), metrics.clone()).unwrap();
    assert_eq!((metrics.outbox_damaged.get(), metrics.outbox_batches_lost.get()), (2, 0));
    let batches = read_all(&outbox, 5).await;
    let read: Vec<_> = batches.iter().map(|batch| (batch.id, batch.body.clone())).collect();
    assert_eq!(read, [(4, batch(4)), (5, batch(5))]);
    assert_eq!(outbox.lags(), [2, 2]);
    let mut names = quarantined(dir.path());
    names.sort();
    assert_eq!(names, ["outbox.db.damaged-7", "outbox.db.damaged-8"], "nothing is pending");
}

#[tokio::test]
async fn what_cannot_be_carried_over_at_the_start_is_tried_again_before_anything_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_large(dir.path());
        outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
        drop(outbox);
        thread.join().unwrap();
    }
    let aside = set_aside_as(dir.path(), "outbox.db.damaged-7");
    let new = sqlite::open(&dir.path().join("outbox.db"), &schema::KIND).unwrap();
    new.execute_batch("CREATE TRIGGER no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let (outbox, _thread, metrics) = open_large(dir.path());
    assert_eq!(outbox.writable().await, Err("cannot replace the damaged outbox: no".to_owned()));
    assert!(outbox.append(Signal::Traces, batch(2), 5).await.is_err());
    assert!(aside.pending().exists());

    new.execute_batch("DROP TRIGGER no").unwrap();
    for _ in 0..500 {
        if outbox.writable().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outbox.append(Signal::Traces, batch(2), 5).await.unwrap();
    let batches = read_all(&outbox, 2).await;
    assert_eq!(batches.iter().map(|batch| &batch.body).collect::<Vec<_>>(), [&batch(1), &batch(2)]);
    assert_eq!(metrics.outbox_batches_lost.get(), 0);
    assert!(aside.path.exists() && !aside.pending().exists());
}

#[tokio::test]
async fn the_file_of_a_drained_outbox_gets_small_again() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, _) = open_large(dir.path());
    for byte in 0..100 {
        outbox.append(Signal::Traces, noise(byte, 1 << 20), 5).await.unwrap();
    }
    let size = || std::fs::metadata(dir.path().join("outbox.db")).unwrap().len();
    outbox.reader(0).unwrap().cursor().advance(100, Vec::new()).await.unwrap();
    let before = size();
    assert!(before > 64 << 20, "{before}");
    outbox.expire(unix_millis()).await;
    for _ in 0..500 {
        if size() < 4 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    assert!(size() < 4 << 20, "{} of {before}", size());
    assert_eq!(outbox.lags(), [1]);
}

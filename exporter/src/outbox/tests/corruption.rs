//! Corruption and recovery of the file, and its size. `tests/it/bad_disks.rs` tests a full disk, because that needs a real
//! one.

use std::ops::RangeInclusive;
use std::path::Path;

use super::*;
use crate::storage::sqlite;

const LARGE: Limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(60) };

/// Returns incompressible bytes. The first is the number of the batch.
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
        open(&DataDir::unlocked(dir), &[subscription("a")], LARGE, DiskReserve::open(dir), metrics.clone())
            .unwrap();
    (outbox, thread, metrics)
}

/// Moves the WAL into the file, and overwrites the middle of it.
fn corrupt(dir: &Path) {
    let path = dir.join("outbox.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(other);
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    bytes[from..to].fill(0x55);
    // In place, as a disk does.
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

/// Quarantines the outbox as if the process had crashed right after that.
fn quarantine_as(dir: &Path, name: &str) -> quarantine::Quarantined {
    let file = quarantine::Quarantined { path: dir.join(name) };
    std::fs::rename(dir.join("outbox.db"), file.pending()).unwrap();
    file
}

/// Reads all batches up to this id. Retries after errors, as a sink does.
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
async fn a_file_found_corrupt_at_the_start_is_quarantined_and_recovered() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (outbox, thread, _) = open_large(dir.path());
        for byte in 1..=60 {
            outbox.append(Signal::Traces, noise(byte, 40_000), 5).await.unwrap();
        }
        drop(outbox);
        thread.join().unwrap();
    }
    corrupt(dir.path());
    let (outbox, _thread, metrics) = open_large(dir.path());
    assert_eq!(metrics.outbox_damaged.get(), 1);
    assert_eq!(quarantined(dir.path()).len(), 1);
    outbox.append(Signal::Traces, batch(61), 5).await.unwrap();
    let batches = read_all(&outbox, 61).await;
    let last = batches.last().unwrap();
    assert_eq!((last.id, &last.body), (61, &batch(61)));
    assert!(batches.len() > 30, "most of the file is intact: {}", batches.len());
    let dropped = metrics.outbox_batches_dropped.get();
    assert!(dropped > 0, "a sixth of the file was overwritten");
    assert_eq!(batches.len() as u64 - 1 + dropped, 60, "each batch is recovered or counted");
    for recovered in &batches[..batches.len() - 1] {
        assert_eq!(recovered.body, noise(recovered.id as u8, 40_000), "batch {}", recovered.id);
    }
}

#[tokio::test]
async fn a_file_found_corrupt_while_running_is_replaced_and_dropped_batches_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, metrics) = open_large(dir.path());
    for byte in 1..=60 {
        outbox.append(Signal::Traces, noise(byte, 40_000), 5).await.unwrap();
    }
    outbox.reader(0).unwrap().cursor().advance(2, Vec::new()).await.unwrap();
    corrupt(dir.path());

    let batches = read_all(&outbox, 60).await;
    assert_eq!(metrics.outbox_damaged.get(), 1);
    assert_eq!(quarantined(dir.path()).len(), 1);
    let dropped = metrics.outbox_batches_dropped.get();
    assert!(dropped > 0, "a sixth of the file was overwritten");
    let full = batches.iter().filter(|batch| batch.items > 0);
    // Batches that were read before the corruption was detected can come twice.
    let ids: std::collections::BTreeSet<i64> = full.map(|batch| batch.id).collect();
    assert_eq!(ids.len() as u64 + dropped, 58, "each batch is recovered or counted");
    for batch in batches.iter().filter(|batch| batch.items > 0) {
        assert_eq!(batch.body, noise(batch.id as u8, 40_000), "batch {}", batch.id);
    }

    // The outbox is writable again.
    outbox.append(Signal::Traces, batch(61), 5).await.unwrap();
    assert_eq!(read_all(&outbox, 61).await.last().unwrap().body, batch(61));
    assert_eq!(outbox.check_writable().await, Ok(()));
}

#[tokio::test]
async fn recovery_succeeds_after_an_error_of_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1..=1, 0).await;
    let mut into = sqlite::open(&dir.path().join("new.db"), &schema::KIND).unwrap();
    let file = quarantine_as(dir.path(), "outbox.db.damaged-7");
    into.execute_batch("CREATE TRIGGER no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    assert_eq!(recovery::recover(&file, &mut into, None, 1 << 20).unwrap_err().to_string(), "no");
    into.execute_batch("DROP TRIGGER no").unwrap();
    recovery::recover(&file, &mut into, None, 1 << 20).unwrap();
    let count: i64 = into.query_row("SELECT count(*) FROM batch", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

/// Appends batches with these ids. The sink acknowledges the batches up to `acknowledged`.
async fn fill(dir: &Path, ids: RangeInclusive<u8>, acknowledged: i64) {
    let (outbox, thread, metrics) = open_large(dir);
    for id in ids {
        outbox.append(Signal::Traces, batch(id), 5).await.unwrap();
    }
    outbox.reader(0).unwrap().cursor().advance(acknowledged, Vec::new()).await.unwrap();
    assert_eq!(metrics.outbox_batches_dropped.get(), 0);
    drop(outbox);
    thread.join().unwrap();
}

#[tokio::test]
async fn files_quarantined_before_a_crash_are_recovered_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1..=3, 1).await;
    let first = quarantine_as(dir.path(), "outbox.db.damaged-7");
    fill(dir.path(), 4..=5, 3).await;
    quarantine_as(dir.path(), "outbox.db.damaged-8");
    // As if the file could not be renamed after its recovery.
    std::fs::rename(&first.path, first.pending()).unwrap();

    let metrics = Arc::new(Metrics::new());
    let sinks = [subscription("a"), subscription("new")];
    let (outbox, _thread) =
        open(&DataDir::unlocked(dir.path()), &sinks, LARGE, DiskReserve::open(dir.path()), metrics.clone())
            .unwrap();
    assert_eq!((metrics.outbox_damaged.get(), metrics.outbox_batches_dropped.get()), (2, 0));
    let batches = read_all(&outbox, 5).await;
    let read: Vec<_> = batches.iter().map(|batch| (batch.id, batch.body.clone())).collect();
    assert_eq!(read, [(4, batch(4)), (5, batch(5))]);
    assert_eq!(outbox.backlogs(), [2, 2]);
    let mut names = quarantined(dir.path());
    names.sort();
    assert_eq!(names, ["outbox.db.damaged-7", "outbox.db.damaged-8"], "no file is pending");
}

#[tokio::test]
async fn a_failed_recovery_at_the_start_is_retried_before_batches_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1..=1, 0).await;
    let file = quarantine_as(dir.path(), "outbox.db.damaged-7");
    let new = sqlite::open(&dir.path().join("outbox.db"), &schema::KIND).unwrap();
    new.execute_batch("CREATE TRIGGER no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let (outbox, _thread, metrics) = open_large(dir.path());
    assert_eq!(outbox.check_writable().await, Err("failed to replace the corrupt outbox: no".to_owned()));
    assert!(outbox.append(Signal::Traces, batch(2), 5).await.is_err());
    assert!(file.pending().exists());

    new.execute_batch("DROP TRIGGER no").unwrap();
    for _ in 0..500 {
        if outbox.check_writable().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outbox.append(Signal::Traces, batch(2), 5).await.unwrap();
    let batches = read_all(&outbox, 2).await;
    assert_eq!(batches.iter().map(|batch| &batch.body).collect::<Vec<_>>(), [&batch(1), &batch(2)]);
    assert_eq!(metrics.outbox_batches_dropped.get(), 0);
    assert!(file.path.exists() && !file.pending().exists());
}

#[tokio::test]
async fn the_file_of_a_drained_outbox_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _thread, _) = open_large(dir.path());
    for byte in 0..100 {
        outbox.append(Signal::Traces, noise(byte, 1 << 20), 5).await.unwrap();
    }
    let size = || std::fs::metadata(dir.path().join("outbox.db")).unwrap().len();
    outbox.reader(0).unwrap().cursor().advance(100, Vec::new()).await.unwrap();
    let before = size();
    assert!(before > 64 << 20, "{before}");
    outbox.drop_expired(unix_millis()).await;
    for _ in 0..500 {
        if size() < 4 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outbox.append(Signal::Traces, batch(1), 5).await.unwrap();
    assert!(size() < 4 << 20, "{} of {before}", size());
    assert_eq!(outbox.backlogs(), [1]);
}

//! The file `calls`: what each sink is processing, so that a chunk that ends the process is found at the next starts.
//!
//! ```text
//!  start ──► blame ──► suspects ──► trials (trial.rs) ──► killers ──► dead letters
//!              ▲                       │
//!              └── lines in `calls` ◄──┴── a line at the start of each call, removed at its end
//! ```
//!
//! A line is written without a sync: it has to survive the process, not the machine. That costs one write per call.
//! Without the file, deliveries go on and nothing is suspected.
//!
//! Invariant: a chunk is a suspect only if a line says that it was under way when the process died. A shutdown removes
//! these lines first.

mod blame;
mod lines;
mod record;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Chunk, Origin};
use crate::log::{self, Value};
use crate::storage::is_at;
use lines::{Lines, create, read};
use record::{Kind, hash};
pub(super) use record::{Record, State, digest};

/// The calls of all sinks. Clones share one file.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    lines: Mutex<Lines>,
    /// One trial runs at a time, so that a death has one cause.
    trial: Arc<Semaphore>,
}

/// The calls of one sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkCalls {
    calls: Calls,
    sink: u64,
}

/// A call that is under way. Its line is removed on drop.
#[derive(Debug)]
pub(super) struct UnderWay {
    calls: Calls,
    line: Option<usize>,
    /// Of a trial: no other one is under way.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Calls {
    /// Opens `calls` in this directory, and suspects the calls that were under way when the last process died.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join("calls");
        let (suspects, under_way) = read(&path);
        let lines: Vec<_> = suspects.into_iter().map(Some).collect();
        if under_way > 0 {
            let on_trial = lines.iter().flatten().filter(|record| record.state != State::Once).count();
            let fields = [
                ("calls", Value::U64(under_way as u64)),
                ("suspects", Value::U64(lines.len() as u64)),
                ("on_trial", Value::U64(on_trial as u64)),
            ];
            log::warn("the last exporter died during deliveries", &fields);
        }
        let file = create(&path, &lines);
        let lines = Mutex::new(Lines { file, lines, is_stopped: false });
        Self(Arc::new(Inner { path, lines, trial: Arc::new(Semaphore::new(1)) }))
    }

    pub(crate) fn of(&self, sink: &str) -> SinkCalls {
        SinkCalls { calls: self.clone(), sink: hash(sink.as_bytes()) }
    }

    /// Forgets the calls that are under way, and records no more: a SIGKILL after the grace period is not their fault.
    pub(crate) fn stop(&self) {
        let mut lines = self.lines();
        lines.is_stopped = true;
        lines.change(|record| record.state.is_under_way().then(Vec::new));
    }

    /// Creates the file again if another program has removed or replaced it.
    pub(crate) fn check_file(&self) {
        let mut lines = self.lines();
        if !lines.file.as_ref().is_some_and(|file| is_at(file, &self.0.path)) {
            lines.file = create(&self.0.path, &lines.lines);
        }
    }

    fn begin(&self, record: Option<Record>, permit: Option<OwnedSemaphorePermit>) -> UnderWay {
        let mut lines = self.lines();
        let line = record.filter(|_| !lines.is_stopped).map(|record| lines.add(record));
        UnderWay { calls: self.clone(), line, _permit: permit }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SinkCalls {
    /// Records a call with this chunk.
    pub(super) fn begin(&self, chunk: &Chunk) -> UnderWay {
        self.calls.begin(Record::of_call(self.sink, chunk), None)
    }

    /// Waits until no other trial is under way, and records this one.
    pub(super) async fn begin_trial(&self, chunk: &Chunk) -> UnderWay {
        let permit = self.calls.0.trial.clone().acquire_owned().await;
        self.calls.begin(Record::of_trial(self.sink, chunk), permit.ok())
    }

    /// Returns why a batch or a dead letter has to be tried, if it has to.
    pub(super) fn suspicions(&self, origin: Origin) -> Vec<Record> {
        let lines = self.calls.lines();
        let records = lines.lines.iter().flatten();
        records
            .filter(|record| matches!(record.state, State::Twice | State::Killer))
            .filter(|record| record.contains(self.sink, origin))
            .cloned()
            .collect()
    }

    /// Ends the suspicion of a batch or a dead letter, except of killers in it.
    pub(super) fn acquit(&self, origin: Origin) {
        let id = record::id(origin);
        self.calls.lines().change(|record| {
            let is_suspect = matches!(record.state, State::Once | State::Twice);
            (is_suspect && record.contains(self.sink, origin)).then(|| without(record, (id, id)))
        });
    }

    /// Forgets the batches up to this id.
    pub(super) fn forget_until(&self, id: i64) {
        self.forget(Kind::Batch, i64::MIN, id);
    }

    /// Forgets a dead letter.
    pub(super) fn forget_letter(&self, id: i64) {
        self.forget(Kind::DeadLetter, id, id);
    }

    fn forget(&self, kind: Kind, from: i64, until: i64) {
        self.calls.lines().change(|record| {
            let is_meant = record.sink == self.sink && record.kind == kind && !record.state.is_under_way();
            let overlaps = record.first <= until && from <= record.last;
            (is_meant && overlaps).then(|| without(record, (from, until)))
        });
    }
}

/// Returns what is left of a record without these ids.
fn without(record: &Record, ids: (i64, i64)) -> Vec<Record> {
    let rest = blame::without((record.first, record.last), ids);
    rest.map(|(first, last)| record.with_ids(first, last)).collect()
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(line) = self.line {
            let mut lines = self.calls.lines();
            // A shutdown has removed the line, and it may hold a suspect now.
            if lines.lines.get(line).is_some_and(|at| at.as_ref().is_some_and(|at| at.state.is_under_way())) {
                lines.set(line, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Slice;
    use super::super::chunk::tests::body;
    use super::*;
    use crate::otlp::Signal;

    fn chunk(id: i64) -> Chunk {
        Chunk::new(Signal::Traces, Slice::new(Origin::Batch(id), 2, body(&["a", "b"])))
    }

    fn states(calls: &Calls) -> Vec<State> {
        calls.lines().lines.iter().flatten().map(|record| record.state).collect()
    }

    #[test]
    fn only_what_was_under_way_at_a_death_is_suspected() {
        let dir = tempfile::tempdir().unwrap();
        let calls = Calls::open(dir.path());
        drop(calls.of("a").begin(&chunk(1)));
        let _dies = calls.of("a").begin(&chunk(2));
        let calls = Calls::open(dir.path());
        assert_eq!(states(&calls), [State::Once]);
        assert_eq!(calls.of("a").suspicions(Origin::Batch(2)), []);

        // A shutdown, a process without a call, and one with a call of another sink.
        let _stopped = calls.of("a").begin(&chunk(2));
        calls.stop();
        let _after = calls.of("a").begin(&chunk(2));
        let calls = Calls::open(dir.path());
        assert_eq!(states(&calls), [State::Once]);
        let calls = Calls::open(dir.path());
        let _other = calls.of("b").begin(&chunk(2));
        let calls = Calls::open(dir.path());
        assert_eq!(states(&calls), [State::Once, State::Once]);

        let _dies = calls.of("a").begin(&chunk(2));
        let calls = Calls::open(dir.path());
        assert_eq!(calls.of("a").suspicions(Origin::Batch(2)).len(), 1);
        assert_eq!(calls.of("a").suspicions(Origin::DeadLetter(2)), []);
        calls.of("a").acquit(Origin::Batch(2));
        calls.of("b").forget_until(2);
        assert_eq!(states(&Calls::open(dir.path())), []);
    }

    #[test]
    fn a_file_that_was_removed_or_holds_anything_else_is_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls");
        fs::write(&path, b"\xff\n17 c b\nsomething else").unwrap();
        let calls = Calls::open(dir.path());
        assert_eq!(states(&calls), []);
        let _dies = calls.of("a").begin(&chunk(2));
        fs::remove_file(&path).unwrap();
        calls.check_file();
        assert_eq!(states(&Calls::open(dir.path())), [State::Once]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(states(&Calls::open(dir.path())), []);
    }
}

//! Reads all logs in turn.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tail;
use super::batch::{Batch, CommitError};
use super::context::Context;
use super::forward::Forward;
use super::log_file::{LogFile, key};
use super::rotation::Names;
use crate::log::{self, Value};
use crate::metrics::Metrics;
use crate::store::Store;

/// How often a log that does not grow is read, for up to [`LOGS_PER_INTERVAL`] logs.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// With more logs, the interval is longer, so that logs that do not grow take almost no processor time.
const LOGS_PER_INTERVAL: usize = 2000;

/// The reader of all logs.
#[derive(Debug)]
pub(super) struct Reader {
    logs: Vec<LogFile>,
    batch: Batch,
    window: Vec<u8>,
    names: Names,
    open_files: usize,
    rotation_wait: Duration,
    /// All logs have been read once.
    is_started: bool,
    store: Store,
    metrics: Arc<Metrics>,
    forward: Option<Forward>,
}

impl Reader {
    /// Continues at the committed positions.
    pub(super) fn open(paths: &[PathBuf], rotation_wait: Duration, tail: Tail) -> Result<Self, CommitError> {
        let Tail { store, metrics, forward } = tail;
        let (mut logs, mut files) = (Vec::new(), HashSet::new());
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let is_twice = path.canonicalize().map(|file| !files.insert(file));
            let fields = [("file", Value::Fmt(format_args!("{}", path.display())))];
            match is_twice {
                Ok(true) => log::warn("two paths lead to one log file: its lines are read twice", &fields),
                Ok(false) => {}
                Err(_) => log::info("the log file does not exist yet", &fields),
            }
            let positions = store.positions(&key(&path));
            let positions = positions
                .map_err(|error| CommitError::Store(format!("failed to read the store: {error}")))?;
            logs.push(LogFile::new(path, &positions));
        }
        Ok(Self {
            logs,
            batch: Batch::new(forward.as_ref()),
            window: Vec::new(),
            names: Names::default(),
            open_files: 0,
            rotation_wait,
            is_started: false,
            store,
            metrics,
            forward,
        })
    }

    /// Reads each log that is due, a part of it, and commits what was read. Returns the pause until the next one is due.
    pub(super) fn read_due(&mut self) -> Result<Duration, CommitError> {
        let now = Instant::now();
        self.read(|log| log.due() <= now)?;
        let next = self.logs.iter().map(LogFile::due).min();
        Ok(next.map_or(IDLE_INTERVAL, |next| next.saturating_duration_since(Instant::now())))
    }

    /// Reads a part of each of these logs.
    pub(super) fn read(&mut self, is_due: impl Fn(&LogFile) -> bool) -> Result<(), CommitError> {
        // After a failed commit, nothing is read until the batch is stored.
        self.batch.commit(&self.store, &self.metrics, self.forward.as_ref())?;
        let max_interval = IDLE_INTERVAL.mul_f64((self.logs.len() as f64 / LOGS_PER_INTERVAL as f64).max(1.));
        for log in self.logs.iter_mut().filter(|log| is_due(log)) {
            if self.is_started {
                self.names.forget();
            }
            let mut context = Context {
                batch: &mut self.batch,
                window: &mut self.window,
                names: &mut self.names,
                store: &self.store,
                metrics: &self.metrics,
                rotation_wait: self.rotation_wait,
                open_files: &mut self.open_files,
            };
            log.read(&mut context, max_interval);
            if self.batch.is_full(&self.store) {
                self.batch.commit(&self.store, &self.metrics, self.forward.as_ref())?;
            }
        }
        self.is_started = true;
        self.names.forget();
        self.batch.commit(&self.store, &self.metrics, self.forward.as_ref())
    }
}

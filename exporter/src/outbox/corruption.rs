//! A corrupt outbox: the writer replaces it with a new file that contains the recovered batches.
//!
//! [`recovery`] copies the batches; this module decides when and how often to try.

use std::mem;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rusqlite::Connection;

use super::commit_mark::CommitMark;
use super::writer::Writer;
use super::{recovery, schema};
use crate::log::{self, Severity, Value};
use crate::metrics::Metrics;
use crate::storage::quarantine::{self, Opened, Quarantined};
use crate::storage::sqlite;
use crate::storage::{DiskReserve, OpenFiles};

/// A corrupt file that must be replaced, or that is quarantined and not recovered yet.
#[derive(Debug)]
pub(super) struct Corruption {
    /// The corruption, or the error of the last try to replace the file.
    reason: String,
    detected: Detected,
    /// Whether there was a try to quarantine the file.
    has_tried_quarantine: bool,
    /// The quarantined files that are not recovered yet.
    quarantined: Vec<Quarantined>,
    next_try: Instant,
}

/// Set while the files at the path are not the open ones, because the last try to replace them has failed.
#[derive(Debug)]
pub(super) struct Detached {
    reason: String,
    next_try: Instant,
}

impl Detached {
    pub(super) fn new(reason: String, last_try: Duration) -> Self {
        Self { reason, next_try: next_try(last_try) }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_due(&self) -> bool {
        self.next_try <= Instant::now()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detected {
    /// Only the cursors in the file and the commit mark are known.
    AtStart(Option<CommitMark>),
    /// The watermarks in memory are newer than the cursors in the file.
    WhileRunning,
}

/// The minimum time between two tries. Several times the duration of the last try is added, because each try reads the
/// whole file.
const MIN_PAUSE: Duration = Duration::from_millis(250);

fn next_try(last_try: Duration) -> Instant {
    Instant::now() + MIN_PAUSE + 4 * last_try
}

impl Corruption {
    pub(super) fn new(reason: String) -> Self {
        Self {
            reason,
            detected: Detected::WhileRunning,
            has_tried_quarantine: false,
            quarantined: Vec::new(),
            next_try: Instant::now(),
        }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_due(&self) -> bool {
        self.next_try <= Instant::now()
    }
}

/// Recovers quarantined files at the start. Without any, counts the batches that are missing at the end of the file. If this fails, returns the corruption for the writer to retry.
pub(super) fn recover_at_start(
    quarantined: Vec<Quarantined>,
    mark: Option<CommitMark>,
    connection: &mut Connection,
    reserve: &DiskReserve,
    metrics: &Metrics,
) -> Option<Corruption> {
    if quarantined.is_empty() {
        // An error comes again when the writer reads the file.
        let missing = mark.and_then(|mark| recovery::missing_at_end(connection, mark).ok());
        recovery::count_dropped_batches(metrics, missing.unwrap_or(0));
        return None;
    }
    metrics.outbox_damaged.inc_by(quarantined.len() as u64);
    let mut recovered = recover_from_stored_cursors(&quarantined, mark, connection, reserve);
    if matches!(&recovered, Err(error) if reserve.release_if_disk_full(error, schema::KIND.name)) {
        recovered = recover_from_stored_cursors(&quarantined, mark, connection, reserve);
    }
    match recovered {
        Ok(missing) => {
            recovery::count_dropped_batches(metrics, missing);
            mark_recovered(&quarantined);
            None
        }
        Err(error) => {
            let error = error.to_string();
            log::line(
                Severity::Error,
                "failed to replace the corrupt outbox",
                &[("error", Value::Str(&error))],
            );
            Some(Corruption {
                reason: format!("failed to replace the corrupt outbox: {error}"),
                detected: Detected::AtStart(mark),
                has_tried_quarantine: true,
                quarantined,
                next_try: Instant::now(),
            })
        }
    }
}

/// Recovers the batches that some sink has not acknowledged according to the files. Returns how many are missing.
fn recover_from_stored_cursors(
    quarantined: &[Quarantined],
    mark: Option<CommitMark>,
    connection: &mut Connection,
    reserve: &DiskReserve,
) -> rusqlite::Result<i64> {
    for file in quarantined {
        recovery::recover(file, connection, None, reserve.share_bytes())?;
    }
    recovery::missing(connection, mark)
}

fn mark_recovered(quarantined: &[Quarantined]) {
    for file in quarantined {
        if let Err(error) = file.mark_recovered() {
            // The next start recovers it again. The cursors then exclude what every sink has acknowledged.
            let error = format!("{}: {error}", file.pending().display());
            let fields = [("error", Value::Str(&error))];
            log::line(Severity::Warning, "failed to rename a recovered outbox", &fields);
        }
    }
}

impl Writer {
    /// Replaces a corrupt file with a new one that contains the recovered batches.
    ///
    /// If this fails, the writer retries, and rejects all commands until it succeeds.
    pub(super) fn replace(&mut self, mut corruption: Corruption) {
        let start = Instant::now();
        if let Err(error) = self.try_replace(&mut corruption) {
            let error = format!("{error:#}");
            self.log_error("failed to replace the corrupt outbox", &error);
            self.reserve.release_if_needed(schema::KIND.name);
            corruption.reason = format!("failed to replace the corrupt outbox: {error}");
            corruption.next_try = next_try(start.elapsed());
            self.set_problem(Some(corruption.reason.clone()));
            self.corruption = Some(corruption);
        }
    }

    fn try_replace(&mut self, corruption: &mut Corruption) -> anyhow::Result<()> {
        self.data_dir.ensure_locked()?;
        if corruption.quarantined.is_empty() {
            // No connection may have the file open for writing when it is renamed.
            self.connection = Connection::open_in_memory()?;
            let path = &self.state.path;
            let Opened { connection, quarantined } =
                if mem::replace(&mut corruption.has_tried_quarantine, true) {
                    // The file with this name may already be the new one.
                    quarantine::open_or_replace(path, &schema::KIND)?
                } else {
                    quarantine::replace(path, &schema::KIND, &corruption.reason)?
                };
            self.connection = connection;
            self.metrics.outbox_damaged.inc_by(u64::from(!quarantined.is_empty()));
            corruption.quarantined = quarantined;
        }
        let recovered = match corruption.detected {
            Detected::AtStart(mark) => recover_from_stored_cursors(
                &corruption.quarantined,
                mark,
                &mut self.connection,
                &self.reserve,
            ),
            Detected::WhileRunning => self.recover_from_watermarks(&corruption.quarantined),
        };
        let missing = recovered.map_err(|error| {
            self.reserve.release_if_disk_full(&error, schema::KIND.name);
            if sqlite::is_corrupt(&error) {
                // Corruption of the old file is not an error here, so the new file is corrupt. The next try replaces it.
                corruption.quarantined.clear();
            }
            // SQLite's error texts already contain their cause.
            anyhow!(error.to_string())
        })?;
        self.files = OpenFiles::of(&self.state.path, schema::KIND.access)?;
        self.load_watermarks()?;
        recovery::count_dropped_batches(&self.metrics, missing);
        mark_recovered(&corruption.quarantined);
        self.state.replacements.send_modify(|count| *count += 1);
        self.set_problem(self.problem());
        self.publish();
        Ok(())
    }

    /// Recovers the batches that some sink has not acknowledged according to the watermarks. Returns how many are missing.
    fn recover_from_watermarks(&mut self, quarantined: &[Quarantined]) -> rusqlite::Result<i64> {
        let acknowledged = self.watermarks.lowest_cursor();
        for file in quarantined {
            recovery::recover(file, &mut self.connection, Some(acknowledged), self.reserve.share_bytes())?;
        }
        recovery::complete(&mut self.connection, &self.state.subscriptions, &self.watermarks)
    }
}

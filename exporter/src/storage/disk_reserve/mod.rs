//! The disk reserve: a file that takes disk space, and is deleted when the disk is full.
//!
//! SQLite needs space in its WAL to delete rows, and space in the file to checkpoint the WAL. Databases on a full disk
//! could therefore never free space again. Deleting the reserve gives them that space.
//!
//! The disk is full when a write fails and there are no free bytes, or when there is no space to create the reserve. Other
//! errors of a disk evict nothing. At the start, and after a corrupt outbox could not be replaced, the disk is also full
//! when less than one share (a sixth of the reserve) is free. Until the reserve can be created again, the outbox rejects
//! new batches, and the store and the dead letters evict their oldest data before they write new data.

mod diagnosis;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, statvfs};

use super::allocate::allocate;
use super::disk_error::is_lack_of_space;
use crate::log::{self, Value};

/// The text for a full disk in logs and errors.
pub(crate) const DISK_FULL: &str = "disk full";

/// The reserve is a quarter of the disk, within the limits below.
const DISK_DIVISOR: u64 = 4;
const MIN_BYTES: u64 = 4 << 20;
const MAX_BYTES: u64 = 96 << 20;

/// The outbox can have three shares in its WAL: the WAL before a commit, the commit, and the last request of the commit.
/// The store and the dead letters have one share each, and deletions have the last one.
const SHARES: u64 = 6;

/// The disk is full if a write failed and this number of bytes cannot be allocated.
const PROBE_BYTES: u64 = 256 << 10;

/// The minimum time between two tries to restore the reserve.
const RESTORE_INTERVAL: Duration = Duration::from_millis(250);

/// A handle to the disk reserve. Clones share the reserve.
#[derive(Debug, Clone)]
pub(crate) struct DiskReserve(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    bytes: u64,
    /// Beside the state, so that nobody waits for a reserve that is being created.
    is_full: AtomicBool,
    state: Mutex<State>,
    /// Replaces the free bytes of the real disk.
    #[cfg(test)]
    simulated_free_bytes: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct State {
    /// The reason why there is no reserve, if there is none.
    problem: Option<Problem>,
    last_try: Instant,
}

#[derive(Debug)]
enum Problem {
    DiskFull,
    /// The reserve cannot be created for another reason. The databases may still grow.
    Other(String),
}

impl Problem {
    fn reason(&self) -> &str {
        match self {
            Self::DiskFull => DISK_FULL,
            Self::Other(reason) => reason,
        }
    }
}

impl DiskReserve {
    /// Creates the reserve if the disk has enough space. On a full disk, deletes it, so that the databases can be opened.
    pub(crate) fn open(dir: &Path) -> Self {
        let disk = statvfs(dir);
        let bytes = disk.map_or(MAX_BYTES, |disk| disk.f_blocks * disk.f_frsize / DISK_DIVISOR);
        Self::with_size(dir, bytes.clamp(MIN_BYTES, MAX_BYTES))
    }

    fn with_size(dir: &Path, bytes: u64) -> Self {
        let state = Mutex::new(State { problem: None, last_try: Instant::now() });
        let reserve = Self(Arc::new(Inner {
            path: dir.join("reserve"),
            bytes,
            is_full: AtomicBool::new(false),
            state,
            #[cfg(test)]
            simulated_free_bytes: Mutex::default(),
        }));
        if reserve.free_bytes() < reserve.share_bytes() {
            reserve.release("data directory");
        } else {
            reserve.restore(&mut reserve.state());
        }
        reserve
    }

    /// Returns how many bytes one database may write in one commit, and to its WAL before a checkpoint.
    pub(crate) fn share_bytes(&self) -> u64 {
        self.0.bytes / SHARES
    }

    /// Returns the free bytes of the disk, or `u64::MAX` if they are unknown.
    pub(crate) fn free_bytes(&self) -> u64 {
        #[cfg(test)]
        if let Some(bytes) = *self.0.simulated_free_bytes.lock().unwrap() {
            return bytes;
        }
        statvfs(self.dir()).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize)
    }

    /// Returns [`DISK_FULL`] if the disk is full.
    pub(crate) fn problem(&self) -> Option<String> {
        self.is_full().then(|| DISK_FULL.to_owned())
    }

    /// Returns whether the disk is full: true from the release of the reserve until it is created again.
    pub(crate) fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Acquire)
    }

    /// Returns how many bytes must be free before the reserve is created again.
    pub(crate) fn required_bytes(&self) -> u64 {
        // One share more than the reserve, or the disk would be full again at once.
        self.0.bytes + self.share_bytes()
    }

    fn dir(&self) -> &Path {
        self.0.path.parent().unwrap_or(Path::new("."))
    }

    /// Deletes the reserve if less than one share is free.
    pub(crate) fn release_if_needed(&self, database: &str) {
        if self.free_bytes() < self.share_bytes() {
            self.release(database);
        }
    }

    fn release(&self, database: &str) {
        let mut state = self.state();
        state.last_try = Instant::now();
        self.set_problem(&mut state, Some(Problem::DiskFull));
        // If the removal fails, so does the next commit, which reports the error.
        let _ = fs::remove_file(&self.0.path);
        drop(state);
        log::error(
            DISK_FULL,
            &[
                ("path", Value::Fmt(format_args!("{}", self.0.path.display()))),
                ("database", Value::Str(database)),
            ],
        );
    }

    /// Tries to create a deleted reserve again, at most once per interval. Returns whether the databases may grow.
    pub(crate) fn try_restore(&self) -> bool {
        let mut state = self.state();
        if state.problem.is_none() {
            return true;
        }
        if state.last_try.elapsed() >= RESTORE_INTERVAL {
            self.restore(&mut state);
            if state.problem.is_none() {
                let path = self.0.path.display();
                log::info("disk has free space again", &[("path", Value::Fmt(format_args!("{path}")))]);
            }
        }
        !self.is_full()
    }

    /// Creates the reserve again if another program has removed or truncated the file.
    pub(crate) fn check_file(&self) {
        let mut state = self.state();
        if state.problem.is_none() && !self.exists() {
            self.restore(&mut state);
        }
    }

    fn exists(&self) -> bool {
        fs::metadata(&self.0.path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == self.0.bytes)
    }

    /// Creates the reserve and records the result. The caller holds the lock, so that a concurrent release is not lost.
    fn restore(&self, state: &mut State) {
        state.last_try = Instant::now();
        let problem = self.create().err().map(|error| {
            let _ = fs::remove_file(&self.0.path);
            if is_lack_of_space(&error) {
                Problem::DiskFull
            } else {
                Problem::Other(format!("failed to create {}: {error}", self.0.path.display()))
            }
        });
        self.set_problem(state, problem);
        if let Some(problem) = &state.problem {
            log::error("failed to create the disk reserve", &[("error", Value::Str(problem.reason()))]);
        }
    }

    fn set_problem(&self, state: &mut State, problem: Option<Problem>) {
        self.0.is_full.store(matches!(problem, Some(Problem::DiskFull)), Ordering::Release);
        state.problem = problem;
    }

    fn create(&self) -> io::Result<()> {
        if self.exists() {
            return Ok(());
        }
        // Does not wait for the reader of a FIFO.
        let file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&self.0.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // An allocation that cannot succeed would take the space from concurrent writers until it fails.
        if self.free_bytes() < self.required_bytes() {
            return Err(ErrorKind::StorageFull.into());
        }
        allocate(&file, 0, self.required_bytes())?;
        file.set_len(self.0.bytes)?;
        file.sync_all()
    }

    /// Opens a small reserve for tests.
    #[cfg(test)]
    pub(crate) fn small(dir: &Path) -> Self {
        Self::with_size(dir, 12 << 20)
    }

    /// Simulates a full disk.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        *self.0.simulated_free_bytes.lock().unwrap() = Some(0);
        self.release("outbox");
    }

    /// Ends the simulation.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        *self.0.simulated_free_bytes.lock().unwrap() = None;
        self.state().last_try = Instant::now() - RESTORE_INTERVAL;
        assert!(self.try_restore());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_full_disk_releases_the_reserve_until_space_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = DiskReserve::open(dir.path());
        let file = dir.path().join("reserve");
        let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
        assert_eq!((reserve.problem(), length(&file)), (None, Some(reserve.0.bytes)));
        use std::os::unix::fs::MetadataExt;
        assert!(fs::metadata(&file).unwrap().blocks() * 512 >= reserve.0.bytes, "the file is not sparse");

        assert!(
            !reserve.release_if_disk_full(&failure(ffi::SQLITE_FULL), "outbox"),
            "the disk has free bytes"
        );
        *reserve.0.simulated_free_bytes.lock().unwrap() = Some(0);
        assert!(reserve.release_if_disk_full(&failure(ffi::SQLITE_FULL), "outbox"));
        *reserve.0.simulated_free_bytes.lock().unwrap() = None;
        assert_eq!((reserve.problem().as_deref(), length(&file)), (Some("disk full"), None));
        // In an hour, so that the interval has not elapsed even on a slow machine.
        reserve.state().last_try = Instant::now() + Duration::from_secs(3600);
        assert!(!reserve.try_restore(), "the interval has not elapsed");
        reserve.state().last_try = Instant::now() - RESTORE_INTERVAL;
        assert!(reserve.try_restore() && !reserve.is_full());
        assert_eq!(length(&file), Some(reserve.0.bytes));
    }

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn another_error_of_the_reserve_is_reported_and_does_not_stop_writes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("reserve")).unwrap();
        let reserve = DiskReserve::open(dir.path());
        let error = reserve.state().problem.as_ref().unwrap().reason().to_owned();
        assert!(error.contains("reserve: ") && !error.contains("full"), "{error}");
        assert_eq!((reserve.problem(), reserve.is_full(), reserve.try_restore()), (None, false, true));
    }
}

//! DiskReserve on the disk of the data directory that is kept for the day on which there is none.
//!
//! To delete from a SQLite file takes room for its log, and to empty the log takes room in the file. Databases that have
//! filled the disk could therefore never get rid of anything; so a file lies beside them, the reserve, and is given up
//! then. Until there is room for it again the outbox takes nothing new, and the store and the dead letters only what they
//! make room for.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::log::{self, Severity, Value};
use crate::storage::sqlite;

/// The reserve is this part of the disk, within these bounds.
const PART_OF_DISK: u64 = 4;
const LEAST_BYTES: u64 = 4 << 20;
const MOST_BYTES: u64 = 96 << 20;

/// The outbox may hold three shares in its log (what one commit finds there, the commit, and its last request), the
/// store and the dead letters one each; the last one is for deletions.
const SHARES: u64 = 6;

/// How often it is tried to have the reserve again.
const INTERVAL: Duration = Duration::from_millis(250);

/// The reserve; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct DiskReserve(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    bytes: u64,
    state: Mutex<State>,
    /// What is said of the disk instead of what is so.
    #[cfg(test)]
    said_free_bytes: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct State {
    /// Why there is no reserve, if there is none.
    problem: Option<Problem>,
    tried: Instant,
}

#[derive(Debug)]
enum Problem {
    Full,
    /// The reserve cannot be kept, which says nothing about the room that there is.
    Other(String),
}

impl Problem {
    fn is_full(&self) -> bool {
        matches!(self, Self::Full)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl DiskReserve {
    /// Makes the reserve if there is room for it. On a disk that is full it gives it up, for the databases to be opened.
    pub(crate) fn open(dir: &Path) -> Self {
        let disk = statvfs(dir);
        let chunk = disk.map_or(MOST_BYTES, |disk| disk.f_blocks * disk.f_frsize / PART_OF_DISK);
        Self::of(dir, chunk.clamp(LEAST_BYTES, MOST_BYTES))
    }

    fn of(dir: &Path, bytes: u64) -> Self {
        let state = Mutex::new(State { problem: None, tried: Instant::now() });
        let reserve = Self(Arc::new(Inner {
            path: dir.join("reserve"),
            bytes,
            state,
            #[cfg(test)]
            said_free_bytes: Mutex::default(),
        }));
        if reserve.free_bytes() < reserve.share() {
            reserve.release("data directory");
        } else {
            reserve.restore(&mut reserve.state());
        }
        reserve
    }

    /// How much one database may write to its log before it moves it into its file, and at one time.
    pub(crate) fn share(&self) -> u64 {
        self.0.bytes / SHARES
    }

    /// How much the disk has for us; where it does not say, there is no bound.
    pub(crate) fn free_bytes(&self) -> u64 {
        #[cfg(test)]
        if let Some(said) = *self.0.said_free_bytes.lock().unwrap() {
            return said;
        }
        let dir = self.0.path.parent().unwrap_or(Path::new("."));
        statvfs(dir).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize)
    }

    /// Why nothing may grow at the moment, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().problem.as_ref().filter(|problem| problem.is_full()).map(Problem::to_string)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state().problem.as_ref().is_some_and(Problem::is_full)
    }

    /// How much has to be free for the reserve to be made again.
    pub(crate) fn wanted(&self) -> u64 {
        // With some more, or the disk would be full again at once.
        self.0.bytes + self.share()
    }

    /// Whether this error comes from a full disk; the reserve is given up then.
    pub(crate) fn release_if_disk_full(&self, error: &rusqlite::Error, database: &str) -> bool {
        let is_full = sqlite::is_disk_full(error);
        if is_full {
            self.release(database);
        }
        is_full
    }

    /// Gives the reserve up where there is too little beside it for a new file.
    pub(crate) fn release_if_needed(&self, database: &str) {
        if self.free_bytes() < self.share() {
            self.release(database);
        }
    }

    fn release(&self, database: &str) {
        let mut state = self.state();
        state.problem = Some(Problem::Full);
        state.tried = Instant::now();
        // Where it cannot be removed, the next commit tells why.
        let _ = fs::remove_file(&self.0.path);
        drop(state);
        log::repeated(
            Severity::Error,
            "the disk is full",
            &[
                ("path", Value::Fmt(format_args!("{}", self.0.path.display()))),
                ("database", Value::Str(database)),
            ],
        );
    }

    /// Tries to have the reserve again, if it is time for that; whether something may grow.
    pub(crate) fn recover(&self) -> bool {
        let mut state = self.state();
        if state.problem.is_none() {
            return true;
        }
        if state.tried.elapsed() >= INTERVAL {
            self.restore(&mut state);
            if state.problem.is_none() {
                let path = self.0.path.display();
                log::repeated(
                    Severity::Info,
                    "disk has free space again",
                    &[("path", Value::Fmt(format_args!("{path}")))],
                );
            }
        }
        !state.problem.as_ref().is_some_and(Problem::is_full)
    }

    /// The state is locked until it is told, for whoever gives the reserve up meanwhile would be forgotten.
    fn restore(&self, state: &mut State) {
        state.tried = Instant::now();
        state.problem = self.make().err().map(|error| {
            let _ = fs::remove_file(&self.0.path);
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Problem::Full,
                _ => Problem::Other(format!("cannot keep {}: {error}", self.0.path.display())),
            }
        });
        if let Some(problem) = &state.problem {
            log::repeated(
                Severity::Error,
                "cannot keep the disk reserve",
                &[("error", Value::Str(&problem.to_string()))],
            );
        }
    }

    fn make(&self) -> io::Result<()> {
        if fs::metadata(&self.0.path).is_ok_and(|metadata| metadata.len() == self.0.bytes) {
            return Ok(());
        }
        let file = File::create(&self.0.path)?;
        // A try that cannot succeed would take the room away from those who write meanwhile.
        if self.free_bytes() < self.wanted() {
            return Err(ErrorKind::StorageFull.into());
        }
        allocate(&file, self.wanted())?;
        file.set_len(self.0.bytes)?;
        file.sync_all()
    }

    /// One that takes little of the disk, for tests.
    #[cfg(test)]
    pub(crate) fn small(dir: &Path) -> Self {
        Self::of(dir, 12 << 20)
    }

    /// Lets the disk be full, and stay so.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        *self.0.said_free_bytes.lock().unwrap() = Some(0);
        self.release("outbox");
    }

    /// Lets the disk be what it is.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        *self.0.said_free_bytes.lock().unwrap() = None;
        self.state().tried = Instant::now() - INTERVAL;
        assert!(self.recover());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not a hole in the file, but room.
fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            let mut left = bytes;
            while left > 0 {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                file.write_all(zeros.get(..length).unwrap_or_default())?;
                left -= length as u64;
            }
            Ok(())
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_releases_the_reserve_until_space_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = DiskReserve::open(dir.path());
        let file = dir.path().join("reserve");
        let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
        assert_eq!((reserve.problem(), length(&file)), (None, Some(reserve.0.bytes)));
        use std::os::unix::fs::MetadataExt;
        assert!(fs::metadata(&file).unwrap().blocks() * 512 >= reserve.0.bytes, "it is no hole");

        let full =
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
        assert!(reserve.release_if_disk_full(&full, "outbox"));
        assert_eq!((reserve.problem().as_deref(), length(&file)), (Some("the disk is full"), None));
        // An hour from now, so that a slow machine is not late.
        reserve.state().tried = Instant::now() + Duration::from_secs(3600);
        assert!(!reserve.recover(), "not at once");
        reserve.state().tried = Instant::now() - INTERVAL;
        assert!(reserve.recover() && !reserve.is_full());
        assert_eq!(length(&file), Some(reserve.0.bytes));
    }

    #[test]
    fn what_keeps_it_away_on_a_disk_with_room_is_told_and_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("reserve")).unwrap();
        let reserve = DiskReserve::open(dir.path());
        let told = reserve.state().problem.as_ref().unwrap().to_string();
        assert!(told.contains("reserve: ") && !told.contains("full"), "{told}");
        assert_eq!((reserve.problem(), reserve.is_full(), reserve.recover()), (None, false, true));
    }
}

//! Room on the disk that is kept for the day on which there is none.
//!
//! To delete from a SQLite file takes room for the log of the deletion. An outbox that has filled the disk could
//! therefore never get rid of what its sinks have accepted; so a file of zeros lies beside it, and is given up then.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What deleting a gigabyte takes, several times over.
const BYTES: usize = 4 << 20;

/// How often it is tried to have the room again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file of zeros.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    is_there: bool,
    tried: Instant,
}

impl Reserve {
    /// Makes the file, if there is room for it.
    pub(super) fn open(dir: &Path) -> Self {
        let mut reserve = Self { path: dir.join("reserve"), is_there: false, tried: Instant::now() };
        reserve.is_there = reserve.make().is_ok();
        reserve
    }

    /// Whether the room is there: without it nothing new may be written.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Gives the room to what has to be written now.
    pub(super) fn release(&mut self) {
        self.is_there = false;
        self.tried = Instant::now();
        // Where it cannot be removed, the next commit tells why.
        let _ = fs::remove_file(&self.path);
    }

    /// Whether it is time to try to have the room again.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.tried.elapsed() >= INTERVAL;
        if is_due {
            self.tried = Instant::now();
        }
        is_due
    }

    /// Tries to have the room again.
    pub(super) fn restore(&mut self) -> bool {
        self.is_there = self.make().is_ok();
        if !self.is_there {
            let _ = fs::remove_file(&self.path);
        }
        self.is_there
    }

    fn make(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == BYTES as u64) {
            return Ok(());
        }
        let mut file = File::create(&self.path)?;
        // Not a hole in the file, but room; and as much again, or the disk would be full at once.
        file.write_all(&vec![0; 2 * BYTES])?;
        file.sync_all()?;
        file.set_len(BYTES as u64)
    }
}

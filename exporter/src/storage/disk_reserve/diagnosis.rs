//! What an error means: a full disk, a read-only file system, or another error of the disk.
//!
//! The errors of SQLite do not say it, so a probe file does.

use std::fs::{self, File};
use std::io::{self, ErrorKind};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::super::allocate::allocate;
use super::super::disk_error::{Cause, can_be_read_only, is_lack_of_space, possible_cause};
use super::{DISK_FULL, DiskReserve, PROBE_BYTES};

impl DiskReserve {
    /// Deletes the reserve if a full disk is the cause of this error. Returns whether it is.
    pub(crate) fn release_if_disk_full(&self, error: &rusqlite::Error, database: &str) -> bool {
        let is_full = match possible_cause(error) {
            Some(Cause::FullDisk) => self.is_full() || !self.has_space(self.share_bytes()),
            Some(Cause::FullDiskOrIoError) => !self.has_space(PROBE_BYTES),
            None => false,
        };
        if is_full {
            self.release(database);
        }
        is_full
    }

    /// Deletes the reserve if an allocation has failed for lack of space. Returns whether it has.
    pub(crate) fn release_if_no_space(&self, error: &io::Error, database: &str) -> bool {
        let is_full = is_lack_of_space(error);
        if is_full {
            self.release(database);
        }
        is_full
    }

    /// Returns the text of an error in logs and responses.
    pub(crate) fn reason(&self, error: &rusqlite::Error) -> String {
        if self.is_full() && possible_cause(error).is_some() {
            return format!("{DISK_FULL} ({error})");
        }
        if can_be_read_only(error) && self.is_read_only() {
            return format!("read-only file system ({error})");
        }
        error.to_string()
    }

    fn is_read_only(&self) -> bool {
        let is_mounted_so =
            statvfs(self.dir()).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
        is_mounted_so || matches!(self.probe(1), Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem)
    }

    /// Returns whether this number of bytes can be written. A quota can be exceeded although the disk has free bytes.
    fn has_space(&self, bytes: u64) -> bool {
        if self.free_bytes() < bytes {
            return false;
        }
        !self.probe(bytes).is_err_and(|error| is_lack_of_space(&error))
    }

    /// Tries to allocate this number of bytes.
    fn probe(&self, bytes: u64) -> io::Result<()> {
        let path = self.dir().join("reserve.probe");
        let result = File::create(&path).and_then(|file| allocate(&file, 0, bytes));
        let _ = fs::remove_file(path);
        result
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_a_lack_of_space_is_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = DiskReserve::small(dir.path());
        let share = reserve.share_bytes();
        for (code, free_bytes, is_full) in [
            (ffi::SQLITE_FULL, 0, true),
            (ffi::SQLITE_FULL, share - 1, true),
            (ffi::SQLITE_FULL, u64::MAX, false),
            // EDQUOT, or EIO and EROFS, which do not change the free bytes.
            (ffi::SQLITE_IOERR_WRITE, 0, true),
            (ffi::SQLITE_IOERR_SHMSIZE, 0, true),
            (ffi::SQLITE_IOERR_WRITE, share - 1, false),
            (ffi::SQLITE_IOERR_SHMSIZE, share - 1, false),
            (ffi::SQLITE_IOERR_SHMMAP, u64::MAX, false),
            (ffi::SQLITE_IOERR_FSYNC, 0, false),
            (ffi::SQLITE_IOERR_READ, 0, false),
            (ffi::SQLITE_READONLY, 0, false),
            (ffi::SQLITE_CORRUPT, 0, false),
        ] {
            *reserve.0.simulated_free_bytes.lock().unwrap() = Some(free_bytes);
            assert_eq!(reserve.release_if_disk_full(&failure(code), "store"), is_full, "{code} {free_bytes}");
            assert_eq!(reserve.is_full(), is_full, "{code} {free_bytes}");
            reserve.clear();
        }
    }
}

//! What an error of SQLite or of the file system says about the disk.

use std::io::{self, ErrorKind};

use rusqlite::{ErrorCode, ffi};

/// The possible causes of an error of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    FullDisk,
    FullDiskOrIoError,
}

/// Returns the possible cause, or `None` if it is not a full disk.
///
/// SQLite reports an exceeded quota as a write error, and missing space for the `-shm` file as an error of that file. A
/// damaged disk causes the same errors.
pub(super) fn possible_cause(error: &rusqlite::Error) -> Option<Cause> {
    const AMBIGUOUS: [i32; 3] =
        [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_SHMMAP];
    let error = error.sqlite_error()?;
    if error.code == ErrorCode::DiskFull {
        return Some(Cause::FullDisk);
    }
    AMBIGUOUS.contains(&error.extended_code).then_some(Cause::FullDiskOrIoError)
}

/// Returns whether the file system of this error can be mounted read-only.
pub(super) fn can_be_read_only(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | SystemIoFailure))
}

/// Returns whether a file could not be written for lack of space.
pub(super) fn is_lack_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

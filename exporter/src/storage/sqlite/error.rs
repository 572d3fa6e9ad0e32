//! The meaning of SQLite's errors.

use rusqlite::{ErrorCode, ffi};

/// Returns whether the error means that the file is corrupt or not a database.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns whether the error means that the disk had no space.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Returns whether the error is transient: not caused by what the file contains, so that a retry can succeed.
pub(crate) fn is_transient(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory, ReadOnly,
        SystemIoFailure,
    };
    /// What a damaged file causes when it is read.
    const READ: [i32; 2] = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ];
    let Some(error) = error.sqlite_error() else { return false };
    match error.code {
        SystemIoFailure => !READ.contains(&error.extended_code),
        CannotOpen
        | DatabaseBusy
        | DatabaseLocked
        | DiskFull
        | FileLockingProtocolFailed
        | OutOfMemory
        | ReadOnly => true,
        _ => false,
    }
}

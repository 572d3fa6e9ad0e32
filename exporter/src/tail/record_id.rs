//! The ids of log records. A line that is read again, after a crash, has the same id, so that a sink can recognize it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::storage::DirectoryId;
use crate::store::LogLine;

/// Where a line is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The path of the log, which a rotation does not change.
    pub(super) path: &'a [u8],
    /// The first bytes of the file, as far as the committed read position.
    pub(super) head: &'a [u8],
    /// Where the line is in the file.
    pub(super) offset: u64,
}

/// The id of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordId([u8; 16]);

impl RecordId {
    /// Returns the id of a line. A line without a time of its own gets another id when it is read again, because it also
    /// gets another time. The same line on another machine has another id, because the data directory has another one.
    pub(super) fn of(directory: DirectoryId, source: Source<'_>, line: &LogLine) -> Self {
        let mut hash = Sha256::new();
        hash.update(directory.as_bytes());
        for part in [source.path, source.head, line.line.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(source.offset.to_be_bytes());
        hash.update(line.time_unix_nano.to_be_bytes());
        Self(hash.finalize().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::line::parse;

    #[test]
    fn equal_lines_of_two_machines_have_different_ids() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let line = parse(br#"{"time":"2026-01-01T00:00:00Z","message":"ready"}"#, 0).unwrap();
        let source = Source { path: b"/var/log/app.log", head: b"", offset: 50 };
        let id = |dir: &tempfile::TempDir| RecordId::of(DirectoryId::open(dir.path()), source, &line);
        assert_ne!(id(&first), id(&second));
        assert_eq!(id(&first), id(&first), "a restart");
        let later = Source { offset: 100, ..source };
        assert_ne!(id(&first), RecordId::of(DirectoryId::open(first.path()), later, &line));
    }
}

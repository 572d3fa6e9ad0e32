//! The random id of the data directory, in the file `id`: what two machines with the same content differ in.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::log::{self, Value};

/// The id of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryId([u8; 16]);

/// The length of the file: hexadecimal digits and a line break.
const LENGTH: usize = 2 * 16 + 1;

impl DirectoryId {
    #[cfg(test)]
    pub(crate) const OF_TESTS: Self = Self([7; 16]);

    /// Reads the id. Creates the file if there is none, or if it is invalid.
    ///
    /// If that fails, the id is that of this process only.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join("id");
        if let Some(id) = read(&path) {
            return id;
        }
        let id = Self(fastrand::u128(..).to_be_bytes());
        if let Err(error) = id.create(&path) {
            let error = format!("{}: {error}", path.display());
            log::warn("failed to store the id of the data directory", &[("error", Value::Str(&error))]);
        }
        id
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Creates the file in one step.
    fn create(self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        // Left by a process that died.
        let _ = fs::remove_file(&new);
        let mut file = File::options().create_new(true).write(true).open(&new)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    }

    fn text(self) -> String {
        format!("{}\n", hex::encode(self.0))
    }
}

/// Returns `None` if there is no valid file.
fn read(path: &Path) -> Option<DirectoryId> {
    // Opening a FIFO would wait.
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten()?;
    let mut text = String::new();
    file.take(LENGTH as u64 + 1).read_to_string(&mut text).ok()?;
    let id = DirectoryId(hex::decode(text.trim_end()).ok()?.try_into().ok()?);
    (id.text() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_and_differs_from_others() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = DirectoryId::open(dir.path());
        assert_eq!(DirectoryId::open(dir.path()), id);
        assert_ne!(DirectoryId::open(other.path()), id);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_invalid_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let text = DirectoryId::open(dir.path()).text();
        assert_eq!((text.len(), fs::read_to_string(&path).unwrap()), (LENGTH, text.clone()));
        for invalid in ["", "no", text.trim_end(), &text[1..], &text.repeat(2)] {
            fs::write(&path, invalid).unwrap();
            let id = DirectoryId::open(dir.path());
            assert_eq!(fs::read_to_string(&path).unwrap(), id.text(), "{invalid:?}");
            assert_eq!(DirectoryId::open(dir.path()), id);
        }
    }

    #[test]
    fn without_a_file_each_process_has_an_id() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("id")).unwrap();
        assert_ne!(DirectoryId::open(dir.path()), DirectoryId::open(dir.path()));
    }
}

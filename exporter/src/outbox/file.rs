//! Reading the file at the path of the outbox, also after the writer has replaced it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::watch;

use super::State;
use crate::storage::sqlite;

/// A connection for reading.
pub(super) struct File {
    path: PathBuf,
    // The lock makes the connection `Sync`. Nobody waits for it.
    connection: Arc<Mutex<Connection>>,
    /// Changes when the file is replaced.
    replacements: watch::Receiver<u64>,
}

impl File {
    pub(super) fn open(state: &State) -> anyhow::Result<Self> {
        let connection = Arc::new(Mutex::new(sqlite::open_reader(&state.path)?));
        Ok(Self { path: state.path.clone(), connection, replacements: state.replacements.subscribe() })
    }

    /// Returns a connection to the file that is at the path now.
    pub(super) fn connection(&mut self) -> anyhow::Result<&Arc<Mutex<Connection>>> {
        if self.replacements.has_changed().unwrap_or(false) {
            // Marked before the file is opened, so that a replacement during the open counts as a new change.
            let mut replacements = self.replacements.clone();
            replacements.mark_unchanged();
            self.connection = Arc::new(Mutex::new(sqlite::open_reader(&self.path)?));
            self.replacements = replacements;
        }
        Ok(&self.connection)
    }
}

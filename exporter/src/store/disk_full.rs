//! A full disk: the oldest traces leave for what comes, and for the disk to have room again.

use std::time::{Duration, Instant};

use super::{Store, StoreWriter, retention, schema};
use crate::log::{self, Severity, Value};
use crate::storage::sqlite;

/// When room may be given back again, after that has been in vain: another program takes what becomes free, or the disk
/// keeps it, and the traces would be gone for nothing.
#[derive(Debug, Default)]
pub(super) struct Patience {
    times: u32,
    until: Option<Instant>,
}

const SHORTEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl Patience {
    /// There is room again: whatever was tried before is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    fn back_off(&mut self) {
        let wait = SHORTEST_WAIT * 2_u32.saturating_pow(self.times.min(16));
        self.until = Some(Instant::now() + wait.min(LONGEST_WAIT));
        self.times += 1;
    }
}

impl Store {
    /// Lets the oldest traces leave until so many bytes of the file are free.
    pub(super) fn give_way(&self, writer: &mut StoreWriter, bytes: u64) -> rusqlite::Result<()> {
        while sqlite::free_bytes(&writer.connection)? < bytes {
            let Some(expired) =
                retention::give_way(&mut writer.connection, self.0.reserve.share_bytes() / 2)?
            else {
                break;
            };
            writer.origins.clear();
            expired.count(&self.0.metrics);
            sqlite::checkpoint(&writer.connection, true)?;
        }
        Ok(())
    }

    /// Gives so many bytes back to the disk, for which the oldest traces leave; stops where the disk does not get them.
    pub(super) fn give_back(&self, writer: &mut StoreWriter, bytes: u64) {
        if !writer.patience.is_over() {
            return;
        }
        if let Err(error) = self.try_give_back(writer, bytes) {
            self.0.reserve.release_if_disk_full(&error, schema::KIND.name);
            let error = error.to_string();
            log::repeated(Severity::Warning, "cannot shrink the store", &[("error", Value::Str(&error))]);
        }
    }

    fn try_give_back(&self, writer: &mut StoreWriter, bytes: u64) -> rusqlite::Result<()> {
        let reserve = &self.0.reserve;
        let step = reserve.share_bytes() / 8;
        let free_before = reserve.free_bytes();
        let mut given = 0;
        while given < bytes {
            self.give_way(writer, step)?;
            let free = sqlite::free_bytes(&writer.connection)?;
            sqlite::vacuum(&writer.connection, step / u64::from(schema::KIND.page_size))?;
            let cut = free.saturating_sub(sqlite::free_bytes(&writer.connection)?);
            if cut == 0 {
                break;
            }
            given += cut;
            sqlite::checkpoint(&writer.connection, true)?;
            let free_now = reserve.free_bytes();
            // After a look at the disk, for the reserve takes room when it comes back.
            if !reserve.is_full() {
                break;
            }
            // Where somebody reads, the log could not be emptied; and not every disk tells.
            let can_be_seen = sqlite::wal_length(&self.0.path) == 0 && free_now != u64::MAX;
            let grown = free_now.saturating_sub(free_before);
            if can_be_seen && given >= reserve.share_bytes() && grown < given / 2 {
                writer.patience.back_off();
                log::repeated(
                    Severity::Error,
                    "disk full: evicting traces frees no space, another program uses it",
                    &[("given_bytes", Value::U64(given)), ("free_bytes", Value::U64(free_now))],
                );
                return Ok(());
            }
        }
        Ok(())
    }
}

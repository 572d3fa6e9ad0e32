//! Appends spans, log records and log lines: in transactions that fit into the WAL, to space that is allocated before.

use bytes::Bytes;
use rusqlite::TransactionBehavior;

use super::items::{self, Group, Item};
use super::positions::{self, ReadPositions};
use super::write::{self, LogLine, WriteError};
use super::{Store, StoreWriter, schema};
use crate::clock::unix_millis;
use crate::log::{self, Value};
use crate::otlp::Signal;
use crate::storage::sqlite;

/// The reason why a span is dropped: two other spans have its ids already, or it is a part that would make a span too long.
pub(crate) const ID_IS_TAKEN: &str = "span id of another span";

fn log_dropped(spans: u64) {
    if spans > 0 {
        let fields = [("reason", Value::Str(ID_IS_TAKEN)), ("count", Value::U64(spans))];
        log::warn("dropped spans that cannot be stored", &fields);
    }
}

impl Store {
    /// Stores the items of these requests of one signal. After an error, some may be stored. Returns the number of spans
    /// that are dropped, because other spans have their ids ([`ID_IS_TAKEN`]).
    pub(crate) fn append(&self, signal: Signal, bodies: &[Bytes]) -> Result<u64, WriteError> {
        let (mut group, mut dropped) = (Group::default(), 0);
        for (index, body) in bodies.iter().enumerate() {
            for item in items::decode(signal, index, body)? {
                group.push(item);
                if group.bytes >= self.max_transaction_bytes() {
                    dropped += self.append_items(&std::mem::take(&mut group).items)?;
                }
            }
        }
        Ok(dropped + self.append_items(&group.items)?)
    }

    /// Stores these items in one transaction, or in smaller ones if a full disk has no space for it.
    fn append_items(&self, items: &[Item]) -> Result<u64, WriteError> {
        if items.is_empty() {
            return Ok(0);
        }
        let previous = [None].into_iter().chain(items.iter().map(Some));
        let bytes = items.iter().zip(previous).map(|(item, previous)| item.stored_bytes(previous)).sum();
        let result = self.write(bytes, |StoreWriter { connection, origins, written, dropped, .. }| {
            (*written, *dropped) = (None, 0);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result =
                write::insert_items(&transaction, origins, items, unix_millis(), self.0.feed.notes())
                    .map(|inserted| (*written, *dropped) = (inserted.written, inserted.dropped))
                    .and_then(|()| transaction.commit());
            if result.is_err() {
                // The rollback may have removed the rows of these ids.
                origins.clear();
            }
            result
        });
        match result {
            Err(WriteError::DiskFull(_)) if items.len() > 1 => {
                let (first, second) = items.split_at(items.len() / 2);
                Ok(self.append_items(first)? + self.append_items(second)?)
            }
            result => result,
        }
    }

    /// A transaction has to fit into the WAL that [`Self::allocate_wal`] has allocated.
    fn max_transaction_bytes(&self) -> usize {
        usize::try_from(self.0.reserve.share_bytes() / 2).unwrap_or(usize::MAX)
    }

    /// Returns the maximum size of one write. On a full disk, a write has to fit into a share of the reserve.
    pub(crate) fn max_write_bytes(&self) -> usize {
        usize::try_from(self.0.reserve.share_bytes() / 4).unwrap_or(usize::MAX)
    }

    /// Stores log lines, and the positions up to which their files have been read.
    pub(crate) fn append_lines(
        &self,
        lines: &[LogLine],
        positions: &[ReadPositions],
    ) -> Result<(), WriteError> {
        let bytes = lines.iter().map(|line| line.line.len() + line.message.len()).sum();
        let written = self.write(bytes, |StoreWriter { connection, origins, written, dropped, .. }| {
            (*written, *dropped) = (None, 0);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let save = |positions| positions::save(&transaction, positions);
            let result =
                write::insert_lines(&transaction, origins, lines, unix_millis(), self.0.feed.notes())
                    .map(|inserted| (*written, *dropped) = (inserted.written, inserted.dropped))
                    .and_then(|()| positions.iter().try_for_each(save))
                    .and_then(|()| transaction.commit());
            if result.is_err() {
                // The rollback may have removed the rows of these ids.
                origins.clear();
            }
            result
        });
        written.map(|_| ())
    }

    /// Writes about `bytes` bytes. On a full disk, the oldest traces are evicted first. Returns the number of spans that are
    /// dropped.
    fn write(
        &self,
        bytes: usize,
        write: impl Fn(&mut StoreWriter) -> rusqlite::Result<()>,
    ) -> Result<u64, WriteError> {
        let mut writer = self.writer();
        self.reattach_if_detached(&mut writer).map_err(WriteError::Detached)?;
        let result = self.write_or_evict(&mut writer, bytes, write);
        let (written, dropped) = (writer.written.take(), std::mem::take(&mut writer.dropped));
        if result.is_ok() {
            self.0.feed.publish(written);
            log_dropped(dropped);
        }
        result.map(|()| dropped).map_err(|error| {
            let reason = self.0.reserve.reason(&error);
            if sqlite::is_full(&error) { WriteError::DiskFull(reason) } else { WriteError::Database(reason) }
        })
    }

    fn write_or_evict(
        &self,
        writer: &mut StoreWriter,
        bytes: usize,
        write: impl Fn(&mut StoreWriter) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        // The indexes need space, too.
        let needed = 2 * bytes as u64 + self.0.reserve.share_bytes() / 4;
        if !self.0.reserve.is_full() {
            writer.shrink_backoff.reset();
            if let Some(result) = self.write_and_grow(writer, needed, &write) {
                return result;
            }
        }
        self.limit_to_file(writer)?;
        self.evict_until_free(writer, needed)?;
        let result = write(writer);
        // Frees space for the next writes. The result of this write does not depend on it.
        self.shrink(writer, 2 * self.0.reserve.share_bytes());
        result
    }

    /// Writes about this number of bytes to a file that grows. Returns `None` if the disk is full.
    fn write_and_grow(
        &self,
        writer: &mut StoreWriter,
        bytes: u64,
        write: impl Fn(&mut StoreWriter) -> rusqlite::Result<()>,
    ) -> Option<rusqlite::Result<()>> {
        let mut result = Ok(());
        // The number of bytes is an estimate.
        for allocated in [bytes, 4 * bytes, 16 * bytes] {
            result = self.allocate(writer, allocated);
            if self.0.reserve.is_full() {
                return None;
            }
            result = result.and_then(|()| write(writer));
            match &result {
                Err(error) if self.0.reserve.release_if_disk_full(error, schema::KIND.name) => return None,
                Err(error) if sqlite::is_full(error) => {}
                _ => break,
            }
        }
        Some(result)
    }
}

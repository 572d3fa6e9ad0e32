//! The tables of `outbox.db`.

use crate::storage::sqlite::{Access, DatabaseKind};

pub(super) const PAGE_BYTES: u64 = KIND.page_size as u64;

/// The kind of `outbox.db`.
///
/// The pages are large because a batch of 512 spans is about 100 KiB: with small pages, SQLite would chain many overflow
/// pages for it.
pub(super) const KIND: DatabaseKind = DatabaseKind {
    name: "outbox",
    application_id: 0x6c74_6f62, // "ltob"
    access: Access::Exclusive,
    version: 4,
    page_size: 16 * 1024,
    schema: "
        CREATE TABLE batch(
            id          INTEGER PRIMARY KEY,  -- ascending, never reused
            received_ms INTEGER NOT NULL,     -- since 1970
            signal      INTEGER NOT NULL,     -- 1: traces, 2: logs, 3: logs that --tail has read
            items       INTEGER NOT NULL,     -- the number of spans or log records in the body
            unpacked_len INTEGER NOT NULL,    -- the length of the body if it is compressed with LZ4, else 0
            body        BLOB NOT NULL         -- the Export…ServiceRequest of the signal as protobuf
        );
        CREATE TABLE cursor(
            sink        TEXT PRIMARY KEY,
            position    INTEGER NOT NULL      -- the id of the last batch that the sink has acknowledged
        ) WITHOUT ROWID;
        CREATE TABLE probe(at_ms INTEGER NOT NULL);
        INSERT INTO probe VALUES (0);
        CREATE TABLE verdict(
            batch       INTEGER NOT NULL,     -- the id of the batch
            sink        TEXT NOT NULL,        -- a sink with rules
            verdicts    BLOB NOT NULL,        -- on each item, see verdict.rs
            PRIMARY KEY (batch, sink)
        ) WITHOUT ROWID;
        CREATE TABLE decided(
            batch       INTEGER NOT NULL,     -- the id of the batch with which these traces were decided
            policy      INTEGER NOT NULL,     -- a hash of the rules
            at_ms       INTEGER NOT NULL,     -- since 1970
            traces      BLOB NOT NULL,        -- see keep/recent.rs
            PRIMARY KEY (batch, policy)
        ) WITHOUT ROWID;
    ",
    upgrades: &[
        |tx| {
            tx.execute_batch(
                "
                ALTER TABLE batch RENAME COLUMN spans TO items;
                ALTER TABLE batch ADD COLUMN signal INTEGER NOT NULL DEFAULT 1;
                ALTER TABLE batch ADD COLUMN unpacked_len INTEGER NOT NULL DEFAULT 0;
                ",
            )
        },
        |tx| {
            tx.execute_batch(
                "
                CREATE TABLE verdict(batch INTEGER NOT NULL, sink TEXT NOT NULL, verdicts BLOB NOT NULL,
                    PRIMARY KEY (batch, sink)) WITHOUT ROWID;
                CREATE TABLE decided(batch INTEGER NOT NULL, policy INTEGER NOT NULL, at_ms INTEGER NOT NULL,
                    traces BLOB NOT NULL, PRIMARY KEY (batch, policy)) WITHOUT ROWID;
                ",
            )
        },
        // Only the values of `batch.signal` are new: an older exporter cannot read them, and must not open the file.
        |_| Ok(()),
    ],
};

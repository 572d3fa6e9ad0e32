//! The table of `dead-letters.db`.

use crate::storage::sqlite::{Access, DatabaseKind};

pub(super) const KIND: DatabaseKind = DatabaseKind {
    name: "file of dead letters",
    application_id: 0x6c74_646c, // "ltdl"
    access: Access::Shared,
    version: 1,
    page_size: 4096,
    schema: "
        CREATE TABLE letter(
            id          INTEGER PRIMARY KEY AUTOINCREMENT,
            sink        TEXT NOT NULL,
            kept_ms     INTEGER NOT NULL,     -- time of the rejection, since 1970
            signal      INTEGER NOT NULL,     -- as in the outbox
            items       INTEGER NOT NULL,     -- the number of spans or log records in the body
            reason      TEXT NOT NULL,        -- as reported by the sink
            is_asked    INTEGER NOT NULL,     -- 1: a retry was requested
            digest      INTEGER NOT NULL,     -- of the body, to find equal ones
            body        BLOB NOT NULL         -- the request of the signal as protobuf
        );
        CREATE INDEX letter_of_sink ON letter(sink, is_asked);
        CREATE INDEX letter_known ON letter(digest);
    ",
    upgrades: &[],
};

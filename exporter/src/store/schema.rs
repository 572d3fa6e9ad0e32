//! The tables of `store.db`.

use crate::storage::sqlite::{Access, DatabaseKind};

macro_rules! position_table {
    () => {
        "
        -- How far each tailed file has been read, and each of its rotated files.
        CREATE TABLE position(
            file          TEXT NOT NULL,        -- the path of the option --tail
            device        INTEGER NOT NULL,     -- 0 if unknown
            inode         INTEGER NOT NULL,     -- 0 if unknown
            target        BLOB NOT NULL,        -- the path without symbolic links, before a rotation
            offset        INTEGER NOT NULL,     -- bytes
            head          BLOB NOT NULL,        -- identifies the first bytes
            tail          BLOB NOT NULL,        -- identifies the bytes before the offset; empty if unknown
            is_current    INTEGER NOT NULL,     -- 0 for a rotated file
            PRIMARY KEY(file, device, inode)
        ) WITHOUT ROWID;
        "
    };
}

/// The pages are large because a row of a clustered table gets overflow pages if it is longer than a quarter of a page.
pub(super) const KIND: DatabaseKind = DatabaseKind {
    name: "store",
    application_id: 0x6c74_7374, // "ltst"
    access: Access::Exclusive,
    version: 2,
    page_size: 16 * 1024,
    schema: concat!(
        "
        -- One row for each trace, kept up to date with every span and line.
        CREATE TABLE trace(
            seq           INTEGER PRIMARY KEY,  -- ascending in the order in which traces were first seen
            trace_id      BLOB NOT NULL UNIQUE, -- 16 bytes
            seen_ms       INTEGER NOT NULL,     -- when it was first seen, since 1970
            start_ns      INTEGER NOT NULL,     -- of the spans, or of the lines if there are no spans
            end_ns        INTEGER NOT NULL,
            span_count    INTEGER NOT NULL,
            error_count   INTEGER NOT NULL,
            log_count     INTEGER NOT NULL,
            root_name     TEXT NOT NULL,        -- of the span without a parent, else of the earliest span
            root_rank     INTEGER NOT NULL,     -- the priority of root_name
            root_start_ns INTEGER NOT NULL,
            services      TEXT NOT NULL         -- JSON array of names
        );
        CREATE INDEX trace_by_start ON trace(start_ns);

        -- The emitters of spans: a resource and an instrumentation scope.
        CREATE TABLE origin(
            id            INTEGER PRIMARY KEY,
            resource      BLOB NOT NULL,        -- Resource as protobuf
            scope         BLOB NOT NULL,        -- InstrumentationScope as protobuf
            newest_trace  INTEGER NOT NULL,     -- no later trace.seq has a span of it
            UNIQUE(resource, scope)
        );

        CREATE TABLE span(
            trace         INTEGER NOT NULL,     -- trace.seq
            span_id       INTEGER NOT NULL,     -- the 64 bits as a signed number
            origin        INTEGER NOT NULL,
            start_ns      INTEGER NOT NULL,
            body          BLOB NOT NULL,        -- Span as protobuf
            PRIMARY KEY(trace, span_id)
        ) WITHOUT ROWID;

        CREATE TABLE line(
            trace         INTEGER NOT NULL,     -- trace.seq
            time_ns       INTEGER NOT NULL,
            n             INTEGER NOT NULL,     -- the order of arrival of lines with the same time
            span_id       INTEGER,
            severity      TEXT NOT NULL,
            message       TEXT NOT NULL,
            line          TEXT NOT NULL,        -- the unchanged JSON object
            PRIMARY KEY(trace, time_ns, n)
        ) WITHOUT ROWID;

        ",
        position_table!()
    ),
    upgrades: &[concat!(
        "ALTER TABLE position RENAME TO old_position;",
        position_table!(),
        // Version 1 has the offset in the file itself, and its first bytes.
        "INSERT INTO position SELECT file, 0, 0, CAST(file AS BLOB), offset, head, x'', 1 FROM old_position;
         DROP TABLE old_position;"
    )],
};

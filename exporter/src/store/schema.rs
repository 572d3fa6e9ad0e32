//! The tables of `store.db`.

use std::collections::HashMap;

use logtracer_core::line::Severity;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rusqlite::{Transaction, params};

use super::items::service_name;
use super::log_records::{self, level};
use super::origins::{Newest, Origins};
use super::summary::short;
use super::write::service_of_message;
use crate::otlp::in_place::RecordRef;
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

/// The tables of what many rows share.
macro_rules! shared_tables {
    () => {
        "
        -- What many rows share: resources, instrumentation scopes and names of services. Each is stored once.
        CREATE TABLE content(
            id            INTEGER PRIMARY KEY,
            digest        INTEGER NOT NULL,     -- of the body, to find equal ones
            newest_trace  INTEGER NOT NULL,     -- no later trace.seq uses it
            body          BLOB NOT NULL         -- Resource or InstrumentationScope as protobuf, or a name
        );
        CREATE INDEX content_by_digest ON content(digest);
        CREATE INDEX content_by_trace ON content(newest_trace);

        -- The emitters of spans and log records: a resource and an instrumentation scope.
        CREATE TABLE origin(
            id            INTEGER PRIMARY KEY,
            resource      INTEGER NOT NULL,     -- content.id
            scope         INTEGER NOT NULL,     -- content.id
            newest_trace  INTEGER NOT NULL,     -- no later trace.seq has an item of it
            UNIQUE(resource, scope)
        );
        CREATE INDEX origin_by_trace ON origin(newest_trace);
        "
    };
}

macro_rules! trace_indexes {
    () => {
        "
        CREATE INDEX trace_by_order ON trace(order_ns, duration_ns) WHERE untraced = 0;
        CREATE INDEX trace_by_duration ON trace(duration_ns, order_ns) WHERE untraced = 0;
        "
    };
}

/// The tables of searches.
macro_rules! search_tables {
    () => {
        "
        CREATE INDEX line_by_time ON line(time_ns, level, service);
        CREATE INDEX error_by_time ON line(time_ns, level, service) WHERE level >= 5;

        -- What some traces may contain, to skip them in a search.
        CREATE TABLE block(
            first_seq     INTEGER PRIMARY KEY,  -- trace.seq
            last_seq      INTEGER NOT NULL,     -- of the newest block the greatest number
            terms         BLOB NOT NULL,        -- Bloom filter of services, routes, statuses and attributes
            text          BLOB NOT NULL         -- Bloom filter of the names of spans and of lines
        );
        "
    };
}

macro_rules! line_by_digest {
    () => {
        "
        CREATE INDEX line_by_digest ON line(trace, digest) WHERE digest IS NOT NULL;
        "
    };
}

/// The pages are large because a row of a clustered table gets overflow pages if it is longer than a quarter of a page.
pub(super) const KIND: DatabaseKind = DatabaseKind {
    name: "store",
    application_id: 0x6c74_7374, // "ltst"
    access: Access::Exclusive,
    version: 3,
    page_size: 16 * 1024,
    schema: concat!(
        "
        -- One row for each trace, kept up to date with every span and line.
        CREATE TABLE trace(
            seq           INTEGER PRIMARY KEY,  -- ascending in the order in which traces were first seen
            trace_id      BLOB NOT NULL UNIQUE, -- 16 bytes; 8 bytes for lines without a trace, see TraceKey
            seen_ms       INTEGER NOT NULL,     -- when it was first seen, since 1970
            start_ns      INTEGER NOT NULL,     -- of the spans whose times can be right, else of all spans, or of the lines if there are no spans
            end_ns        INTEGER NOT NULL,
            span_count    INTEGER NOT NULL,
            error_count   INTEGER NOT NULL,
            log_count     INTEGER NOT NULL,
            root_name     TEXT NOT NULL,        -- of the span without a parent, else of the earliest span
            root_rank     INTEGER NOT NULL,     -- the priority of root_name
            root_start_ns INTEGER NOT NULL,
            services      TEXT NOT NULL,        -- JSON array of content.id; of names in rows of version 1
            order_ns      INTEGER NOT NULL DEFAULT 0, -- the place in the list: start_ns, or if that is implausible seen_ms
            duration_ns   INTEGER NOT NULL DEFAULT 0, -- 0 if the times cannot be right
            untraced      INTEGER NOT NULL DEFAULT 0, -- 1 for lines without a trace
            root_service  INTEGER NOT NULL DEFAULT 0, -- content.id of the service of the span that names the trace; 0 if unknown
            root_status   TEXT NOT NULL DEFAULT ''    -- of the span that names the trace: an HTTP status code, or the name of a gRPC one
        );
        ",
        trace_indexes!(),
        shared_tables!(),
        "
        CREATE TABLE span(
            trace         INTEGER NOT NULL,     -- trace.seq
            span_id       INTEGER NOT NULL,     -- the 64 bits as a signed number
            origin        INTEGER NOT NULL,
            start_ns      INTEGER NOT NULL,
            body          BLOB NOT NULL,        -- Span as protobuf
            PRIMARY KEY(trace, span_id)
        ) WITHOUT ROWID;

        -- The lines of files, and log records.
        CREATE TABLE line(
            trace         INTEGER NOT NULL,     -- trace.seq
            time_ns       INTEGER NOT NULL,
            n             INTEGER NOT NULL,     -- the order of arrival of lines with the same time
            span_id       INTEGER,
            severity      TEXT NOT NULL,        -- empty for a log record
            message       TEXT NOT NULL,        -- empty for a log record
            line          TEXT NOT NULL,        -- the unchanged JSON object; for a log record LogRecord as protobuf
            origin        INTEGER,              -- only of a log record
            digest        INTEGER,              -- only of a log record: of origin and line, to find equal ones
            level         INTEGER NOT NULL DEFAULT 0, -- the severity as a number: DEFAULT is 0, EMERGENCY 8
            service       INTEGER NOT NULL DEFAULT 0, -- content.id of the service; 0 if unknown
            PRIMARY KEY(trace, time_ns, n)
        ) WITHOUT ROWID;
        ",
        line_by_digest!(),
        search_tables!(),
        position_table!()
    ),
    upgrades: &[upgrade_from_1, upgrade_from_2],
};

/// In version 1 each row of `origin` has a copy of its resource and its scope. A read position has the offset in the
/// file itself, and its first bytes.
fn upgrade_from_1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(concat!(
        "
        ALTER TABLE line ADD COLUMN origin INTEGER;
        ALTER TABLE line ADD COLUMN digest INTEGER;
        ALTER TABLE origin RENAME TO old_origin;
        ALTER TABLE position RENAME TO old_position;
        ",
        line_by_digest!(),
        shared_tables!(),
        position_table!(),
        "
        INSERT INTO position SELECT file, 0, 0, CAST(file AS BLOB), offset, head, x'', 1 FROM old_position;
        DROP TABLE old_position;
        "
    ))?;
    {
        let mut origins = Origins::default();
        let mut newest = Newest::default();
        let mut insert = tx.prepare("INSERT INTO origin VALUES (?, ?, ?, ?)")?;
        let mut old = tx.prepare("SELECT id, newest_trace, resource, scope FROM old_origin ORDER BY id")?;
        let mut rows = old.query([])?;
        while let Some(row) = rows.next()? {
            let (id, newest_trace): (i64, i64) = (row.get(0)?, row.get(1)?);
            let resource = origins.content(tx, row.get_ref(2)?.as_blob()?)?;
            let scope = origins.content(tx, row.get_ref(3)?.as_blob()?)?;
            insert.execute(params![id, resource, scope, newest_trace])?;
            newest.add_content(resource, newest_trace);
            newest.add_content(scope, newest_trace);
        }
        newest.save(tx)?;
    }
    tx.execute_batch("DROP TABLE old_origin;")
}

/// Version 2 has no tables of searches. Its traces are in no block, so that a search reads all of them.
fn upgrade_from_2(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(concat!(
        "
        ALTER TABLE trace ADD COLUMN order_ns INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE trace ADD COLUMN duration_ns INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE trace ADD COLUMN untraced INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE trace ADD COLUMN root_service INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE trace ADD COLUMN root_status TEXT NOT NULL DEFAULT '';
        DROP INDEX trace_by_start;
        UPDATE trace SET duration_ns = end_ns - start_ns, order_ns = CASE
            WHEN start_ns BETWEEN seen_ms * 1000000 - 604800000000000 AND seen_ms * 1000000 + 3600000000000
            THEN start_ns ELSE seen_ms * 1000000 END;
        ALTER TABLE line ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE line ADD COLUMN service INTEGER NOT NULL DEFAULT 0;
        ",
        trace_indexes!(),
    ))?;
    describe_lines(tx)?;
    tx.execute_batch(search_tables!())
}

/// Sets the level and the service of lines that have none.
fn describe_lines(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let (mut origins, mut newest) = (Origins::default(), Newest::default());
    let mut services: HashMap<i64, i64> = HashMap::new();
    let mut resource =
        tx.prepare("SELECT body FROM content WHERE id = (SELECT resource FROM origin WHERE id = ?)")?;
    let mut update =
        tx.prepare("UPDATE line SET level = ?, service = ? WHERE trace = ? AND time_ns = ? AND n = ?")?;
    // The keys do not change, so the rows can be updated while they are read.
    let mut lines = tx.prepare("SELECT trace, time_ns, n, severity, message, origin, line FROM line")?;
    let mut rows = lines.query([])?;
    while let Some(row) = rows.next()? {
        let (severity, service) = match row.get_ref(5)?.as_i64_or_null()? {
            Some(origin) => {
                let severity = log_records::severity(&RecordRef::new(row.get_ref(6)?.as_bytes()?)).0;
                let service = match services.get(&origin) {
                    Some(service) => *service,
                    None => {
                        let body: Vec<u8> = resource.query_row([origin], |row| row.get(0))?;
                        let body = Resource::decode(&body[..]).unwrap_or_default();
                        let service = origins.content(tx, service_name(Some(&body)).as_bytes())?;
                        services.insert(origin, service);
                        service
                    }
                };
                (severity, service)
            }
            None => {
                let severity = Severity::from_name(row.get_ref(3)?.as_str()?).unwrap_or_default();
                let service = match service_of_message(row.get_ref(4)?.as_str()?) {
                    Some(service) => origins.content(tx, short(service).as_bytes())?,
                    None => 0,
                };
                (severity, service)
            }
        };
        let trace = row.get::<_, i64>(0)?;
        if service != 0 {
            newest.add_content(service, trace);
        }
        let key = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        update.execute(params![level(severity), service, trace, key.0, key.1])?;
    }
    newest.save(tx)
}

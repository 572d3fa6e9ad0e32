PRAGMA page_size = 16384;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
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

-- How far each tailed file has been read.
CREATE TABLE position(
    file          TEXT PRIMARY KEY,
    offset        INTEGER NOT NULL,     -- bytes
    head          BLOB NOT NULL         -- the first bytes of the file, which identify it
) WITHOUT ROWID;
PRAGMA application_id = 0x6c747374;
PRAGMA user_version = 1;

//! The row of a trace in the list, updated with every span and line.

use std::collections::HashMap;
use std::time::Duration;

use logtracer_core::TraceId;
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::index::{BlockId, BlockWriter, SpanFacts};
use super::origins::Origins;
pub(super) use super::short_name::short;
use super::span_summary::SpanSummary;
use crate::clock::{nanos, plausible};
use crate::otlp::in_place::SpanRef;

/// What the rows of the table `trace` stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TraceKey {
    Trace(TraceId),
    /// The log lines without a trace of the tenth of a second with this number. They are evicted together, and equal
    /// log records are found among them.
    Untraced(i64),
}

impl TraceKey {
    /// Returns the key of a line.
    pub(super) fn of_line(trace_id: Option<TraceId>, time_ns: i64) -> Self {
        match trace_id {
            Some(id) => Self::Trace(id),
            None => Self::Untraced(time_ns.div_euclid(100_000_000)),
        }
    }

    /// Returns the column `trace_id`.
    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Trace(id) => id.to_bytes().to_vec(),
            Self::Untraced(tenth) => tenth.to_be_bytes().to_vec(),
        }
    }
}

/// One row of the table `trace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceRow {
    pub(super) seq: i64,
    /// Where searches find it.
    pub(super) block: Option<BlockId>,
    is_untraced: bool,
    seen_ns: i64,
    /// When what is added to the row has arrived.
    now_ns: i64,
    start_ns: i64,
    end_ns: i64,
    span_count: i64,
    error_count: i64,
    log_count: i64,
    root_name: String,
    root_rank: i64,
    root_start_ns: i64,
    root_service: i64,
    root_status: String,
    services: Vec<Value>,
    /// Its spans have to be read again before it is saved.
    is_outdated: bool,
}

/// A trace whose start differs more from its arrival has the place of its arrival in the list. Its clock is wrong, or it
/// is old.
const MAX_EARLY: Duration = Duration::from_secs(3600);
const MAX_LATE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The priority of the name: a span without a parent names the trace, otherwise the earliest span.
const RANK_NONE: i64 = 0;
const RANK_ORPHAN: i64 = 1;
const RANK_ROOT: i64 = 2;

/// Further services are not listed.
const MAX_SERVICES: usize = 64;

impl TraceRow {
    /// Reads the row of a trace, or inserts it if the trace is new.
    pub(super) fn load_or_insert(
        tx: &Transaction<'_>,
        blocks: &mut BlockWriter,
        key: TraceKey,
        now_ms: i64,
    ) -> rusqlite::Result<Self> {
        let (id, is_untraced) = (key.to_bytes(), matches!(key, TraceKey::Untraced(_)));
        let known = tx
            .prepare_cached(
                "SELECT seq, start_ns, end_ns, span_count, error_count, log_count, root_name, root_rank,
                        root_start_ns, services, seen_ms, root_service, root_status
                 FROM trace WHERE trace_id = ?",
            )?
            .query_row([&id], |row| {
                Ok(Self {
                    seq: row.get(0)?,
                    block: None,
                    is_untraced,
                    seen_ns: row.get::<_, i64>(10)?.saturating_mul(1_000_000),
                    now_ns: now_ms.saturating_mul(1_000_000),
                    root_service: row.get(11)?,
                    root_status: row.get(12)?,
                    start_ns: row.get(1)?,
                    end_ns: row.get(2)?,
                    span_count: row.get(3)?,
                    error_count: row.get(4)?,
                    log_count: row.get(5)?,
                    root_name: row.get(6)?,
                    root_rank: row.get(7)?,
                    root_start_ns: row.get(8)?,
                    services: parse_services(&row.get::<_, String>(9)?),
                    is_outdated: false,
                })
            })
            .optional()?;
        if let Some(known) = known {
            let block = blocks.block_of(tx, known.seq, false)?;
            return Ok(Self { block, ..known });
        }
        // The row is in no list, and in no index of lists, before it is saved.
        //
        // The numbers continue after the last trace was evicted, because contents and blocks that are not deleted yet refer to them.
        tx.prepare_cached(
            "INSERT INTO trace VALUES (
                 coalesce((SELECT max(seq) FROM trace), max(
                     coalesce((SELECT max(newest_trace) FROM content), 0),
                     coalesce((SELECT max(first_seq) FROM block), 0))) + 1,
                 ?, ?, 0, 0, 0, 0, 0, '', 0, 0, '[]', 0, 0, 1, 0, '')",
        )?
        .execute(params![id, now_ms])?;
        let seq = tx.last_insert_rowid();
        Ok(Self {
            seq,
            block: blocks.block_of(tx, seq, true)?,
            is_untraced,
            seen_ns: now_ms.saturating_mul(1_000_000),
            now_ns: now_ms.saturating_mul(1_000_000),
            root_service: 0,
            root_status: String::new(),
            start_ns: 0,
            end_ns: 0,
            span_count: 0,
            error_count: 0,
            log_count: 0,
            root_name: String::new(),
            root_rank: RANK_NONE,
            root_start_ns: 0,
            services: Vec::new(),
            is_outdated: false,
        })
    }

    /// Adds a new span. `service` is the row of the service's name in the table `content`, and `body` is the span as
    /// protobuf.
    pub(super) fn add_span(&mut self, span: &SpanSummary, service: i64, body: &[u8]) {
        // Until the first span, the times are those of log lines.
        let is_first = self.span_count == 0;
        self.span_count += 1;
        self.error_count += i64::from(span.is_error);
        self.describe(span, service, body, is_first);
        self.add_service(service);
    }

    /// Removes a span from the counts. What it says about the trace stays until the row is saved.
    pub(super) fn remove_span(&mut self, span: &SpanSummary) {
        self.span_count -= 1;
        self.error_count -= i64::from(span.is_error);
        self.is_outdated = true;
    }

    /// Reads the times and the name of the trace from its spans again if some were removed, unless they are many.
    ///
    /// A transaction does it once for each trace, however many spans it replaces.
    pub(super) fn update_description(
        &mut self,
        tx: &Transaction<'_>,
        origins: &mut Origins,
    ) -> rusqlite::Result<()> {
        if !std::mem::take(&mut self.is_outdated) {
            return Ok(());
        }
        const MAX_SPANS: usize = 1000;
        const MAX_BYTES: usize = 4 << 20;
        let mut row = Self { root_rank: RANK_NONE, ..self.clone() };
        let (mut spans, mut bytes) = (0, 0);
        let mut services = HashMap::new();
        let mut statement = tx.prepare_cached("SELECT origin, body FROM span WHERE trace = ?")?;
        let mut stored = statement.query([self.seq])?;
        while let Some(span) = stored.next()? {
            let (origin, body): (i64, _) = (span.get(0)?, span.get_ref(1)?.as_blob()?);
            (spans, bytes) = (spans + 1, bytes + body.len());
            if spans > MAX_SPANS || bytes > MAX_BYTES {
                return Ok(());
            }
            let service = match services.get(&origin) {
                Some(service) => *service,
                None => origins.service_of(tx, origin)?.0,
            };
            services.insert(origin, service);
            row.describe(&SpanSummary::new(&SpanRef::new(body)), service, body, spans == 1);
        }
        *self = row;
        Ok(())
    }

    /// Adds what a span says about the times and the name of the trace.
    fn describe(&mut self, span: &SpanSummary, service: i64, body: &[u8], is_first: bool) {
        let (start, end) = (span.start_ns, span.end_ns);
        self.add_times(start, end, is_first);
        let rank = if span.has_parent { RANK_ORPHAN } else { RANK_ROOT };
        // A span with a time that cannot be right comes after all others.
        let root_start = if self.is_plausible(start, end) { start } else { i64::MAX };
        if rank > self.root_rank || (rank == self.root_rank && root_start < self.root_start_ns) {
            self.root_rank = rank;
            self.root_start_ns = root_start;
            self.root_name.clone_from(&span.name);
            // Read only here, because few spans name their trace.
            let facts = SpanFacts::new(&SpanRef::new(body), "".into());
            self.root_status = short(&facts.status).into_owned();
            self.root_service = service;
        }
    }

    /// Extends the times of the trace. As long as there are times that can be right, others do not count.
    fn add_times(&mut self, start: i64, end: i64, is_first: bool) {
        match (self.is_plausible(self.start_ns, self.end_ns), self.is_plausible(start, end)) {
            _ if is_first => (self.start_ns, self.end_ns) = (start, end),
            (false, true) => (self.start_ns, self.end_ns) = (start, end),
            (true, false) => {}
            _ => (self.start_ns, self.end_ns) = (start.min(self.start_ns), end.max(self.end_ns)),
        }
    }

    /// Returns whether these are times that the clock of a sender can show.
    fn is_plausible(&self, start: i64, end: i64) -> bool {
        let plausible = plausible(self.now_ns.max(0).cast_unsigned());
        plausible.contains(&start) && plausible.contains(&end)
    }

    /// Returns the duration, or 0 if a clock was set between the start and the end.
    fn duration_ns(&self) -> i64 {
        let plausible = plausible(self.now_ns.max(0).cast_unsigned());
        let side = |time: i64| (time < *plausible.start(), time > *plausible.end());
        if side(self.start_ns) == side(self.end_ns) { self.end_ns.saturating_sub(self.start_ns) } else { 0 }
    }

    fn add_service(&mut self, service: i64) {
        let service = Value::from(service);
        if self.services.len() < MAX_SERVICES && !self.services.contains(&service) {
            self.services.push(service);
        }
    }

    /// Adds a new line. `service` is the row of the service's name in the table `content`, or 0 if it is unknown.
    pub(super) fn add_line(&mut self, time_ns: i64, service: i64) {
        if service != 0 {
            self.add_service(service);
        }
        if self.span_count == 0 {
            self.add_times(time_ns, time_ns, self.log_count == 0);
        }
        self.log_count += 1;
    }

    /// Returns the place in the list.
    fn order_ns(&self) -> i64 {
        let earliest = self.seen_ns.saturating_sub(nanos(MAX_LATE));
        let latest = self.seen_ns.saturating_add(nanos(MAX_EARLY));
        if (earliest..=latest).contains(&self.start_ns) { self.start_ns } else { self.seen_ns }
    }

    pub(super) fn save(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "UPDATE trace SET start_ns = ?, end_ns = ?, span_count = ?, error_count = ?, log_count = ?,
                              root_name = ?, root_rank = ?, root_start_ns = ?, services = ?,
                              order_ns = ?, duration_ns = ?, root_service = ?, root_status = ?, untraced = ?
             WHERE seq = ?",
        )?
        .execute(params![
            self.start_ns,
            self.end_ns,
            self.span_count,
            self.error_count,
            self.log_count,
            self.root_name,
            self.root_rank,
            self.root_start_ns,
            Value::from(self.services.clone()).to_string(),
            self.order_ns(),
            self.duration_ns(),
            self.root_service,
            self.root_status,
            self.is_untraced,
            self.seq,
        ])?;
        Ok(())
    }
}

/// Parses the column `services`: ids of contents, and names in rows of version 1.
pub(super) fn parse_services(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap_or_default()
}

//! The log lines that pass a filter, newest first, a page at a time.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use logtracer_core::TraceId;
use rusqlite::OptionalExtension;

use super::filter::{LineFilter, line_contains};
use super::{LineKey, LineRow, Snapshot, TraceSeq};
use crate::clock::nanos;
use crate::store::index::BlockReader;
use crate::store::service_name::is_service_of_line;
use crate::store::summary::short;

/// A line in the index by time. As text, `TIME.LEVEL.SERVICE.TRACE.N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineCursor {
    pub(in crate::store) time_ns: i64,
    pub(in crate::store) level: i64,
    pub(in crate::store) service: i64,
    pub(in crate::store) trace: i64,
    pub(in crate::store) n: i64,
}

impl fmt::Display for LineCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time_ns, level, service, trace, n } = self;
        write!(f, "{time_ns}.{level}.{service}.{trace}.{n}")
    }
}

impl FromStr for LineCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split('.').map(|number| number.parse().map_err(drop));
        let mut next = || numbers.next().unwrap_or(Err(()));
        let cursor = Self { time_ns: next()?, level: next()?, service: next()?, trace: next()?, n: next()? };
        if numbers.next().is_some() { Err(()) } else { Ok(cursor) }
    }
}

impl LineCursor {
    const END: Self =
        Self { time_ns: i64::MAX, level: i64::MAX, service: i64::MAX, trace: i64::MAX, n: i64::MAX };

    /// The earlier of two places.
    fn min(self, other: Self) -> Self {
        let key = |cursor: Self| (cursor.time_ns, cursor.level, cursor.service, cursor.trace, cursor.n);
        if key(other) < key(self) { other } else { self }
    }

    /// Returns the trace of the line, and the line's place in it.
    pub(crate) const fn key(&self) -> (TraceSeq, LineKey) {
        (TraceSeq(self.trace), LineKey { time_ns: self.time_ns, n: self.n })
    }
}

/// The last line that a search has read. As text, `PRESENT.LINE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinesCursor {
    /// Later lines are in the future. It is the same for all pages of a list.
    present: i64,
    last: LineCursor,
}

impl fmt::Display for LinesCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.present, self.last)
    }
}

impl FromStr for LinesCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (present, last) = text.split_once('.').ok_or(())?;
        Ok(Self { present: present.parse().map_err(drop)?, last: last.parse()? })
    }
}

impl LinesCursor {
    /// Returns the latest time that is not in the future for a list that is opened now.
    pub(crate) fn present(now: i64) -> i64 {
        now.saturating_add(nanos(MAX_EARLY))
    }

    /// Returns the time up to which the search has come, in nanoseconds since 1970.
    pub(crate) fn time_unix_nano(&self) -> u64 {
        self.last.time_ns.max(0).cast_unsigned()
    }
}

/// A page of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundLines {
    pub(crate) lines: Vec<LineCursor>,
    /// Where the next page begins. `None` after the last line of the store.
    pub(crate) next: Option<LinesCursor>,
    /// The time was over before the page was full.
    pub(crate) is_interrupted: bool,
}

/// What a list has of a line beside its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineOrigin {
    /// `None` for a line without a trace.
    pub(crate) trace_id: Option<TraceId>,
    /// `None` if it is unknown.
    pub(crate) service: Option<String>,
}

/// Lines of the future come after all others: the clock of their host is wrong.
const MAX_EARLY: Duration = Duration::from_secs(3600);

/// The severity from which on lines have an index of their own.
const INDEXED_LEVEL: i64 = 5;

const CLOCK_INTERVAL: u64 = 32;

impl Snapshot<'_> {
    /// Returns the newest lines, or those after a cursor. `now` is in nanoseconds since 1970.
    pub(crate) fn find_lines(
        &self,
        filter: &LineFilter,
        after: Option<LinesCursor>,
        limit: usize,
        now: i64,
        deadline: Instant,
    ) -> rusqlite::Result<FoundLines> {
        let mut found = FoundLines { lines: Vec::new(), next: None, is_interrupted: false };
        let Some(mut search) = Search::new(self, filter, limit, deadline)? else { return Ok(found) };
        let (from, to) = (filter.from.unwrap_or(i64::MIN), filter.to.unwrap_or(i64::MAX));
        let present = after.map_or_else(|| LinesCursor::present(now), |after| after.present);
        let last = after.map(|after| after.last);
        let is_in_future = last.is_some_and(|last| last.time_ns > present);
        let ranges = [(from, to.min(present)), (from.max(present.saturating_add(1)), to)];
        for (from, to) in ranges.into_iter().skip(usize::from(is_in_future)) {
            let start = last.filter(|last| (from..=to).contains(&last.time_ns)).unwrap_or(LineCursor::END);
            if from <= to && search.range(&mut found, start, from, to)? {
                found.next = search.last.map(|last| LinesCursor { present, last });
                break;
            }
        }
        Ok(found)
    }

    /// Returns which of these lines pass a filter, and how many were not read before the deadline.
    pub(crate) fn passing_lines(
        &self,
        filter: &LineFilter,
        lines: &[LineCursor],
        deadline: Instant,
    ) -> rusqlite::Result<(Vec<LineCursor>, usize)> {
        let Some(mut search) = Search::new(self, filter, lines.len(), deadline)? else {
            return Ok((Vec::new(), 0));
        };
        let is_in_range = |line: &LineCursor| {
            filter.from.is_none_or(|from| line.time_ns >= from)
                && filter.to.is_none_or(|to| line.time_ns <= to)
                && search.trace.is_none_or(|trace| trace == line.trace)
        };
        let in_range: Vec<_> = lines.iter().copied().filter(is_in_range).collect();
        let mut passing = Vec::new();
        for (index, line) in in_range.iter().enumerate() {
            if Instant::now() >= deadline {
                return Ok((passing, in_range.len() - index));
            }
            if search.passes(line)? {
                passing.push(*line);
            }
        }
        Ok((passing, 0))
    }

    /// Reads a line of a list, or returns `None` if it was evicted.
    pub(crate) fn listed_line<T>(
        &self,
        line: &LineCursor,
        read: impl FnOnce(&LineOrigin, LineRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let origin = self
            .0
            .prepare_cached(
                "SELECT trace_id, (SELECT body FROM content WHERE id = ?2) FROM trace WHERE seq = ?1",
            )?
            .query_row([line.trace, line.service], |row| {
                let id = row.get_ref(0)?.as_blob()?;
                let name = row.get_ref(1)?.as_blob_or_null()?;
                Ok(LineOrigin {
                    trace_id: id.try_into().ok().and_then(TraceId::from_bytes),
                    service: name.map(|name| String::from_utf8_lossy(name).into_owned()),
                })
            })
            .optional()?;
        let Some(origin) = origin else { return Ok(None) };
        let (trace, key) = line.key();
        self.line_at(trace, key, |row| read(&origin, row))
    }
}

/// The maximum number of services that a search remembers.
const MAX_SERVICES: usize = 1024;

/// The service that lines must have, and which rows of the table `content` name it.
struct WantedService {
    name: String,
    known: HashMap<i64, bool>,
}

impl WantedService {
    fn new(name: &str) -> Self {
        Self { name: short(name).into_owned(), known: HashMap::new() }
    }

    /// Returns whether a row names the service.
    fn is(&mut self, snapshot: &Snapshot<'_>, id: i64) -> rusqlite::Result<bool> {
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let mut statement = snapshot.0.prepare_cached("SELECT body FROM content WHERE id = ?")?;
        let name: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
        let is_wanted =
            name.is_some_and(|name| is_service_of_line(&String::from_utf8_lossy(&name), &self.name));
        if self.known.len() >= MAX_SERVICES {
            self.known.clear();
        }
        self.known.insert(id, is_wanted);
        Ok(is_wanted)
    }
}

struct Search<'a> {
    snapshot: &'a Snapshot<'a>,
    blocks: BlockReader,
    text: &'a str,
    level: i64,
    service: Option<WantedService>,
    trace: Option<i64>,
    deadline: Instant,
    limit: usize,
    read: u64,
    last: Option<LineCursor>,
}

impl<'a> Search<'a> {
    /// Returns `None` if no line of the store can pass.
    fn new(
        snapshot: &'a Snapshot<'_>,
        filter: &'a LineFilter,
        limit: usize,
        deadline: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let service = filter.service.as_deref().map(WantedService::new);
        let mut trace = None;
        if let Some(id) = filter.trace {
            trace = snapshot.trace(id)?.map(|(seq, _)| seq.0);
            if trace.is_none() {
                return Ok(None);
            }
        }
        let text = filter.text.as_deref().unwrap_or_default();
        let texts = if text.is_empty() { Vec::new() } else { vec![text.as_bytes().to_vec()] };
        let blocks = BlockReader::new(Vec::new(), texts);
        let level = filter.level;
        Ok(Some(Self { snapshot, blocks, text, level, service, trace, deadline, limit, read: 0, last: None }))
    }

    /// Adds the lines of a range of time. Returns true if there can be more.
    fn range(
        &mut self,
        found: &mut FoundLines,
        after: LineCursor,
        from: i64,
        to: i64,
    ) -> rusqlite::Result<bool> {
        const COLUMNS: &str = "SELECT time_ns, level, service, trace, n FROM line";
        // One bound for each direction: with two, SQLite would seek to the wrong one.
        let LineCursor { time_ns, level, service, trace, n } =
            after.min(LineCursor { time_ns: to, ..LineCursor::END });
        let by_time = "(time_ns, level, service, trace, n) < (?1, ?2, ?3, ?4, ?5) AND time_ns >= ?6
             ORDER BY time_ns DESC, level DESC, service DESC, trace DESC, n DESC";
        let sql = match self.trace {
            Some(of) => format!(
                "{COLUMNS} WHERE trace = {of} AND (time_ns, n) < (?1, ?5) AND time_ns >= ?6
                 AND ?2 NOTNULL AND ?3 NOTNULL AND ?4 NOTNULL ORDER BY time_ns DESC, n DESC"
            ),
            None if self.level >= INDEXED_LEVEL => {
                format!("{COLUMNS} INDEXED BY error_by_time WHERE level >= {INDEXED_LEVEL} AND {by_time}")
            }
            None => format!("{COLUMNS} INDEXED BY line_by_time WHERE {by_time}"),
        };
        let mut statement = self.snapshot.0.prepare_cached(&sql)?;
        let mut rows = statement.query([time_ns, level, service, trace, n, from])?;
        while let Some(row) = rows.next()? {
            if found.lines.len() >= self.limit {
                return Ok(true);
            }
            if self.read > 0 && self.read.is_multiple_of(CLOCK_INTERVAL) && Instant::now() >= self.deadline {
                found.is_interrupted = true;
                return Ok(true);
            }
            self.read += 1;
            let line = LineCursor {
                time_ns: row.get(0)?,
                level: row.get(1)?,
                service: row.get(2)?,
                trace: row.get(3)?,
                n: row.get(4)?,
            };
            self.last = Some(line);
            if self.passes(&line)? {
                found.lines.push(line);
            }
        }
        Ok(false)
    }

    fn passes(&mut self, line: &LineCursor) -> rusqlite::Result<bool> {
        if line.level < self.level {
            return Ok(false);
        }
        if let Some(wanted) = &mut self.service
            && !wanted.is(self.snapshot, line.service)?
        {
            return Ok(false);
        }
        if self.text.is_empty() {
            return Ok(true);
        }
        if !self.blocks.may_contain(&self.snapshot.0, line.trace)? {
            return Ok(false);
        }
        let mut statement = self.snapshot.0.prepare_cached(
            "SELECT message, line, origin FROM line WHERE trace = ? AND time_ns = ? AND n = ?",
        )?;
        let mut rows = statement.query([line.trace, line.time_ns, line.n])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        line_contains(row, self.text)
    }
}

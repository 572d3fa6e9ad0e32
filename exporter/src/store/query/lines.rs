//! The log lines of a trace.

use std::fmt;
use std::str::FromStr;

use logtracer_core::SpanId;
use logtracer_core::line::Severity;

use super::{Snapshot, TraceSeq, sql_limit};

/// The place of a line in its trace: by time, then by arrival. As text, `TIME-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineKey {
    pub(super) time_ns: i64,
    pub(super) n: i64,
}

impl LineKey {
    /// Returns the key before this one: the lines after it begin with this one.
    pub(crate) const fn before(self) -> Self {
        Self { n: self.n.saturating_sub(1), ..self }
    }

    pub(crate) const fn time_ns(self) -> i64 {
        self.time_ns
    }
}

impl fmt::Display for LineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time_ns, self.n)
    }
}

impl FromStr for LineKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (time, n) = text.rsplit_once('-').ok_or(())?;
        Ok(Self { time_ns: time.parse().map_err(drop)?, n: n.parse().map_err(drop)? })
    }
}

/// A stored line.
pub(crate) struct LineRow<'a> {
    pub(crate) key: LineKey,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) content: LineContent<'a>,
}

pub(crate) enum LineContent<'a> {
    /// A line of a file.
    File {
        severity: &'a str,
        message: &'a str,
        /// The unchanged JSON object.
        line: &'a str,
    },
    /// A `LogRecord`, and the row of the table `origin`.
    Record { body: &'a [u8], origin: i64 },
}

impl LineRow<'_> {
    pub(crate) fn time_unix_nano(&self) -> u64 {
        self.key.time_ns.max(0).cast_unsigned()
    }
}

/// What the bar of a span shows of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineMark {
    pub(crate) key: LineKey,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) severity: Severity,
}

impl Snapshot<'_> {
    /// Reads the first line, or the first after this key. Returns `None` if there is none.
    pub(crate) fn line<T>(
        &self,
        trace: TraceSeq,
        after: Option<LineKey>,
        read: impl FnOnce(LineRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let (time, n) = after.map_or((i64::MIN, i64::MIN), |key| (key.time_ns, key.n));
        let sql = format!(
            "SELECT {LINE} FROM line WHERE trace = ? AND (time_ns, n) > (?, ?) ORDER BY time_ns, n LIMIT 1"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query([trace.0, time, n])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        read(line_row(row)?).map(Some)
    }

    /// Reads a line, or returns `None` if it is not stored.
    pub(crate) fn line_at<T>(
        &self,
        trace: TraceSeq,
        key: LineKey,
        read: impl FnOnce(LineRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let found = self.line(trace, Some(key.before()), |row| {
            if row.key == key { read(row).map(Some) } else { Ok(None) }
        })?;
        Ok(found.flatten())
    }

    /// Visits the earliest lines of a trace with their texts.
    pub(crate) fn each_line_row(
        &self,
        trace: TraceSeq,
        limit: usize,
        mut visit: impl FnMut(LineRow<'_>),
    ) -> rusqlite::Result<()> {
        let sql = format!("SELECT {LINE} FROM line WHERE trace = ? ORDER BY time_ns, n LIMIT ?");
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query([trace.0, sql_limit(limit)])?;
        while let Some(row) = rows.next()? {
            visit(line_row(row)?);
        }
        Ok(())
    }

    /// Returns the keys of the lines after this one, with the rows of the table `origin` of log records.
    pub(crate) fn lines_after(
        &self,
        trace: TraceSeq,
        after: Option<LineKey>,
        limit: usize,
    ) -> rusqlite::Result<Vec<(LineKey, Option<i64>)>> {
        let (time, n) = after.map_or((i64::MIN, i64::MIN), |key| (key.time_ns, key.n));
        self.0
            .prepare_cached(
                "SELECT time_ns, n, origin FROM line WHERE trace = ? AND (time_ns, n) > (?, ?)
                 ORDER BY time_ns, n LIMIT ?",
            )?
            .query_map([trace.0, time, n, sql_limit(limit)], |row| {
                Ok((LineKey { time_ns: row.get(0)?, n: row.get(1)? }, row.get(2)?))
            })?
            .collect()
    }

    /// Visits the earliest lines of a trace, without their texts.
    pub(crate) fn each_line(
        &self,
        trace: TraceSeq,
        limit: usize,
        mut visit: impl FnMut(LineMark),
    ) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached(
            "SELECT time_ns, n, span_id, severity, level FROM line WHERE trace = ? ORDER BY time_ns, n LIMIT ?",
        )?;
        let mut rows = statement.query([trace.0, sql_limit(limit)])?;
        while let Some(row) = rows.next()? {
            // The name is that of a file, which can have another spelling.
            let name = row.get_ref(3)?.as_str()?;
            let level = usize::try_from(row.get::<_, i64>(4)?).ok();
            let severity = match level.and_then(|level| Severity::ALL.get(level)).copied().unwrap_or_default()
            {
                Severity::Default if name == "WARN" => Severity::Warning,
                severity => severity,
            };
            let key = LineKey { time_ns: row.get(0)?, n: row.get(1)? };
            visit(LineMark { key, span_id: span_id(row.get(2)?), severity });
        }
        Ok(())
    }
}

/// The columns that [`line_row`] reads.
const LINE: &str = "time_ns, n, span_id, origin, severity, message, line";

fn line_row<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<LineRow<'a>> {
    let content = match row.get::<_, Option<i64>>(3)? {
        Some(origin) => LineContent::Record { body: row.get_ref(6)?.as_bytes()?, origin },
        None => LineContent::File {
            severity: row.get_ref(4)?.as_str()?,
            message: row.get_ref(5)?.as_str()?,
            line: row.get_ref(6)?.as_str()?,
        },
    };
    let key = LineKey { time_ns: row.get(0)?, n: row.get(1)? };
    Ok(LineRow { key, span_id: span_id(row.get(2)?), content })
}

fn span_id(id: Option<i64>) -> Option<SpanId> {
    id.and_then(|id| SpanId::new(id.cast_unsigned()))
}

//! The log lines of a trace.

use std::fmt;
use std::str::FromStr;

use logtracer_core::SpanId;

use super::{Snapshot, TraceSeq, sql_limit};
use crate::otlp::in_place::RecordRef;
use crate::store::log_records::severity;

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
    pub(crate) span_id: SpanId,
    pub(crate) time_unix_nano: u64,
    /// The name of the severity, as far as a mark depends on it.
    pub(crate) severity: &'static str,
}

/// The severities that a mark shows.
const MARKED: [&str; 6] = ["ERROR", "CRITICAL", "ALERT", "EMERGENCY", "WARNING", "WARN"];

impl Snapshot<'_> {
    /// Reads the first line, or the first after this key. Returns `None` if there is none.
    pub(crate) fn line<T>(
        &self,
        trace: TraceSeq,
        after: Option<LineKey>,
        read: impl FnOnce(LineRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let (time, n) = after.map_or((i64::MIN, i64::MIN), |key| (key.time_ns, key.n));
        let mut statement = self.0.prepare_cached(
            "SELECT time_ns, n, span_id, origin, severity, message, line FROM line
             WHERE trace = ? AND (time_ns, n) > (?, ?) ORDER BY time_ns, n LIMIT 1",
        )?;
        let mut rows = statement.query([trace.0, time, n])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let content = match row.get::<_, Option<i64>>(3)? {
            Some(origin) => LineContent::Record { body: row.get_ref(6)?.as_bytes()?, origin },
            None => LineContent::File {
                severity: row.get_ref(4)?.as_str()?,
                message: row.get_ref(5)?.as_str()?,
                line: row.get_ref(6)?.as_str()?,
            },
        };
        let key = LineKey { time_ns: row.get(0)?, n: row.get(1)? };
        read(LineRow { key, span_id: span_id(row.get(2)?), content }).map(Some)
    }

    /// Returns the marks of the earliest lines after this key.
    pub(crate) fn line_marks(
        &self,
        trace: TraceSeq,
        after: Option<LineKey>,
        limit: usize,
    ) -> rusqlite::Result<Vec<LineMark>> {
        /// A mark of a larger record has no colour, because SQLite would read all of it.
        const SMALL: &str = "octet_length(line) < 16384";
        let (time, n) = after.map_or((i64::MIN, i64::MIN), |key| (key.time_ns, key.n));
        let sql = format!(
            "SELECT time_ns, span_id, severity, CASE WHEN origin IS NOT NULL AND {SMALL} THEN line END FROM line
             WHERE trace = ? AND (time_ns, n) > (?, ?) ORDER BY time_ns, n LIMIT ?"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query([trace.0, time, n, sql_limit(limit)])?;
        let mut marks = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(span_id) = span_id(row.get(1)?) else { continue };
            let severity = match row.get_ref(3)?.as_bytes_or_null()? {
                Some(record) => severity(&RecordRef::new(record)).0.as_str(),
                None => row.get_ref(2)?.as_str()?,
            };
            let severity = MARKED.into_iter().find(|name| *name == severity).unwrap_or_default();
            let time_unix_nano = row.get::<_, i64>(0)?.max(0).cast_unsigned();
            marks.push(LineMark { span_id, time_unix_nano, severity });
        }
        Ok(marks)
    }
}

fn span_id(id: Option<i64>) -> Option<SpanId> {
    id.and_then(|id| SpanId::new(id.cast_unsigned()))
}

//! The candidates of a search in the order of a list, from an index.

use std::ops::ControlFlow;

use rusqlite::params;

use super::filter::{Sort, TraceFilter};
use super::{Snapshot, sql_limit};

/// The place of a trace in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) order_ns: i64,
    pub(super) duration_ns: i64,
    pub(super) seq: i64,
}

/// Up to this many traces are sorted in memory, if an index finds few that another index would have to search for.
const MAX_SORTED: usize = 20_000;

impl Candidate {
    const fn all(number: i64) -> Self {
        Self { order_ns: number, duration_ns: number, seq: number }
    }
}

impl Snapshot<'_> {
    /// Returns the candidates in their order, if one of the conditions leaves few of them.
    pub(super) fn few_candidates(
        &self,
        filter: &TraceFilter,
        sort: Sort,
        after: Option<Candidate>,
    ) -> rusqlite::Result<Option<Vec<Candidate>>> {
        let (index, range) = match sort {
            Sort::Longest if filter.from.is_some() || filter.to.is_some() => ("order_ns", filter.times()),
            Sort::Newest | Sort::Oldest
                if filter.min_duration_nano.is_some() || filter.max_duration_nano.is_some() =>
            {
                ("duration_ns", filter.durations())
            }
            _ => return Ok(None),
        };
        let sql = format!(
            "SELECT order_ns, duration_ns, seq FROM trace
             WHERE untraced = 0 AND {index} BETWEEN ? AND ? ORDER BY {index} LIMIT ?"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params![range.start(), range.end(), sql_limit(MAX_SORTED + 1)])?;
        let mut found = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            let candidate = candidate(row)?;
            if filter.has_in_range(candidate.order_ns, candidate.duration_ns) {
                found.push(candidate);
            }
        }
        if count > MAX_SORTED {
            return Ok(None);
        }
        let key = |candidate: &Candidate| match sort {
            Sort::Newest | Sort::Oldest => (candidate.order_ns, candidate.duration_ns, candidate.seq),
            Sort::Longest => (candidate.duration_ns, candidate.order_ns, candidate.seq),
        };
        found.sort_unstable_by_key(key);
        if sort != Sort::Oldest {
            found.reverse();
        }
        if let Some(after) = after {
            let is_after = |candidate: &Candidate| match sort {
                Sort::Oldest => key(candidate) > key(&after),
                Sort::Newest | Sort::Longest => key(candidate) < key(&after),
            };
            found.retain(is_after);
        }
        Ok(Some(found))
    }

    /// Visits the candidates in their order.
    pub(super) fn walk<B>(
        &self,
        filter: &TraceFilter,
        sort: Sort,
        after: Option<Candidate>,
        mut visit: impl FnMut(Candidate) -> ControlFlow<B>,
    ) -> rusqlite::Result<ControlFlow<B>> {
        let (least, greatest) = (Candidate::all(i64::MIN), Candidate::all(i64::MAX));
        let (from, to) = filter.times().into_inner();
        let (shortest, longest) = filter.durations().into_inner();
        // One bound for each direction: with two, SQLite would seek to the wrong one.
        let by_time = |candidate: &Candidate| (candidate.order_ns, candidate.duration_ns, candidate.seq);
        let by_duration = |candidate: &Candidate| (candidate.duration_ns, candidate.order_ns, candidate.seq);
        let (sql, start, end) = match sort {
            Sort::Newest => {
                let newest = Candidate { order_ns: to, ..greatest };
                let start = after.filter(|after| by_time(after) < by_time(&newest)).unwrap_or(newest);
                (
                    "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_order
                     WHERE untraced = 0 AND (order_ns, duration_ns, seq) < (?, ?, ?) AND order_ns >= ?
                     ORDER BY order_ns DESC, duration_ns DESC, seq DESC",
                    by_time(&start),
                    from,
                )
            }
            Sort::Oldest => {
                let oldest = Candidate { order_ns: from, ..least };
                let start = after.filter(|after| by_time(after) > by_time(&oldest)).unwrap_or(oldest);
                (
                    "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_order
                     WHERE untraced = 0 AND (order_ns, duration_ns, seq) > (?, ?, ?) AND order_ns <= ?
                     ORDER BY order_ns, duration_ns, seq",
                    by_time(&start),
                    to,
                )
            }
            Sort::Longest => {
                let first = Candidate { duration_ns: longest, ..greatest };
                let start = after.filter(|after| by_duration(after) < by_duration(&first)).unwrap_or(first);
                (
                    "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_duration
                     WHERE untraced = 0 AND (duration_ns, order_ns, seq) < (?, ?, ?) AND duration_ns >= ?
                     ORDER BY duration_ns DESC, order_ns DESC, seq DESC",
                    by_duration(&start),
                    shortest,
                )
            }
        };
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([start.0, start.1, start.2, end])?;
        while let Some(row) = rows.next()? {
            if let ControlFlow::Break(end) = visit(candidate(row)?) {
                return Ok(ControlFlow::Break(end));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

pub(super) fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate { order_ns: row.get(0)?, duration_ns: row.get(1)?, seq: row.get(2)? })
}

//! The traces that pass a filter, a page at a time.
//!
//! ```text
//!  index by time or duration ──► time and duration ──► block: may it have that? ──► spans and lines of the trace
//! ```
//!
//! A search ends with a full page, or when its time is over. The next page goes on there.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::time::Instant;

use rusqlite::{OptionalExtension, params};

use super::filter::{Evaluation, Sort, TraceFilter};
use super::{ListKey, Snapshot, TraceSummary, sql_limit};
use crate::store::index::BlockReader;

/// The place of a trace in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    order_ns: i64,
    duration_ns: i64,
    seq: i64,
}

impl Candidate {
    const fn all(number: i64) -> Self {
        Self { order_ns: number, duration_ns: number, seq: number }
    }
}

/// The last trace that a search has read. As text, `SORT.TIME.DURATION.NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceCursor {
    sort: Sort,
    last: Candidate,
}

impl TraceCursor {
    /// Returns the cursor after a trace of a page.
    pub(crate) fn after(sort: Sort, key: ListKey) -> Self {
        let duration_ns = i64::try_from(key.duration_nano).unwrap_or(i64::MAX);
        Self { sort, last: Candidate { order_ns: key.order_ns, duration_ns, seq: key.seq } }
    }

    pub(crate) const fn sort(&self) -> Sort {
        self.sort
    }

    /// Returns the time up to which the search has come, in nanoseconds since 1970.
    pub(crate) fn time_unix_nano(&self) -> u64 {
        self.last.order_ns.max(0).cast_unsigned()
    }
}

impl fmt::Display for TraceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = match self.sort {
            Sort::Newest => 'n',
            Sort::Oldest => 'o',
            Sort::Longest => 'l',
        };
        let Candidate { order_ns, duration_ns, seq } = self.last;
        write!(f, "{sort}.{order_ns}.{duration_ns}.{seq}")
    }
}

impl FromStr for TraceCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sort, rest) = text.split_once('.').ok_or(())?;
        let sort = match sort {
            "n" => Sort::Newest,
            "o" => Sort::Oldest,
            "l" => Sort::Longest,
            _ => return Err(()),
        };
        let mut numbers = rest.split('.').map(|number| number.parse().map_err(drop));
        let mut next = || numbers.next().unwrap_or(Err(()));
        let last = Candidate { order_ns: next()?, duration_ns: next()?, seq: next()? };
        if numbers.next().is_some() { Err(()) } else { Ok(Self { sort, last }) }
    }
}

/// A page of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundTraces {
    pub(crate) keys: Vec<ListKey>,
    /// Where the next page begins. `None` after the last trace of the store.
    pub(crate) next: Option<TraceCursor>,
    /// The time was over before the page was full.
    pub(crate) is_interrupted: bool,
}

/// Up to this many traces are sorted in memory, if an index finds few that another index would have to search for.
const MAX_SORTED: usize = 20_000;

/// The clock is read after this many candidates.
const CLOCK_INTERVAL: usize = 32;

impl Snapshot<'_> {
    /// Returns the first traces of a list, or those after a cursor.
    pub(crate) fn find_traces(
        &self,
        filter: &TraceFilter,
        sort: Sort,
        after: Option<TraceCursor>,
        limit: usize,
        deadline: Instant,
    ) -> rusqlite::Result<FoundTraces> {
        let mut search = Search {
            snapshot: self,
            filter,
            evaluation: Evaluation::new(filter),
            blocks: BlockReader::new(filter.terms(), filter.texts()),
            deadline,
            limit,
            read: 0,
            last: None,
            keys: Vec::new(),
            is_interrupted: false,
        };
        let after = after.map(|cursor| cursor.last);
        let end = match self.few_candidates(filter, sort, after)? {
            Some(few) => few.into_iter().try_for_each(|candidate| search.visit(candidate)),
            None => self.walk(filter, sort, after, |candidate| search.visit(candidate))?,
        };
        let next = match end {
            ControlFlow::Break(Err(error)) => return Err(error),
            ControlFlow::Break(Ok(())) => search.last.map(|last| TraceCursor { sort, last }),
            ControlFlow::Continue(()) => None,
        };
        Ok(FoundTraces { keys: search.keys, next, is_interrupted: search.is_interrupted })
    }

    /// Returns which of the traces with these numbers pass a filter, and how many were not read before the deadline.
    pub(crate) fn passing_traces(
        &self,
        filter: &TraceFilter,
        traces: &[i64],
        deadline: Instant,
    ) -> rusqlite::Result<(Vec<TraceSummary>, usize)> {
        let mut evaluation = Evaluation::new(filter);
        let mut blocks = BlockReader::new(filter.terms(), filter.texts());
        let mut passing = Vec::new();
        let mut place = self
            .0
            .prepare_cached("SELECT order_ns, duration_ns, seq FROM trace WHERE untraced = 0 AND seq = ?")?;
        for (index, seq) in traces.iter().enumerate() {
            if Instant::now() >= deadline {
                return Ok((passing, traces.len() - index));
            }
            let Some(Candidate { order_ns, duration_ns, seq }) =
                place.query_row([seq], candidate).optional()?
            else {
                continue;
            };
            if filter.has_in_range(order_ns, duration_ns)
                && blocks.may_contain(&self.0, seq)?
                && evaluation.passes(self, seq)?
            {
                let duration_nano = duration_ns.max(0).cast_unsigned();
                passing.extend(self.listed(ListKey { seq, order_ns, duration_nano })?);
            }
        }
        Ok((passing, 0))
    }

    /// Returns the candidates in their order, if one of the conditions leaves few of them.
    fn few_candidates(
        &self,
        filter: &TraceFilter,
        sort: Sort,
        after: Option<Candidate>,
    ) -> rusqlite::Result<Option<Vec<Candidate>>> {
        let (index, first, last) = match sort {
            Sort::Longest if filter.from.is_some() || filter.to.is_some() => {
                ("order_ns", filter.from.unwrap_or(i64::MIN), filter.to.unwrap_or(i64::MAX))
            }
            Sort::Newest | Sort::Oldest
                if filter.min_duration_nano.is_some() || filter.max_duration_nano.is_some() =>
            {
                let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
                (
                    "duration_ns",
                    filter.min_duration_nano.map_or(i64::MIN, nanos),
                    filter.max_duration_nano.map_or(i64::MAX, nanos),
                )
            }
            _ => return Ok(None),
        };
        let sql = format!(
            "SELECT order_ns, duration_ns, seq FROM trace
             WHERE untraced = 0 AND {index} BETWEEN ? AND ? ORDER BY {index} LIMIT ?"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params![first, last, sql_limit(MAX_SORTED + 1)])?;
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
    fn walk<B>(
        &self,
        filter: &TraceFilter,
        sort: Sort,
        after: Option<Candidate>,
        mut visit: impl FnMut(Candidate) -> ControlFlow<B>,
    ) -> rusqlite::Result<ControlFlow<B>> {
        let (least, greatest) = (Candidate::all(i64::MIN), Candidate::all(i64::MAX));
        let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
        let (from, to) = (filter.from.unwrap_or(i64::MIN), filter.to.unwrap_or(i64::MAX));
        let shortest = filter.min_duration_nano.map_or(i64::MIN, nanos);
        let longest = filter.max_duration_nano.map_or(i64::MAX, nanos);
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

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate { order_ns: row.get(0)?, duration_ns: row.get(1)?, seq: row.get(2)? })
}

struct Search<'a> {
    snapshot: &'a Snapshot<'a>,
    filter: &'a TraceFilter,
    evaluation: Evaluation<'a>,
    blocks: BlockReader,
    deadline: Instant,
    limit: usize,
    /// The number of candidates.
    read: usize,
    /// The last candidate.
    last: Option<Candidate>,
    keys: Vec<ListKey>,
    is_interrupted: bool,
}

impl Search<'_> {
    /// Breaks before a candidate for which there is no place or no time.
    fn visit(&mut self, candidate: Candidate) -> ControlFlow<rusqlite::Result<()>> {
        if self.keys.len() >= self.limit {
            return ControlFlow::Break(Ok(()));
        }
        // At least one is read, so that each page makes progress.
        if self.read > 0 && self.read.is_multiple_of(CLOCK_INTERVAL) && Instant::now() >= self.deadline {
            self.is_interrupted = true;
            return ControlFlow::Break(Ok(()));
        }
        self.read += 1;
        self.last = Some(candidate);
        match self.passes(candidate) {
            Ok(true) => {
                let Candidate { order_ns, duration_ns, seq } = candidate;
                let duration_nano = duration_ns.max(0).cast_unsigned();
                self.keys.push(ListKey { seq, order_ns, duration_nano });
                ControlFlow::Continue(())
            }
            Ok(false) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err(error)),
        }
    }

    fn passes(&mut self, candidate: Candidate) -> rusqlite::Result<bool> {
        let Candidate { order_ns, duration_ns, seq } = candidate;
        if !self.filter.has_in_range(order_ns, duration_ns)
            || !self.blocks.may_contain(&self.snapshot.0, seq)?
        {
            return Ok(false);
        }
        if self.evaluation.is_trivial() {
            return Ok(true);
        }
        // A trace is read to its end, so the clock is read after each.
        self.read = self.read.next_multiple_of(CLOCK_INTERVAL);
        self.evaluation.passes(self.snapshot, seq)
    }
}

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

use rusqlite::OptionalExtension;

use super::candidates::{Candidate, candidate};
use super::filter::{Evaluation, Sort, TraceFilter};
use super::{ListKey, Snapshot, TraceSummary};
use crate::store::index::BlockReader;

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

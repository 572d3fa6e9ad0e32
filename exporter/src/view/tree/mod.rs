//! The tree of a trace: each span is below its parent, and below a span are its children and its log lines by time.
//!
//! ```text
//!  load (a scan of the store) ──► Tree ─┬─► rows           the rows of a page, of a subtree, of some services
//!                                       ├─► skew           how far the clock of a service is ahead or behind
//!                                       ├─► critical_path  the spans that decide when the trace ends
//!                                       └─► self_time      the time of a span without that of its children
//! ```
//!
//! Invariant: a tree has ids, times and numbers, and no text: 48 bytes for a span, 32 for a line, and 16 for the order of
//! each, of at most [`MAX_SPANS`] spans and [`MAX_LINES`] lines. It lives while a page is opened, on one of the two
//! threads that render; the page keeps its window of rows.

mod arrange;
mod critical_path;
mod links;
mod load;
mod plausible;
mod rows;
mod search;
mod self_time;
mod skew;
#[cfg(test)]
mod tests;

use logtracer_core::SpanId;
use logtracer_core::line::Severity;

use crate::store::LineKey;
pub(super) use critical_path::Segment;
pub(super) use load::{Loaded, load};
pub(super) use rows::{Filter, Placed};
pub(super) use search::Search;

/// The tree of a longer trace has its earliest spans.
pub(super) const MAX_SPANS: usize = 200_000;

/// The tree of a trace with more lines has the earliest ones.
pub(super) const MAX_LINES: usize = 200_000;

/// No span.
const NONE: u32 = u32::MAX;

/// A span without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: SpanId,
    /// The parent that the span names, or the server's half of a shared id.
    pub(super) parent_id: Option<SpanId>,
    /// In nanoseconds since 1970.
    pub(super) start: i64,
    pub(super) end: i64,
    /// The index of the parent.
    parent: u32,
    /// The index of the service.
    pub(super) service: u16,
    pub(super) is_failed: bool,
    pub(super) role: Role,
    /// The times are those that a clock of today can show.
    pub(super) is_plausible: bool,
    pub(super) has_wrong_start: bool,
    /// The parents of the span form a circle, and it is drawn as the root of them.
    pub(super) is_in_circle: bool,
    /// The span has the text that is searched for.
    pub(super) is_match: bool,
}

impl Node {
    pub(super) const fn new(
        id: SpanId,
        parent_id: Option<SpanId>,
        start: i64,
        end: i64,
        service: u16,
    ) -> Self {
        Self {
            id,
            parent_id,
            start,
            end: if end < start { start } else { end },
            parent: NONE,
            service,
            is_failed: false,
            role: Role::Other,
            is_plausible: true,
            has_wrong_start: false,
            is_in_circle: false,
            is_match: false,
        }
    }

    pub(super) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start).max(0).cast_unsigned()
    }

    /// Returns the parent if it has no row above: it is not stored, or is part of a circle.
    pub(super) fn missing_parent(&self) -> Option<SpanId> {
        self.parent_id.filter(|_| self.parent == NONE)
    }
}

/// The kind of a span, as far as the tree depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Producer,
    Consumer,
    Other,
}

impl Role {
    /// Returns whether a span with this role can be called from outside.
    pub(super) fn is_entry(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

/// A log line without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineNode {
    pub(super) key: LineKey,
    /// The time, aligned if the spans are.
    pub(super) time: i64,
    /// The index of the span.
    span: u32,
    pub(super) level: Level,
    pub(super) is_match: bool,
}

impl LineNode {
    pub(super) const fn new(key: LineKey, level: Level) -> Self {
        Self { key, time: key.time_ns(), span: NONE, level, is_match: false }
    }
}

/// The severity of a line, as far as its mark depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Plain,
    Warning,
    Error,
}

impl Level {
    pub(super) fn of(severity: Severity) -> Self {
        match severity {
            Severity::Error | Severity::Critical | Severity::Alert | Severity::Emergency => Self::Error,
            Severity::Warning => Self::Warning,
            _ => Self::Plain,
        }
    }
}

/// A span or a line, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Span(usize),
    Line(usize),
}

/// An [`Entry`] in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Packed(u32);

impl Packed {
    const LINE: u32 = 1 << 31;

    fn unpack(self) -> Entry {
        let index = (self.0 & !Self::LINE) as usize;
        if self.0 & Self::LINE == 0 { Entry::Span(index) } else { Entry::Line(index) }
    }
}

/// Spans and lines, and what is below what.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the order of the signed ids.
    pub(super) spans: Vec<Node>,
    /// By time.
    pub(super) lines: Vec<LineNode>,
    /// Where the entries below a span begin in `below`. The last list is that of the roots.
    begins: Vec<u32>,
    /// What is below the spans, by time.
    below: Vec<Packed>,
}

impl Tree {
    /// Builds the tree of spans in the order of their signed ids, and of lines by time with the ids of their spans.
    pub(super) fn new(spans: Vec<Node>, lines: Vec<(LineNode, Option<SpanId>)>) -> Self {
        let mut tree = Self { spans, ..Self::default() };
        tree.find_parents();
        tree.break_circles();
        tree.lines = Vec::with_capacity(lines.len());
        for (line, span) in lines {
            let span = span.and_then(|id| tree.index(id));
            tree.lines.push(LineNode { span: span.map_or(NONE, packed), ..line });
        }
        tree.arrange();
        tree
    }

    /// Returns the index of a span.
    pub(super) fn index(&self, id: SpanId) -> Option<usize> {
        let signed = id.get().cast_signed();
        self.spans.binary_search_by_key(&signed, |span| span.id.get().cast_signed()).ok()
    }

    pub(super) fn parent(&self, span: usize) -> Option<usize> {
        self.spans.get(span).filter(|span| span.parent != NONE).map(|span| span.parent as usize)
    }

    pub(super) fn span_of_line(&self, line: usize) -> Option<usize> {
        self.lines.get(line).filter(|line| line.span != NONE).map(|line| line.span as usize)
    }

    /// Returns what is below a span, or what is below none.
    pub(super) fn below(&self, span: Option<usize>) -> impl DoubleEndedIterator<Item = Entry> {
        let list = span.unwrap_or(self.spans.len());
        let begin = |list: usize| self.begins.get(list).map_or(0, |begin| *begin as usize);
        self.below.get(begin(list)..begin(list + 1)).unwrap_or_default().iter().map(|entry| entry.unpack())
    }

    /// Returns the children of a span by start time, or the roots.
    pub(super) fn children(&self, span: Option<usize>) -> impl DoubleEndedIterator<Item = usize> {
        self.below(span).filter_map(|entry| match entry {
            Entry::Span(index) => Some(index),
            Entry::Line(_) => None,
        })
    }

    /// Moves the times of services by these offsets, and those of the lines of their spans. `now` is in nanoseconds since
    /// 1970.
    pub(super) fn shift(&mut self, offsets: &[i64], now: u64) {
        let offset = |span: &Node| offsets.get(usize::from(span.service)).copied().unwrap_or(0);
        for line in &mut self.lines {
            let span = self.spans.get(line.span as usize).filter(|_| line.span != NONE);
            line.time = line.time.saturating_add(span.map_or(0, offset));
        }
        for span in &mut self.spans {
            let by = offset(span);
            span.start = span.start.saturating_add(by);
            span.end = span.end.saturating_add(by);
            *span = span.checked(now);
        }
        self.arrange();
    }
}

/// Returns an index in four bytes. A tree has fewer spans and lines than four bytes can count.
fn packed(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

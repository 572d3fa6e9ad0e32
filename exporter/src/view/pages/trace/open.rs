//! Opens a page: reads the tree, finds the rows that the page shows, and drops the tree.

use std::collections::HashSet;
use std::sync::Arc;

use logtracer_core::{SpanId, TraceId};

use super::axis::Axis;
use super::found::{error_lines, failed_count, is_error, is_match, target};
use super::hits::Hits;
use super::marks;
use super::row::{Above, Fold, LineItem, Row, SpanRow, Window};
use super::shown::{Shown, expand_to_open, line_index};
use super::state::{State, Time};
use crate::store::{ReadResult, Snapshot, TraceSeq, TraceSummary};
use crate::view::tree::{self, Entry, Loaded, Node, Placed, Search, Segment, Tree};

/// The number of rows of one page, and of lines beside the spans. There are links to the next ones.
pub(super) const WINDOW: usize = 500;

/// The parts of the critical path in one span that are drawn.
const MAX_SEGMENTS: usize = 100;

/// What a page shows of a trace.
pub(super) struct Opened {
    pub(super) seq: TraceSeq,
    pub(super) summary: TraceSummary,
    pub(super) axis: Axis,
    /// The time from the start of the earliest span of the trace to the end of the last one.
    pub(super) extent: u64,
    /// When the trace begins, in the times of the spans themselves.
    pub(super) trace_start: u64,
    pub(super) rows: Window<Row>,
    /// The lines beside the spans.
    pub(super) lines: Window<LineItem>,
    /// The names of services with a number.
    pub(super) services: Vec<Arc<str>>,
    /// What is added to the times of each service to align it.
    pub(super) offsets: Vec<i64>,
    pub(super) root: Option<Node>,
    pub(super) subtree: Option<Node>,
    /// The failed spans and the lines of errors of the whole trace.
    pub(super) error_count: u64,
    /// The failed spans of the whole trace.
    pub(super) failed_count: u64,
    pub(super) errors: Hits,
    pub(super) matches: Hits,
    /// The spans of the list with a time that is not plausible, and whether there are others.
    pub(super) implausible: u64,
    pub(super) has_plausible: bool,
}

/// Returns `None` if nothing of the trace is stored. What is collapsed above the open row is expanded in the state.
pub(super) fn open(
    snapshot: &Snapshot<'_>,
    trace_id: TraceId,
    state: &mut State,
    now: u64,
) -> ReadResult<Option<Opened>> {
    let Some((seq, summary)) = snapshot.trace(trace_id)? else { return Ok(None) };
    let search = Search::new(&state.find);
    let Loaded { mut tree, services } = tree::load(snapshot, seq, search.as_ref(), now)?;
    let offsets = tree.clock_offsets(services.len());
    let trace_start = tree.start();
    if state.time == Time::Aligned {
        tree.shift(&offsets, now);
    }
    expand_to_open(&tree, state);
    let state = &*state;
    let root = main_root(&tree);
    let subtree = state.subtree.and_then(|id| tree.index(id));
    let path = subtree.or(root).map(|root| tree.critical_path(root)).unwrap_or_default();
    let shown = Shown::new(&tree, state, &services, &path);
    let axis = Axis::of(&tree, shown.all());

    let open = state.span.and_then(|id| tree.index(id)).map(Entry::Span);
    let open = open.or_else(|| state.line.and_then(|key| line_index(&tree, key)).map(Entry::Line));
    let from = state.from.and_then(|id| tree.index(id)).map(Entry::Span);
    let row =
        |entry: Option<Entry>| entry.and_then(|entry| shown.rows.iter().position(|row| row.entry == entry));
    let first = first_row(shown.rows.len(), state.row, row(open).or_else(|| row(from)));
    let end = shown.rows.len().min(first + WINDOW);
    let current = open.and_then(|open| shown.entries().position(|entry| entry == open));
    let page = shown.place(first)..shown.place(end);
    let lines = lines_beside(&tree, state, &shown.lines);
    let (begin, end_of_lines) = (shown.all().len(), shown.all().len() + lines.end());
    let hits = |is_hit: &dyn Fn(Entry) -> bool| {
        let target = |entry| target(&tree, entry);
        Hits::find(shown.entries(), is_hit, target, current, page.clone(), begin..end_of_lines)
    };
    let (errors, matches) = (hits(&|entry| is_error(&tree, entry)), hits(&|entry| is_match(&tree, entry)));
    let (implausible, has_plausible) = plausibility(&tree, shown.all());
    let above_open = above_open(&tree, open);
    let page = Page { tree: &tree, shown: &shown, state, path: &path, axis: &axis, above_open };
    let rows = page.rows(snapshot, seq, first..end)?;
    Ok(Some(Opened {
        lines,
        root: root.and_then(|root| tree.spans.get(root).copied()),
        subtree: subtree.and_then(|subtree| tree.spans.get(subtree).copied()),
        extent: Axis::of_all(&tree).duration(),
        error_count: failed_count(&tree, &summary) + error_lines(&tree),
        failed_count: failed_count(&tree, &summary),
        rows: Window { items: rows, first, total: shown.rows.len() },
        implausible,
        has_plausible,
        seq,
        summary,
        axis,
        trace_start,
        services,
        offsets,
        errors,
        matches,
    }))
}

/// What the rows of a page are made from.
struct Page<'a> {
    tree: &'a Tree,
    shown: &'a Shown,
    state: &'a State,
    path: &'a [Segment],
    axis: &'a Axis,
    /// The spans above the row whose details are open.
    above_open: HashSet<usize>,
}

impl Page<'_> {
    fn rows(
        &self,
        snapshot: &Snapshot<'_>,
        seq: TraceSeq,
        window: std::ops::Range<usize>,
    ) -> ReadResult<Vec<Row>> {
        let tree = self.tree;
        let outside = outside(tree);
        let mut rows = Vec::with_capacity(window.len());
        let (begin, mut least_depth) = (window.start, u32::MAX);
        for index in window {
            let Some(row) = self.shown.rows.get(index) else { break };
            let above = if row.depth < least_depth { self.above(begin, row.depth) } else { None };
            least_depth = least_depth.min(row.depth);
            rows.push(match row.entry {
                Entry::Span(span) => {
                    let Some(node) = tree.spans.get(span).copied() else { continue };
                    let lines = tree.below(Some(span)).filter(|entry| matches!(entry, Entry::Line(_)));
                    Row::Span(Box::new(SpanRow {
                        depth: row.depth,
                        above,
                        parent: super::row::parent(snapshot, seq, &node, outside)?,
                        fold: self.fold(index, span),
                        has_open: self.above_open.contains(&span),
                        self_time: tree.self_time(span),
                        lines: lines.count() as u32,
                        marks: marks::of_span(tree, span, self.axis),
                        critical: segments(self.path, span, self.axis),
                        node,
                    }))
                }
                Entry::Line(line) => match line_item(tree, line, row.depth) {
                    Some(item) => Row::Line(LineItem { above, ..item }),
                    None => continue,
                },
            });
        }
        Ok(rows)
    }

    /// Returns the row above one with this depth, before the rows of the page.
    fn above(&self, begin: usize, depth: u32) -> Option<Above> {
        let before = self.shown.rows.get(..begin)?;
        let row = before.iter().rposition(|row| row.depth < depth)?;
        let Entry::Span(span) = before.get(row)?.entry else { return None };
        Some(Above { first: row / WINDOW * WINDOW, span: self.tree.spans.get(span)?.id })
    }

    /// Returns what is below a row. The rows below it follow it, and are deeper.
    fn fold(&self, index: usize, span: usize) -> Fold {
        let depth = |index: usize| self.shown.rows.get(index).map(|row| row.depth);
        if self.tree.spans.get(span).is_some_and(|node| self.state.collapse.contains(&node.id)) {
            let below = self.shown.below(self.tree, self.state, span);
            let first = |is_hit: fn(&Tree, Entry) -> bool| {
                let hit = below.iter().map(|row| row.entry).find(|entry| is_hit(self.tree, *entry));
                hit.and_then(|hit| target(self.tree, hit))
            };
            let (error, found) = (first(is_error), first(is_match));
            if below.is_empty() { Fold::Nothing } else { Fold::Collapsed { rows: below.len(), error, found } }
        } else if depth(index + 1) > depth(index) {
            Fold::Open
        } else {
            Fold::Nothing
        }
    }
}

/// Returns the root that names the trace: without a parent if there is one, and the earliest one with a plausible time.
fn main_root(tree: &Tree) -> Option<usize> {
    let find = |is_wanted: &dyn Fn(&Node) -> bool| {
        tree.children(None).find(|span| tree.spans.get(*span).is_some_and(is_wanted))
    };
    find(&|span| span.parent_id.is_none() && span.is_plausible)
        .or_else(|| find(&|span| span.parent_id.is_none()))
        .or_else(|| find(&|span| span.is_plausible))
        .or_else(|| find(&|_| true))
}

/// Returns the spans above a row.
fn above_open(tree: &Tree, open: Option<Entry>) -> HashSet<usize> {
    let first = match open {
        Some(Entry::Span(span)) => tree.parent(span),
        Some(Entry::Line(line)) => tree.span_of_line(line),
        None => None,
    };
    std::iter::successors(first, |span| tree.parent(*span)).collect()
}

/// Returns the parent outside of the trace: that of its earliest span, if this can be called from outside.
fn outside(tree: &Tree) -> Option<SpanId> {
    let mut roots = tree.children(None).filter_map(|span| tree.spans.get(span));
    let earliest = roots.find(|span| span.is_plausible).filter(|span| span.role.is_entry());
    earliest.filter(|span| !span.is_in_circle).and_then(Node::missing_parent)
}

/// Returns the first row of the page: the one in the address, or else that of the part with the wanted row.
fn first_row(total: usize, row: Option<usize>, wanted: Option<usize>) -> usize {
    let of_part = |row: usize| row / WINDOW * WINDOW;
    match (row, wanted) {
        (Some(row), Some(wanted)) if (row..row.saturating_add(WINDOW)).contains(&wanted) => row,
        (_, Some(wanted)) => of_part(wanted),
        (Some(row), None) => row.min(of_part(total.saturating_sub(1))),
        (None, None) => 0,
    }
}

/// Returns the number of spans with times that are not plausible, and whether there are others.
fn plausibility(tree: &Tree, rows: &[Placed]) -> (u64, bool) {
    let (mut implausible, mut has_plausible) = (0, false);
    for row in rows {
        if let Entry::Span(span) = row.entry
            && let Some(span) = tree.spans.get(span)
        {
            implausible += u64::from(!span.is_plausible);
            has_plausible |= span.is_plausible;
        }
    }
    (implausible, has_plausible)
}

/// Returns the parts of the path in a span. Parts that would touch each other are joined.
fn segments(path: &[Segment], span: usize, axis: &Axis) -> Vec<(i64, i64)> {
    let begin = path.partition_point(|segment| segment.span < span);
    let end = path.partition_point(|segment| segment.span <= span);
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for segment in path.get(begin..end).unwrap_or_default() {
        match joined.last_mut() {
            Some((_, end))
                if axis.fraction(segment.start) - axis.fraction(*end) < 1. / MAX_SEGMENTS as f64 =>
            {
                *end = segment.end;
            }
            _ => joined.push((segment.start, segment.end)),
        }
    }
    joined
}

fn line_item(tree: &Tree, line: usize, depth: u32) -> Option<LineItem> {
    let span = tree.span_of_line(line).and_then(|span| tree.spans.get(span));
    Some(LineItem {
        node: *tree.lines.get(line)?,
        depth,
        above: None,
        service: span.map(|span| span.service),
    })
}

/// Returns the part of the lines beside the spans that is on the page.
fn lines_beside(tree: &Tree, state: &State, listed: &[usize]) -> Window<LineItem> {
    let open = state.line.and_then(|key| line_index(tree, key));
    let wanted = open.and_then(|open| listed.iter().position(|line| *line == open));
    let first = first_row(listed.len(), Some(state.first_line), wanted);
    let shown = listed.get(first..listed.len().min(first + WINDOW)).unwrap_or_default();
    Window {
        items: shown.iter().filter_map(|line| line_item(tree, *line, 0)).collect(),
        first,
        total: listed.len(),
    }
}

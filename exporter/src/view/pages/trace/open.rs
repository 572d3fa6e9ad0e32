//! Opens a page: reads the tree, finds the rows that the page shows, and drops the tree.

use std::collections::HashSet;

use logtracer_core::{SpanId, TraceId};

use super::axis::{Axis, is_plausible, trace_start};
use super::hits::{Hits, Target};
use super::marks::{self, Mark};
use super::state::{Lines, Path, State, Time};
use crate::store::{LineKey, Snapshot, TraceSeq, TraceSummary};
use crate::view::tree::{self, Entry, Filter, LineNode, Loaded, Node, Placed, Search, Segment, Tree};

/// The number of rows of one page, and of lines beside the spans. There are links to the next ones.
pub(super) const WINDOW: usize = 500;

/// The parts of the critical path in one span that are drawn.
const MAX_SEGMENTS: usize = 100;

/// A span as a row.
#[derive(Debug, Clone)]
pub(super) struct SpanRow {
    pub(super) node: Node,
    pub(super) depth: u32,
    pub(super) parent: Parent,
    pub(super) fold: Fold,
    pub(super) self_time: u64,
    pub(super) lines: u32,
    pub(super) marks: Vec<Mark>,
    /// The parts of the critical path in this span.
    pub(super) critical: Vec<(i64, i64)>,
    pub(super) is_plausible: bool,
}

/// What the row of a span says of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It has none, or a row above.
    Fine,
    /// The caller is outside of what is traced here: the span is the earliest one, and is the server's.
    Outside(SpanId),
    Missing(SpanId),
    /// The parents form a circle.
    Circle,
    /// It is stored, and not among the spans of the tree.
    NotShown(SpanId),
}

/// What is below a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Nothing,
    Open,
    /// The number of hidden spans and lines.
    Collapsed(u64, u64),
}

/// A log line as a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineItem {
    pub(super) node: LineNode,
    pub(super) depth: u32,
    /// The index of the service of its span.
    pub(super) service: Option<u16>,
}

#[derive(Debug, Clone)]
pub(super) enum Row {
    Span(Box<SpanRow>),
    Line(LineItem),
    /// It is rendered, and no longer needed.
    Sent,
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Window<T> {
    pub(super) items: Vec<T>,
    /// The number of items before it.
    pub(super) first: usize,
    pub(super) total: usize,
}

impl<T> Window<T> {
    pub(super) fn end(&self) -> usize {
        self.first + self.items.len()
    }
}

/// What a page shows of a trace.
pub(super) struct Opened {
    pub(super) seq: TraceSeq,
    pub(super) summary: TraceSummary,
    pub(super) axis: Axis,
    /// When the trace begins, in the times of the spans themselves.
    pub(super) trace_start: u64,
    pub(super) rows: Window<Row>,
    /// The lines beside the spans.
    pub(super) lines: Window<LineItem>,
    /// The names of services with a number.
    pub(super) services: Vec<std::sync::Arc<str>>,
    /// What is added to the times of each service to align it.
    pub(super) offsets: Vec<i64>,
    pub(super) root: Option<Node>,
    pub(super) subtree: Option<Node>,
    pub(super) errors: Hits,
    pub(super) matches: Hits,
    pub(super) implausible: u64,
    pub(super) first_line: Option<LineKey>,
}

/// Returns `None` if nothing of the trace is stored.
pub(super) fn open(
    snapshot: &Snapshot<'_>,
    trace_id: TraceId,
    state: &State,
    now: u64,
) -> rusqlite::Result<Option<Opened>> {
    let Some((seq, summary)) = snapshot.trace(trace_id)? else { return Ok(None) };
    let search = Search::new(&state.find);
    let Loaded { mut tree, services } = tree::load(snapshot, seq, search.as_ref())?;
    let offsets = tree.clock_offsets(services.len());
    let trace_start = trace_start(&tree, now);
    if state.time == Time::Aligned {
        tree.shift(&offsets);
    }
    let root = main_root(&tree, now);
    let subtree = state.subtree.and_then(|id| tree.index(id));
    let path = subtree.or(root).map(|root| tree.critical_path(root)).unwrap_or_default();
    let placed = placed(&tree, state, &services, &path);
    let axis = Axis::of(&tree, &placed, now);

    let open = state.span.and_then(|id| tree.index(id)).map(Entry::Span);
    let open = open.or_else(|| state.line.and_then(|key| line_index(&tree, key)).map(Entry::Line));
    let from = state.from.and_then(|id| tree.index(id)).map(Entry::Span);
    // Lines after the spans are rows, too, as far as a reader goes from one to the next.
    let listed = listed_lines(&tree, state);
    let entries = || placed.iter().map(|row| row.entry).chain(listed.iter().map(|line| Entry::Line(*line)));
    let position = |entry: Option<Entry>| entry.and_then(|entry| entries().position(|other| other == entry));
    let current = position(open);
    let wanted = current.or_else(|| position(from)).filter(|row| *row < placed.len());
    let first = first_row(placed.len(), state.row, wanted);
    let window = placed.get(first..placed.len().min(first + WINDOW)).unwrap_or_default();
    let page = first..first + window.len();
    let hits = |is_hit: &dyn Fn(Entry) -> bool| {
        Hits::find(entries(), is_hit, |entry| target(&tree, entry), current, page.clone())
    };
    let errors = hits(&|entry| is_error(&tree, entry));
    let matches = hits(&|entry| is_match(&tree, entry));
    let earliest =
        tree.children(None).find(|span| tree.spans.get(*span).is_some_and(|span| is_plausible(span, now)));
    let mut rows = Vec::with_capacity(window.len());
    for row in window {
        rows.push(match row.entry {
            Entry::Span(span) => {
                let Some(node) = tree.spans.get(span).copied() else { continue };
                Row::Span(Box::new(SpanRow {
                    depth: row.depth,
                    parent: parent(snapshot, seq, &node, earliest == Some(span))?,
                    fold: fold(&tree, state, span),
                    self_time: tree.self_time(span),
                    lines: tree.below(Some(span)).filter(|entry| matches!(entry, Entry::Line(_))).count()
                        as u32,
                    marks: marks::of_span(&tree, span, &axis),
                    critical: segments(&path, span, &axis),
                    is_plausible: axis.is_plausible(&node),
                    node,
                }))
            }
            Entry::Line(line) => match line_item(&tree, line, row.depth) {
                Some(item) => Row::Line(item),
                None => continue,
            },
        });
    }
    Ok(Some(Opened {
        lines: lines_beside(&tree, state, &listed),
        root: root.and_then(|root| tree.spans.get(root).copied()),
        subtree: subtree.and_then(|subtree| tree.spans.get(subtree).copied()),
        implausible: tree.spans.iter().filter(|span| !axis.is_plausible(span)).count() as u64,
        first_line: tree.lines.first().map(|line| line.key),
        rows: Window { items: rows, first, total: placed.len() },
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

/// Returns the root that names the trace: without a parent if there is one, and the earliest one with a plausible time.
fn main_root(tree: &Tree, now: u64) -> Option<usize> {
    let find = |is_wanted: &dyn Fn(&Node) -> bool| {
        tree.children(None).find(|span| tree.spans.get(*span).is_some_and(is_wanted))
    };
    find(&|span| span.parent_id.is_none() && is_plausible(span, now))
        .or_else(|| find(&|span| span.parent_id.is_none()))
        .or_else(|| find(&|span| is_plausible(span, now)))
        .or_else(|| find(&|_| true))
}

fn placed(tree: &Tree, state: &State, services: &[std::sync::Arc<str>], path: &[Segment]) -> Vec<Placed> {
    let wanted: HashSet<u16> = (0..)
        .zip(services)
        .filter(|(_, name)| state.services.iter().any(|wanted| **wanted == ***name))
        .map(|(number, _)| number)
        .collect();
    let is_shown = |span: usize| {
        let service = tree.spans.get(span).map(|span| span.service);
        (state.services.is_empty() || service.is_some_and(|service| wanted.contains(&service)))
            && (state.path == Path::All || path.binary_search_by_key(&span, |segment| segment.span).is_ok())
    };
    let is_filtered = !state.services.is_empty() || state.path == Path::Critical;
    let collapsed: Vec<usize> = state.collapse.iter().filter_map(|id| tree.index(*id)).collect();
    tree.rows(&Filter {
        subtree: state.subtree.and_then(|id| tree.index(id)),
        is_shown: is_filtered.then_some(&is_shown),
        has_lines: state.lines == Lines::Interleaved,
        collapsed: &collapsed,
    })
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

fn parent(
    snapshot: &Snapshot<'_>,
    seq: TraceSeq,
    node: &Node,
    is_earliest: bool,
) -> rusqlite::Result<Parent> {
    let Some(missing) = node.missing_parent() else { return Ok(Parent::Fine) };
    if node.is_in_circle {
        return Ok(Parent::Circle);
    }
    Ok(match snapshot.span_origin(seq, missing)? {
        Some(_) => Parent::NotShown(missing),
        None if is_earliest && node.is_entry => Parent::Outside(missing),
        None => Parent::Missing(missing),
    })
}

fn fold(tree: &Tree, state: &State, span: usize) -> Fold {
    let is_collapsed = tree.spans.get(span).is_some_and(|node| state.collapse.contains(&node.id));
    let has_rows = |entry: Entry| state.lines == Lines::Interleaved || matches!(entry, Entry::Span(_));
    if is_collapsed {
        let (spans, lines) = tree.count_below(span);
        Fold::Collapsed(spans, lines)
    } else if tree.below(Some(span)).any(has_rows) {
        Fold::Open
    } else {
        Fold::Nothing
    }
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
    Some(LineItem { node: *tree.lines.get(line)?, depth, service: span.map(|span| span.service) })
}

/// Returns the lines after the spans.
fn listed_lines(tree: &Tree, state: &State) -> Vec<usize> {
    if state.lines == Lines::Interleaved && state.of.is_none() {
        return Vec::new();
    }
    let of = state.of.map(|id| tree.index(id));
    let is_listed = |line: &usize| of.is_none_or(|of| of.is_some() && tree.span_of_line(*line) == of);
    (0..tree.lines.len()).filter(is_listed).collect()
}

/// Returns the part of the lines after the spans that is on the page.
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

fn line_index(tree: &Tree, key: LineKey) -> Option<usize> {
    tree.lines.iter().position(|line| line.key == key)
}

fn is_error(tree: &Tree, entry: Entry) -> bool {
    match entry {
        Entry::Span(span) => tree.spans.get(span).is_some_and(|span| span.is_failed),
        Entry::Line(line) => tree.lines.get(line).is_some_and(|line| line.level == tree::Level::Error),
    }
}

fn is_match(tree: &Tree, entry: Entry) -> bool {
    match entry {
        Entry::Span(span) => tree.spans.get(span).is_some_and(|span| span.is_match),
        Entry::Line(line) => tree.lines.get(line).is_some_and(|line| line.is_match),
    }
}

fn target(tree: &Tree, entry: Entry) -> Option<Target> {
    match entry {
        Entry::Span(span) => tree.spans.get(span).map(|span| Target::Span(span.id)),
        Entry::Line(line) => tree.lines.get(line).map(|line| Target::Line(line.key)),
    }
}

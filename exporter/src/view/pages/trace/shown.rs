//! What a page shows of a tree: the rows that its filters pass, with and without what is collapsed.

use std::collections::HashSet;
use std::sync::Arc;

use logtracer_core::SpanId;

use super::state::{Lines, Path, State};
use crate::store::LineKey;
use crate::view::tree::{Entry, Filter, Placed, Segment, Tree};

/// The rows of a trace.
pub(super) struct Shown {
    /// The rows of all pages.
    pub(super) rows: Vec<Placed>,
    /// The same without what is collapsed, if something is.
    with_collapsed: Option<Vec<Placed>>,
    /// The lines beside the spans.
    pub(super) lines: Vec<usize>,
    /// Whether the filters pass each span, if there are filters.
    passed: Option<Vec<bool>>,
}

impl Shown {
    /// Finds the rows. A subtree that is not stored has none.
    pub(super) fn new(tree: &Tree, state: &State, services: &[Arc<str>], path: &[Segment]) -> Self {
        let subtree = state.subtree.map(|id| tree.index(id));
        let passed = passed(tree, state, services, path);
        let mut shown = Self { rows: Vec::new(), with_collapsed: None, lines: Vec::new(), passed };
        if subtree == Some(None) {
            return shown;
        }
        let subtree = subtree.flatten();
        let collapsed: Vec<usize> = state.collapse.iter().filter_map(|id| tree.index(*id)).collect();
        shown.rows =
            shown.filtered(state, |filter| tree.rows(&Filter { subtree, collapsed: &collapsed, ..filter }));
        if !collapsed.is_empty() {
            shown.with_collapsed =
                Some(shown.filtered(state, |filter| tree.rows(&Filter { subtree, ..filter })));
        }
        if state.lines == Lines::Beside {
            shown.lines = shown.listed(tree, state);
        }
        shown
    }

    fn filtered<T>(&self, state: &State, read: impl FnOnce(Filter<'_>) -> T) -> T {
        let is_shown = |span: usize| {
            self.passed.as_ref().is_none_or(|passed| passed.get(span).copied().unwrap_or_default())
        };
        read(Filter {
            subtree: None,
            is_shown: self.passed.is_some().then_some(&is_shown),
            has_lines: state.lines == Lines::Interleaved,
            collapsed: &[],
        })
    }

    /// Returns the lines beside the spans: those of one span, or those of the spans that are shown.
    fn listed(&self, tree: &Tree, state: &State) -> Vec<usize> {
        let lines = 0..tree.lines.len();
        if let Some(of) = state.of {
            let of = tree.index(of);
            return lines.filter(|line| of.is_some() && tree.span_of_line(*line) == of).collect();
        }
        if self.passed.is_none() && state.subtree.is_none() {
            return lines.collect();
        }
        let mut is_row = vec![false; tree.spans.len()];
        for row in self.all() {
            if let Entry::Span(span) = row.entry
                && let Some(is_row) = is_row.get_mut(span)
            {
                *is_row = true;
            }
        }
        let is_listed = |line: &usize| {
            tree.span_of_line(*line).and_then(|span| is_row.get(span)).copied().unwrap_or_default()
        };
        lines.filter(is_listed).collect()
    }

    /// Returns all rows as if nothing were collapsed.
    pub(super) fn all(&self) -> &[Placed] {
        self.with_collapsed.as_deref().unwrap_or(&self.rows)
    }

    /// Returns what a reader goes through: all rows, and then the lines beside the spans.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let rows = self.all().iter().map(|row| row.entry);
        rows.chain(self.lines.iter().map(|line| Entry::Line(*line)))
    }

    /// Returns the place of a row among the entries, or the number of all rows for a row after the last one.
    pub(super) fn place(&self, row: usize) -> usize {
        let all = self.all();
        let entry = self.rows.get(row).map(|row| row.entry);
        let found = entry.and_then(|entry| all.iter().position(|other| other.entry == entry));
        found.unwrap_or(all.len())
    }

    /// Returns the rows that are hidden below a collapsed span.
    pub(super) fn below(&self, tree: &Tree, state: &State, span: usize) -> Vec<Placed> {
        self.filtered(state, |filter| tree.rows_below(span, &filter))
    }
}

/// Returns whether the filters pass each span, or `None` if they pass all.
fn passed(tree: &Tree, state: &State, services: &[Arc<str>], path: &[Segment]) -> Option<Vec<bool>> {
    if state.services.is_empty() && state.path == Path::All {
        return None;
    }
    let wanted: HashSet<u16> = (0..)
        .zip(services)
        .filter(|(_, name)| state.services.iter().any(|wanted| **wanted == ***name))
        .map(|(number, _)| number)
        .collect();
    let is_passed = |(index, service): (usize, u16)| {
        (state.services.is_empty() || wanted.contains(&service))
            && (state.path == Path::All || path.binary_search_by_key(&index, |segment| segment.span).is_ok())
    };
    Some(tree.spans.iter().map(|span| span.service).enumerate().map(is_passed).collect())
}

/// Removes the spans above the open row from what is collapsed, so that the row is shown.
pub(super) fn expand_to_open(tree: &Tree, state: &mut State) {
    if state.collapse.is_empty() {
        return;
    }
    let line = state.line.and_then(|key| line_index(tree, key));
    let mut above = match (state.span, line) {
        (Some(id), _) => tree.index(id).and_then(|span| tree.parent(span)),
        (None, Some(line)) if state.lines == Lines::Interleaved => tree.span_of_line(line),
        (None, _) => None,
    };
    while let Some(span) = above {
        let id = tree.spans.get(span).map(|span| span.id);
        state.collapse.retain(|collapsed: &SpanId| Some(*collapsed) != id);
        above = tree.parent(span);
    }
}

pub(super) fn line_index(tree: &Tree, key: LineKey) -> Option<usize> {
    tree.lines.iter().position(|line| line.key == key)
}

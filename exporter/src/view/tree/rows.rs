//! The rows of a page: the spans and lines that a filter shows, from top to bottom.

use super::{Entry, Tree};

/// What is shown of a tree.
#[derive(Default)]
pub(in crate::view) struct Filter<'a> {
    /// Only this span and what is below it.
    pub(in crate::view) subtree: Option<usize>,
    /// Returns whether a span is shown. What is below a hidden span moves up.
    pub(in crate::view) is_shown: Option<&'a dyn Fn(usize) -> bool>,
    /// Lines are rows below their spans.
    pub(in crate::view) has_lines: bool,
    /// What is below these spans is hidden. They are few.
    pub(in crate::view) collapsed: &'a [usize],
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::view) struct Placed {
    pub(in crate::view) entry: Entry,
    /// The number of spans above it that are shown.
    pub(in crate::view) depth: u32,
}

impl Tree {
    /// Returns the rows. It does not recurse, because a trace can be deeper than the stack.
    pub(in crate::view) fn rows(&self, filter: &Filter<'_>) -> Vec<Placed> {
        let mut rows = Vec::new();
        let mut stack: Vec<(Entry, u32)> = match filter.subtree {
            Some(span) => vec![(Entry::Span(span), 0)],
            None => self.below(None).rev().map(|entry| (entry, 0)).collect(),
        };
        let is_shown = |span: usize| filter.is_shown.is_none_or(|is_shown| is_shown(span));
        while let Some((entry, depth)) = stack.pop() {
            let Entry::Span(span) = entry else {
                rows.push(Placed { entry, depth });
                continue;
            };
            let is_row = is_shown(span);
            if is_row {
                rows.push(Placed { entry, depth });
            }
            if is_row && filter.collapsed.contains(&span) {
                continue;
            }
            let depth = depth + u32::from(is_row);
            let below = self.below(Some(span)).rev();
            stack.extend(below.filter(|entry| is_row || matches!(entry, Entry::Span(_))).map(|e| (e, depth)));
        }
        if !filter.has_lines {
            rows.retain(|row| matches!(row.entry, Entry::Span(_)));
        }
        // Lines without a span are those of no service.
        if filter.is_shown.is_some() {
            rows.retain(|row| match row.entry {
                Entry::Line(line) => self.span_of_line(line).is_some(),
                Entry::Span(_) => true,
            });
        }
        rows
    }

    /// Returns the rows that a filter shows below a span that is shown, if nothing is collapsed.
    pub(in crate::view) fn rows_below(&self, span: usize, filter: &Filter<'_>) -> Vec<Placed> {
        let mut rows = self.rows(&Filter { subtree: Some(span), collapsed: &[], ..*filter });
        rows.retain(|row| row.entry != Entry::Span(span));
        rows
    }
}

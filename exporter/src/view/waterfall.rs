//! The rows of a trace: each span is below its parent, and children are sorted by start time.

use std::collections::HashMap;

use logtracer_core::SpanId;

use crate::store::SpanNode;

/// One row of the waterfall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) span_id: SpanId,
    pub(super) depth: usize,
    pub(super) parent: Option<SpanId>,
}

impl Row {
    /// Returns the parent if it has no row above: it is not stored, has no row, or is part of a cycle.
    pub(super) fn missing_parent(self) -> Option<SpanId> {
        self.parent.filter(|_| self.depth == 0)
    }
}

/// Returns one row for each span, given by start time, even if the parents form a cycle.
pub(super) fn rows(spans: &[SpanNode]) -> Vec<Row> {
    let known: HashMap<SpanId, usize> =
        spans.iter().enumerate().map(|(index, span)| (span.span_id, index)).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    let mut roots = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let parent = span.parent.and_then(|id| known.get(&id)).copied();
        match parent.and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => roots.push(index),
        }
    }
    let mut drawing = Drawing { spans, children, drawn: vec![false; spans.len()], rows: Vec::new() };
    for root in roots {
        drawing.draw(root);
    }
    // The remaining spans are on cycles or below one. By start time, each that is not drawn yet becomes a root.
    for index in 0..spans.len() {
        drawing.draw(index);
    }
    drawing.rows
}

struct Drawing<'a> {
    spans: &'a [SpanNode],
    children: Vec<Vec<usize>>,
    drawn: Vec<bool>,
    rows: Vec<Row>,
}

impl Drawing<'_> {
    /// Draws a span and its descendants. It does not recurse, because a trace can be deeper than the stack.
    fn draw(&mut self, root: usize) {
        let mut stack = vec![(root, 0)];
        while let Some((index, depth)) = stack.pop() {
            let Some(drawn) = self.drawn.get_mut(index).filter(|drawn| !**drawn) else {
                continue;
            };
            *drawn = true;
            if let Some(span) = self.spans.get(index) {
                self.rows.push(Row { span_id: span.span_id, depth, parent: span.parent });
            }
            if let Some(children) = self.children.get(index) {
                stack.extend(children.iter().rev().map(|child| (*child, depth + 1)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(spans: &[(u64, u64)]) -> Vec<SpanNode> {
        let node = |(id, parent): &(u64, u64)| SpanNode {
            span_id: SpanId::new(*id).unwrap(),
            parent: SpanId::new(*parent),
        };
        spans.iter().map(node).collect()
    }

    /// Checks the rows, given as (id, depth, is parent missing), of spans, given as (id, parent) by start time.
    #[track_caller]
    fn check(spans: &[(u64, u64)], expected: &[(u64, usize, bool)]) {
        let rows = rows(&nodes(spans));
        let got: Vec<_> =
            rows.iter().map(|row| (row.span_id.get(), row.depth, row.missing_parent().is_some())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn children_are_below_their_parents() {
        check(
            &[(1, 0), (2, 1), (3, 1), (4, 2)],
            &[(1, 0, false), (2, 1, false), (4, 2, false), (3, 1, false)],
        );
    }

    #[test]
    fn a_missing_parent_is_marked() {
        check(&[(1, 0), (2, 9), (3, 2)], &[(1, 0, false), (2, 0, true), (3, 1, false)]);
    }

    #[test]
    fn cycles_are_drawn_once() {
        check(&[(1, 1), (2, 3), (3, 2)], &[(1, 0, true), (2, 0, true), (3, 1, false)]);
    }

    #[test]
    fn deep_traces_do_not_overflow() {
        let spans: Vec<(u64, u64)> = (1..=100_000).map(|id| (id, id - 1)).collect();
        assert_eq!(rows(&nodes(&spans)).last().map(|row| row.depth), Some(99_999));
    }
}

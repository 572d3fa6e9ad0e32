//! The rows of a trace: each span is below its parent, and children are sorted by start time.

use std::collections::HashMap;

use logtracer_core::SpanId;

use crate::store::{StoredSpan, Trace};

/// One row of the waterfall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) span: &'a StoredSpan,
    pub(super) depth: usize,
    /// The span has a parent, but no row above it: the parent is not stored, is beyond the limit of the page, or is
    /// part of a cycle.
    pub(super) is_parent_missing: bool,
    /// The start and the length of the bar, as fractions of the duration of the trace.
    pub(super) start: f64,
    pub(super) length: f64,
}

/// Returns one row for each span, even if the parents form a cycle.
pub(super) fn rows(trace: &Trace) -> Vec<Row<'_>> {
    let known: HashMap<SpanId, usize> =
        trace.spans.iter().enumerate().map(|(index, span)| (span.span_id, index)).collect();
    let parent = |span: &StoredSpan| span.parent_span_id.and_then(|id| known.get(&id)).copied();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); trace.spans.len()];
    let mut roots = Vec::new();
    for (index, span) in trace.spans.iter().enumerate() {
        match parent(span).and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => roots.push(index),
        }
    }
    let mut drawing = Drawing { trace, children, drawn: vec![false; trace.spans.len()], rows: Vec::new() };
    for root in roots {
        drawing.draw(root);
    }
    // The remaining spans are on cycles or below one. By start time, each that is not drawn yet becomes a root.
    for index in 0..trace.spans.len() {
        drawing.draw(index);
    }
    drawing.rows
}

struct Drawing<'a> {
    trace: &'a Trace,
    children: Vec<Vec<usize>>,
    drawn: Vec<bool>,
    rows: Vec<Row<'a>>,
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
            if let Some(span) = self.trace.spans.get(index) {
                self.rows.push(row(self.trace, span, depth));
            }
            if let Some(children) = self.children.get(index) {
                stack.extend(children.iter().rev().map(|child| (*child, depth + 1)));
            }
        }
    }
}

fn row<'a>(trace: &'a Trace, span: &'a StoredSpan, depth: usize) -> Row<'a> {
    let total = trace.summary.duration_nano.max(1) as f64;
    let offset = span.span.start_time_unix_nano.saturating_sub(trace.summary.start_unix_nano);
    let start = (offset as f64 / total).clamp(0., 1.);
    let length = (span.duration_nano() as f64 / total).clamp(0., 1. - start);
    Row { span, depth, is_parent_missing: depth == 0 && span.parent_span_id.is_some(), start, length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Emitter, TraceSummary};
    use logtracer_core::TraceId;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use std::sync::Arc;

    fn trace(spans: &[(u64, u64)]) -> Trace {
        let emitter = Arc::new(Emitter {
            service_name: "shop".to_owned(),
            resource: Default::default(),
            scope: Default::default(),
        });
        let span = |(order, (id, parent)): (usize, &(u64, u64))| StoredSpan {
            span_id: SpanId::new(*id).unwrap(),
            parent_span_id: SpanId::new(*parent),
            span: Span {
                start_time_unix_nano: 100 + order as u64,
                end_time_unix_nano: 110,
                ..Default::default()
            },
            emitter: emitter.clone(),
        };
        Trace {
            summary: TraceSummary {
                trace_id: TraceId::new(1).unwrap(),
                root_name: String::new(),
                service_names: vec![],
                span_count: 0,
                log_count: 0,
                error_count: 0,
                start_unix_nano: 100,
                duration_nano: 10,
            },
            spans: spans.iter().enumerate().map(span).collect(),
            lines: vec![],
            is_truncated: false,
        }
    }

    /// Checks the rows, given as (id, depth, is parent missing), of spans, given as (id, parent) by start time.
    #[track_caller]
    fn check(spans: &[(u64, u64)], expected: &[(u64, usize, bool)]) {
        let trace = trace(spans);
        let rows = rows(&trace);
        let got: Vec<_> =
            rows.iter().map(|row| (row.span.span_id.get(), row.depth, row.is_parent_missing)).collect();
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
        assert_eq!(rows(&trace(&spans)).last().map(|row| row.depth), Some(99_999));
    }

    #[test]
    fn bars_are_within_the_trace() {
        let trace = trace(&[(1, 0), (2, 1)]);
        let rows = rows(&trace);
        assert_eq!((rows[1].start, rows[1].length), (0.1, 0.9));
    }
}

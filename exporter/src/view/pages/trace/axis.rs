//! The axis of time: the extent of the plausible spans, so that a span of 1970 or 2100 does not squash the others.

use crate::view::format::duration;
use crate::view::tree::{Entry, Node, Placed, Tree};

/// The times at the left and the right end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Axis {
    /// Returns the axis of these rows.
    pub(super) fn of(tree: &Tree, rows: &[Placed]) -> Self {
        let spans = rows.iter().filter_map(|row| match row.entry {
            Entry::Span(span) => tree.spans.get(span),
            Entry::Line(_) => None,
        });
        Self::of_spans(tree, spans)
    }

    /// Returns the axis of the whole trace.
    pub(super) fn of_all(tree: &Tree) -> Self {
        Self::of_spans(tree, tree.spans.iter())
    }

    fn of_spans<'a>(tree: &Tree, spans: impl Iterator<Item = &'a Node> + Clone) -> Self {
        let mut axis = Self { start: i64::MAX, end: i64::MIN };
        let plausible = spans.clone().filter(|span| span.is_plausible);
        plausible.for_each(|span| axis.add(span.start, span.end));
        if axis.is_empty() {
            spans.for_each(|span| axis.add(span.start, span.end));
        }
        if axis.is_empty() {
            tree.lines.iter().for_each(|line| axis.add(line.time, line.time));
        }
        if axis.is_empty() {
            (axis.start, axis.end) = (0, 0);
        }
        axis
    }

    fn add(&mut self, start: i64, end: i64) {
        self.start = self.start.min(start);
        self.end = self.end.max(end);
    }

    const fn is_empty(&self) -> bool {
        self.start > self.end
    }

    pub(super) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start).max(0).cast_unsigned()
    }

    /// Returns a time as a fraction of the axis.
    pub(super) fn fraction(&self, time: i64) -> f64 {
        let offset = time.saturating_sub(self.start).max(0) as f64;
        (offset / self.duration().max(1) as f64).clamp(0., 1.)
    }

    /// Returns a time relative to the left end, such as `+12.3 ms`.
    pub(super) fn offset(&self, time: i64) -> String {
        let offset = time.saturating_sub(self.start);
        format!("{}{}", if offset < 0 { "−" } else { "+" }, duration(offset.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tree::Filter;
    use logtracer_core::SpanId;

    #[test]
    fn times_that_are_not_plausible_do_not_count() {
        const NOW: i64 = 1_700_000_000_000_000_000;
        const DAY: i64 = 86_400_000_000_000;
        for (spans, expected) in [
            (&[(NOW, NOW + 5), (NOW - 3, NOW)][..], (NOW - 3, NOW + 5)),
            (&[(NOW, NOW + 5), (1000, 2000)], (NOW, NOW + 5)),
            (&[(NOW, NOW + 5), (NOW + 80 * 365 * DAY, i64::MAX)], (NOW, NOW + 5)),
            (&[(NOW, NOW + 5), (NOW, i64::MAX)], (NOW, NOW + 5)),
            (&[(7, 9)], (7, 9)),
            (&[], (0, 0)),
        ] {
            let node = |((start, end), id): (&(i64, i64), u64)| {
                Node::new(SpanId::new(id).unwrap(), None, *start, *end, 0).checked(NOW.unsigned_abs())
            };
            let tree = Tree::new(spans.iter().zip(1..).map(node).collect(), Vec::new());
            let axis = Axis::of(&tree, &tree.rows(&Filter::default()));
            assert_eq!((axis.start, axis.end), expected, "{spans:?}");
            assert_eq!(Axis::of_all(&tree), axis, "{spans:?}");
        }
        let axis = Axis { start: NOW, end: NOW + 2_000_000 };
        assert_eq!(
            (axis.offset(NOW + 1_000_000), axis.offset(NOW - 1)),
            ("+1.00 ms".to_owned(), "−1 ns".to_owned())
        );
        assert_eq!(
            (axis.fraction(NOW - 1), axis.fraction(NOW + 1_000_000), axis.fraction(i64::MAX)),
            (0., 0.5, 1.)
        );
    }
}

//! The marks of log lines on the bar of their span, grouped where they would overlap.

use super::axis::Axis;
use crate::store::LineKey;
use crate::view::tree::{Entry, Level, Tree};

/// Marks that are closer than this share of the axis would overlap.
const MIN_DISTANCE: f64 = 0.018;

/// The maximum number of marks on one bar.
const MAX_MARKS: f64 = 24.;

/// One mark, for one line or for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first of the lines with the highest level.
    pub(super) key: LineKey,
    pub(super) time: i64,
    pub(super) level: Level,
    pub(super) lines: u32,
}

/// Returns the marks of a span by time.
pub(super) fn of_span(tree: &Tree, span: usize, axis: &Axis) -> Vec<Mark> {
    let lines = || {
        tree.below(Some(span)).filter_map(|entry| match entry {
            Entry::Line(line) => tree.lines.get(line),
            Entry::Span(_) => None,
        })
    };
    let (Some(first), Some(last)) = (lines().next(), lines().next_back()) else { return Vec::new() };
    let extent = axis.fraction(last.time) - axis.fraction(first.time);
    let distance = MIN_DISTANCE.max(extent / MAX_MARKS);
    let mut marks: Vec<Mark> = Vec::new();
    let mut group_start = 0.;
    for line in lines() {
        let at = axis.fraction(line.time);
        match marks.last_mut().filter(|_| at - group_start < distance) {
            Some(mark) => {
                mark.lines += 1;
                if line.level > mark.level {
                    (mark.level, mark.key) = (line.level, line.key);
                }
            }
            None => {
                group_start = at;
                marks.push(Mark { key: line.key, time: line.time, level: line.level, lines: 1 });
            }
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tree::{Filter, LineNode, Node};
    use logtracer_core::SpanId;

    #[test]
    fn marks_that_would_overlap_are_one() {
        let id = SpanId::new(1);
        // (times of lines, marks as time and number of lines)
        for (times, expected) in [
            (&[][..], &[][..]),
            (&[0, 500, 1000], &[(0, 1), (500, 1), (1000, 1)]),
            (&[100, 105, 110, 500], &[(100, 3), (500, 1)]),
        ] {
            let span = Node::new(id.unwrap(), None, 0, 1000, 0);
            let line = |time: &i64| (LineNode::new(format!("{time}-1").parse().unwrap(), Level::Plain), id);
            let tree = Tree::new(vec![span], times.iter().map(line).collect());
            let axis = Axis::of(&tree, &tree.rows(&Filter::default()));
            let marks: Vec<_> = of_span(&tree, 0, &axis).iter().map(|mark| (mark.time, mark.lines)).collect();
            assert_eq!(marks, expected);
        }
        // However many lines there are, marks are few, and show the highest level.
        let level = |n: i64| if n == 77 { Level::Error } else { Level::Plain };
        let lines =
            (0..1000).map(|n| (LineNode::new(format!("{n}-1").parse().unwrap(), level(n)), id)).collect();
        let tree = Tree::new(vec![Node::new(id.unwrap(), None, 0, 1000, 0)], lines);
        let marks = of_span(&tree, 0, &Axis::of(&tree, &tree.rows(&Filter::default())));
        assert!(marks.len() <= 25, "{}", marks.len());
        let loud: Vec<_> = marks.iter().filter(|mark| mark.level == Level::Error).collect();
        assert_eq!((loud.len(), loud[0].key.time_ns()), (1, 77));
    }
}

//! The critical path: the parts of spans that decide when a span ends. If one of them were shorter, the span would end
//! earlier.

use super::Tree;

/// A part of the critical path, in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::view) struct Segment {
    pub(in crate::view) span: usize,
    pub(in crate::view) start: i64,
    pub(in crate::view) end: i64,
}

impl Tree {
    /// Returns the critical path of a span, sorted by span. There are at most twice as many segments as spans.
    ///
    /// From the end of a span back to its start: the path goes through the child that ends last, then through the one that
    /// ends last before that child starts, and so on. Between them it is in the span itself. What a child does before its
    /// parent starts or after it ends does not count, and neither does a child with an implausible time.
    pub(in crate::view) fn critical_path(&self, root: usize) -> Vec<Segment> {
        let mut path = Vec::new();
        let Some(node) = self.spans.get(root) else { return path };
        let mut stack = vec![(root, node.start, node.end)];
        let mut children: Vec<(i64, i64, usize)> = Vec::new();
        while let Some((span, start, end)) = stack.pop() {
            children.clear();
            children.extend(self.children(Some(span)).filter_map(|child| {
                let parent = self.spans.get(span)?;
                let node = self.spans.get(child).filter(|child| Self::counts(parent, child))?;
                let (start, end) = (node.start.max(start), node.end.min(end));
                (start < end).then_some((end, start, child))
            }));
            children.sort_unstable_by(|one, other| other.cmp(one));
            let mut until = end;
            let mut add = |start, end| {
                if start < end {
                    path.push(Segment { span, start, end });
                }
            };
            for (child_end, child_start, child) in children.drain(..) {
                if child_end <= until {
                    add(child_end, until);
                    stack.push((child, child_start, child_end));
                    until = child_start;
                }
            }
            add(start, until);
        }
        path.sort_unstable_by_key(|segment| (segment.span, segment.start));
        path
    }
}

//! The time of a span in which none of its children runs.

use super::Tree;

impl Tree {
    /// Returns the self time in nanoseconds. Children that run at the same time count once, and those
    /// with an implausible time do not.
    pub(in crate::view) fn self_time(&self, span: usize) -> u64 {
        let Some(node) = self.spans.get(span) else { return 0 };
        let (mut covered, mut until) = (0_i64, node.start);
        let children = self.children(Some(span)).filter_map(|child| self.spans.get(child));
        for child in children.filter(|child| Self::counts(node, child)) {
            let (start, end) = (child.start.max(until), child.end.min(node.end));
            if end > start {
                covered = covered.saturating_add(end.saturating_sub(start));
                until = end;
            }
        }
        node.duration().saturating_sub(covered.max(0).cast_unsigned())
    }
}

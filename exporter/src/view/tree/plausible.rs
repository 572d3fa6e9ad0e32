//! Times that no clock of today can show: a span of 1970 or 2100 must not squash the others.

use super::{Node, Tree};
use crate::clock;

impl Node {
    /// Returns this span, with a mark if its times are not plausible.
    pub(in crate::view) fn checked(self, now: u64) -> Self {
        let plausible = clock::plausible(now);
        let has_wrong_start = !plausible.contains(&self.start);
        Self { has_wrong_start, is_plausible: !has_wrong_start && plausible.contains(&self.end), ..self }
    }
}

impl Tree {
    /// Returns whether the time of a child counts for its parent. Between spans with the same wrong clock it does.
    pub(super) fn counts(parent: &Node, child: &Node) -> bool {
        child.is_plausible || !parent.is_plausible
    }

    /// Returns when a trace begins: the start of the earliest span with a plausible time, or else of the earliest span or
    /// line.
    pub(in crate::view) fn start(&self) -> u64 {
        let plausible = self.spans.iter().filter(|span| span.is_plausible).map(|span| span.start).min();
        let lines = self.lines.first().map(|line| line.time);
        let any = || self.spans.iter().map(|span| span.start).chain(lines).min();
        plausible.or_else(any).unwrap_or(0).max(0).cast_unsigned()
    }
}

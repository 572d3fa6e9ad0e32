//! Times that no clock of today can show: a span of 1970 or 2100 must not squash the others.

use super::{Node, Tree};

/// The start of the year 2000. Earlier times are those of a clock that was never set.
const EARLIEST: i64 = 946_684_800_000_000_000;

/// A time is plausible if it is no later than a day from now.
const DAY: i64 = 86_400_000_000_000;

impl Node {
    /// Returns this span, with a mark if its times are not plausible.
    pub(in crate::view) fn checked(self, now: u64) -> Self {
        let latest = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(DAY);
        let plausible = EARLIEST..=latest;
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

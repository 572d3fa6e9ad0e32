//! The rows that a reader goes to, one after the other: the errors, or what was found.

use std::ops::Range;

use logtracer_core::SpanId;

use super::state::State;
use crate::store::LineKey;
use crate::view::tree::Entry;

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Span(SpanId),
    Line(LineKey),
}

/// How many rows there are, and the ones around the current row and around the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) total: usize,
    /// The number of the current row among them, from 1.
    pub(super) current: Option<usize>,
    pub(super) previous: Option<Target>,
    pub(super) next: Option<Target>,
    /// The last one before the page, and the first one after it.
    pub(super) before_page: Option<Target>,
    pub(super) after_page: Option<Target>,
}

impl Hits {
    /// Finds the hits in the rows of a trace. Without a current row, the next one is the first one of the page. The lines
    /// beside the spans are after all rows, and the page has those up to the end of `lines`.
    pub(super) fn find(
        rows: impl Iterator<Item = Entry>,
        is_hit: &dyn Fn(Entry) -> bool,
        target: impl Fn(Entry) -> Option<Target>,
        current: Option<usize>,
        page: Range<usize>,
        lines: Range<usize>,
    ) -> Self {
        let mut hits = Self::default();
        for (row, entry) in rows.enumerate().filter(|(_, entry)| is_hit(*entry)) {
            hits.total += 1;
            if current == Some(row) {
                hits.current = Some(hits.total);
            }
            if row < current.unwrap_or(page.start) {
                hits.previous = target(entry);
            }
            let is_after = current.map_or(row >= page.start, |current| row > current);
            if is_after && hits.next.is_none() {
                hits.next = target(entry);
            }
            if row < page.start {
                hits.before_page = target(entry);
            }
            if row >= page.end && !lines.contains(&row) && hits.after_page.is_none() {
                hits.after_page = target(entry);
            }
        }
        hits
    }
}

/// Returns the address of a row.
pub(super) fn target(state: &State, target: Target) -> String {
    let to = |span, line| state.with(|state| (state.span, state.line, state.row) = (span, line, None));
    match target {
        Target::Span(id) => format!("{}#s-{id}", to(Some(id), None)),
        Target::Line(key) => format!("{}#l-{key}", to(None, Some(key))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_and_the_previous_hit_depend_on_the_current_row() {
        let target = |entry| match entry {
            Entry::Span(span) => SpanId::new(span as u64).map(Target::Span),
            Entry::Line(_) => None,
        };
        let id = |hit: Option<Target>| match hit {
            Some(Target::Span(id)) => id.get(),
            _ => 0,
        };
        // Rows 2, 5 and 8 of ten are hits.
        for (current, page, lines, expected) in [
            (None, 0..10, 10..10, (3, None, 0, 2, 0, 0)),
            (Some(2), 0..10, 10..10, (3, Some(1), 0, 5, 0, 0)),
            (Some(3), 0..10, 10..10, (3, None, 2, 5, 0, 0)),
            (Some(8), 0..10, 10..10, (3, Some(3), 5, 0, 0, 0)),
            (None, 4..7, 10..10, (3, None, 2, 5, 2, 8)),
            // Lines from 4 on are beside the spans, and the page has them up to 7, or all of them.
            (None, 0..4, 4..7, (3, None, 0, 2, 0, 8)),
            (None, 0..4, 4..10, (3, None, 0, 2, 0, 0)),
        ] {
            let is_hit = |entry| matches!(entry, Entry::Span(2 | 5 | 8));
            let hits =
                Hits::find((0..10).map(Entry::Span), &is_hit, target, current, page.clone(), lines.clone());
            let got = (
                hits.total,
                hits.current,
                id(hits.previous),
                id(hits.next),
                id(hits.before_page),
                id(hits.after_page),
            );
            assert_eq!(got, expected, "{current:?} {page:?} {lines:?}");
        }
    }
}

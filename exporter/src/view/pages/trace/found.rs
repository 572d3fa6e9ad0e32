//! What a reader goes through: errors, and matches of a search.

use super::hits::Target;
use crate::store::TraceSummary;
use crate::view::tree::{Entry, Level, Tree};

/// Returns the number of failed spans of the whole trace, of which the tree may have a part.
pub(super) fn failed_count(tree: &Tree, summary: &TraceSummary) -> u64 {
    let failed = tree.spans.iter().filter(|span| span.is_failed).count() as u64;
    let is_part = summary.span_count > tree.spans.len() as u64;
    if is_part { failed.max(summary.error_count) } else { failed }
}

pub(super) fn error_lines(tree: &Tree) -> u64 {
    tree.lines.iter().filter(|line| line.level == Level::Error).count() as u64
}

pub(super) fn is_error(tree: &Tree, entry: Entry) -> bool {
    match entry {
        Entry::Span(span) => tree.spans.get(span).is_some_and(|span| span.is_failed),
        Entry::Line(line) => tree.lines.get(line).is_some_and(|line| line.level == Level::Error),
    }
}

pub(super) fn is_match(tree: &Tree, entry: Entry) -> bool {
    match entry {
        Entry::Span(span) => tree.spans.get(span).is_some_and(|span| span.is_match),
        Entry::Line(line) => tree.lines.get(line).is_some_and(|line| line.is_match),
    }
}

pub(super) fn target(tree: &Tree, entry: Entry) -> Option<Target> {
    match entry {
        Entry::Span(span) => tree.spans.get(span).map(|span| Target::Span(span.id)),
        Entry::Line(line) => tree.lines.get(line).map(|line| Target::Line(line.key)),
    }
}

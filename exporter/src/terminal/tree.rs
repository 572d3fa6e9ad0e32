//! The tree of a trace in the terminal: what is below a span, in the order of time.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::logs;
use super::text::{Colour, Paint, clean, nanos, text, time};
use crate::clock::plausible;
use crate::view::format::duration;

/// Deeper spans are not indented further.
const MAX_INDENT: usize = 30;

/// A span or a line.
#[derive(Debug, Clone, Copy)]
enum Row<'a> {
    Span(&'a Value),
    Line(&'a Value),
}

impl Row<'_> {
    fn time(&self) -> u64 {
        match self {
            Self::Span(span) => nanos(span, "start_time_unix_nano"),
            Self::Line(line) => nanos(line, "time_unix_nano"),
        }
    }
}

/// What the line of a span says of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent<'a> {
    /// It has none, or it is above.
    Fine,
    /// It is not stored.
    Missing(&'a str),
    Circle,
}

pub(super) struct Tree<'a> {
    /// The start of the earliest span whose times can be right.
    start: u64,
    /// The times that can be right.
    plausible: RangeInclusive<i64>,
    /// The caller of the trace, which is not traced.
    outside: &'a str,
    /// By time, what is below each span. What is below none has an empty id.
    below: HashMap<&'a str, Vec<Row<'a>>>,
    known: HashSet<&'a str>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(spans: &'a [Value], lines: &'a [Value], now: u64) -> Self {
        let known: HashSet<&str> = spans.iter().map(|span| text(span, "span_id")).collect();
        let stored = |json: &'a Value, member| match text(json, member) {
            id if known.contains(id) => id,
            _ => "",
        };
        let mut below: HashMap<_, Vec<_>> = HashMap::new();
        for span in spans {
            let parent = stored(span, "parent_span_id");
            let is_own = parent == text(span, "span_id");
            below.entry(if is_own { "" } else { parent }).or_default().push(Row::Span(span));
        }
        for line in lines {
            below.entry(stored(line, "span_id")).or_default().push(Row::Line(line));
        }
        below.values_mut().for_each(|rows| rows.sort_by_key(Row::time));
        let mut tree = Self { start: 0, plausible: plausible(now), outside: "", below, known };
        let of_spans = spans.iter().filter(|span| tree.has_plausible_times(span)).map(Row::Span);
        let earliest = of_spans.min_by_key(Row::time);
        let any = || spans.iter().map(Row::Span).chain(lines.iter().map(Row::Line)).min_by_key(Row::time);
        tree.start = earliest.or_else(any).map_or(0, |row| row.time());
        // The earliest span can be called from outside, and so can each further one with the same parent.
        let roots = tree.below.get("").into_iter().flatten().filter_map(|row| match row {
            Row::Span(span) if tree.has_plausible_times(span) => Some(*span),
            _ => None,
        });
        tree.outside =
            roots.take(1).find(|root| is_entry(root)).map_or("", |root| text(root, "parent_span_id"));
        tree
    }

    fn is_plausible(&self, time: u64) -> bool {
        i64::try_from(time).is_ok_and(|time| self.plausible.contains(&time))
    }

    fn has_plausible_times(&self, span: &Value) -> bool {
        let times = ["start_time_unix_nano", "end_time_unix_nano"];
        times.iter().all(|member| self.is_plausible(nanos(span, member)))
    }

    fn parent(&self, span: &'a Value, depth: usize) -> Parent<'a> {
        match text(span, "parent_span_id") {
            "" => Parent::Fine,
            _ if depth > 0 => Parent::Fine,
            id if self.known.contains(id) => Parent::Circle,
            id => Parent::Missing(id),
        }
    }

    pub(super) fn print(&self, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
        let mut printed = HashSet::new();
        // A circle of parents has no first span: each of its spans that is left then begins one.
        let spans = self.below.values().flatten().filter(|row| matches!(row, Row::Span(_)));
        let mut left: Vec<(usize, Row<'_>)> = spans.map(|span| (0, *span)).collect();
        left.sort_by_key(|(_, span)| std::cmp::Reverse(span.time()));
        left.extend(self.below.get("").into_iter().flatten().rev().map(|row| (0, *row)));
        while let Some((depth, row)) = left.pop() {
            let span = match row {
                Row::Line(line) => {
                    self.print_line(depth, line, paint, out)?;
                    continue;
                }
                Row::Span(span) => span,
            };
            let id = text(span, "span_id");
            if !printed.insert(id) {
                continue;
            }
            self.print_span(depth, span, paint, out)?;
            let below = self.below.get(id).into_iter().flatten().rev();
            left.extend(below.map(|row| (depth + 1, *row)));
        }
        Ok(())
    }

    fn print_span(
        &self,
        depth: usize,
        span: &'a Value,
        paint: Paint,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let indent = "  ".repeat(depth.min(MAX_INDENT));
        let (start, end) = (nanos(span, "start_time_unix_nano"), nanos(span, "end_time_unix_nano"));
        let has_failed = text(&span["status"], "code") == "error";
        let name = clean(text(span, "name"), 100);
        let (name, mut marks) = if has_failed {
            (paint.paint(Colour::Red, &name), paint.paint(Colour::Red, " ✕ error"))
        } else {
            (paint.paint(Colour::Bold, &name), String::new())
        };
        match self.parent(span, depth) {
            Parent::Fine => {}
            Parent::Circle => marks += &paint.paint(Colour::Yellow, " (circle of parents)"),
            Parent::Missing(id) if is_entry(span) && id == self.outside => {
                marks += &paint.paint(Colour::Dim, " (called from outside)");
            }
            Parent::Missing(_) => marks += &paint.paint(Colour::Yellow, " (no parent)"),
        }
        if !self.has_plausible_times(span) {
            marks += &paint.paint(Colour::Yellow, " (wrong clock)");
        }
        if depth == 0 {
            writeln!(out, "{}", paint.paint(Colour::Dim, &time(start)))?;
        }
        writeln!(
            out,
            "{:>10} {:>10}  {indent}{} {name}{marks}",
            self.offset(start),
            duration(end.saturating_sub(start)),
            paint.paint(Colour::Cyan, &clean(text(span, "service_name"), 40)),
        )?;
        Ok(())
    }

    fn print_line(
        &self,
        depth: usize,
        line: &Value,
        paint: Paint,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let (service, message) = logs::service_and_message(line);
        writeln!(
            out,
            "{} {:>10}  {}{} {} {}",
            paint.paint(Colour::Dim, &format!("{:>10}", self.offset(nanos(line, "time_unix_nano")))),
            "",
            "  ".repeat(depth.min(MAX_INDENT)),
            paint.severity(text(line, "severity")),
            paint.paint(Colour::Cyan, &clean(service, 40)),
            clean(message, 1000),
        )?;
        Ok(())
    }

    /// Formats a time after the start of the trace. A time that cannot be right is a date.
    fn offset(&self, unix_nano: u64) -> String {
        if self.is_plausible(self.start) && !self.is_plausible(unix_nano) {
            return time(unix_nano).chars().take("2026-01-31".len()).collect();
        }
        match unix_nano.checked_sub(self.start) {
            Some(after) => format!("+{}", duration(after)),
            None => format!("-{}", duration(self.start - unix_nano)),
        }
    }
}

/// Returns whether a span can be called from outside.
fn is_entry(span: &Value) -> bool {
    matches!(text(span, "kind"), "server" | "consumer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000_000_000_000;

    fn span(id: &str, parent: Option<&str>, kind: &str, start: u64) -> Value {
        json!({ "span_id": id, "parent_span_id": parent, "name": id, "service_name": "s", "kind": kind,
                "start_time_unix_nano": start.to_string(), "end_time_unix_nano": (start + 5).to_string(),
                "status": { "code": "unset" } })
    }

    fn line(span: Option<&str>, service: Option<&str>, message: &str, time: u64) -> Value {
        json!({ "span_id": span, "service": service, "message": message, "severity": "INFO",
                "time_unix_nano": time.to_string() })
    }

    fn printed(spans: &[Value], lines: &[Value]) -> String {
        let mut out = Vec::new();
        Tree::new(spans, lines, NOW).print(Paint::of_stdout(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_span_is_printed_once_also_in_a_circle() {
        let spans = [
            span("a", None, "server", 1),
            span("b", Some("a"), "client", 2),
            span("own", Some("own"), "client", 3),
            span("c1", Some("c2"), "client", 4),
            span("c2", Some("c1"), "client", 5),
            span("lost", Some("missing"), "client", 6),
        ];
        let text = printed(&spans, &[]);
        for id in ["a", "b", "own (circle of parents)", "c1 (circle of parents)", "c2", "lost (no parent)"] {
            assert_eq!(text.matches(&format!("s {id}")).count(), 1, "{id}: {text}");
        }
    }

    #[test]
    fn lines_are_between_the_spans_and_wrong_times_are_dates() {
        let spans = [
            span("root", Some("caller"), "server", NOW),
            span("later", Some("root"), "client", NOW + 3000),
            span("old", Some("root"), "client", 5),
        ];
        let lines = [
            line(Some("root"), Some("s"), "s - second", NOW + 4000),
            line(Some("root"), Some("s"), "s - first", NOW + 2000),
            line(Some("unknown"), None, "of no span", NOW - 1000),
        ];
        expect_test::expect![[r#"
              -1.00 µs             INFO     - of no span
            2027-01-15 08:00:00.000
                 +0 ns       5 ns  s root (called from outside)
            1970-01-01       5 ns    s old (wrong clock)
              +2.00 µs               INFO     s first
              +3.00 µs       5 ns    s later
              +4.00 µs               INFO     s second
        "#]]
        .assert_eq(&printed(&spans, &lines));
    }
}

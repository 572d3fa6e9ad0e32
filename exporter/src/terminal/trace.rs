//! `logtracer-exporter trace ID`: the tree of spans, with the lines under their spans.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use serde_json::Value;

use super::TraceOptions;
use super::client::Client;
use super::logs;
use super::text::{Colour, Paint, clean, nanos, text, time};
use crate::view::format::duration;
use crate::view::parameters::encode;

/// Deeper spans are not indented further.
const MAX_INDENT: usize = 30;

/// Further spans and lines are counted.
const MAX_ROWS: usize = 100_000;

pub(super) async fn run(
    client: &Client,
    options: &TraceOptions,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut path = format!("/api/traces/{}", encode(&options.id));
    let (mut spans, mut lines) = (Vec::new(), Vec::new());
    loop {
        let mut part = client.json(&path, &[]).await?;
        if options.output.json {
            writeln!(out, "{part}")?;
        } else {
            for (member, all) in [("spans", &mut spans), ("logs", &mut lines)] {
                if let Value::Array(rows) = part[member].take() {
                    all.extend(rows);
                }
            }
        }
        match part["next"].as_str() {
            Some(next) if spans.len() + lines.len() < MAX_ROWS => path = next.to_owned(),
            rest => {
                if !options.output.json {
                    Tree::new(&spans, &lines).print(paint, out)?;
                }
                if rest.is_some() {
                    writeln!(out, "{}", paint.paint(Colour::Dim, "… the rest of the trace is not shown"))?;
                }
                return Ok(());
            }
        }
    }
}

struct Tree<'a> {
    start: u64,
    /// By the parent; spans without a stored parent are under an empty id.
    children: HashMap<&'a str, Vec<&'a Value>>,
    /// By the span; lines without a stored span are under an empty id.
    lines: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Tree<'a> {
    fn new(spans: &'a [Value], lines: &'a [Value]) -> Self {
        let known: HashSet<&str> = spans.iter().map(|span| text(span, "span_id")).collect();
        let stored = |json: &'a Value, member| match text(json, member) {
            id if known.contains(id) => id,
            _ => "",
        };
        let (mut children, mut of_span): (HashMap<_, Vec<_>>, HashMap<_, Vec<_>>) = Default::default();
        for span in spans {
            let parent = stored(span, "parent_span_id");
            let is_own = parent == text(span, "span_id");
            children.entry(if is_own { "" } else { parent }).or_default().push(span);
        }
        for line in lines {
            of_span.entry(stored(line, "span_id")).or_default().push(line);
        }
        let starts = spans.iter().map(|span| nanos(span, "start_time_unix_nano"));
        Self { start: starts.min().unwrap_or(0), children, lines: of_span }
    }

    fn print(&self, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
        let mut printed = HashSet::new();
        // A circle of parents has no first span: each of its spans that is left then begins one.
        let all = self.children.values().flatten().map(|span| (0, *span));
        let mut left: Vec<(usize, &Value)> = all.collect();
        left.sort_by_key(|(_, span)| std::cmp::Reverse(nanos(span, "start_time_unix_nano")));
        left.extend(self.children.get("").into_iter().flatten().rev().map(|span| (0, *span)));
        while let Some((depth, span)) = left.pop() {
            let id = text(span, "span_id");
            if !printed.insert(id) {
                continue;
            }
            self.print_span(depth, span, paint, out)?;
            let children = self.children.get(id).into_iter().flatten().rev();
            left.extend(children.map(|child| (depth + 1, *child)));
        }
        for line in self.lines.get("").into_iter().flatten() {
            writeln!(out, "{}", logs::format(line, paint))?;
        }
        Ok(())
    }

    fn print_span(
        &self,
        depth: usize,
        span: &Value,
        paint: Paint,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let indent = "  ".repeat(depth.min(MAX_INDENT));
        let (start, end) = (nanos(span, "start_time_unix_nano"), nanos(span, "end_time_unix_nano"));
        let has_failed = text(&span["status"], "code") == "error";
        let name = clean(text(span, "name"), 100);
        let (name, mark) = if has_failed {
            (paint.paint(Colour::Red, &name), paint.paint(Colour::Red, " ✕ error"))
        } else {
            (paint.paint(Colour::Bold, &name), String::new())
        };
        if depth == 0 {
            writeln!(out, "{}", paint.paint(Colour::Dim, &time(start)))?;
        }
        writeln!(
            out,
            "{:>10} {:>10}  {indent}{} {name}{mark}",
            format!("+{}", duration(start.saturating_sub(self.start))),
            duration(end.saturating_sub(start)),
            paint.paint(Colour::Cyan, &clean(text(span, "service_name"), 40)),
        )?;
        for line in self.lines.get(text(span, "span_id")).into_iter().flatten() {
            let offset = nanos(line, "time_unix_nano").saturating_sub(self.start);
            writeln!(
                out,
                "{} {:>10}  {indent}  {} {}",
                paint.paint(Colour::Dim, &format!("{:>10}", format!("+{}", duration(offset)))),
                "",
                paint.severity(text(line, "severity")),
                clean(text(line, "message"), 1000),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_span_is_printed_once_also_in_a_circle() {
        let span = |id: &str, parent: Option<&str>, start: u64| {
            json!({ "span_id": id, "parent_span_id": parent, "name": id, "service_name": "s",
                    "start_time_unix_nano": start.to_string(), "end_time_unix_nano": (start + 5).to_string(),
                    "status": { "code": "unset" } })
        };
        let spans = [
            span("a", None, 1),
            span("b", Some("a"), 2),
            span("own", Some("own"), 3),
            span("c1", Some("c2"), 4),
            span("c2", Some("c1"), 5),
            span("lost", Some("missing"), 6),
        ];
        let lines = [json!({ "span_id": "b", "message": "of b", "severity": "INFO", "time_unix_nano": "3" })];
        let mut out = Vec::new();
        Tree::new(&spans, &lines).print(Paint::of_stdout(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for id in ["a", "b", "own", "c1", "c2", "lost"] {
            assert_eq!(text.matches(&format!("s {id}\n")).count(), 1, "{id}: {text}");
        }
        assert!(text.contains("INFO     of b"), "{text}");
    }
}

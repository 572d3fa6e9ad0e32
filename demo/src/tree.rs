//! Spans as an indented tree.

use logtracer_harness::store::{Span, Trace};
use serde_json::Value;

/// Returns one line for each span, below its parent, in aligned columns.
pub(crate) fn render(trace: &Trace) -> Vec<String> {
    let mut rows = Vec::new();
    for root in trace.roots() {
        walk(trace, root, String::new(), String::new(), &mut rows);
    }
    let widths: [usize; 4] = std::array::from_fn(|column| {
        rows.iter().map(|row: &Row| row.cells[column].chars().count()).max().unwrap_or(0)
    });
    rows.iter()
        .map(|Row { cells: [name, service, kind, duration], outcome }| {
            let [a, b, c, d] = widths;
            format!("{name:<a$}  {service:<b$}  {kind:<c$}  {duration:>d$}  {outcome}")
        })
        .collect()
}

struct Row {
    cells: [String; 4],
    outcome: String,
}

fn walk(trace: &Trace, span: &Span, branch: String, indent: String, rows: &mut Vec<Row>) {
    if rows.len() == trace.spans.len() {
        return; // a cycle of parents
    }
    let duration = span.end().saturating_sub(span.start()) as f64 / 1e6;
    rows.push(Row {
        cells: [
            format!("{branch}{}", span.name),
            span.service_name.clone(),
            span.kind.clone(),
            format!("{duration:.1} ms"),
        ],
        outcome: outcome(span),
    });
    let children = trace.children(span);
    for (index, child) in children.iter().enumerate() {
        let (elbow, under) =
            if index + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        walk(trace, child, format!("{indent}{elbow}"), format!("{indent}{under}"), rows);
    }
}

/// Returns the code of gRPC or the status of HTTP, and whether the span failed.
fn outcome(span: &Span) -> String {
    let keys = ["rpc.response.status_code", "http.response.status_code"];
    let status = keys.iter().find_map(|key| span.attributes.get(*key)).map(|status| match status {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    });
    let word = Some(span.status.code.clone()).filter(|code| code != "unset");
    status.into_iter().chain(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_below_their_parents() {
        let span = |id: &str, parent: Option<&str>, service: &str, kind: &str, start: u64, status: u16| {
            json!({
                "span_id": id, "parent_span_id": parent, "name": format!("GET {id}"), "kind": kind,
                "service_name": service, "start_time_unix_nano": start.to_string(),
                "end_time_unix_nano": (start + 1_500_000).to_string(),
                "status": { "code": if status < 500 { "unset" } else { "error" } },
                "attributes": { "http.response.status_code": status },
            })
        };
        let trace: Trace = serde_json::from_value(json!({
            "trace_id": "t",
            "spans": [
                span("leaf", Some("b"), "backend", "server", 4, 503),
                span("b", Some("root"), "frontend", "client", 3, 503),
                span("a", Some("root"), "frontend", "client", 2, 200),
                span("root", Some("elsewhere"), "frontend", "server", 1, 502),
            ],
            "logs": [],
        }))
        .unwrap();

        assert_eq!(
            render(&trace).join("\n"),
            "\
GET root        frontend  server  1.5 ms  502 error
├─ GET a        frontend  client  1.5 ms  200
└─ GET b        frontend  client  1.5 ms  503 error
   └─ GET leaf  backend   server  1.5 ms  503 error"
        );
    }
}

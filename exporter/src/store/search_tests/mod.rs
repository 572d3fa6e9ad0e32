//! Tests of searches: each finds what a reader of everything finds.

mod lines;
mod traces;

use std::time::{Duration, Instant};

use logtracer_core::TraceId;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};

use super::tests::open;
use super::*;

const SECOND: u64 = 1_000_000_000;

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

/// Returns all pages of a search, and their number.
fn search(
    store: &Store,
    filter: &TraceFilter,
    sort: Sort,
    limit: usize,
    time: Duration,
) -> (Vec<TraceId>, usize) {
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store
            .snapshot(|snapshot| {
                let page = snapshot.find_traces(filter, sort, after, limit, Instant::now() + time)?;
                for key in &page.keys {
                    found.push(snapshot.listed(*key)?.unwrap().trace_id);
                }
                Ok(page)
            })
            .unwrap();
        pages += 1;
        after = page.next;
        assert!(page.keys.len() <= limit);
        if let Some(next) = after {
            assert_eq!(next.to_string().parse(), Ok(next));
        } else {
            return (found, pages);
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

/// The list is read from an index, and only as far as it is needed.
#[test]
fn lists_are_not_sorted() {
    let (_dir, it, _) = open();
    let plan = |sql: &str| -> String {
        it.read(|connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // A plan does not depend on the parameters.
            let mut rows = statement.raw_query();
            let mut steps: Vec<String> = Vec::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get(3)?);
            }
            Ok(steps.join("; "))
        })
        .unwrap()
    };
    for (sql, index) in [
        (
            "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_order WHERE untraced = 0
             AND (order_ns, duration_ns, seq) < (1, 2, 3) AND order_ns >= 0
             ORDER BY order_ns DESC, duration_ns DESC, seq DESC",
            "COVERING INDEX trace_by_order (order_ns>? AND (order_ns,duration_ns)<(?,?)",
        ),
        (
            "SELECT order_ns, duration_ns, seq FROM trace INDEXED BY trace_by_duration WHERE untraced = 0
             AND (duration_ns, order_ns, seq) < (1, 2, 3) AND duration_ns >= 0
             ORDER BY duration_ns DESC, order_ns DESC, seq DESC",
            "COVERING INDEX trace_by_duration (duration_ns>? AND (duration_ns,order_ns)<(?,?)",
        ),
        (
            "SELECT time_ns, level, service, trace, n FROM line INDEXED BY line_by_time
             WHERE (time_ns, level, service, trace, n) < (1, 2, 3, 4, 5) AND time_ns >= 0
             ORDER BY time_ns DESC, level DESC, service DESC, trace DESC, n DESC",
            "(time_ns,level,service,trace,n)<(?,?,?,?,?)",
        ),
        (write::KNOWN_RECORD, "INDEX line_by_digest (trace=? AND digest=?)"),
    ] {
        let plan = plan(sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

//! The page of one trace: what its heading, its counts and its notices say with filters, and with data that is wrong.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use crate::harness::{Exporter, START, failed, number, request, span, string};
use crate::pages_trace_browser::TRACE;

async fn page(exporter: &Exporter, query: &str) -> String {
    let response = exporter.get(&format!("/trace/{TRACE}{query}")).await;
    assert_eq!(response.status(), 200, "{query}");
    response.text().await.unwrap()
}

/// Returns a fact of the heading, as text.
fn fact(page: &str, name: &str) -> String {
    let rest = page.split(&format!("<dt>{name}</dt><dd>")).nth(1).unwrap_or_default();
    let html = rest.split("</dd>").next().unwrap_or_default();
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

fn rows(page: &str) -> usize {
    page.matches("<div class=\"row ").count()
}

async fn send_records(exporter: &Exporter, records: Vec<LogRecord>) {
    let scope_logs = vec![ScopeLogs { log_records: records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let post = reqwest::Client::new().post(format!("{}/v1/logs", exporter.http));
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let response = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A log record of a span, this many milliseconds after the start.
fn record(span: u64, millis: u64, severity: i32, text: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: START + millis * 1_000_000,
        severity_number: severity,
        body: Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) }),
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: span.to_be_bytes().to_vec(),
        ..Default::default()
    }
}

/// Starts an exporter with the spans 1 to 4, of which 2 to 4 are of another service, with lines of 1, 3 and of none.
async fn start(dir: &std::path::Path) -> Exporter {
    let exporter = Exporter::start(dir);
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "root", 0, 100)])).await;
    let of_items = vec![
        span(TRACE, 2, 1, "GET /items", 10, 60),
        failed(span(TRACE, 3, 2, "needle", 15, 20), "lost"),
        span(TRACE, 4, 3, "deep", 16, 5),
    ];
    exporter.send(&request("items", of_items)).await;
    let records = vec![
        record(1, 1, 9, "first"),
        record(3, 17, 17, "needle"),
        record(3, 18, 9, "after"),
        record(77, 90, 9, "alone"),
    ];
    send_records(&exporter, records).await;
    exporter.trace(TRACE, 4, 4).await;
    exporter
}

fn line(millis: u64) -> String {
    format!("{}-1", START + millis * 1_000_000)
}

#[tokio::test]
async fn a_large_record_keeps_its_severity() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "root", 0, 100)])).await;
    let records = [(17, 10), (13, 40), (9, 80)];
    let records = records.map(|(severity, millis)| record(1, millis, severity, &"x".repeat(20_000))).to_vec();
    send_records(&exporter, records).await;
    exporter.trace(TRACE, 1, 3).await;
    let page = page(&exporter, "").await;
    for class in ["row line loud", "row line warn", "row line plain", "mark loud", "mark warn"] {
        assert_eq!(page.matches(&format!("class=\"{class}")).count(), 1, "{class}");
    }
    assert!(page.contains("1 error</output>"));
}

#[tokio::test]
async fn the_heading_is_that_of_the_whole_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = start(dir.path()).await;
    let late = failed(span(TRACE, 5, 1, "late", 150, 50), "late");
    exporter.send(&request("late", vec![late])).await;
    exporter.trace(TRACE, 5, 4).await;
    for query in
        ["", "?services=items", "?subtree=0000000000000004", "?lines=beside", "?collapse=0000000000000001"]
    {
        let page = page(&exporter, query).await;
        let facts = ["Started", "Duration", "Extent", "Errors"].map(|name| fact(&page, name));
        assert_eq!(facts, ["2023-11-14T22:13:20Z", "100 ms", "200 ms", "3 (2 spans, 1 line)"], "{query}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = start(dir.path()).await;
    let page = async |query: &str| page(&exporter, query).await;
    let unknown = page("?subtree=00000000000000ff").await;
    assert!(
        unknown.contains(", which is not stored. ") && unknown.contains("No rows: the span is not stored")
    );
    assert_eq!(rows(&unknown), 0);
    assert!(page("?services=none").await.contains("No span of these services<"));
    // A row that cannot be opened.
    for (query, notice) in [
        (
            "?span=00000000000000ff",
            "The span <span class=\"mono\">00000000000000ff</span> is not in this list",
        ),
        ("?line=17-1", "The line <span class=\"mono\">17-1</span> is not in this list"),
        (
            "?services=shop&span=0000000000000003",
            "The span <span class=\"mono\">0000000000000003</span> is not",
        ),
    ] {
        assert!(page(query).await.contains(notice), "{query}");
    }
    // Lines beside the spans are those of the spans that are shown.
    for (query, lines) in [
        ("?lines=beside", vec![1, 17, 18, 90]),
        ("?lines=beside&services=shop", vec![1]),
        ("?lines=beside&subtree=0000000000000002", vec![17, 18]),
        ("?lines=beside&path=critical", vec![1, 17, 18]),
        ("?of=0000000000000001", vec![1]),
        ("?of=00000000000000ff", vec![]),
    ] {
        let page = page(query).await;
        let listed: Vec<u64> = [1, 17, 18, 90]
            .into_iter()
            .filter(|at| page.contains(&format!("id=\"l-{}\"", line(*at))))
            .collect();
        assert_eq!(listed, lines, "{query}");
    }
}

#[tokio::test]
async fn times_that_cannot_be_right_are_named_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let of_times = |trace: &str, id: u64, start: u64, end: u64| {
        let mut span = span(trace, id, id - 1, "work", 0, 0);
        (span.start_time_unix_nano, span.end_time_unix_nano) = (start, end);
        span
    };
    let [epoch, endless, empty] = ["1", "2", "3"].map(|digit| digit.repeat(32));
    exporter.send(&request("shop", vec![of_times(&epoch, 1, 5, 9), of_times(&epoch, 2, 6, 7)])).await;
    let of_endless =
        vec![of_times(&endless, 1, START, START + 100), of_times(&endless, 2, START + 10, u64::MAX)];
    exporter.send(&request("shop", of_endless)).await;
    exporter
        .send(&request("shop", vec![of_times(&empty, 1, START, START), of_times(&empty, 2, START, START)]))
        .await;
    for trace in [&epoch, &endless, &empty] {
        exporter.trace(trace, 2, 0).await;
    }
    let page = async |trace: &str, query: &str| {
        exporter.get(&format!("/trace/{trace}{query}")).await.text().await.unwrap()
    };
    let html = page(&epoch, "").await;
    assert!(
        html.contains("2 spans with a time that cannot be right.") && !html.contains("that of the others")
    );
    let html = page(&endless, "?span=0000000000000002").await;
    assert!(html.contains("1 span with a time that cannot be right: the axis is that of the others."));
    assert!(
        html.contains(
            "title=\"The end is 2554-07-21T23:34:33.709551615Z, so the clock was wrong\">2554-07-21<"
        ),
        "{html}"
    );
    // The row and the details show the same duration.
    let duration = fact(html.split("class=\"panel").nth(1).unwrap(), "Duration");
    assert!(duration.contains(" d ") && html.contains(&format!("\">{duration}</div>")), "{duration}");
    // It takes neither the critical path nor self time.
    let critical = page(&endless, "?path=critical").await;
    assert!(rows(&critical) == 1 && critical.contains("Self time 100 ns"), "{critical}");
    let html = page(&empty, "?path=critical").await;
    assert!(html.contains("No critical path: the first span takes no time"), "{html}");
}

#[tokio::test]
async fn counts_and_links_reach_what_is_collapsed() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = start(dir.path()).await;
    let page = async |query: &str| page(&exporter, query).await;
    let root = "collapse=0000000000000001";
    let collapsed = page(&format!("?find=needle&{root}")).await;
    assert!(collapsed.contains("2 matches</output>") && collapsed.contains("2 errors</output>"));
    assert_eq!(rows(&collapsed), 2, "the root, and the line without a span");
    // The number of hidden rows is that of the filter.
    for (query, hidden) in [
        ("", Some(6)),
        ("&lines=beside", Some(3)),
        ("&subtree=0000000000000001", Some(6)),
        ("&services=shop", Some(1)),
        ("&services=shop&lines=beside", None),
    ] {
        let page = page(&format!("?{root}{query}")).await;
        let found = page.split("hidden-rows").nth(1).and_then(|rest| rest.split('>').nth(1));
        let found = found.and_then(|text| text.strip_prefix('+')?.split('<').next()?.parse().ok());
        assert_eq!(found, hidden, "{query}");
        assert_eq!(page.contains("class=\"fold\" href"), hidden.is_some(), "{query}");
    }
    let leaf = page("?services=items&path=critical").await;
    let deep = leaf.split("id=\"s-0000000000000004\"").nth(1).unwrap();
    assert!(!deep.split("</div>").next().unwrap().contains("fold\" href"), "nothing is below it");

    // What an address opens is shown, and the links of the page agree.
    let other = "0000000000000004";
    for open in ["span=0000000000000003".to_owned(), format!("line={}", line(17))] {
        let page = page(&format!("?{open}&collapse=0000000000000001,0000000000000002,{other}")).await;
        assert!(page.contains("class=\"panel") && !page.contains("is not in this list"), "{open}");
        assert!(page.contains(&format!("data-collapse=\"{other}\"")), "{open}");
        // A collapsed row hides what is open below it.
        let fold =
            page.split("id=\"s-0000000000000002\"").nth(1).unwrap().split("<a class=\"fold\" href=\"").nth(1);
        let fold = fold.unwrap().split('"').next().unwrap();
        assert!(!fold.contains("span=") && !fold.contains("line="), "{fold}");
    }
}

#[tokio::test]
async fn calls_from_the_same_caller_are_called_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let server = |id, parent, start| {
        let mut span = span(TRACE, id, parent, "work", start, 5);
        span.kind = 2;
        span
    };
    let mut internal = span(TRACE, 5, 77, "internal", 30, 5);
    internal.kind = 1;
    let spans = vec![server(1, 77, 0), server(2, 77, 10), server(3, 88, 20), internal];
    exporter.send(&request("shop", spans)).await;
    exporter.trace(TRACE, 4, 0).await;
    let page = page(&exporter, "").await;
    let count = |text: &str| page.matches(&format!(">{text}<")).count();
    assert_eq!((count("called from outside"), count("no parent")), (2, 2));
}

#[tokio::test]
async fn links_lead_somewhere_and_tooltips_show_directions() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut root = span(TRACE, 1, 0, "root", 0, 100);
    root.attributes = vec![
        number("http.response.status_code", 0),
        string("http.route", &"/a".repeat(600)),
        string("a=b", "c"),
        string("user", "7"),
    ];
    exporter.send(&request("sh\u{202e}op", vec![root, span(TRACE, 2, 1, "child", 1, 1)])).await;
    exporter.trace(TRACE, 2, 0).await;
    let page = page(&exporter, "?span=0000000000000001").await;
    for link in page.split("href=\"/?").skip(1) {
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        assert_eq!(exporter.get(&format!("/?{link}")).await.status(), 200, "{link}");
    }
    assert!(page.contains("/?attribute=user%3D7") && !page.contains("a%3Db"));
    assert!(page.contains("title=\"sh\u{fffd}op\"") && !page.contains("title=\"sh\u{202e}op\""));
}

#[tokio::test]
async fn a_download_without_its_emitters_is_not_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = Exporter::start(dir.path());
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "root", 0, 100)])).await;
    exporter.trace(TRACE, 1, 0).await;
    exporter.terminate();
    exporter.wait_for_exit().await;
    // The same as an eviction while the document is sent.
    let file = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    file.execute_batch("DELETE FROM origin").unwrap();
    drop(file);
    let exporter = Exporter::start(dir.path());
    let response = exporter.get(&format!("/api/traces/{TRACE}?format=otlp")).await;
    let is_complete = response.status() == 200 && response.text().await.is_ok();
    assert!(!is_complete, "the response has to be incomplete");
}

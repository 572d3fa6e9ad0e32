//! What cannot be seen, or changes what is seen, is visible on every page, whatever field it is in.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use serde_json::json;

use crate::harness::{Exporter, START, command, eventually, failed, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const OTHER: &str = "0af7651916cd43dd8448eb211c80319c";
const LINES_ONLY: &str = "00000000000000000000000000000003";

/// An override, an isolate, a control character of terminals, and characters without a width.
const HIDDEN: [char; 6] = ['\u{202e}', '\u{2066}', '\u{1b}', '\u{200d}', '\u{200b}', '\u{feff}'];

fn evil(field: &str) -> String {
    format!("{field}\u{202e}a\u{2066}b\u{1b}[31mc\u{200d}d\u{200b}e\u{feff}f")
}

/// Sends texts with hidden characters in each field of a span, of a log record and of a line.
async fn filled(dir: &std::path::Path) -> Exporter {
    let log = dir.join("log");
    let line = |trace: &str| {
        json!({ "trace": trace, "spanId": "0000000000000001", "severity": evil("severity"),
                "message": format!("{} - {}", evil("prefix"), evil("message")), evil("member"): { evil("inner"): evil("value") } })
    };
    std::fs::write(&log, format!("{}\n{}\n{}\n", line(TRACE), line(LINES_ONLY), line("none"))).unwrap();
    let mut command = command(&dir.join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    for trace in [TRACE, OTHER] {
        let mut root = failed(span(trace, 1, 0, &evil("name"), 0, 100), &evil("status"));
        root.attributes = vec![
            string(&evil("key"), &evil("value")),
            string("http.route", &evil("route")),
            string("http.request.method", &evil("method")),
            string("http.response.status_code", &evil("code")),
            string("json", &json!({ evil("member"): evil("text"), "list": [1, 2, 3] }).to_string()),
            string("db.query.text", &format!("SELECT a FROM b WHERE c = '{}' AND d = 1", evil("sql"))),
            string("exception.stacktrace", &format!("{}\n", evil("frame")).repeat(40)),
        ];
        let attributes = || vec![string(&evil("key"), &evil("value"))];
        root.events = vec![Event { name: evil("event"), attributes: attributes(), ..Default::default() }];
        root.links = vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![9; 8],
            trace_state: evil("state"),
            attributes: attributes(),
            ..Default::default()
        }];
        root.trace_state = evil("state");
        let mut sent = request(&evil("service"), vec![root]);
        let of_resource = &mut sent.resource_spans[0];
        let resource = of_resource.resource.as_mut().unwrap();
        resource.attributes.push(string(&evil("resource"), &evil("value")));
        resource.attributes.push(string("service.namespace", &evil("namespace")));
        of_resource.scope_spans[0].scope = Some(InstrumentationScope {
            name: evil("scope"),
            version: evil("version"),
            ..Default::default()
        });
        exporter.send(&sent).await;
        exporter.send(&request(&evil("callee"), vec![span(trace, 2, 1, &evil("call"), 10, 20)])).await;
    }
    let record = |trace: &[u8]| LogRecord {
        time_unix_nano: START,
        trace_id: trace.to_vec(),
        severity_text: evil("severity"),
        severity_number: 17,
        body: Some(AnyValue { value: Some(Any::StringValue(evil("body"))) }),
        attributes: vec![string(&evil("key"), &evil("value"))],
        ..Default::default()
    };
    let id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    let resource = request(&evil("logger"), vec![]).resource_spans[0].resource.clone();
    let scope = Some(InstrumentationScope { name: evil("scope"), ..Default::default() });
    let scope_logs =
        vec![ScopeLogs { scope, log_records: vec![record(&id), record(&[])], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let post = reqwest::Client::new().post(format!("{}/v1/logs", exporter.http));
    let sent = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert!(sent.status().is_success());
    exporter.trace(TRACE, 2, 2).await;
    exporter.trace(LINES_ONLY, 0, 1).await;
    eventually("all lines", async || {
        (exporter.json("/api/logs").await["logs"].as_array().unwrap().len() == 5).then_some(())
    })
    .await;
    exporter
}

#[track_caller]
fn check(what: &str, html: &str) {
    for hidden in HIDDEN {
        if let Some(at) = html.find(hidden) {
            let around: String =
                html[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what} has U+{:04X} after {around}", u32::from(hidden));
        }
    }
    // A field of a form has it as a reference.
    assert!(html.contains("\\u{202e}") || html.contains("&#x202e;"), "{what} does not show it");
}

#[tokio::test]
async fn no_page_has_hidden_characters() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let trace = exporter.json(&format!("/api/traces/{TRACE}")).await;
    let lines: Vec<String> = trace["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{}-1", line["time_unix_nano"].as_str().unwrap()))
        .collect();
    let query =
        percent_encoding::utf8_percent_encode(&evil("q"), percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut paths = vec![
        "/".to_owned(),
        "/logs".to_owned(),
        "/services".to_owned(),
        format!("/?q={query}"),
        format!("/?find={query}"),
        format!("/?status={query}"),
        format!("/?attribute=a%3D{query}&attribute=b%3D{query}"),
        format!("/logs?q={query}&service={query}"),
        format!("/services?service={query}"),
        format!("/compare?a={TRACE}&b={OTHER}"),
        format!("/compare?a={query}"),
        format!("/trace/{LINES_ONLY}"),
        format!("/trace/{TRACE}"),
        format!("/trace/{TRACE}?find={query}&lines=beside"),
        format!("/trace/{TRACE}?services={query}"),
        format!("/trace/{TRACE}?span=0000000000000001"),
        format!("/trace/{TRACE}/spans/0000000000000001"),
    ];
    for line in &lines {
        paths.push(format!("/trace/{TRACE}?line={line}"));
        paths.push(format!("/trace/{TRACE}/lines/{line}"));
    }
    for path in &paths {
        let html = exporter.get(path).await.text().await.unwrap();
        check(path, &html);
    }
}

#[tokio::test]
async fn no_live_row_has_hidden_characters() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = filled(dir.path()).await;
    let mut live = exporter.get("/live").await;
    exporter.send(&request(&evil("service"), vec![span(OTHER, 7, 1, &evil("name"), 5, 5)])).await;
    let mut text = String::new();
    while !text.contains("event: trace") || !text.ends_with("\n\n") {
        let chunk = live.chunk().await.unwrap().expect("an event");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.split("event: trace\ndata: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let event: serde_json::Value = serde_json::from_str(data).unwrap();
    check("the row", event["html"].as_str().unwrap());
}

//! A trace as a file of OTLP/JSON, which an exporter accepts again.

use std::path::Path;
use std::process::Command;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Exporter, START, command, failed, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

#[tokio::test]
async fn a_download_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let file_line = json!({ "trace": TRACE, "spanId": "0000000000000001", "severity": "ERROR", "message": "of a file",
        "time": "2023-11-14T22:13:20.5Z", "user": 7 });
    std::fs::write(&log, format!("{file_line}\n")).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let exporter = Exporter::spawn(command);
    let trace_id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec();
    for (n, service) in ["shop", "items", "shop"].into_iter().enumerate() {
        let ids = (1..=2000).map(|id| id * 3 + n as u64);
        let spans = ids.map(|id| {
            let mut span = failed(span(TRACE, id, 1, "work", id, 5), "a\"b");
            span.attributes = vec![string("text", "<\u{1}ä")];
            span.events = vec![Event { name: "e".to_owned(), time_unix_nano: START, ..Default::default() }];
            span.links = vec![Link {
                trace_id: trace_id.clone(),
                span_id: vec![7; 8],
                flags: 1,
                ..Default::default()
            }];
            (span.trace_state, span.flags) = ("a=b".to_owned(), 0x101);
            span
        });
        exporter.send(&request(service, spans.collect())).await;
    }
    // Larger than a piece.
    let mut large = span(TRACE, 1, 0, "large", 0, 9);
    large.attributes = vec![string("text", &"\u{1}\"".repeat(300_000))];
    exporter.send(&request("shop", vec![large])).await;
    let record = LogRecord {
        time_unix_nano: START + 7,
        severity_number: 13,
        body: Some(AnyValue { value: Some(Any::StringValue("a record".to_owned())) }),
        trace_id,
        span_id: 1_u64.to_be_bytes().to_vec(),
        ..Default::default()
    };
    let resource = Resource { attributes: vec![string("service.name", "shop")], ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(resource), scope_logs, ..Default::default() }];
    let post = reqwest::Client::new().post(format!("{}/v1/logs", exporter.http));
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let response = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let sent = exporter.trace(TRACE, 6001, 2).await;

    let response = exporter.get(&format!("/api/traces/{TRACE}?format=otlp")).await;
    let disposition = response.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(disposition, format!("attachment; filename=\"trace-{TRACE}.json\""));
    let document = response.text().await.unwrap();
    let parsed: Value = serde_json::from_str(&document).unwrap();
    assert!(parsed["resourceSpans"].as_array().unwrap().len() < 20, "spans of an emitter are together");

    let empty = tempfile::tempdir().unwrap();
    let other = Exporter::start(empty.path());
    for path in ["/v1/traces", "/v1/logs"] {
        let post = reqwest::Client::new().post(format!("{}{path}", other.http));
        let response =
            post.header("content-type", "application/json").body(document.clone()).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let received = other.trace(TRACE, 6001, 2).await;
    assert!(received["spans"] == sent["spans"], "the spans are the same");
    let lines = received["logs"].as_array().unwrap();
    assert_eq!(lines[0], sent["logs"][0]);
    assert_eq!((&lines[1]["message"], &lines[1]["severity"]), (&json!("of a file"), &json!("ERROR")));
    let original = lines[1]["line"]["log.record.original"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(original).unwrap(), file_line);
    check_command(&document, received).await;
}

/// The command sends what the two requests send, in parts.
async fn check_command(document: &str, expected: Value) {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(&dir.path().join("data"));
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let open = |file: &Path, options: &[&str]| {
        let mut open = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"));
        open.args(["open", "--server", &exporter.view]).args(options).arg(file);
        open.env("LOGTRACER_TO", &exporter.http);
        let output = open.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let download = file("trace.json", document);
    let (name, url) = (download.display(), format!("{}/trace/{TRACE}", exporter.view));
    let (is_success, out, errors) = open(&download, &[]);
    assert!(is_success, "{errors}");
    assert_eq!(out, format!("{name}: accepted 6001 spans and 2 log records\n{url}\n"));
    let received = exporter.trace(TRACE, 6001, 2).await;
    assert!(received["spans"] == expected["spans"] && received["logs"] == expected["logs"]);
    assert_eq!(exporter.get(&format!("/trace/{TRACE}")).await.status(), 200);

    // A Collector writes one document a line.
    let span = |trace: u8, id: &str| {
        let span = json!({ "traceId": format!("{trace:032x}"), "spanId": id, "name": "a", "startTimeUnixNano": "1", "endTimeUnixNano": "2" });
        json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] })
    };
    let lines = file("lines", &format!("{}\n{}\n", span(1, "00f067aa0ba902b7"), span(2, "00f067aa0ba902b8")));
    let (is_success, out, errors) = open(&lines, &["--json"]);
    assert!(is_success, "{errors}");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&out["spans"], &out["log_records"], &out["traces"][1]["url"]),
        (&json!(2), &json!(0), &json!(format!("{}/trace/{:032x}", exporter.view, 2)))
    );

    // What the receiver accepts, and lines that cost no other.
    let odd = span(4, "00f067aa0ba902b9").to_string();
    let odd =
        odd.replace("\"a\"", &format!("\"cut \\ud83d\",\"new\":{}1e999{}", "[".repeat(150), "]".repeat(150)));
    let twice = r#"{"resourceSpans":[],"resourceSpans":[null]}"#;
    let cut = &span(6, "00f067aa0ba902b7").to_string()[..60];
    let mixed = dir.path().join("mixed");
    let text = [
        &b"\xef\xbb\xbf"[..],
        odd.as_bytes(),
        b"\n{\"resourceSpans\":{\"a\":1}}\n",
        span(5, "00f067aa0ba902ba").to_string().replace("\"a\"", "\"\u{e9}\"").as_bytes(),
        b"\n{\"resourceSpans\":[],\"other\":\"\xff\"}\n",
        twice.as_bytes(),
        b"\n",
        cut.as_bytes(),
    ]
    .concat();
    std::fs::write(&mixed, text).unwrap();
    let (is_success, out, errors) = open(&mixed, &[]);
    assert!(!is_success && out.contains("accepted 2 spans and 0 log records"), "{out} {errors}");
    let refused = [2, 5, 6].map(|line| errors.contains(&format!("{}:{line}: ", mixed.display())));
    assert_eq!((refused, errors.matches("mixed:").count()), ([true; 3], 3), "{errors}");

    for (file, expected) in [
        (file("text", "not JSON"), "it is not OTLP/JSON: expected"),
        (file("other", r#"{"traces": []}"#), "no \"resourceSpans\" and no \"resourceLogs\""),
        (file("ids", &span(3, "0").to_string()), "spans rejected: "),
        (file("type", r#"{"resourceSpans": [7]}"#), "value of the wrong type"),
        (dir.path().join("missing"), "No such file"),
    ] {
        let (is_success, _, errors) = open(&file, &[]);
        assert!(
            !is_success && errors.contains(expected) && errors.contains(&file.display().to_string()),
            "{errors}"
        );
    }
    let (is_success, _, errors) = open(&download, &["--to", "http://127.0.0.1:1"]);
    assert!(!is_success && errors.contains("no exporter responds at http://127.0.0.1:1/ (--to)"), "{errors}");
}

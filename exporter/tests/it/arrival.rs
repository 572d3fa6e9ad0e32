//! Spans and lines without a time have that of their arrival, wherever they are shown.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Exporter, command, eventually};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
const SOURCE: &str = "logtracer.time_source";

async fn post(exporter: &Exporter, path: &str, body: &Value) {
    let post = reqwest::Client::new().post(format!("{}{path}", exporter.http));
    let response =
        post.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
}

#[tokio::test]
async fn what_has_no_time_has_that_of_its_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::write(&log, format!("{{\"trace\":\"{TRACE}\",\"message\":\"of a file\"}}\n")).unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--tail").arg(&log);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let exporter = Exporter::spawn(command);

    let record = |members: Value| {
        let mut record = json!({ "traceId": TRACE, "body": { "stringValue": "of a record" } });
        record.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        record
    };
    let records = [
        record(json!({})),
        record(json!({ "timeUnixNano": "0", "observedTimeUnixNano": "0", "flags": 1 })),
        json!({ "body": { "stringValue": "without a trace" } }),
    ];
    post(&exporter, "/v1/logs", &json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] }))
        .await;
    let span = |id: u32, start: u64, end: u64| {
        json!({ "traceId": TRACE, "spanId": format!("{id:016x}"), "name": format!("span {id}"),
                "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string() })
    };
    let past = u64::try_from(before).unwrap();
    let spans = [span(1, 0, 0), span(2, past, 0), span(3, 0, past)];
    post(&exporter, "/v1/traces", &json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }))
        .await;
    let zipkin = json!([{ "traceId": TRACE, "id": "0000000000000004", "name": "of Zipkin" }]);
    post(&exporter, "/api/v2/spans", &zipkin).await;

    let trace = exporter.trace(TRACE, 4, 3).await;
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let is_now = |time: &Value| (before..=after).contains(&time.as_str().unwrap().parse().unwrap());
    for line in trace["logs"].as_array().unwrap() {
        assert!(is_now(&line["time_unix_nano"]), "{line}");
        // The line of a file is unchanged. The line of a record has the time of its row.
        let year = line["line"]["time"].as_str().map(|time| time[..4].parse::<u32>().unwrap());
        assert_eq!(year.is_none(), line["message"] == "of a file", "{line}");
        assert!(year.is_none_or(|year| year > 2000), "{line}");
    }
    for (span, source) in
        trace["spans"].as_array().unwrap().iter().map(|span| (span, span["attributes"][SOURCE].as_str()))
    {
        let expected = match span["name"].as_str().unwrap() {
            "span 2" => "start",
            "span 3" => "end",
            _ => "arrival",
        };
        assert_eq!(source, Some(expected), "{span}");
        assert!(is_now(&span["start_time_unix_nano"]), "{span}");
        assert_eq!(span["start_time_unix_nano"], span["end_time_unix_nano"], "{span}");
    }
    let lines = eventually("all lines", async || {
        let logs = exporter.json("/api/logs").await["logs"].as_array().unwrap().clone();
        (logs.len() == 4).then_some(logs)
    })
    .await;
    assert!(lines.iter().all(|line| is_now(&line["time_unix_nano"])), "{lines:?}");

    let document = exporter.json(&format!("/api/traces/{TRACE}?format=otlp")).await.to_string();
    assert_eq!(document.matches("observedTimeUnixNano").count(), 2, "{document}");
    for path in ["/", "/logs", &format!("/trace/{TRACE}"), &format!("/api/traces/{TRACE}"), "/api/logs"] {
        let text = exporter.get(path).await.text().await.unwrap();
        assert!(!text.contains("1970"), "{path}: {text}");
    }
}

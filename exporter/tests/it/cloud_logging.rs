//! The sink `cloud-logging` with a Cloud Logging that rejects what Google's documentation forbids.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::json;

use crate::google::{MetadataServer, error};
use crate::google_logging::CloudLogging;
use crate::harness::{Exporter, command, eventually, number, string};
use crate::receiver::Answer;
use crate::sink_logs::{log_request, send_logs};
use crate::sinks::dead_letters;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: now(),
        severity_number: 17,
        body: Some(AnyValue { value: Some(Any::StringValue(message.to_owned())) }),
        attributes: vec![string("user", "ada"), number("items", 3)],
        trace_id: vec![0x46; 16],
        span_id: vec![0x0a; 8],
        flags: 1,
        ..Default::default()
    }
}

fn records(messages: &[&str]) -> ExportLogsServiceRequest {
    log_request("shop", messages.iter().map(|message| record(message)).collect())
}

fn to_cloud_logging(dir: &Path, server: &CloudLogging) -> Command {
    let mut command = command(dir);
    command
        .args(["--sink", "cloud-logging", "--auth", "none", "--project", "mesh-project"])
        .args(["--cloud-logging-endpoint", &server.receiver.url]);
    command
}

async fn messages(server: &CloudLogging, expected: &[&str]) {
    eventually("the entries", async || (server.messages() == expected).then_some(())).await;
}

const DELIVERED: &str = "logtracer_exporter_log_records_delivered_total{sink=\"cloud-logging\"}";
const REJECTED: &str =
    "logtracer_exporter_log_records_dropped_total{sink=\"cloud-logging\",reason=\"rejected\"}";

/// The lines of a machine without an agent belong to the machine, and their traces to their own projects.
#[tokio::test]
async fn tailed_lines_have_their_machine() {
    let (server, metadata_server) = (CloudLogging::start(|_| None).await, MetadataServer::start(3600).await);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let trace = "projects/other-2/traces/463ac35c9f6413ad48485a3953bb6124";
    let line =
        json!({ "message": "shop - started", "severity": "INFO", "logging.googleapis.com/trace": trace });
    std::fs::write(&log, format!("{line}\n")).unwrap();
    let mut command = to_cloud_logging(dir.path(), &server);
    command.env("GCE_METADATA_HOST", metadata_server.host().replace("127.0.0.1", "localhost"));
    // The metadata server of a proxy's machine would describe that machine.
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1");
    command.arg("--tail").arg(&log);
    let _exporter = Exporter::spawn(command);
    let (entry, _) = eventually("the entry", async || server.stored().pop()).await;
    let labels = json!({ "project_id": "mesh-project", "instance_id": "4567", "zone": "europe-west1-b" });
    assert_eq!(entry.json["resource"], json!({ "type": "gce_instance", "labels": labels }));
    assert_eq!(entry.json["trace"], trace);
}

#[tokio::test]
async fn entries_are_within_the_limits_of_cloud_logging() {
    let server = CloudLogging::start(|_| None).await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    let mut odd: Vec<LogRecord> = (0..7).map(|n| record(&format!("odd {n}"))).collect();
    odd[0].body = Some(AnyValue { value: Some(Any::StringValue("large".repeat(60 << 10))) });
    odd[1].body = Some(AnyValue { value: Some(Any::StringValue("\u{1}".repeat(300 << 10))) });
    odd[2].attributes = (0..2000).map(|n| string(&format!("key {n}"), &"ä😀".repeat(50))).collect();
    odd[3].attributes = vec![
        string("gcp.log_name", &"a/b ".repeat(300)),
        string("gcp.http_request", "{\"status\":200,\"bad\":1}"),
    ];
    odd[4].attributes = vec![string(&"k".repeat(5000), "v"), string("log.record.uid", &"u".repeat(2000))];
    (odd[5].severity_number, odd[5].time_unix_nano) = (99, 0);
    (odd[6].trace_id, odd[6].span_id) = (vec![0; 16], vec![]);
    send_logs(&exporter, &log_request(&"shop".repeat(500), odd)).await;
    let stored = eventually("7 entries", async || {
        let stored = server.stored();
        (stored.len() == 7).then_some(stored)
    })
    .await;
    exporter.wait_for_metric(DELIVERED, 7.).await;
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
    assert_eq!(server.receiver.answered(400), 0);
    let of = |message: &str| &stored.iter().find(|(it, _)| it.message().starts_with(message)).unwrap().0;
    for cut in ["large", "\u{1}", "odd 2"] {
        assert_eq!(of(cut).typed.labels["logtracer.truncated"], "true", "{cut:?}");
    }
    assert!(of("large").message().len() > 200 << 10);
    let truncated = "logtracer_exporter_log_records_truncated_total{sink=\"cloud-logging\"}";
    assert_eq!(exporter.metric(truncated).await, 7., "all have the long name of the service");
    let entry = &of("odd 3").typed;
    assert_eq!(entry.http_request.as_ref().unwrap().status, 200);
    assert_eq!((entry.severity.name(), entry.trace_sampled), (Some("ERROR"), true));
    assert_eq!(entry.trace, format!("projects/mesh-project/traces/{}", "46".repeat(16)));
}

/// The server has stored the entries when the exporter is killed, and the exporter does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_sent_twice_is_stored_once() {
    let is_silent = Arc::new(AtomicBool::new(true));
    let silent = is_silent.clone();
    let server = CloudLogging::start_with(
        |_| None,
        move |_, answer| {
            let delay = if silent.load(Ordering::SeqCst) { Duration::from_secs(60) } else { Duration::ZERO };
            Answer { delay, ..answer }
        },
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    // Two of them are equal in all fields.
    let mut request = records(&["a", "b", "c"]);
    let all = &mut request.resource_logs[0].scope_logs[0].log_records;
    all.push(all[0].clone());
    send_logs(&exporter, &request).await;
    messages(&server, &["a", "a", "b", "c"]).await;
    exporter.kill();
    is_silent.store(false, Ordering::SeqCst);

    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    exporter.wait_for_metric(DELIVERED, 4.).await;
    let counts: Vec<usize> = server.stored().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [2, 2, 2, 2], "each was written twice and stored once");
}

/// The batch is too large for one call.
#[tokio::test]
async fn equal_records_of_a_batch_are_all_stored() {
    let server = CloudLogging::start(|_| None).await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    send_logs(&exporter, &log_request("shop", vec![record("a"); 2500])).await;
    exporter.wait_for_metric(DELIVERED, 2500.).await;
    let counts: Vec<usize> = server.stored().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1; 2500]);
}

#[tokio::test]
async fn only_the_entries_that_failed_are_retried_or_rejected() {
    let busy = AtomicUsize::new(0);
    let server = CloudLogging::start(move |entry| match entry.message() {
        "busy" if busy.fetch_add(1, Ordering::SeqCst) < 2 => Some((14, "try again".to_owned())),
        "bad" => Some((3, "this text is not allowed".to_owned())),
        _ => None,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    let mut request = records(&["a", "bad", "b", "busy", "c", "old"]);
    // Older than the retention of the log.
    request.resource_logs[0].scope_logs[0].log_records[5].time_unix_nano -= 40 * 24 * 3600 * 1_000_000_000;
    send_logs(&exporter, &request).await;
    messages(&server, &["a", "b", "busy", "c"]).await;
    exporter.wait_for_metric(DELIVERED, 4.).await;
    exporter.wait_for_metric(REJECTED, 2.).await;
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    assert!(server.stored().iter().all(|(_, count)| *count == 1), "the others are written once");
    let list = dead_letters(dir.path(), &["list"]);
    // Both have the same code.
    assert!(list.contains("2 log records  gRPC code 3: this text is not allowed"), "{list}");
    assert_eq!(list.lines().count(), 1, "{list}");
}

#[tokio::test]
async fn entries_of_the_future_are_not_sent() {
    let server = CloudLogging::start(|_| None).await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    let mut request = records(&["a", "b", "c"]);
    request.resource_logs[0].scope_logs[0].log_records[1].time_unix_nano += 25 * 3600 * 1_000_000_000;
    send_logs(&exporter, &request).await;
    messages(&server, &["a", "c"]).await;
    exporter.wait_for_metric(REJECTED, 1.).await;
    let list = dead_letters(dir.path(), &["list"]);
    assert!(list.contains("of the next 24 hours"), "{list}");
    assert_eq!(server.receiver.answered(400), 0);
}

#[tokio::test]
async fn a_quota_and_a_missing_permission_are_waited_for() {
    let server = CloudLogging::start_with(
        |_| None,
        |call, answer| match call {
            1 => Answer {
                headers: vec![("retry-after", "2".to_owned())],
                ..error(429, "RESOURCE_EXHAUSTED", "Quota exceeded")
            },
            2 => error(403, "PERMISSION_DENIED", "Permission 'logging.logEntries.create' denied"),
            _ => answer,
        },
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    send_logs(&exporter, &records(&["a"])).await;
    eventually("a refusal", async || (server.receiver.answered(429) == 1).then_some(())).await;
    let start = Instant::now();
    let error = exporter.line("logtracer-exporter - delivery failed, retrying")["error"].to_string();
    assert!(error.contains("Quota exceeded"), "{error}");
    exporter.wait_for_metric(DELIVERED, 1.).await;
    assert!(start.elapsed() >= Duration::from_millis(1800), "{:?}", start.elapsed());
    assert_eq!(
        (server.receiver.answered(403), dead_letters(dir.path(), &["list"])),
        (1, "no dead letters\n".to_owned())
    );
}

#[tokio::test]
async fn a_call_of_which_no_entry_was_written_is_waited_for() {
    let server = CloudLogging::start_with(
        |_| None,
        |call, answer| {
            let errors = serde_json::json!({
                "0": {"code": 14, "message": "try again"}, "1": {"code": 8, "message": "Quota exceeded"}
            });
            let details = serde_json::json!([{ "logEntryErrors": errors }]);
            let body = serde_json::json!({ "error": { "code": 503, "details": details } });
            let headers = vec![("retry-after", "2".to_owned())];
            if call == 1 { Answer { headers, ..Answer::new(503, body.to_string()) } } else { answer }
        },
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    send_logs(&exporter, &records(&["a", "b"])).await;
    eventually("a refusal", async || (server.receiver.answered(503) == 1).then_some(())).await;
    let start = Instant::now();
    exporter.wait_for_metric(DELIVERED, 2.).await;
    assert!(start.elapsed() >= Duration::from_millis(1800), "{:?}", start.elapsed());
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
}

#[tokio::test]
async fn each_record_is_written_to_its_project() {
    let server = CloudLogging::start(|entry| {
        let is_locked = entry.typed.log_name.starts_with("projects/locked-project/");
        is_locked.then(|| (7, "no access".to_owned()))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::spawn(to_cloud_logging(dir.path(), &server));
    let mut all = records(&["own"]);
    for project in ["other-project", "locked-project"] {
        let mut one = records(&[project]);
        let resource = one.resource_logs[0].resource.as_mut().unwrap();
        resource.attributes.push(string("gcp.project_id", project));
        all.resource_logs.append(&mut one.resource_logs);
    }
    send_logs(&exporter, &all).await;
    messages(&server, &["other-project", "own"]).await;
    let names: Vec<_> = server.stored().into_iter().map(|(entry, _)| entry.typed.log_name).collect();
    assert_eq!(names, ["projects/other-project/logs/shop", "projects/mesh-project/logs/shop"]);
    let list = eventually("a dead letter", async || {
        Some(dead_letters(dir.path(), &["list"])).filter(|list| list.contains("locked-project"))
    })
    .await;
    assert!(list.contains("project locked-project: HTTP 403 Forbidden: no access"), "{list}");
}

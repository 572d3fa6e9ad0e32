//! Log records to the sinks `otlp`, `telemetry` and `stdout`.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;

use crate::google::error;
use crate::harness::{Exporter, START, command, eventually, request, span, string};
use crate::receiver::{Answer, Receiver, Request, strict_otlp};
use crate::sinks::{TRACE, dead_letters, exporter};

/// Returns a request with the log records of one service.
pub(crate) fn log_request(service: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![string("service.name", service)],
                ..Default::default()
            }),
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// Sends log records, which must be accepted.
pub(crate) async fn send_logs(exporter: &Exporter, request: &ExportLogsServiceRequest) {
    let post = reqwest::Client::new().post(format!("{}/v1/logs", exporter.http));
    let post = post.header("content-type", "application/x-protobuf").body(request.encode_to_vec());
    let response = post.send().await.expect("a response");
    assert_eq!(response.status(), 200, "{:?}", response.bytes().await);
}

/// Returns log records of the trace, with the messages `line 1`, `line 2` and so on.
fn lines(count: u64) -> Vec<LogRecord> {
    let line = |n: u64| LogRecord {
        time_unix_nano: START + n,
        severity_number: 9,
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: 1u64.to_be_bytes().to_vec(),
        body: Some(AnyValue { value: Some(Any::StringValue(format!("line {n}"))) }),
        ..Default::default()
    };
    (1..=count).map(line).collect()
}

async fn send_both(exporter: &Exporter, spans: u64, records: u64) {
    send_logs(exporter, &log_request("shop", lines(records))).await;
    exporter.send(&request("shop", (1..=spans).map(|id| span(TRACE, id, 0, "work", id, 1)).collect())).await;
}

/// Decodes a request for log records.
fn logs(request: &Request) -> Option<ExportLogsServiceRequest> {
    let is_logs = request.uri.path() == "/v1/logs"
        && request.headers.get("content-type").is_some_and(|value| value == "application/x-protobuf");
    is_logs.then(|| ExportLogsServiceRequest::decode(&request.body[..]).ok())?
}

/// Returns the messages of the log records that were accepted.
pub(crate) fn messages(receiver: &Receiver) -> Vec<String> {
    let requests = receiver.accepted().into_iter().filter_map(|request| logs(&request));
    let scopes = requests.flat_map(|request| request.resource_logs).flat_map(|resource| resource.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    let mut messages: Vec<String> = records
        .map(|record| match record.body.unwrap().value {
            Some(Any::StringValue(text)) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    messages.sort();
    messages
}

pub(crate) fn spans(receiver: &Receiver) -> usize {
    receiver.accepted().iter().filter(|request| request.uri.path() == "/v1/traces").count()
}

/// Answers as a receiver of both signals.
pub(crate) fn both(request: &Request) -> Answer {
    if logs(request).is_some() { Answer::ok() } else { strict_otlp(request) }
}

/// Answers as a receiver that has only traces, such as Tempo.
fn only_traces(request: &Request) -> Answer {
    if request.uri.path() == "/v1/logs" {
        Answer::new(404, "404 page not found\n")
    } else {
        strict_otlp(request)
    }
}

fn metric(name: &str, sink: &str, more: &str) -> String {
    format!("logtracer_exporter_{name}{{sink=\"{sink}\"{more}}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signals_go_to_a_receiver_of_otlp() {
    for scheme in ["http", "grpc"] {
        let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let second = Exporter::start(second_dir.path());
        let address = if scheme == "http" { &second.http } else { &second.grpc };
        let sink = format!("otlp={scheme}://{}", address.strip_prefix("http://").unwrap());
        let first = exporter(first_dir.path(), &[&sink]);
        send_both(&first, 5, 7).await;
        second.trace(TRACE, 5, 7).await;
        first.wait_for_metric(&metric("spans_delivered_total", &sink, ""), 5.).await;
        first.wait_for_metric(&metric("log_records_delivered_total", &sink, ""), 7.).await;
        assert_eq!(dead_letters(first_dir.path(), &["list"]), "no dead letters\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sink_gets_its_signals() {
    let (tempo, loki) = (Receiver::start(both).await, Receiver::start(both).await);
    let dir = tempfile::tempdir().unwrap();
    let sinks = [format!("otlp={},signals=traces", tempo.url), format!("otlp={},signals=logs", loki.url)];
    let exporter = exporter(dir.path(), &[&sinks[0], &sinks[1]]);
    send_both(&exporter, 2, 3).await;
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    assert_eq!((spans(&tempo), messages(&tempo).len()), (1, 0));
    assert_eq!(
        (spans(&loki), messages(&loki)),
        (0, ["line 1", "line 2", "line 3"].map(str::to_owned).to_vec())
    );
    // The names of the sinks have no signals, so that a cursor stays.
    for (receiver, spans, records) in [(&tempo, 2., 0.), (&loki, 0., 3.)] {
        let sink = format!("otlp={}", receiver.url);
        exporter.wait_for_metric(&metric("spans_delivered_total", &sink, ""), spans).await;
        exporter.wait_for_metric(&metric("log_records_delivered_total", &sink, ""), records).await;
    }
}

/// The log records become dead letters, and are delivered when the receiver takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_without_log_records_does_not_hold_up_spans() {
    let takes_logs = Arc::new(AtomicBool::new(false));
    let takes = takes_logs.clone();
    let receiver =
        Receiver::start(
            move |request: &Request| {
                if takes.load(Ordering::SeqCst) { both(request) } else { only_traces(request) }
            },
        )
        .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", receiver.url);
    let mut exporter = exporter(dir.path(), &[&sink]);
    for _ in 0..3 {
        send_both(&exporter, 4, 6).await;
    }
    exporter.wait_for_metric(&metric("spans_delivered_total", &sink, ""), 12.).await;
    let unsupported = metric("log_records_dropped_total", &sink, ",reason=\"unsupported\"");
    exporter.wait_for_metric(&unsupported, 18.).await;
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    let line = exporter
        .line("logtracer-exporter - the sink seems to take no log records: set --sink NAME,signals=traces");
    assert_eq!((&line["severity"], &line["sink"]), (&"WARNING".into(), &sink.as_str().into()));
    let list = dead_letters(dir.path(), &["list"]);
    assert!(list.contains("log records  no log records at /v1/logs: HTTP 404 Not Found"), "{list}");

    takes_logs.store(true, Ordering::SeqCst);
    dead_letters(dir.path(), &["retry", "--all"]);
    let expected: Vec<String> = (1..=6).map(|n| format!("line {n}")).collect();
    eventually("the log records", async || {
        let mut all = messages(&receiver);
        all.dedup();
        (all == expected).then_some(())
    })
    .await;

    // It has accepted log records, so the same response is an outage now.
    takes_logs.store(false, Ordering::SeqCst);
    let retries = metric("delivery_retries_total", &sink, "");
    let before = exporter.metric(&retries).await;
    send_both(&exporter, 1, 1).await;
    eventually("a retry", async || (exporter.metric(&retries).await > before).then_some(())).await;
    takes_logs.store(true, Ordering::SeqCst);
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    assert_eq!(exporter.metric(&unsupported).await, 18.);
}

/// The spans that come at last do not wait behind log records that have failed for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_records_alone_find_out_that_a_receiver_takes_only_spans() {
    let receiver = Receiver::start(|request: &Request| {
        // An empty request is a success (https://opentelemetry.io/docs/specs/otlp/#full-success-1).
        let is_empty = request.uri.path() == "/v1/traces" && request.body.is_empty();
        if is_empty { Answer::ok() } else { only_traces(request) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", receiver.url);
    let exporter = exporter(dir.path(), &[&sink]);
    send_logs(&exporter, &log_request("shop", lines(3))).await;
    let unsupported = metric("log_records_dropped_total", &sink, ",reason=\"unsupported\"");
    exporter.wait_for_metric(&unsupported, 3.).await;
    assert!(receiver.answered(404) <= 2, "{} calls", receiver.answered(404));
    send_both(&exporter, 1, 2).await;
    exporter.wait_for_metric(&metric("spans_delivered_total", &sink, ""), 1.).await;
    exporter.wait_for_metric(&unsupported, 5.).await;
}

/// Something else that answers 404 to everything does not cost the log records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_records_wait_while_spans_are_not_accepted_either() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let receiver = Receiver::start(move |request: &Request| {
        if up.load(Ordering::SeqCst) { both(request) } else { Answer::new(404, "no such host") }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", receiver.url);
    let exporter = exporter(dir.path(), &[&sink]);
    send_both(&exporter, 1, 2).await;
    eventually("some refusals", async || (receiver.answered(404) >= 3).then_some(())).await;
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
    is_up.store(true, Ordering::SeqCst);
    eventually("both", async || (messages(&receiver).len() == 2 && spans(&receiver) == 1).then_some(()))
        .await;
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
}

#[tokio::test]
async fn rejected_log_records_of_an_accepted_call_are_dead_letters() {
    let receiver = Receiver::start(|request: &Request| match logs(request) {
        Some(_) => {
            let partial_success = Some(ExportLogsPartialSuccess {
                rejected_log_records: 2,
                error_message: "too old".to_owned(),
            });
            let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
            let headers = vec![("content-type", "application/x-protobuf".to_owned())];
            Answer { headers, ..Answer::new(200, body) }
        }
        None => strict_otlp(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}/v1/logs", receiver.url);
    let exporter = exporter(dir.path(), &[&sink]);
    send_both(&exporter, 1, 5).await;
    exporter.wait_for_metric(&metric("log_records_delivered_total", &sink, ""), 3.).await;
    exporter.wait_for_metric(&metric("log_records_dropped_total", &sink, ",reason=\"rejected\""), 2.).await;
    exporter.wait_for_metric(&metric("spans_delivered_total", &sink, ""), 1.).await;
    let list = dead_letters(dir.path(), &["list"]);
    assert!(list.contains("5 log records  2 of 5 items were rejected: too old"), "{list}");
}

#[tokio::test]
async fn the_telemetry_api_gets_log_records_with_their_project() {
    let receiver = Receiver::start(both).await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command
        .args(["--sink", "telemetry", "--auth", "none", "--project", "mesh-project"])
        .args(["--telemetry-endpoint", &receiver.url]);
    let exporter = Exporter::spawn(command);
    let mut records = lines(2);
    records[1].body = Some(AnyValue { value: Some(Any::StringValue("x".repeat(300 << 10))) });
    send_logs(&exporter, &log_request("shop", records)).await;
    eventually("2 records", async || (messages(&receiver).len() == 2).then_some(())).await;
    for request in receiver.accepted() {
        for resource in logs(&request).unwrap().resource_logs {
            assert_eq!(resource.resource.unwrap().attributes[0], string("gcp.project_id", "mesh-project"));
        }
    }
    assert_eq!(messages(&receiver)[1].len(), 96 << 10, "an entry has at most 256 KiB");
}

/// As with `roles/telemetry.tracesWriter`.
#[tokio::test]
async fn a_role_for_spans_alone_does_not_hold_up_spans() {
    let receiver = Receiver::start(|request: &Request| match logs(request) {
        Some(_) => error(403, "PERMISSION_DENIED", "Permission 'telemetry.logs.write' denied"),
        None => strict_otlp(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command
        .args(["--sink", "telemetry", "--auth", "none", "--project", "mesh-project"])
        .args(["--telemetry-endpoint", &receiver.url]);
    let exporter = Exporter::spawn(command);
    send_both(&exporter, 3, 4).await;
    exporter.wait_for_metric(&metric("spans_delivered_total", "telemetry", ""), 3.).await;
    let unsupported = metric("log_records_dropped_total", "telemetry", ",reason=\"unsupported\"");
    exporter.wait_for_metric(&unsupported, 4.).await;
    let list = dead_letters(dir.path(), &["list"]);
    let reason = "4 log records  HTTP 403 Forbidden: Permission";
    assert!(list.contains(reason) && list.contains("telemetry.logs.write"), "{list}");
}

#[tokio::test]
async fn stdout_has_a_line_for_each_log_record() {
    use std::io::BufRead;
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path()).args(["--sink", "stdout"]).stderr(Stdio::inherit()).spawn().unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let (sender, mut addresses) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        for line in stdout.lines() {
            let object: Value = serde_json::from_str(&line.unwrap()).expect("JSON");
            if let Some(address) = object["http"].as_str() {
                sender.send(address.to_owned()).unwrap();
            }
            let record = &object["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
            if let Some(message) = record["body"]["stringValue"].as_str() {
                assert_eq!(record["traceId"], TRACE);
                found.push(message.to_owned());
            }
            if found.len() == 3 {
                break;
            }
        }
        found
    });
    let address = addresses.recv().await.unwrap();
    let post = reqwest::Client::new().post(format!("http://{address}/v1/logs"));
    let body = log_request("shop", lines(3)).encode_to_vec();
    let response = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let found = tokio::time::timeout(crate::harness::DEADLINE, reading).await.unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, ["line 1", "line 2", "line 3"]);
}

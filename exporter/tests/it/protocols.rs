//! The other protocols: OTLP/gRPC, log records, Zipkin.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::json;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt;

use crate::harness::{Exporter, START, command, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

fn logs(messages: &[&str]) -> ExportLogsServiceRequest {
    let trace_id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec();
    let record = |(index, message): (usize, &&str)| LogRecord {
        time_unix_nano: START + index as u64,
        severity_number: 17,
        body: Some(AnyValue { value: Some(Any::StringValue((*message).to_owned())) }),
        trace_id: trace_id.clone(),
        span_id: 1u64.to_be_bytes().to_vec(),
        ..Default::default()
    };
    let log_records = messages.iter().enumerate().map(record).collect();
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    }
}

#[tokio::test]
async fn grpc_accepts_traces_and_logs_with_and_without_gzip() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut traces = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
    let response = traces.export(request("shop", vec![span(TRACE, 1, 0, "plain", 0, 9)])).await.unwrap();
    assert_eq!(response.get_ref().partial_success, None);
    let mut traces = traces.send_compressed(CompressionEncoding::Gzip);
    traces.export(request("shop", vec![span(TRACE, 2, 1, "compressed", 1, 2)])).await.unwrap();
    let mut logs_client = LogsServiceClient::connect(exporter.grpc.clone())
        .await
        .unwrap()
        .send_compressed(CompressionEncoding::Gzip);
    logs_client.export(logs(&["over gRPC"])).await.unwrap();

    let trace = exporter.trace(TRACE, 2, 1).await;
    assert_eq!(
        (&trace["spans"][0]["name"], &trace["spans"][1]["name"]),
        (&json!("plain"), &json!("compressed"))
    );
    assert_eq!(trace["logs"][0]["message"], "over gRPC");
    assert_eq!(trace["logs"][0]["severity"], "ERROR");

    let mut bad = span(TRACE, 3, 0, "bad", 0, 1);
    bad.span_id = vec![];
    let response = traces.export(request("shop", vec![bad, span(TRACE, 4, 0, "good", 0, 1)])).await.unwrap();
    let partial = response.into_inner().partial_success.unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (1, "spans rejected: span id without 8 bytes (1)")
    );
    exporter.trace(TRACE, 3, 1).await;
}

#[tokio::test]
async fn grpc_errors_have_a_code_and_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--outbox-max-bytes", "400", "--sink", "otlp=http://127.0.0.1:9"]);
    let exporter = Exporter::spawn(command);
    let mut client = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
    let of = |length| request("shop", vec![span(TRACE, 1, 0, &"x".repeat(length), 0, 1)]);
    let too_large = client.export(of(500)).await.unwrap_err();
    assert_eq!(too_large.code(), Code::InvalidArgument);
    assert!(
        too_large.message().contains("in the outbox, which accepts at most 400 in one batch"),
        "{}",
        too_large.message()
    );
    client.export(of(200)).await.unwrap();
    let full = client.export(of(200)).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().starts_with("the outbox is full"), "{}", full.message());
    let delay = full.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(delay, Some(Duration::from_secs(2)));

    let long = request("shop", vec![span(TRACE, 1, 0, &"x".repeat(9 << 20), 0, 1)]);
    let too_long = client.export(long).await.unwrap_err();
    assert_eq!(
        (too_long.code(), too_long.message()),
        (Code::InvalidArgument, "the body is longer than 8 MiB")
    );
    assert!(too_long.get_details_retry_info().is_none());

    // Unknown methods, and requests that are not gRPC.
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let unknown = http2
        .post(format!("{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", exporter.grpc))
        .header("content-type", "application/grpc")
        .send()
        .await
        .unwrap();
    assert_eq!((unknown.status().as_u16(), &unknown.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
    let plain = reqwest::get(format!("{}/v1/traces", exporter.grpc)).await.unwrap();
    assert_eq!(plain.status(), 415);
    assert!(plain.text().await.unwrap().contains("this is a gRPC endpoint"));
}

#[tokio::test]
async fn log_records_are_accepted_in_protobuf_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    let url = format!("{}/v1/logs", exporter.http);
    let body = logs(&["first", "second"]).encode_to_vec();
    // Records that arrive twice are stored once.
    for _ in 0..2 {
        let post = client.post(&url).header("content-type", "application/x-protobuf").body(body.clone());
        let response = post.send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.bytes().await.unwrap().len()), (200, 0));
    }
    let json = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeLogs": [{ "logRecords": [{
            "timeUnixNano": (START + 5).to_string(), "severityText": "NOTICE", "traceId": TRACE,
            "body": { "stringValue": "third" }, "attributes": [{ "key": "n", "value": { "intValue": "3" } }],
        }] }],
    }] });
    let post = client.post(&url).header("content-type", "application/json").body(json.to_string());
    assert_eq!(post.send().await.unwrap().text().await.unwrap(), "{}");

    let trace = exporter.trace(TRACE, 0, 3).await;
    let log = &trace["logs"][2];
    assert_eq!(
        (&log["severity"], &log["message"], &log["span_id"]),
        (&json!("NOTICE"), &json!("third"), &json!(null))
    );
    assert_eq!(
        log["line"],
        json!({
            "severity": "NOTICE", "time": "2023-11-14T22:13:20.000000005Z", "message": "third", "trace": TRACE,
            "labels": { "service.name": "shop" }, "n": 3,
        })
    );
    assert_eq!(exporter.metric("logtracer_exporter_log_records_received_total").await, 5.);
    exporter.wait_for_metric("logtracer_exporter_log_records_delivered_total{sink=\"store\"}", 5.).await;
}

#[tokio::test]
async fn zipkin_spans_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let client = reqwest::Client::new();
    let url = format!("{}/api/v2/spans", exporter.http);
    let body = json!([
        { "traceId": TRACE, "id": "0000000000000001", "kind": "CLIENT", "name": "get /stock",
          "timestamp": START / 1000, "duration": 5000, "localEndpoint": { "serviceName": "shop" } },
        { "traceId": TRACE, "id": "0000000000000001", "kind": "SERVER", "name": "get /stock", "shared": true,
          "timestamp": START / 1000 + 1000, "duration": 3000, "localEndpoint": { "serviceName": "stock" },
          "tags": { "error": "no stock" } },
    ]);
    let post = client.post(&url).header("content-type", "application/json").body(body.to_string());
    let response = post.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (202, ""));
    let trace = exporter.trace(TRACE, 2, 0).await;
    let server = &trace["spans"][1];
    assert_eq!(server["parent_span_id"], "0000000000000001");
    assert_eq!(server["service_name"], "stock");
    assert_eq!(server["status"], json!({ "code": "error", "message": "no stock" }));

    for (content_type, body, status, message) in [
        ("application/json", "{", 400, "the body is not a list of Zipkin v2 spans in JSON"),
        // A span without ids is left out and counted.
        ("application/json", "[{}]", 202, ""),
        (
            "application/x-thrift",
            "",
            415,
            "content type \"application/x-thrift\" is not supported: send application/json",
        ),
    ] {
        let post = client.post(&url).header("content-type", content_type).body(body);
        let response = post.send().await.unwrap();
        assert_eq!(response.status(), status);
        let text = response.text().await.unwrap();
        assert!(text.starts_with(message), "{text}");
    }
}

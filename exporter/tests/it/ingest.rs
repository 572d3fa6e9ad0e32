//! OTLP/HTTP: accepted spans appear in the API; invalid and too large requests are rejected with the reason.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Exporter, START, command, eventually, failed, request, span, string};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[tokio::test]
async fn spans_in_protobuf_become_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut root = span(TRACE, 1, 0, "GET /basket", 0, 100);
    root.attributes = vec![string("http.request.method", "GET")];
    let query = failed(span(TRACE, 3, 2, "SELECT", 20, 10), "no such table");
    exporter.send(&request("shop", vec![root])).await;
    exporter.send(&request("store", vec![query, span(TRACE, 2, 1, "GET /items", 10, 50)])).await;

    let trace = exporter.trace(TRACE, 3, 0).await;
    let root = &trace["spans"][0];
    assert_eq!(
        root,
        &json!({
            "span_id": "0000000000000001",
            "parent_span_id": null,
            "name": "GET /basket",
            "kind": "server",
            "service_name": "shop",
            "start_time_unix_nano": START.to_string(),
            "end_time_unix_nano": (START + 100_000_000).to_string(),
            "status": { "code": "unset", "message": "" },
            "attributes": { "http.request.method": "GET" },
            "events": [],
            "links": [],
            "resource": { "service.name": "shop" },
            "scope": "",
        })
    );
    assert_eq!(trace["spans"][1]["parent_span_id"], "0000000000000001");
    assert_eq!(trace["spans"][2]["status"], json!({ "code": "error", "message": "no such table" }));

    let list = exporter.json("/api/traces?limit=5").await;
    assert_eq!(
        list,
        json!({ "traces": [{
            "trace_id": TRACE,
            "root_name": "GET /basket",
            "root_service": "shop",
            "root_status": "",
            "service_names": ["shop", "store"],
            "span_count": 3,
            "log_count": 0,
            "error_count": 1,
            "start_unix_nano": START.to_string(),
            "duration_nano": "100000000",
        }], "next_cursor": null, "is_interrupted": false })
    );
    assert_eq!(exporter.metric("logtracer_exporter_spans_received_total").await, 3.);
    assert_eq!(exporter.metric("logtracer_exporter_spans_committed_total").await, 3.);
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 3.).await;
}

#[tokio::test]
async fn gzip_and_json_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let body = gzip(&request("shop", vec![span(TRACE, 1, 0, "compressed", 0, 1)]).encode_to_vec());
    let response = exporter.post_with(PROTOBUF, Some("gzip"), body).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
        (200, PROTOBUF)
    );
    assert_eq!(response.bytes().await.unwrap(), "", "an empty ExportTraceServiceResponse");

    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
        "traceId": TRACE, "spanId": "0000000000000002", "parentSpanId": "0000000000000001", "name": "json",
        "kind": 3, "startTimeUnixNano": START.to_string(), "endTimeUnixNano": START.to_string(),
    }] }] }] });
    for (encoding, body) in
        [(None, body.to_string().into_bytes()), (Some("gzip"), gzip(body.to_string().as_bytes()))]
    {
        let response = exporter.post_with(JSON, encoding, body).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (200, JSON)
        );
        assert_eq!(response.text().await.unwrap(), "{}");
    }
    let trace = exporter.trace(TRACE, 2, 0).await;
    let kinds: Vec<&Value> = trace["spans"].as_array().unwrap().iter().map(|span| &span["kind"]).collect();
    assert_eq!(kinds, ["server", "client"], "the span that arrived twice is stored once");
}

#[tokio::test]
async fn invalid_spans_are_rejected_and_the_others_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut bad = span(TRACE, 2, 0, "bad", 0, 1);
    bad.trace_id = vec![0; 16];
    let body = request("shop", vec![bad, span(TRACE, 1, 0, "good", 0, 1)]);
    let response = exporter.post(PROTOBUF, body.encode_to_vec()).await.unwrap();
    assert_eq!(response.status(), 200);
    let response = ExportTraceServiceResponse::decode(response.bytes().await.unwrap()).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert_eq!(partial.error_message, "spans rejected: trace id is zero (1)");
    assert_eq!(exporter.trace(TRACE, 1, 0).await["spans"][0]["name"], "good");

    let response = exporter.post(JSON, serde_json::to_vec(&body).unwrap()).await.unwrap();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(
        body,
        json!({ "partialSuccess": {
            "rejectedSpans": "1", "errorMessage": "spans rejected: trace id is zero (1)",
        } })
    );
    let rejected = "logtracer_exporter_spans_rejected_total{reason=\"trace id is zero\"}";
    assert_eq!(exporter.metric(rejected).await, 2.);
}

#[tokio::test]
async fn errors_have_a_code_and_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let too_long = vec![0; (8 << 20) + 1];
    for (content_type, encoding, body, status, code, message) in [
        (
            PROTOBUF,
            None,
            b"\xff\xff".to_vec(),
            400,
            3,
            "the body is not an ExportTraceServiceRequest in protobuf: ",
        ),
        (JSON, None, b"{".to_vec(), 400, 3, "the body is not an ExportTraceServiceRequest in JSON: EOF"),
        (PROTOBUF, Some("gzip"), b"not gzip".to_vec(), 400, 3, "the body is not valid gzip: "),
        (
            PROTOBUF,
            Some("gzip"),
            gzip(&vec![0; 17 << 20]),
            413,
            3,
            "the decompressed body is longer than 16 MiB",
        ),
        (
            PROTOBUF,
            Some("br"),
            vec![],
            415,
            12,
            "content encoding \"br\" is not supported: send gzip or none",
        ),
        (JSON, None, too_long, 413, 3, "the body is longer than 8 MiB"),
        (
            "text/plain",
            None,
            vec![],
            415,
            3,
            "content type \"text/plain\" is not supported: send application/x-protobuf",
        ),
    ] {
        let response = exporter.post_with(content_type, encoding, body).await.unwrap();
        assert_eq!(response.status(), status, "{message}");
        let response_type = if content_type == PROTOBUF { PROTOBUF } else { JSON };
        assert_eq!(response.headers()["content-type"], response_type);
        let body = response.bytes().await.unwrap();
        let got = if response_type == PROTOBUF {
            Status::decode(body).unwrap()
        } else {
            let value: Value = serde_json::from_slice(&body).unwrap();
            let message = value["message"].as_str().unwrap().to_owned();
            Status { code: value["code"].as_i64().unwrap() as i32, message }
        };
        assert_eq!(got.code, code);
        assert!(got.message.starts_with(message), "{} / {message}", got.message);
    }
    assert_eq!(exporter.metric("logtracer_exporter_requests_rejected_total{reason=\"malformed\"}").await, 2.);

    let client = reqwest::Client::new();
    for (request, status, code, reason) in [
        (client.get(format!("{}/v1/traces", exporter.http)), 405, 12, "method"),
        (client.post(format!("{}/v1/nothing", exporter.http)), 404, 5, "no such path"),
    ] {
        let response = request.header("content-type", PROTOBUF).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(Status::decode(response.bytes().await.unwrap()).unwrap().code, code);
        let rejected = format!("logtracer_exporter_requests_rejected_total{{reason=\"{reason}\"}}");
        assert_eq!(exporter.metric(&rejected).await, 1.);
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_when_decoded_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let good = request("shop", vec![span(TRACE, 1, 0, "good", 0, 1)]);
    let mut bomb = good.encode_to_vec();
    bomb.extend([0x0a, 0].repeat(8_000_000));
    let bomb = gzip(&bomb);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let response = exporter.post_with(PROTOBUF, Some("gzip"), bomb).await.unwrap();
    assert_eq!(response.status(), 413);
    let status = Status::decode(response.bytes().await.unwrap()).unwrap();
    assert!(status.message.starts_with("the decoded body takes more than 32 MiB"), "{}", status.message);

    let json = format!("{{\"resourceSpans\":[{{}}{}]}}", ",{}".repeat(5 << 20));
    // Resources without spans are left out while they are read.
    let response = exporter.post_with(JSON, Some("gzip"), gzip(json.as_bytes())).await.unwrap();
    assert_eq!(response.status(), 200);
    let rejected = "logtracer_exporter_requests_rejected_total{reason=\"too large decoded\"}";
    assert_eq!(exporter.metric(rejected).await, 1.);

    exporter.send(&good).await;
    exporter.trace(TRACE, 1, 0).await;
}

#[tokio::test]
async fn a_full_outbox_responds_429() {
    let dir = tempfile::tempdir().unwrap();
    let mut down = command(dir.path());
    down.args(["--outbox-max-bytes", "1000", "--sink", "otlp=http://127.0.0.1:9"]);
    let exporter = Exporter::spawn(down);
    let body = |length| request("shop", vec![span(TRACE, 1, 0, &"x".repeat(length), 0, 1)]).encode_to_vec();

    // A body that can never fit is rejected as too large.
    let name: String =
        (1..100u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let long = request("shop", vec![span(TRACE, 1, 0, &name, 0, 1)]).encode_to_vec();
    let response = exporter.post(PROTOBUF, long).await.unwrap();
    assert_eq!(response.status(), 413);
    assert!(response.headers().get("retry-after").is_none());
    let status = Status::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(status.code, 3);
    assert!(
        status.message.contains("in the outbox, which accepts at most 1000 in one batch"),
        "{}",
        status.message
    );

    let mut accepted = 0;
    let response = loop {
        let response = exporter.post(PROTOBUF, body(200)).await.unwrap();
        if response.status() != 200 {
            break response;
        }
        accepted += 1;
    };
    assert!((2..5).contains(&accepted), "{accepted}");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "2");
    let status = Status::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(status.code, 8);
    assert!(status.message.starts_with("the outbox is full"), "{}", status.message);
    exporter.kill();

    // The waiting batches are delivered when a sink is available.
    let mut up = command(dir.path());
    up.args(["--outbox-max-bytes", "1000", "--sink", "store"]);
    let exporter = Exporter::spawn(up);
    let response = exporter.post(PROTOBUF, body(200)).await.unwrap();
    assert!([200, 429].contains(&response.status().as_u16()));
    eventually("free space", async || {
        (exporter.post(PROTOBUF, body(200)).await.unwrap().status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_can_have_50000_spans_and_not_more() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let spans = |count| (1..=count).map(|id| span(TRACE, id, 0, "", 0, 0)).collect();
    for (count, status) in [(50_000, 200), (50_001, 413)] {
        let response = exporter.post(PROTOBUF, request("shop", spans(count)).encode_to_vec()).await.unwrap();
        assert_eq!(response.status(), status, "{count}");
    }
}

//! Bodies that other programs send and few readers expect: gzip of several members, and text that is not UTF-8.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Exporter, START, eventually, request, span, string};
use crate::receiver::{Answer, Receiver};
use crate::sinks::exporter;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

const TRACES_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS_METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends a request over HTTP. Returns the status and the body of the response as text.
async fn post(url: &str, content_type: &str, encoding: &str, body: Vec<u8>) -> (u16, String) {
    let post = reqwest::Client::new().post(url).header("content-type", content_type);
    let response = post.header("content-encoding", encoding).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

/// Makes a call of OTLP/gRPC with these bytes as its message. Returns the message of the status, if it is an error.
async fn call(exporter: &Exporter, method: &str, is_gzip: bool, message: &[u8]) -> Option<String> {
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[u8::from(is_gzip)], &length[..], message].concat();
    let mut post =
        client.post(format!("{}{method}", exporter.grpc)).header("content-type", "application/grpc");
    if is_gzip {
        post = post.header("grpc-encoding", "gzip");
    }
    let response = post.body(frame).send().await.unwrap();
    // The status of a success is in the trailers.
    let status = response.headers().get("grpc-message")?;
    Some(percent_encoding::percent_decode(status.as_bytes()).decode_utf8_lossy().into_owned())
}

/// Compresses the first byte, the others, and nothing as a member each.
fn members(body: &[u8]) -> Vec<u8> {
    [gzip(&body[..1]), gzip(&body[1..]), gzip(b"")].concat()
}

#[tokio::test]
async fn gzip_of_several_members_is_accepted_by_every_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let otlp = |id| request("shop", vec![span(TRACE, id, 0, "GET /", 0, 1)]).encode_to_vec();
    let traces = format!("{}/v1/traces", exporter.http);
    let protobuf = "application/x-protobuf";
    assert_eq!(post(&traces, protobuf, "gzip", members(&otlp(1))).await.0, 200);
    let zipkin = json!([{ "traceId": TRACE, "id": "2", "timestamp": START / 1000 }]).to_string();
    let zipkin_url = format!("{}/api/v2/spans", exporter.http);
    let json = "application/json";
    assert_eq!(post(&zipkin_url, json, "GZIP", members(zipkin.as_bytes())).await.0, 202);
    assert_eq!(call(&exporter, TRACES_METHOD, true, &members(&otlp(3))).await, None);
    exporter.trace(TRACE, 3, 0).await;

    // What follows the last member, and a checksum that is wrong.
    let tail = [members(&otlp(4)), b"tail".to_vec()].concat();
    let expected = "the body is not valid gzip: the last member is followed by 4 bytes that are not gzip";
    let (status, message) = post(&traces, protobuf, "gzip", tail.clone()).await;
    assert!(status == 400 && message.contains(expected), "{status} {message}");
    let (status, message) = post(&zipkin_url, json, "gzip", tail.clone()).await;
    assert!(status == 400 && message.contains(expected), "{status} {message}");
    assert_eq!(call(&exporter, TRACES_METHOD, true, &tail).await.as_deref(), Some(expected));
    let mut corrupt = gzip(&otlp(4));
    let checksum = corrupt.len() - 8;
    corrupt[checksum] ^= 1;
    assert_eq!(post(&traces, protobuf, "gzip", [corrupt, gzip(b"")].concat()).await.0, 400);

    // The sum of all members is limited.
    let half = gzip(&vec![0; 9 << 20]);
    let (status, message) = post(&traces, protobuf, "gzip", half.repeat(2)).await;
    assert!(status == 413 && message.contains("the decompressed body is longer than 16 MiB"), "{message}");
    for encoding in ["zstd", "gzip, gzip"] {
        let (status, message) = post(&traces, protobuf, encoding, otlp(4)).await;
        assert!(status == 415 && message.contains("send gzip or none"), "{status} {message}");
    }
    exporter.trace(TRACE, 3, 0).await;
}

/// Encodes a message, in which `~~` becomes a byte that is not UTF-8 and `~`.
fn invalid(message: &impl Message) -> Vec<u8> {
    let mut body = message.encode_to_vec();
    let marks: Vec<usize> = (1..body.len()).filter(|at| body[at - 1..].starts_with(b"~~")).collect();
    assert!(!marks.is_empty());
    marks.iter().for_each(|at| body[at - 1] = 0xff);
    body
}

/// Returns two spans. Envoy records the header `user-agent` as it came.
fn spans(trace: &str) -> ExportTraceServiceRequest {
    let mut bad = span(trace, 1, 0, "GET /caf~~", 0, 1);
    bad.attributes = vec![string("user_agent", "x~~y"), string("k~~", "v")];
    let mut good = span(trace, 2, 1, "GET /café", 0, 1);
    good.attributes = vec![string("user_agent", "curl/8")];
    request("shop", vec![bad, good])
}

fn records(trace: &str) -> ExportLogsServiceRequest {
    let record = |text: &str| LogRecord {
        time_unix_nano: START,
        severity_text: "WARN".to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) }),
        trace_id: u128::from_str_radix(trace, 16).unwrap().to_be_bytes().to_vec(),
        ..Default::default()
    };
    let log_records = vec![record("bad ~~"), record("good")];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_delivered_with_replacements() {
    let (otlp, zipkin) = (Receiver::start(|_| Answer::ok()).await, Receiver::start(|_| Answer::ok()).await);
    let dir = tempfile::tempdir().unwrap();
    let sinks = ["store".to_owned(), format!("otlp={}", otlp.url), format!("zipkin={}", zipkin.url)];
    let exporter = exporter(dir.path(), &sinks.each_ref().map(String::as_str));
    let (http_trace, grpc_trace) = (TRACE, "00000000000000000000000000000001");

    let url = |path: &str| format!("{}{path}", exporter.http);
    let protobuf = "application/x-protobuf";
    let sent = post(&url("/v1/traces"), protobuf, "identity", invalid(&spans(http_trace))).await;
    assert_eq!(sent, (200, String::new()), "nothing is left out");
    assert_eq!(post(&url("/v1/logs"), protobuf, "identity", invalid(&records(http_trace))).await.0, 200);
    assert_eq!(call(&exporter, TRACES_METHOD, false, &invalid(&spans(grpc_trace))).await, None);
    assert_eq!(call(&exporter, LOGS_METHOD, false, &invalid(&records(grpc_trace))).await, None);

    for trace in [http_trace, grpc_trace] {
        let page = exporter.trace(trace, 2, 2).await;
        let [bad, good] = [&page["spans"][0], &page["spans"][1]];
        assert_eq!((&bad["name"], &good["name"]), (&json!("GET /caf\u{fffd}~"), &json!("GET /café")));
        assert_eq!(bad["attributes"], json!({ "user_agent": "x\u{fffd}~y", "k\u{fffd}~": "v" }));
        assert_eq!(good["attributes"], json!({ "user_agent": "curl/8" }));
        assert_eq!(bad["resource"], good["resource"]);
        let mut messages = [&page["logs"][0], &page["logs"][1]].map(|log| log["message"].to_string());
        messages.sort_unstable();
        assert_eq!(messages, ["\"bad \u{fffd}~\"", "\"good\""]);
        assert_eq!(page["logs"][0]["severity"], "WARNING");
    }

    let names = eventually("the spans at the OTLP sink", async || {
        let requests: Vec<_> = otlp
            .accepted()
            .iter()
            .filter(|request| request.uri.path() == "/v1/traces")
            .map(|request| ExportTraceServiceRequest::decode(request.body.clone()).unwrap())
            .collect();
        let spans = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        let names: Vec<_> = spans.flat_map(|s| &s.spans).map(|span| span.name.clone()).collect();
        (names.len() == 4).then_some(names)
    })
    .await;
    assert_eq!(names.iter().filter(|name| *name == "GET /caf\u{fffd}~").count(), 2);
    let agents = eventually("the spans at the Zipkin sink", async || {
        let spans: Vec<Value> = zipkin
            .accepted()
            .iter()
            .flat_map(|request| serde_json::from_slice::<Vec<Value>>(&request.body).unwrap())
            .collect();
        (spans.len() == 4)
            .then(|| spans.iter().map(|span| span["tags"]["user_agent"].clone()).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(agents.iter().filter(|agent| **agent == json!("x\u{fffd}~y")).count(), 2);
    assert_eq!(agents.iter().filter(|agent| **agent == json!("curl/8")).count(), 2);
}

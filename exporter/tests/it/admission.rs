//! Many connections, and clients that promise more than they send: the others are still answered.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Exporter, eventually, request, span};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// The longest body that is accepted.
const MAX_BODY: usize = 8 << 20;

/// The preface and the empty settings of a client of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Raises the limit of open files of the tests.
fn raise_open_files() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
}

async fn connect(url: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

fn head(length: usize) -> Vec<u8> {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// The frame of the headers of a call of OTLP/gRPC that promises a body.
fn grpc_head(length: usize) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("content-length", &length.to_string()),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    [&length[1..], &[1, 4, 0, 0, 0, 1], &block].concat()
}

/// Sends a request over each protocol. Returns the longest time until a success.
async fn send_over_both(exporter: &Exporter) -> Duration {
    let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]);
    let start = Instant::now();
    exporter.send(&body).await;
    let mut grpc = TraceServiceClient::connect(exporter.grpc.clone()).await.unwrap();
    grpc.export(body).await.unwrap();
    start.elapsed()
}

#[tokio::test]
async fn promised_bodies_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(connect(&exporter.http, &head(MAX_BODY)).await);
        silent.push(connect(&exporter.grpc, &[PREFACE, &grpc_head(MAX_BODY)].concat()).await);
    }
    // Wait until the exporter has read them.
    exporter.wait_for_metric("logtracer_exporter_connections", 17.).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let time = send_over_both(&exporter).await;
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[tokio::test]
async fn clients_that_stop_sending_are_cut_off_when_others_wait() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut stopped = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&exporter.http, &head(MAX_BODY)).await;
        stream.write_all(&vec![10; MAX_BODY - 1]).await.unwrap();
        stopped.push(stream);
    }
    let time = send_over_both(&exporter).await;
    assert!(time < Duration::from_secs(4), "{time:?}");
    // A client that was cut off can retry. The exporter may still read what the clients have sent, so that the first
    // requests do not have to wait.
    let mut responses = JoinSet::new();
    for mut stream in stopped {
        responses.spawn(async move {
            let mut response = vec![0; 4096];
            let read = stream.read(&mut response).await.unwrap();
            String::from_utf8_lossy(&response[..read]).into_owned()
        });
    }
    let response = eventually("a client that is cut off", async || {
        send_over_both(&exporter).await;
        responses.try_join_next().map(Result::unwrap)
    })
    .await;
    assert!(response.starts_with("HTTP/1.1 429") && response.contains("retry-after: 2"), "{response}");
    assert!(response.contains("the body arrived too slowly"), "{response}");
}

#[tokio::test]
async fn idle_connections_do_not_fill_the_places() {
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(connect(&exporter.http, PREFACE).await);
        idle.push(connect(&exporter.grpc, PREFACE).await);
        idle.push(connect(&exporter.view, PREFACE).await);
    }
    let time = send_over_both(&exporter).await;
    assert!(time < Duration::from_secs(2), "{time:?}");
    assert_eq!(exporter.get("/healthz").await.status(), 200);
    let closed = "logtracer_exporter_connections_closed_total{reason=\"open files\"}";
    assert!(exporter.metric(closed).await > 300., "the connections of --view have their own limit");
}

#[tokio::test]
async fn two_thousand_senders_are_answered() {
    const SENDERS: usize = 2000;
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]).encode_to_vec();
    let message = [head(body.len()), body].concat();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let mut stream = connect(&exporter.http, b"").await;
        let message = message.clone();
        senders.spawn(async move {
            let mut slowest = Duration::ZERO;
            for _ in 0..3 {
                let start = Instant::now();
                stream.write_all(&message).await.unwrap();
                let mut response = vec![0; 4096];
                let read = stream.read(&mut response).await.unwrap();
                assert!(response[..read].starts_with(b"HTTP/1.1 200"), "{:?}", &response[..read]);
                slowest = slowest.max(start.elapsed());
            }
            slowest
        });
    }
    let slowest = senders.join_all().await.into_iter().max().unwrap();
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert_eq!(exporter.metric("logtracer_exporter_spans_committed_total").await, 3. * SENDERS as f64);
}

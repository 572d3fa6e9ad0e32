//! What views take of memory, whatever the store contains and however slowly clients read. The memory is that of the
//! running process: it is started anew on a full store, so that its peak is that of the views.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Exporter, START, eventually, request, span, string};

/// What the process may take at most, in MiB, and what views may add to it.
const MAX_MIB: u64 = 100;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// The traces of the test: what they contain, and their spans in several requests.
fn traces() -> Vec<(&'static str, Vec<Vec<Span>>)> {
    let texts = |text: &str, spans: u64, bytes: usize| {
        let attributes = vec![string("text", &text.repeat(bytes))];
        let of_span =
            |id| vec![Span { attributes: attributes.clone(), ..span(TRACE, id, id - 1, "work", id, 5) }];
        (1..=spans).map(of_span).collect()
    };
    let link = Link { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() };
    let event = Event { name: "e".to_owned(), attributes: vec![string("a", "b")], ..Default::default() };
    let many = |id: u64| {
        let (mut links, mut events) = (Vec::new(), Vec::new());
        if id.is_multiple_of(2) {
            links = vec![link.clone(); 60_000];
        } else {
            events = vec![event.clone(); 60_000];
        }
        vec![Span { links, events, ..span(TRACE, id, 1, "many", id, 5) }]
    };
    let spans: Vec<Span> = (1..=100_000).map(|id| span(TRACE, id, id / 10, "work", id, 5)).collect();
    let name = "\u{202e}<&\"\n".repeat(200_000);
    let names = |id: u64| vec![span(TRACE, id, id - 1, &name, id, 5)];
    vec![
        ("40 MB of attributes", texts("<", 40, 1_000_000)),
        ("control characters in spans of 15 MB", texts("\u{1}", 3, 15_000_000)),
        ("links, events and names", (1..=10).map(many).chain((11..=30).map(names)).collect()),
        ("100,000 spans", spans.chunks(20_000).map(<[Span]>::to_vec).collect()),
    ]
}

/// Returns requests with log records of the trace, 16 MB in total, one of them alone 8 MB.
fn records() -> Vec<Vec<u8>> {
    let record = |n: u64, bytes: usize| LogRecord {
        time_unix_nano: START + n,
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: n.to_be_bytes().to_vec(),
        body: Some(AnyValue { value: Some(Any::StringValue("\u{1}<".repeat(bytes / 2))) }),
        attributes: vec![string("text", &"\u{1}".repeat(bytes))],
        ..Default::default()
    };
    let export = |log_records| {
        let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec()
    };
    let small = (1..=4000).map(|n| record(n, 1000)).collect();
    vec![export(vec![record(5, 4_000_000)]), export(small)]
}

/// Fills the store of this directory, and stops the exporter.
async fn fill(dir: &Path, requests: Vec<Vec<Span>>) {
    let mut exporter = Exporter::start(dir);
    let mut total = 0;
    for spans in requests {
        total += spans.len();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&request("shop", spans).encode_to_vec()).unwrap();
        let body = gzip.finish().unwrap();
        let response = exporter.post_with("application/x-protobuf", Some("gzip"), body).await.unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
    }
    let client = reqwest::Client::new();
    for body in records() {
        let post = client
            .post(format!("{}/v1/logs", exporter.http))
            .header("content-type", "application/x-protobuf");
        assert_eq!(post.body(body).send().await.unwrap().status(), 200);
    }
    eventually("all spans", async || {
        let list = exporter.json("/api/traces").await;
        let trace = &list["traces"][0];
        (trace["span_count"] == total && trace["log_count"] == 4001).then_some(())
    })
    .await;
    exporter.terminate();
    exporter.wait_for_exit().await;
}

/// Reads the beginning of a view. Returns its length. Tries again while there are too many views.
async fn read(exporter: &Exporter, path: &str) -> usize {
    const MAX_BYTES: usize = 20 << 20;
    let mut response = eventually(path, async || {
        let response = exporter.get(path).await;
        (response.status() != 503).then_some(response)
    })
    .await;
    assert_eq!(response.status(), 200, "{path}");
    let mut length = 0;
    while length < MAX_BYTES
        && let Some(bytes) = response.chunk().await.unwrap()
    {
        length += bytes.len();
    }
    length
}

/// A client with a small receive buffer, which asks for a view and then reads nothing.
async fn silent(exporter: &Exporter, path: &str) -> TcpStream {
    let address = exporter.view.strip_prefix("http://").unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_of_large_texts_takes_little_memory() {
    measure(traces().into_iter().take(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_of_many_parts_takes_little_memory() {
    measure(traces().into_iter().skip(2)).await;
}

/// Measures the views of each trace, with their name.
#[expect(clippy::print_stdout, reason = "a test prints its figures")]
async fn measure(traces: impl Iterator<Item = (&'static str, Vec<Vec<Span>>)>) {
    let mut peaks = Vec::new();
    for (name, requests) in traces {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), requests).await;
        let exporter = Exporter::start(dir.path());
        read(&exporter, "/healthz").await;
        let before = exporter.peak_memory();
        let paths = [
            "/".to_owned(),
            format!("/trace/{TRACE}"),
            format!("/api/traces/{TRACE}"),
            format!("/trace/{TRACE}?span=0000000000000002&find=nowhere&lines=beside&time=aligned"),
            format!("/api/traces/{TRACE}?format=otlp"),
            format!("/trace/{TRACE}/spans/0000000000000002"),
            "/api/traces".to_owned(),
        ];
        let start = Instant::now();
        let mut lengths = Vec::new();
        for path in &paths {
            lengths.push(read(&exporter, path).await);
        }
        read(&exporter, &format!("/api/traces/{TRACE}/spans/0000000000000002")).await;
        let (took, one) = (start.elapsed(), exporter.peak_memory());
        // The page is no larger than what browsers can show.
        assert!(lengths[1] < 20 << 20, "{name}: a page of {} bytes", lengths[1]);

        let mut clients = Vec::new();
        for n in 0..64 {
            clients.push(silent(&exporter, &paths[1 + n % 5]).await);
            if n == 8 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        // Nobody waits for them for long.
        let start = Instant::now();
        read(&exporter, "/").await;
        read(&exporter, &paths[1]).await;
        let waited = start.elapsed();
        assert_eq!(exporter.get("/healthz").await.status(), 200);
        drop(clients);
        let slow = exporter.peak_memory();
        println!(
            "{name}: {before} MiB before, {one} after a view of each kind ({took:?}, {lengths:?} bytes), {slow} with 64 slow readers (others waited {waited:?})"
        );
        peaks.push((name, before, slow));
        assert!(waited < DEADLINE, "{name}: {waited:?}");
    }
    for (name, before, peak) in peaks {
        assert!(peak < MAX_MIB, "{name}: {before} MiB before, {peak} MiB at most");
    }
}

/// Starts an exporter, and stores a trace of 40 MB.
async fn with_large_trace(dir: &Path) -> Exporter {
    let exporter = Exporter::start(dir);
    for id in 1..=40 {
        let text = string("text", &"a".repeat(1_000_000));
        let large = Span { attributes: vec![text], ..span(TRACE, id, 0, "work", id, 5) };
        exporter.send(&request("shop", vec![large])).await;
    }
    exporter.wait_for_metric("logtracer_exporter_spans_delivered_total{sink=\"store\"}", 40.).await;
    exporter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = with_large_trace(dir.path()).await;
    let mut client = silent(&exporter, &format!("/api/traces/{TRACE}")).await;
    exporter.wait_for_metric("logtracer_exporter_views_cut_off_total{reason=\"slow\"}", 1.).await;
    // What is there ends without the end of the response.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"HTTP/1.1 200 OK") && !rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_views_are_rejected_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = with_large_trace(dir.path()).await;
    // All slots, all places in the queue, and some more.
    let mut clients = Vec::new();
    for _ in 0..32 + 128 + 30 {
        clients.push(silent(&exporter, &format!("/api/traces/{TRACE}")).await);
    }
    // On a slow machine, the first silent ones are cut off for others before the last ones ask.
    let mut response = String::new();
    for last in clients.iter_mut().rev().take(30) {
        let mut bytes = vec![0; 2048];
        let length = tokio::time::timeout(DEADLINE, last.read(&mut bytes)).await.unwrap().unwrap();
        response = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if response.starts_with("HTTP/1.1 503 ") {
            break;
        }
    }
    assert!(response.starts_with("HTTP/1.1 503 ") && response.contains("retry-after: 2\r\n"), "{response}");
    assert!(response.contains(r#"{"error":"too many views at the same time"#), "{response}");
    // The others are served in turn, and the silent ones are cut off for them.
    let list = eventually("the list", async || {
        let response = exporter.get("/api/traces").await;
        (response.status() == 200).then_some(response)
    });
    assert!(list.await.text().await.unwrap().contains(TRACE));
    assert!(exporter.metric("logtracer_exporter_views_cut_off_total{reason=\"busy\"}").await >= 1.);
}

//! The memory of the running exporter while many clients send the worst that the search in `receive/growth.rs` has
//! found, and connections hold what they can.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Exporter, command};

/// In MiB.
const MAX_MEMORY: u64 = 256;

const CLIENTS: usize = 24;

/// The longest body on the wire, and after decompression.
const MAX_WIRE: usize = 8 << 20;
const MAX_BODY: usize = 16 << 20;

/// A body, and where to send it.
struct Bad {
    path: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    is_gzip: bool,
}

/// Repeats a part with different numbers in place of `#`.
fn filled(before: &str, part: &str, after: &str, bytes: usize) -> Vec<u8> {
    let mut body = before.as_bytes().to_vec();
    for n in 0.. {
        let part = part.replace('#', &format!("{n:x}"));
        if body.len() + part.len() + after.len() + 1 > bytes {
            break;
        }
        if n > 0 {
            body.push(b',');
        }
        body.extend(part.as_bytes());
    }
    body.extend(after.as_bytes());
    body
}

/// Encloses bytes in a field of protobuf.
fn delimited(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut outer = vec![field << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend_from_slice(inner);
    outer
}

/// Returns the worst bodies of each format: valid ones that are large, and those that are large when they are decoded.
fn worst() -> Vec<Bad> {
    const SPAN: &str = r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0b#","kind":-1}"#;
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let (traces, logs, zipkin) = ("/v1/traces", "/v1/logs", "/api/v2/spans");
    let spans = |ids: u32, name: &[u8]| {
        let span = |n: u32| {
            let ids =
                [delimited(1, &[7; 16]), delimited(2, &(1 << 40 | u64::from(n)).to_be_bytes())].concat();
            delimited(2, &[&ids[..], &delimited(5, name)].concat())
        };
        delimited(1, &delimited(2, &(0..ids).flat_map(span).collect::<Vec<u8>>()))
    };
    let deep = |bytes: usize| format!("{{\"a\":{}{}}}", "[".repeat(bytes / 2 - 4), "]".repeat(bytes / 2 - 4));
    let minimal = r#"{"traceId":"1","id":"1#"}"#;
    let grouped =
        r#"{"traceId":"1","id":"1#","kind":"SERVER","shared":true,"localEndpoint":{"serviceName":"s#"}}"#;
    let bodies = |bytes: usize| {
        [
            (traces, protobuf, spans(50_000, &vec![b'a'; bytes / 50_000 - 50])),
            (traces, protobuf, spans(1000, &vec![0xff; bytes / 3000 - 50])),
            (traces, json, filled(r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#, SPAN, "]}]}]}", bytes)),
            (traces, json, deep(bytes).into_bytes()),
            (
                logs,
                json,
                filled(
                    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#,
                    "{\"body\":{\"stringValue\":\"#\\n\"}}",
                    "]}]}]}",
                    bytes.min(1 << 20),
                ),
            ),
            (zipkin, json, filled("[", minimal, "]", bytes.min(1_700_000))),
            (zipkin, json, filled("[", grouped, "]", bytes.min(4 << 20))),
            (zipkin, json, filled(r#"[{"traceId":"1","id":"1","tags":{"#, "\"#\":1", "}}]", bytes)),
        ]
    };
    let plain = bodies(MAX_WIRE - 64).into_iter().map(|(path, content_type, body)| Bad {
        path,
        content_type,
        body,
        is_gzip: false,
    });
    let compressed = bodies(MAX_BODY - 64).into_iter().map(|(path, content_type, body)| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body).unwrap();
        Bad { path, content_type, body: encoder.finish().unwrap(), is_gzip: true }
    });
    plain.chain(compressed).filter(|bad| bad.body.len() <= MAX_WIRE).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_bodies_from_many_clients_take_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    // With rules, each batch is observed as well.
    let mut command = command(dir.path());
    command.args(["--sink", "store,keep=error,keep=new-route"]);
    let exporter = Exporter::spawn(command);
    let bodies = std::sync::Arc::new(worst());
    // Connections with headers that never end.
    let mut silent = Vec::new();
    for _ in 0..2000 {
        let mut stream = TcpStream::connect(exporter.http.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!("POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(60 << 10));
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(head.as_bytes())).await;
        silent.push(stream);
    }
    println!("{} MiB with {} silent connections", exporter.peak_memory(), silent.len());
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for first in 0..CLIENTS {
        let (bodies, url) = (bodies.clone(), exporter.http.clone());
        clients.spawn(async move {
            let client = reqwest::Client::new();
            let mut statuses = Vec::new();
            for n in 0.. {
                if start.elapsed() > Duration::from_secs(15) {
                    break;
                }
                let bad = &bodies[(first + 5 * n) % bodies.len()];
                let mut post =
                    client.post(format!("{url}{}", bad.path)).header("content-type", bad.content_type);
                if bad.is_gzip {
                    post = post.header("content-encoding", "gzip");
                }
                statuses.push(
                    post.body(bad.body.clone()).send().await.map_or(0, |response| response.status().as_u16()),
                );
            }
            statuses
        });
    }
    let statuses = clients.join_all().await.concat();
    let count = |of: &[u16]| statuses.iter().filter(|status| of.contains(status)).count();
    println!(
        "{} requests: {} accepted, {} rejected, {} to be retried, {} failed; {} MiB",
        statuses.len(),
        count(&[200, 202]),
        count(&[400, 413]),
        count(&[429, 503]),
        count(&[0]),
        exporter.peak_memory()
    );
    // How many depends on the machine; the others are asked to retry.
    assert!(count(&[200, 202]) >= 5, "{statuses:?}");
    assert_eq!(count(&[200, 202, 400, 413, 429, 503, 0]), statuses.len(), "{statuses:?}");
    assert_eq!(exporter.get("/healthz").await.status(), 200);
    drop(silent);
    assert!(exporter.peak_memory() <= MAX_MEMORY, "{} MiB", exporter.peak_memory());
}

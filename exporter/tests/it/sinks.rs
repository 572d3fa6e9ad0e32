//! Sinks with receivers that are strict, slow, failing or absent.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;

use crate::harness::{Exporter, command, eventually, request, span};
use crate::listening::certificate;
use crate::load::AcknowledgedTraces;
use crate::receiver::{Answer, Receiver, Request, arrived, strict_otlp};

pub(crate) const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Starts an exporter with these sinks.
pub(crate) fn exporter(dir: &Path, sinks: &[&str]) -> Exporter {
    let mut command = command(dir);
    for sink in sinks {
        command.args(["--sink", sink]);
    }
    Exporter::spawn(command)
}

/// Returns the output of `logtracer-exporter dead-letters …`.
pub(crate) fn dead_letters(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_logtracer-exporter"))
        .args(["dead-letters", "--data-dir"])
        .arg(dir)
        .args(args)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn send(exporter: &Exporter, spans: u64) {
    for id in 1..=spans {
        exporter.send(&request("shop", vec![span(TRACE, id, 0, "work", id, 1)])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_do_not_hold_up_each_other() {
    let good = Receiver::start(strict_otlp).await;
    let slow =
        Receiver::start(|request: &Request| Answer { delay: Duration::from_secs(1), ..strict_otlp(request) })
            .await;
    let dir = tempfile::tempdir().unwrap();
    let (good_name, slow_name) = (format!("otlp={}", good.url), format!("otlp={}", slow.url));
    let down_name = "zipkin=http://127.0.0.1:9";
    let exporter = exporter(dir.path(), &["store", &good_name, &slow_name, down_name]);
    let start = Instant::now();
    for n in 1..=20u128 {
        let trace = format!("{n:032x}");
        let spans = (1..=1000).map(|id| span(&trace, id, 0, "work", id, 1)).collect();
        exporter.send(&request("shop", spans)).await;
    }
    let everywhere = async |receiver: &Receiver| {
        eventually("20000 spans", async || (arrived(&receiver.accepted()).len() == 20_000).then_some(()))
            .await;
    };
    everywhere(&good).await;
    let good_after = start.elapsed();
    everywhere(&slow).await;
    assert!(good_after < start.elapsed(), "the slow sink does not delay the good one");
    assert!(slow.max_in_flight() >= 3, "several calls at a time: {}", slow.max_in_flight());
    let metric = |name: &str, sink: &str| {
        let name = format!("logtracer_exporter_{name}{{sink=\"{sink}\"}}");
        let exporter = &exporter;
        async move { exporter.metric(&name).await }
    };
    for name in ["store", &good_name, &slow_name] {
        let delivered = async || (metric("spans_delivered_total", name).await == 20_000.).then_some(());
        eventually(name, delivered).await;
    }
    assert_eq!(metric("spans_delivered_total", down_name).await, 0.);
    assert_eq!(metric("sink_lag_batches", down_name).await, 20.);
    assert!(metric("delivery_retries_total", down_name).await >= 1.);
}

#[tokio::test]
async fn retry_after_is_respected_by_the_delivery() {
    let count = AtomicUsize::new(0);
    let receiver = Receiver::start(move |request: &Request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer { headers: vec![("retry-after", "3".to_owned())], ..Answer::new(429, "slow down") },
        _ => strict_otlp(request),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let exporter = exporter(dir.path(), &[&format!("otlp={}", receiver.url)]);
    send(&exporter, 1).await;
    eventually("a refusal", async || (receiver.answered(429) == 1).then_some(())).await;
    let start = Instant::now();
    eventually("a span", async || (receiver.answered(200) == 1).then_some(())).await;
    assert!(start.elapsed() >= Duration::from_millis(2800), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_page_is_not_a_delivery() {
    let is_logged_in = Arc::new(AtomicBool::new(false));
    let logged_in = is_logged_in.clone();
    let receiver = Receiver::start(move |request: &Request| {
        if logged_in.load(Ordering::SeqCst) {
            return strict_otlp(request);
        }
        let headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
        Answer { headers, ..Answer::new(200, "<html>please log in</html>") }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sinks = [format!("otlp={}", receiver.url), format!("zipkin={}", receiver.url)];
    let mut exporter = exporter(dir.path(), &[&sinks[0], &sinks[1]]);
    send(&exporter, 1).await;
    for _ in &sinks {
        let line = exporter.line("logtracer-exporter - delivery failed, retrying");
        assert!(line["error"].as_str().unwrap().contains("an HTML page"), "{line}");
    }
    for sink in &sinks {
        let delivered = format!("logtracer_exporter_spans_delivered_total{{sink=\"{sink}\"}}");
        assert_eq!(exporter.metric(&delivered).await, 0.);
    }
    is_logged_in.store(true, Ordering::SeqCst);
    let delivered = format!("logtracer_exporter_spans_delivered_total{{sink=\"{}\"}}", sinks[0]);
    exporter.wait_for_metric(&delivered, 1.).await;
}

#[tokio::test]
async fn a_blocked_stdout_delays_nothing() {
    use std::io::BufRead;
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        command(dir.path()).args(["--sink", "stdout", "--sink", "store", "--grace", "1s"]).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: Value = loop {
        let object: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if object["http"].is_string() {
            break object;
        }
    };
    // Much more than a pipe holds. Failed deliveries to stdout are logged, too.
    let name = "x".repeat(100);
    for n in 0..20 {
        let spans = (1..=500).map(|id| span(TRACE, n * 1000 + id, 0, &name, id, 1)).collect();
        post(ready["http"].as_str().unwrap(), &request("shop", spans));
    }
    let view = format!("http://{}", ready["view"].as_str().unwrap());
    let delivered = "logtracer_exporter_spans_delivered_total{sink=\"store\"} 10000";
    eventually("the store", async || {
        let text = reqwest::get(format!("{view}/metrics")).await.unwrap().text().await.unwrap();
        text.lines().any(|line| line == delivered).then_some(())
    })
    .await;
    let start = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = eventually("the end", async || child.try_wait().unwrap()).await;
    assert!(status.success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_rejected_span_is_listed_and_retried() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let receiver = Receiver::start(move |request: &Request| {
        let body = String::from_utf8_lossy(&request.body);
        if body.contains("bad") && !mended.load(Ordering::Relaxed) {
            return Answer::new(400, "this name is not allowed");
        }
        strict_otlp(request)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", receiver.url);
    let exporter = exporter(dir.path(), &[&sink]);
    let spans =
        (1..=200).map(|id| span(TRACE, id, 0, if id == 77 { "bad" } else { "good" }, id, 1)).collect();
    exporter.send(&request("shop", spans)).await;
    let arrives = async |count: usize| {
        eventually("spans", async || (arrived(&receiver.accepted()).len() == count).then_some(())).await;
    };
    arrives(199).await;
    let dropped = format!("logtracer_exporter_spans_dropped_total{{sink=\"{sink}\",reason=\"rejected\"}}");
    eventually("the count", async || (exporter.metric(&dropped).await == 1.).then_some(())).await;

    let list = dead_letters(dir.path(), &["list"]);
    assert!(
        list.contains(&format!(
            "{TRACE}/000000000000004d \"bad\"  HTTP 400 Bad Request: this name is not allowed"
        )),
        "{list}"
    );
    let object: Value = serde_json::from_str(&dead_letters(dir.path(), &["list", "--json"])).unwrap();
    let resource = &object["request"]["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "shop");
    let letters = format!("logtracer_exporter_dead_letters{{sink=\"{sink}\"}}");
    eventually("the metric", async || (exporter.metric(&letters).await == 1.).then_some(())).await;

    is_mended.store(true, Ordering::Relaxed);
    assert_eq!(dead_letters(dir.path(), &["retry", "--all"]), "1 queued for a retry\n");
    arrives(200).await;
    eventually("no letters", async || {
        (dead_letters(dir.path(), &["list"]) == "no dead letters\n").then_some(())
    })
    .await;
}

/// Kills the exporter three times while it receives spans and its sinks fail in several ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_failing_sinks_loses_nothing() {
    let count = AtomicUsize::new(0);
    let failing = Receiver::start(move |request: &Request| match count.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => Answer::new(503, "busy"),
        1 => Answer { headers: vec![("retry-after", "0".to_owned())], ..Answer::new(429, "slow down") },
        2 => Answer { delay: Duration::from_millis(30), ..strict_otlp(request) },
        _ => Answer::new(502, "oops"),
    })
    .await;
    let good = Receiver::start(strict_otlp).await;
    let picky = Receiver::start(|request: &Request| {
        let has_bad = request.body.windows(3).any(|bytes| bytes == b"bad");
        if has_bad { Answer::new(400, "bad") } else { strict_otlp(request) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sinks = [&failing, &good, &picky].map(|receiver| format!("otlp={}", receiver.url));
    let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
    let traces = AcknowledgedTraces::default();
    for round in 1..=3 {
        traces
            .send_until_killed(exporter(dir.path(), &sinks), (round, 4), 100 * round as usize, |trace| {
                let name = |id| if trace.ends_with(['0', '5', 'a', 'f']) && id == 7 { "bad" } else { "work" };
                (1..=10).map(|id| span(trace, id, 0, name(id), 0, 1)).collect()
            })
            .await;
    }

    let exporter = exporter(dir.path(), &sinks);
    let drained = async || (exporter.metric("logtracer_exporter_outbox_bytes").await == 0.).then_some(());
    eventually("an empty outbox", drained).await;
    let acknowledged = traces.take();
    assert!(acknowledged.len() >= 300);
    let letters = dead_letter_spans(dir.path());
    assert!(letters.iter().any(|letter| letter.is_rejected));
    for receiver in [&failing, &good, &picky] {
        let arrived = arrived(&receiver.accepted());
        for trace in &acknowledged {
            for id in 1..=10u64 {
                let key = (trace.clone(), format!("{id:016x}"));
                let letter = letters.iter().find(|it| it.sink.ends_with(&receiver.url) && it.span == key);
                // A span that was under way at every kill is set apart, though it may have arrived.
                let is_apart = letter.is_some_and(|letter| !letter.is_rejected);
                let places = usize::from(arrived.contains_key(&key)) + usize::from(letter.is_some());
                assert!(
                    places == 1 || (is_apart && places == 2),
                    "{key:?} is in {places} places: {letter:?}"
                );
            }
        }
    }
}

/// A span in the dead letters.
#[derive(Debug)]
struct DeadLetterSpan {
    sink: String,
    /// The trace id and the span id.
    span: (String, String),
    /// The sink has rejected it.
    is_rejected: bool,
}

/// Returns the spans of all dead letters, each of which has to be a single span.
fn dead_letter_spans(dir: &Path) -> Vec<DeadLetterSpan> {
    let list = dead_letters(dir, &["list", "--json"]);
    let letters = list.lines().map(|line| {
        let letter: Value = serde_json::from_str(line).unwrap();
        assert_eq!(letter["items"], 1, "{letter}");
        let span = &letter["request"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        DeadLetterSpan {
            sink: text(&letter["sink"]),
            span: (text(&span["traceId"]), text(&span["spanId"])),
            is_rejected: text(&letter["reason"]).contains("400"),
        }
    });
    letters.collect()
}

#[tokio::test]
async fn another_exporter_accepts_the_requests_of_the_sink_otlp() {
    for scheme in ["http", "grpc"] {
        let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let second = Exporter::start(second_dir.path());
        let address = if scheme == "http" { &second.http } else { &second.grpc };
        let address = address.strip_prefix("http://").unwrap();
        let first = exporter(first_dir.path(), &[&format!("otlp={scheme}://{address}")]);
        send(&first, 40).await;
        second.trace(TRACE, 40, 0).await;
    }
}

#[tokio::test]
async fn a_grpc_receiver_gets_the_token_it_requires() {
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tokens = second_dir.path().join("tokens");
    std::fs::write(&tokens, "a-good-token-of-32-characters-xy\n").unwrap();
    let mut wants = command(second_dir.path());
    wants.arg("--token-file").arg(&tokens);
    let second = Exporter::spawn(wants);
    let address = second.grpc.strip_prefix("http://").unwrap();
    let mut has = command(first_dir.path());
    has.args(["--sink", &format!("otlp=grpc://{address}")]);
    has.env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a-good-token-of-32-characters-xy");
    let first = Exporter::spawn(has);
    send(&first, 5).await;
    second.trace(TRACE, 5, 0).await;
}

#[tokio::test]
async fn a_receiver_needs_a_trusted_certificate() {
    let second_dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate();
    let file = |name: &str| second_dir.path().join(name);
    std::fs::write(file("cert.pem"), certificate).unwrap();
    std::fs::write(file("key.pem"), key).unwrap();
    let mut with_tls = command(&file("data"));
    with_tls.arg("--tls-cert").arg(file("cert.pem")).arg("--tls-key").arg(file("key.pem"));
    let second = Exporter::spawn(with_tls);
    for (scheme, address) in [("https", &second.http), ("grpcs", &second.grpc)] {
        let sink = address.replace("http://127.0.0.1", &format!("otlp={scheme}://localhost"));
        let delivered = format!("logtracer_exporter_spans_delivered_total{{sink=\"{sink}\"}}");
        let retries = format!("logtracer_exporter_delivery_retries_total{{sink=\"{sink}\"}}");
        let dir = tempfile::tempdir().unwrap();
        let stranger = exporter(dir.path(), &[&sink]);
        send(&stranger, 5).await;
        eventually("a refused certificate", async || (stranger.metric(&retries).await >= 1.).then_some(()))
            .await;
        assert_eq!(stranger.metric(&delivered).await, 0.);
        stranger.kill();

        let mut trusting = command(dir.path());
        trusting.args(["--sink", &sink]).env("SSL_CERT_FILE", file("cert.pem"));
        let trusting = Exporter::spawn(trusting);
        eventually("5 spans", async || (trusting.metric(&delivered).await == 5.).then_some(())).await;
    }
}

#[tokio::test]
async fn headers_and_passwords_are_sent_and_never_logged() {
    let receiver = Receiver::start(strict_otlp).await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    let address = receiver.url.strip_prefix("http://").unwrap();
    command.args(["--sink", &format!("otlp=http://user:secret@{address}?key=secret")]);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret%20key");
    let exporter = Exporter::spawn(command);
    send(&exporter, 1).await;
    eventually("a span", async || (!receiver.accepted().is_empty()).then_some(())).await;
    let request = &receiver.accepted()[0];
    assert_eq!(request.headers["api-key"], "secret key");
    assert_eq!(request.headers["authorization"], "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(request.uri.query(), Some("key=secret"));
    assert!(!exporter.get("/metrics").await.text().await.unwrap().contains("secret"));
}

#[tokio::test]
async fn stdout_has_a_line_for_each_span() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path()).args(["--sink", "stdout"]).spawn().unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let lines = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut spans = Vec::new();
        for line in stdout.lines() {
            let object: Value = serde_json::from_str(&line.unwrap()).expect("JSON");
            if let Some(address) = object["http"].as_str() {
                post(
                    address,
                    &request("shop", (1..=3).map(|id| span(TRACE, id, 0, "work", id, 1)).collect()),
                );
            }
            let span = &object["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
            if let Some(id) = span["spanId"].as_str() {
                spans.push(id.to_owned());
            }
            if spans.len() == 3 {
                break;
            }
        }
        spans
    });
    let spans = tokio::time::timeout(crate::harness::DEADLINE, lines).await.unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(spans, ["0000000000000001", "0000000000000002", "0000000000000003"]);
}

/// Sends a request without a runtime.
fn post(address: &str, request: &impl Message) {
    use std::io::{Read, Write};
    let body = request.encode_to_vec();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

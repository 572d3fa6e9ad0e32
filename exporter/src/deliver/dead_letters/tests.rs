use std::path::Path;
use std::sync::Arc;

use super::command::run;
use super::*;
use crate::config::Config;
use crate::deliver::Origin;
use clap::Parser;

fn chunk(ids: &[u8]) -> Chunk {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;
    let span = |id: &u8| Span {
        trace_id: vec![1; 16],
        span_id: vec![*id; 8],
        name: format!("GET /{id:02}\n"),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: ids.iter().map(span).collect(), ..Default::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }],
    };
    let items = u32::try_from(ids.len()).unwrap();
    Chunk::new(Signal::Traces, Slice::new(Origin::Batch(1), items, request.encode_to_vec().into()))
}

fn open(dir: &Path, max_bytes: u64) -> (DeadLetters, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (
        DeadLetters::open(&DataDir::unlocked(dir), max_bytes, DiskReserve::small(dir), metrics.clone())
            .unwrap(),
        metrics,
    )
}

/// Returns the output of `logtracer-exporter dead-letters …`.
fn run_command(dir: &Path, args: &[&str]) -> Result<String, String> {
    let command = ["logtracer-exporter", "dead-letters"].iter().chain(args);
    let config = Config::try_parse_from(command).map_err(|error| error.to_string())?;
    let Some(crate::config::Command::DeadLetters(command)) = config.command else { panic!("a command") };
    let mut out = Vec::new();
    run(&command, dir, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn they_are_listed_retried_and_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let (letters, _) = open(dir.path(), 1 << 20);
    letters.store("zipkin", &chunk(&[1]), "bad\u{7} name").await.unwrap();
    letters.store("zipkin", &chunk(&[1]), "again").await.unwrap();
    letters.store("cloud-trace", &chunk(&[2, 3]), "no access").await.unwrap();
    assert_eq!((letters.count("zipkin").await, letters.count("store").await), (Some(1), Some(0)));

    let list = run_command(dir.path(), &["list"]).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    let ids = "01010101010101010101010101010101/0101010101010101";
    assert!(
        lines[0].starts_with("1  2")
            && lines[0].ends_with(&format!("Z  zipkin  {ids} \"GET /01\\n\"  bad\\u{{7}} name")),
        "{list}"
    );
    assert!(lines[1].ends_with("cloud-trace  2 spans  no access"), "{list}");
    assert_eq!(lines.len(), 2, "equal slices are stored once: {list}");

    let json = run_command(dir.path(), &["list", "--json", "--sink", "zipkin"]).unwrap();
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&object["id"], &object["items"], &object["retry"]), (&1.into(), &1.into(), &false.into()));
    let span = &object["request"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["spanId"], "0101010101010101");

    assert_eq!(letters.to_retry("zipkin").await, []);
    assert_eq!(run_command(dir.path(), &["retry", "1"]).unwrap(), "1 queued for a retry\n");
    let retried = letters.to_retry("zipkin").await;
    assert_eq!((retried.len(), retried[0].id, retried[0].items), (1, 1, 1));
    assert!(run_command(dir.path(), &["list"]).unwrap().contains("(queued for a retry)"));
    letters.remove(&[1]).await.unwrap();
    assert_eq!(letters.to_retry("zipkin").await, []);

    for command in ["retry", "discard"] {
        assert_eq!(
            run_command(dir.path(), &[command, "--sink", "zipkin"]).unwrap_err(),
            "no dead letter of the sink \"zipkin\", but of cloud-trace; nothing was changed"
        );
    }
    assert_eq!(
        run_command(dir.path(), &["retry", "--sink", "cloud-trace"]).unwrap(),
        "1 queued for a retry\n"
    );
    assert_eq!(run_command(dir.path(), &["discard", "--all"]).unwrap(), "1 discarded\n");
    assert_eq!(run_command(dir.path(), &["list"]).unwrap(), "no dead letters\n");
    assert_eq!(run_command(dir.path(), &["retry", "--sink", "zipkin"]).unwrap(), "0 queued for a retry\n");
}

#[tokio::test]
async fn a_letter_that_is_rejected_again_is_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let (letters, _) = open(dir.path(), 1 << 20);
    letters.store("zipkin", &chunk(&[1]), "bad").await.unwrap();
    run_command(dir.path(), &["retry", "--all"]).unwrap();
    let retried = letters.to_retry("zipkin").await;
    letters.store("zipkin", &chunk(&[1]), "still bad").await.unwrap();
    letters.remove(&[retried[0].id]).await.unwrap();
    assert!(run_command(dir.path(), &["list"]).unwrap().ends_with("still bad\n"));
}

#[tokio::test]
async fn the_oldest_are_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let size = chunk(&[1]).bytes() as u64;
    let (letters, metrics) = open(dir.path(), 64 * size);
    for id in 1..=9 {
        letters.store("zipkin", &chunk(&[id]), "bad").await.unwrap();
    }
    run_command(dir.path(), &["discard", "1", "2", "3", "4", "5"]).unwrap();
    for id in 10..=75 {
        letters.store("zipkin", &chunk(&[id]), "bad").await.unwrap();
    }
    // 70 were left, of which a few more than 6 were evicted.
    assert_eq!(letters.count("zipkin").await, Some(64));
    assert!(metrics.render().contains("logtracer_exporter_dead_letters_evicted_total{sink=\"zipkin\"} 6"));
    let list = run_command(dir.path(), &["list"]).unwrap();
    assert!(list.starts_with("12 ") && list.contains("GET /75"), "{list}");
}

#[test]
fn mistakes_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let message = run_command(dir.path(), &["list"]).unwrap_err();
    assert_eq!(message, format!("no exporter data in {} (--data-dir)", dir.path().display()));
    drop(open(dir.path(), 1 << 20));
    assert_eq!(
        run_command(dir.path(), &["retry", "7"]).unwrap_err(),
        "no dead letter 7; nothing was changed"
    );
    for args in
        [&["retry"][..], &["discard"], &["retry", "--all", "1"], &["discard", "--all", "--sink", "zipkin"]]
    {
        let message = run_command(dir.path(), args).unwrap_err();
        assert!(message.contains("Usage: "), "{args:?}: {message}");
    }
}

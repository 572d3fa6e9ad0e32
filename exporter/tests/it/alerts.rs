//! The metrics of the alerts in charts/logtracer/files/alerts.yaml.

use std::time::Duration;

use crate::harness::{Exporter, command, eventually, request, span};
use crate::receiver::{Receiver, strict_otlp};
use crate::sinks::{TRACE, exporter};

/// The metrics of the alert `LogtracerSinkAcceptsNothing`, within a shorter time.
#[tokio::test]
async fn a_sink_that_accepts_nothing_is_seen_in_the_metrics() {
    let good = Receiver::start(strict_otlp).await;
    let dir = tempfile::tempdir().unwrap();
    let (good_name, down_name) = (format!("otlp={}", good.url), "zipkin=http://127.0.0.1:9");
    let exporter = exporter(dir.path(), &[&good_name, down_name]);
    let metric = async |name: &str, sink: &str| {
        exporter.metric(&format!("logtracer_exporter_sink_{name}{{sink=\"{sink}\"}}")).await
    };
    let started = metric("last_delivery_timestamp_seconds", down_name).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60. ..=now).contains(&started), "{started}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "work", 0, 1)])).await;
    eventually("a span", async || (metric("lag_batches", &good_name).await == 0.).then_some(())).await;
    assert!(metric("last_delivery_timestamp_seconds", &good_name).await > started);
    assert_eq!(metric("last_delivery_timestamp_seconds", down_name).await, started);
    assert_eq!(metric("lag_batches", down_name).await, 1.);
}

/// A sink that gets nothing, because of its rules or its signal, is not a sink that accepts nothing.
#[tokio::test]
async fn a_sink_with_nothing_to_accept_is_not_late() {
    let receiver = Receiver::start(strict_otlp).await;
    let dir = tempfile::tempdir().unwrap();
    let of_failed = format!("otlp={},keep=error", receiver.url);
    let of_logs = format!("otlp={}/logs,signals=logs", receiver.url);
    let mut command = command(dir.path());
    command.args(["--decision-wait", "100ms", "--sink", &of_failed, "--sink", &of_logs]);
    let exporter = Exporter::spawn(command);
    for name in [format!("otlp={}", receiver.url), format!("otlp={}/logs", receiver.url)] {
        let metric = format!("logtracer_exporter_sink_last_delivery_timestamp_seconds{{sink=\"{name}\"}}");
        let started = exporter.metric(&metric).await;
        exporter.send(&request("shop", vec![span(TRACE, 1, 0, "work", 0, 1)])).await;
        eventually("a later time", async || (exporter.metric(&metric).await > started).then_some(())).await;
    }
    assert_eq!(receiver.accepted().len(), 0);
}

//! Acknowledged data is never lost.

use std::time::Duration;

use crate::harness::{Exporter, command, eventually, request, span};
use crate::load::AcknowledgedTraces;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

const DROPPED: &str = "logtracer_exporter_outbox_batches_dropped_total";

/// Spans in one request.
const SPANS: u64 = 25;

/// Several clients send as fast as they can, in all protocols, while the process is killed. Three rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_acknowledgement_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let traces = AcknowledgedTraces::default();
    for round in 1..=3 {
        let exporter = Exporter::start(dir.path());
        assert_eq!(exporter.metric(DROPPED).await, 0., "nothing is damaged");
        traces
            .send_until_killed(exporter, (round, 8), 150 * round as usize, |trace| {
                (1..=SPANS).map(|id| span(trace, id, id - 1, "work", 0, 1)).collect()
            })
            .await;
    }

    let exporter = Exporter::start(dir.path());
    assert_eq!(exporter.metric(DROPPED).await, 0., "nothing is damaged");
    let acknowledged = traces.take();
    assert!(acknowledged.len() >= 450);
    for trace in &acknowledged {
        exporter.trace(trace, SPANS as usize, 0).await;
    }
    let waiting = async || (exporter.metric("logtracer_exporter_outbox_bytes").await == 0.).then_some(());
    eventually("an empty outbox", waiting).await;
}

#[tokio::test]
async fn sigterm_flushes_and_exits_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = Exporter::start(dir.path());
    for id in 1..=40 {
        exporter.send(&request("shop", vec![span(TRACE, id, 0, "work", id, 1)])).await;
    }
    exporter.terminate();
    let stopped = exporter.line("logtracer-exporter - stopped");
    assert_eq!((&stopped["delivered"], &stopped["flushed"]), (&true.into(), &true.into()));
    assert_eq!(exporter.wait_for_exit().await.code(), Some(0));

    let exporter = Exporter::start(dir.path());
    exporter.trace(TRACE, 40, 0).await;
}

/// The shutdown waits no longer than the grace period. The backlog of a sink that is down is kept for the next start.
#[tokio::test]
async fn the_shutdown_waits_for_a_sink_until_the_grace_period_ends() {
    let dir = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = command(dir.path());
    command.args(["--grace", "1s", "--sink", "store", "--sink", &format!("otlp=http://{unused}")]);
    let mut exporter = Exporter::spawn(command);
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "work", 0, 1)])).await;
    let begin = std::time::Instant::now();
    exporter.terminate();
    let stopped = exporter.line("logtracer-exporter - stopped");
    assert_eq!((&stopped["delivered"], &stopped["flushed"]), (&false.into(), &true.into()));
    assert_eq!(exporter.wait_for_exit().await.code(), Some(0));
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_open_connection_does_not_delay_the_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = Exporter::start(dir.path());
    let address = exporter.http.strip_prefix("http://").unwrap().to_owned();
    let idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    // The exporter has accepted it before the connection of this request.
    exporter.send(&request("shop", vec![span(TRACE, 1, 0, "work", 0, 1)])).await;
    let start = std::time::Instant::now();
    exporter.terminate();
    assert_eq!(exporter.wait_for_exit().await.code(), Some(0));
    // A connection may be silent for 10 s.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(idle);
}

#[tokio::test]
async fn a_batch_received_twice_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let batch = request("shop", vec![span(TRACE, 1, 0, "work", 0, 1), span(TRACE, 2, 1, "part", 0, 1)]);
    for _ in 0..3 {
        exporter.send(&batch).await;
    }
    let delivered = "logtracer_exporter_spans_delivered_total{sink=\"store\"}";
    eventually("delivery", async || (exporter.metric(delivered).await == 6.).then_some(())).await;
    tokio::time::timeout(Duration::from_secs(30), exporter.trace(TRACE, 2, 0)).await.unwrap();
    assert_eq!(exporter.json("/api/traces").await["traces"][0]["span_count"], 2);
}

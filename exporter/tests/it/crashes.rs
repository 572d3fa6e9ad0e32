//! Items that end the exporter each time that it delivers them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::Faults;
use crate::harness::{Exporter, command, eventually, request, span};
use crate::receiver::{Answer, Receiver, Request, arrived, strict_otlp};
use crate::sinks::{TRACE, dead_letters};

/// Starts exporters until one delivers everything. Returns it, and how many died before.
async fn restart_until_drained(start: &impl Fn() -> Option<Exporter>) -> (Exporter, usize) {
    for deaths in 0..10 {
        if let Some(mut exporter) = start()
            && exporter.drains().await
        {
            return (exporter, deaths);
        }
    }
    panic!("the exporter dies at each start");
}

async fn send(exporter: &Exporter, first: u64, names: &[&str]) {
    let spans = (first..).zip(names).map(|(id, name)| span(TRACE, id, 0, name, id, 1)).collect();
    exporter.send(&request("shop", spans)).await;
}

const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "poison", "h", "i", "j"];
const REASON: &str = "the exporter died each time when it delivered this item";

fn assert_only_the_poison_is_set_apart(dir: &Path, sink: &str) {
    let list = dead_letters(dir, &["list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains(&format!("{sink}  {TRACE}/0000000000000007 \"poison\"  {REASON}")), "{list}");
}

/// Starts a backend that ends the process with this id when it receives the poison. Until `is_up`, it accepts nothing.
async fn deadly_backend(pid: &Arc<AtomicU32>, is_up: &Arc<AtomicBool>) -> Receiver {
    let (pid, is_up) = (pid.clone(), is_up.clone());
    Receiver::start(move |request: &Request| {
        if !is_up.load(Ordering::SeqCst) {
            return Answer::new(503, "not now");
        }
        if request.body.windows(6).any(|bytes| bytes == b"poison") {
            // As the kernel does when the memory is exhausted.
            let pid = Pid::from_raw(pid.load(Ordering::SeqCst).cast_signed()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            return Answer::new(503, "nobody reads this");
        }
        strict_otlp(request)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_ends_the_exporter_at_each_delivery_becomes_a_dead_letter() {
    let pid = Arc::new(AtomicU32::new(0));
    let backend = deadly_backend(&pid, &Arc::new(AtomicBool::new(true))).await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", backend.url);
    let start = || {
        let mut command = command(dir.path());
        command.args(["--sink", &sink, "--sink", "store"]);
        Exporter::try_spawn(command, |id| pid.store(id, Ordering::SeqCst))
    };
    let mut exporter = start().unwrap();
    send(&exporter, 1, &NAMES).await;
    assert!(!exporter.drains().await);
    let (mut exporter, deaths) = restart_until_drained(&start).await;
    assert_eq!(deaths, 2, "the second death of the request, and the one of the span");
    exporter.line("logtracer-exporter - crash: stored an item as a dead letter, because the exporter died at each delivery");
    assert_only_the_poison_is_set_apart(dir.path(), &sink);
    let dropped = format!("logtracer_exporter_spans_dropped_total{{sink=\"{sink}\",reason=\"crash\"}}");
    exporter.wait_for_metric(&dropped, 1.).await;

    // It goes on with what follows, and the next restarts find nothing.
    send(&exporter, 11, &["k"]).await;
    assert!(exporter.drains().await);
    exporter.trace(TRACE, 11, 0).await;
    assert_eq!(arrived(&backend.accepted()).len(), 10);
    exporter.kill();
    let (exporter, deaths) = restart_until_drained(&start).await;
    assert_eq!(deaths, 0);

    // A retry of the dead letter ends in the same way.
    assert_eq!(dead_letters(dir.path(), &["retry", "--all"]), "1 queued for a retry\n");
    let mut exporter = exporter;
    exporter.wait_for_exit().await;
    for _ in 0..2 {
        if let Some(mut exporter) = start() {
            exporter.wait_for_exit().await;
        }
    }
    let exporter = start().unwrap();
    let is_set_apart = async || {
        let list = dead_letters(dir.path(), &["list"]);
        (list.lines().count() == 1 && !list.contains("queued for a retry")).then_some(())
    };
    eventually("the letter is set apart again", is_set_apart).await;
    assert_only_the_poison_is_set_apart(dir.path(), &sink);
    drop(exporter);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_ends_the_exporter_is_found_among_many() {
    let (pid, is_up) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let backend = deadly_backend(&pid, &is_up).await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", backend.url);
    let start = || {
        let mut command = command(dir.path());
        command.args(["--sink", &sink]);
        Exporter::try_spawn(command, |id| pid.store(id, Ordering::SeqCst))
    };
    let mut exporter = start().unwrap();
    for id in 1..=40 {
        send(&exporter, id, &[if id == 7 { "poison" } else { "work" }]).await;
    }
    is_up.store(true, Ordering::SeqCst);
    assert!(!exporter.drains().await);
    let (_exporter, deaths) = restart_until_drained(&start).await;
    assert_eq!(deaths, 2, "the second death of all requests, and the one of the poison");
    assert_only_the_poison_is_set_apart(dir.path(), &sink);
    assert_eq!(arrived(&backend.accepted()).len(), 39);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_ends_the_exporter_in_the_store_becomes_a_dead_letter() {
    let faults = Faults::new();
    faults.set("kill store.db-wal poison");
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = command(dir.path());
        faults.apply(&mut command);
        Exporter::try_spawn(command, |_| {})
    };
    let mut exporter = start().unwrap();
    send(&exporter, 1, &NAMES).await;
    assert!(!exporter.drains().await);
    let (exporter, deaths) = restart_until_drained(&start).await;
    assert_eq!(deaths, 2);
    assert_only_the_poison_is_set_apart(dir.path(), "store");
    send(&exporter, 11, &["k"]).await;
    exporter.trace(TRACE, 10, 0).await;
}

/// Returns what is recorded about calls that are or were under way.
fn calls(dir: &Path) -> String {
    fs::read_to_string(dir.join("calls")).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_with_another_cause_and_shutdowns_set_nothing_apart() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let backend = Receiver::start(move |request: &Request| {
        let delay = Duration::from_secs(if up.load(Ordering::SeqCst) { 0 } else { 300 });
        Answer { delay, ..strict_otlp(request) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("otlp={}", backend.url);
    let start = |grace: &str| {
        let mut command: Command = command(dir.path());
        command.args(["--sink", &sink, "--grace", grace]);
        Exporter::spawn(command)
    };
    let is_calling = async || {
        eventually("a call", async || {
            calls(dir.path()).lines().any(|line| line.contains(" c ") || line.contains(" t ")).then_some(())
        })
        .await;
    };
    let exporter = start("1s");
    send(&exporter, 1, &NAMES).await;
    is_calling().await;
    exporter.kill();
    for grace in ["1s", "60s"] {
        let mut exporter = start(grace);
        is_calling().await;
        exporter.terminate();
        exporter.line("logtracer-exporter - stopping");
        if grace == "60s" {
            // The kubelet does not wait any longer.
            eventually("a forgotten call", async || (!calls(dir.path()).contains(" c ")).then_some(())).await;
            exporter.kill();
        } else {
            exporter.wait_for_exit().await;
        }
        assert_eq!(calls(dir.path()).lines().count(), 1, "the suspicion of the first death");
        assert!(calls(dir.path()).contains(" 1 b "), "{}", calls(dir.path()));
    }
    // Another death during the same call: it is tried, and delivered.
    let exporter = start("1s");
    is_calling().await;
    exporter.kill();
    is_up.store(true, Ordering::SeqCst);
    let mut exporter = start("1s");
    assert!(exporter.drains().await);
    assert_eq!(arrived(&backend.accepted()).len(), 10);
    assert_eq!(dead_letters(dir.path(), &["list"]), "no dead letters\n");
    // An idle exporter may die as often as it likes.
    eventually("no suspects", async || calls(dir.path()).is_empty().then_some(())).await;
    for _ in 0..3 {
        exporter.kill();
        exporter = start("1s");
    }
    assert_eq!(calls(dir.path()), "");
}

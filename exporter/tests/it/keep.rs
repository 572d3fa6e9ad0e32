//! Tail sampling: which spans a sink with rules gets, on a real exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::harness::{
    Exporter, START, command, eventually, failed, number, request, run_to_exit, span, string,
};
use crate::receiver::{Answer, Receiver, Request, otlp};
use crate::sink_logs::{both, log_request, messages, send_logs, spans as delivered_spans};

/// A receiver of OTLP, which can be down.
struct Backend {
    receiver: Receiver,
    is_up: Arc<AtomicBool>,
}

impl Backend {
    async fn start() -> Self {
        let is_up = Arc::new(AtomicBool::new(true));
        let receiver = Receiver::start_switched(is_up.clone()).await;
        Self { receiver, is_up }
    }

    fn exporter(&self, data_dir: &Path, options: &[&str]) -> Exporter {
        let mut command = command(data_dir);
        command.args(["--sink", &format!("otlp={}", self.receiver.url), "--sink", "store"]).args(options);
        Exporter::spawn(command)
    }

    /// Returns the metric of this name with the label of the sink.
    fn metric(&self, name: &str, labels: &str) -> String {
        format!("logtracer_exporter_{name}{{sink=\"otlp={}\"{labels}}}", self.receiver.url)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.receiver.accepted();
        let requests = requests.iter().map(|request| otlp(request).expect("a request of OTLP"));
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Returns the names of the spans that arrived.
    fn names(&self) -> BTreeSet<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }

    /// Waits until spans with these names have arrived.
    async fn wait_for(&self, names: &[&str]) {
        let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        eventually(&format!("{names:?}"), async || self.names().is_superset(&expected).then_some(())).await;
    }
}

/// Returns the id of a trace, whose random bits are this share of all.
fn trace(share: f64, number: u64) -> String {
    let random = (share * (1u64 << 56) as f64) as u64;
    format!("{number:016x}{random:016x}")
}

fn with(mut span: Span, attributes: &[(&str, &str)]) -> Span {
    span.attributes = attributes.iter().map(|(key, value)| string(key, value)).collect();
    span
}

const SOON: [&str; 4] = ["--decision-wait", "300ms", "--grace", "5s"];

#[tokio::test]
async fn a_sink_gets_the_traces_that_a_rule_matches_and_the_store_gets_all() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let rules = [
        "--keep",
        "error,slower-than=2s,route=/checkout",
        "--keep",
        "service=payment",
        "--keep",
        "attribute=tenant=acme",
        "--keep",
        "attribute=retries=3",
        "--keep",
        "rate=0.25",
    ];
    let exporter = backend.exporter(dir.path(), &[&rules[..], &SOON].concat());
    let at = |number| trace(0.5, number);
    let mut retries = span(&at(7), 1, 0, "attribute number", 0, 1);
    retries.attributes = vec![number("retries", 3)];
    let spans = [
        // The error is in another span of the trace.
        span(&at(1), 1, 0, "error root", 0, 10),
        failed(span(&at(1), 2, 1, "error child", 1, 5), "no stock"),
        // No span is slow, but the trace is.
        span(&at(2), 1, 0, "slow root", 0, 10),
        span(&at(2), 2, 1, "slow child", 1900, 100),
        with(span(&at(3), 1, 0, "route", 0, 10), &[("http.route", "/checkout")]),
        with(span(&at(4), 1, 0, "grpc", 0, 10), &[("rpc.system", "grpc"), ("http.route", "")]),
        with(span(&at(5), 1, 0, "attribute", 0, 10), &[("tenant", "acme")]),
        retries,
        span(&trace(0.75, 8), 1, 0, "share", 0, 10),
        span(&trace(0.7499, 9), 1, 0, "not in the share", 0, 10),
        with(span(&at(10), 1, 0, "other", 0, 1999), &[("http.route", "/checkout/2"), ("tenant", "acme2")]),
    ];
    for span in spans {
        exporter.send(&request("shop", vec![span])).await;
    }
    exporter.send(&request("payment", vec![span(&at(6), 1, 0, "service", 0, 10)])).await;
    let kept = [
        "error root",
        "error child",
        "slow root",
        "slow child",
        "route",
        "attribute",
        "attribute number",
        "share",
        "service",
    ];
    backend.wait_for(&kept).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 3.).await;
    assert_eq!(backend.names().len(), kept.len(), "{:?}", backend.names());
    exporter.wait_for_metric(&backend.metric("spans_delivered_total", ""), 9.).await;
    let traces_kept = |rule: &str| backend.metric("traces_kept_total", &format!(",rule=\"{rule}\""));
    for rule in ["error", "slower-than=2s", "route=/checkout", "service=payment", "rate"] {
        assert_eq!(exporter.metric(&traces_kept(rule)).await, 1., "{rule}");
    }
    assert_eq!(exporter.metric(&backend.metric("traces_not_kept_total", ",reason=\"no rule\"")).await, 3.);
    exporter.trace(&at(10), 1, 0).await;
    exporter.wait_for_metric("logtracer_exporter_open_traces", 0.).await;

    // The probability of a trace of the share is in its spans.
    let states: BTreeMap<String, String> =
        backend.spans().into_iter().map(|span| (span.name, span.trace_state)).collect();
    assert_eq!((states["share"].as_str(), states["error child"].as_str()), ("ot=th:c", "ot=th:0"));
}

#[tokio::test]
async fn a_sink_can_have_rules_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let mut command = command(dir.path());
    command.args([
        "--sink",
        &format!("otlp={},keep=error", backend.receiver.url),
        "--sink",
        "store,keep=rate=0",
    ]);
    command.args(["--keep", "rate=1"]).args(SOON);
    let exporter = Exporter::spawn(command);
    let at = |number| trace(0.5, number);
    let spans = vec![failed(span(&at(1), 1, 0, "failed", 0, 1), ""), span(&at(2), 1, 0, "fine", 0, 1)];
    exporter.send(&request("shop", spans)).await;
    backend.wait_for(&["failed"]).await;
    exporter.wait_for_metric("logtracer_exporter_spans_not_kept_total{sink=\"store\"}", 2.).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 1.).await;
    assert_eq!(exporter.json("/api/traces").await["traces"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn the_first_traces_of_a_route_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let exporter = backend.exporter(dir.path(), &[&["--keep", "new-route"][..], &SOON].concat());
    for number in 0..10 {
        let route = if number < 9 { "/frequent" } else { "/rare" };
        let of = span(&trace(0.5, number + 1), 1, 0, &format!("{route} {number}"), 0, 1);
        exporter.send(&request("shop", vec![with(of, &[("http.route", route)])])).await;
    }
    backend.wait_for(&["/frequent 0", "/frequent 1", "/frequent 2", "/rare 9"]).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 6.).await;
    assert_eq!(backend.names().len(), 4);
}

#[tokio::test]
async fn the_rules_keep_no_more_traces_than_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let options = ["--keep", "error", "--max-traces-per-second", "5"];
    let exporter = backend.exporter(dir.path(), &[&options[..], &SOON].concat());
    let spans = (1..=100).map(|number| {
        let mut of = failed(span(&trace(0.5, number), 1, 0, "failed", 0, 1), "");
        of.trace_state = "a=1,ot=th:8".to_owned();
        of
    });
    exporter.send(&request("shop", spans.collect())).await;
    exporter.wait_for_metric(&backend.metric("traces_kept_total", ",rule=\"error\""), 5.).await;
    exporter.wait_for_metric(&backend.metric("traces_not_kept_total", ",reason=\"limit\""), 95.).await;
    exporter.wait_for_metric(&backend.metric("spans_delivered_total", ""), 5.).await;
    // With a limit, the probability is not known.
    assert!(backend.spans().iter().all(|span| span.trace_state == "a=1"));
}

#[tokio::test]
async fn a_late_span_follows_the_verdict_on_its_trace() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let exporter = backend.exporter(dir.path(), &[&["--keep", "error"][..], &SOON].concat());
    let (kept, not_kept) = (trace(0.5, 1), trace(0.5, 2));
    let spans = vec![failed(span(&kept, 1, 0, "failed", 0, 1), ""), span(&not_kept, 1, 0, "fine", 0, 1)];
    exporter.send(&request("shop", spans)).await;
    backend.wait_for(&["failed"]).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 1.).await;
    let late = vec![span(&kept, 2, 1, "late", 5, 1), failed(span(&not_kept, 2, 1, "late failure", 5, 1), "")];
    exporter.send(&request("shop", late)).await;
    backend.wait_for(&["late"]).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 2.).await;
    assert_eq!(backend.names().len(), 2, "{:?}", backend.names());
    assert_eq!(exporter.metric("logtracer_exporter_spans_not_considered_total{reason=\"late\"}").await, 1.);
}

/// Verdicts hold after a crash, also for spans that come only then. What was not decided is observed again.
#[tokio::test]
async fn a_kill_changes_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    backend.is_up.store(false, Ordering::SeqCst);
    let exporter = backend.exporter(dir.path(), &[&["--keep", "error"][..], &SOON].concat());
    let (kept, not_kept, open) = (trace(0.5, 1), trace(0.5, 2), trace(0.5, 3));
    let spans = vec![failed(span(&kept, 1, 0, "kept", 0, 1), ""), span(&not_kept, 1, 0, "not kept", 0, 1)];
    exporter.send(&request("shop", spans)).await;
    exporter.wait_for_metric(&backend.metric("traces_kept_total", ",rule=\"error\""), 1.).await;
    exporter.wait_for_metric(&backend.metric("traces_not_kept_total", ",reason=\"no rule\""), 1.).await;
    // The wait is long now, so nothing else is decided before the next kill.
    exporter.kill();
    let later = ["--keep", "error", "--decision-wait", "10m", "--grace", "20m"];
    let exporter = backend.exporter(dir.path(), &later);
    exporter.send(&request("shop", vec![span(&open, 1, 0, "open", 0, 1)])).await;
    exporter.wait_for_metric("logtracer_exporter_open_traces", 1.).await;
    exporter.kill();

    backend.is_up.store(true, Ordering::SeqCst);
    let exporter = backend.exporter(dir.path(), &[&["--keep", "error"][..], &SOON].concat());
    let late = vec![
        span(&kept, 2, 1, "kept late", 5, 1),
        failed(span(&not_kept, 2, 1, "late failure", 5, 1), ""),
        failed(span(&open, 2, 1, "open failure", 5, 1), ""),
    ];
    exporter.send(&request("shop", late)).await;
    // The wait for the rest of the open trace begins again.
    backend.wait_for(&["kept", "kept late", "open", "open failure"]).await;
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    let names = backend.names();
    assert!(!names.contains("not kept") && !names.contains("late failure"), "{names:?}");
}

/// Returns a log record of a trace, or of none.
fn record(trace: Option<&str>, severity_number: i32, message: &str) -> LogRecord {
    let id = trace.map(|trace| u128::from_str_radix(trace, 16).unwrap().to_be_bytes().to_vec());
    LogRecord {
        time_unix_nano: START,
        severity_number,
        trace_id: id.unwrap_or_default(),
        body: Some(AnyValue { value: Some(Any::StringValue(message.to_owned())) }),
        ..Default::default()
    }
}

#[tokio::test]
async fn log_records_follow_the_verdict_on_their_trace() {
    let dir = tempfile::tempdir().unwrap();
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let receiver =
        Receiver::start(
            move |request: &Request| {
                if up.load(Ordering::SeqCst) { both(request) } else { Answer::new(503, "") }
            },
        )
        .await;
    let backend = Backend { receiver, is_up };
    let rules = ["--keep", "error,rate=0.25,logs"];
    let exporter = backend.exporter(dir.path(), &[&rules[..], &SOON].concat());
    let (kept, not_kept) = (trace(0.5, 1), trace(0.5, 2));
    let (no_spans, no_spans_in_share) = (trace(0.5, 3), trace(0.8, 4));
    let (info, error) = (9, 17);
    // Lines come before the spans of their trace and after them.
    let early = vec![
        record(Some(&kept), info, "early"),
        record(Some(&not_kept), info, "dropped early"),
        record(Some(&not_kept), error, "an error"),
        record(None, info, "no trace"),
        record(Some(&no_spans), info, "dropped: no spans"),
        record(Some(&no_spans_in_share), info, "no spans, in the share"),
    ];
    send_logs(&exporter, &log_request("shop", early)).await;
    let spans = vec![failed(span(&kept, 1, 0, "kept", 0, 1), ""), span(&not_kept, 1, 0, "not kept", 0, 1)];
    exporter.send(&request("shop", spans)).await;
    exporter.wait_for_metric(&backend.metric("traces_not_kept_total", ",reason=\"no rule\""), 1.).await;
    exporter.kill();

    let exporter = backend.exporter(dir.path(), &[&rules[..], &SOON].concat());
    let late = vec![record(Some(&kept), info, "late"), record(Some(&not_kept), info, "dropped late")];
    send_logs(&exporter, &log_request("shop", late)).await;
    backend.is_up.store(true, Ordering::SeqCst);
    exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
    let found = messages(&backend.receiver);
    assert_eq!(found, ["an error", "early", "late", "no spans, in the share", "no trace"]);
    assert!(exporter.metric(&backend.metric("log_records_not_kept_total", "")).await >= 1.);
}

/// A sink without spans follows the verdicts, too, also if no other sink gets the spans.
#[tokio::test]
async fn a_sink_of_log_records_gets_those_of_kept_traces() {
    for other in [&["--sink", "store"][..], &[]] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(both).await;
        let mut command = command(dir.path());
        let sink = format!("otlp={},signals=logs", receiver.url);
        command.args(["--sink", &sink]).args(other).args(["--keep", "error,logs"]).args(SOON);
        let exporter = Exporter::spawn(command);
        let (kept, not_kept) = (trace(0.5, 1), trace(0.5, 2));
        let records = vec![record(Some(&kept), 9, "kept"), record(Some(&not_kept), 9, "dropped")];
        send_logs(&exporter, &log_request("shop", records)).await;
        let spans =
            vec![failed(span(&kept, 1, 0, "kept", 0, 1), ""), span(&not_kept, 1, 0, "not kept", 0, 1)];
        exporter.send(&request("shop", spans)).await;
        let dropped =
            format!("logtracer_exporter_log_records_not_kept_total{{sink=\"otlp={}\"}}", receiver.url);
        exporter.wait_for_metric(&dropped, 1.).await;
        eventually("the line", async || (messages(&receiver) == ["kept"]).then_some(())).await;
        exporter.wait_for_metric("logtracer_exporter_outbox_bytes", 0.).await;
        assert_eq!(delivered_spans(&receiver), 0);
    }
}

#[tokio::test]
async fn without_the_rule_logs_all_log_records_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend { receiver: Receiver::start(both).await, is_up: Arc::default() };
    let exporter = backend.exporter(dir.path(), &[&["--keep", "error"][..], &SOON].concat());
    let not_kept = trace(0.5, 2);
    send_logs(&exporter, &log_request("shop", vec![record(Some(&not_kept), 9, "a line")])).await;
    exporter.send(&request("shop", vec![span(&not_kept, 1, 0, "not kept", 0, 1)])).await;
    exporter.wait_for_metric(&backend.metric("spans_not_kept_total", ""), 1.).await;
    eventually("the line", async || (messages(&backend.receiver) == ["a line"]).then_some(())).await;
}

#[tokio::test]
async fn rules_that_cannot_work_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (options, expected) in [
        (&["--keep", "errors"][..], "unknown rule \"errors\"; expected one of error, slower-than=TIME"),
        (
            &["--keep", "error"],
            "--keep is for sinks other than store; for the store, use --sink store,keep=RULE",
        ),
        (
            &["--sink", "stdout,keep=logs"],
            "the sink stdout has only keep=logs; it also needs a rule on traces, for example keep=error",
        ),
        (&["--keep", "rate=2"], "rate is \"2\"; expected a share from 0 to 1"),
        (&["--sink", "keep=error"], "--sink keep=error needs a sink before it: --sink NAME,keep=error"),
        (&["--max-traces-per-second", "0"], "expected a number above zero"),
    ] {
        let mut command = command(dir.path());
        command.args(options);
        let (code, error) = run_to_exit(command);
        assert!(code != Some(0) && error.contains(expected), "{options:?}: {error}");
    }
    let many: Vec<String> = (0..40).map(|number| format!("route=/{number}")).collect();
    let mut command = command(dir.path());
    command.args(["--sink", "stdout", "--keep", &many.join(",")]);
    let (_, error) = run_to_exit(command);
    assert!(error.contains("at most 32 different rules are possible"), "{error}");
}

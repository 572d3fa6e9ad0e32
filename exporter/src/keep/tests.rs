//! Tests of the decisions on batches.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::open_traces::OpenTrace;
use super::policy::TraceVerdict;
use super::*;
use crate::otlp::Signal;
use crate::outbox::{self, Batch, BatchContent, Limits, Signals, Subscription, Verdict, Verdicts};
use crate::storage::{DataDir, DiskReserve};

/// What a sink takes of log records without those of `--tail`.
const RECEIVED: Signals = Signals { tailed_logs: false, ..Signals::ALL };

/// A decider of an outbox.
struct Deciding {
    _dir: tempfile::TempDir,
    outbox: Outbox,
    decider: Decider,
}

/// An outbox and its metrics.
struct Opened {
    dir: tempfile::TempDir,
    outbox: Outbox,
    metrics: Arc<Metrics>,
}

impl Opened {
    /// Opens an outbox for sinks that take these contents.
    fn new(sinks: &[Signals]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let subscription = |(index, signals): (usize, &Signals)| Subscription {
            sink: name(index),
            signals: *signals,
            has_rules: true,
        };
        let subscriptions: Vec<_> = sinks.iter().enumerate().map(subscription).collect();
        let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(60) };
        let reserve = DiskReserve::small(dir.path());
        let data_dir = DataDir::unlocked(dir.path());
        let (outbox, _) = outbox::open(&data_dir, &subscriptions, limits, reserve, metrics.clone()).unwrap();
        Self { dir, outbox, metrics }
    }

    /// Opens a decider of sinks with these rules, which decides at once.
    fn decide(self, sinks: &[(&[&str], Signals)]) -> Deciding {
        let Self { dir, outbox, metrics } = self;
        let sinks = (0..).zip(sinks).map(|(index, (rules, signals))| SinkRules {
            index,
            name: name(index),
            signals: *signals,
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        });
        let options =
            Options { sinks: sinks.collect(), decision_wait: Duration::ZERO, max_traces_per_second: None };
        let decider = Decider::open(&outbox, options, metrics).unwrap();
        Deciding { _dir: dir, outbox, decider }
    }
}

fn name(index: usize) -> String {
    format!("sink {index}")
}

impl Deciding {
    /// Opens an outbox and a decider of sinks with these rules.
    fn new(sinks: &[(&[&str], Signals)]) -> Self {
        let signals: Vec<Signals> = sinks.iter().map(|(_, signals)| *signals).collect();
        Opened::new(&signals).decide(sinks)
    }

    /// Adds a trace with a span, which is not decided yet.
    fn observe(&mut self, id: u128, matches: u32) {
        let Decider { open, keys, .. } = &mut self.decider;
        assert!(open.add(keys, keys.of(id), &OpenTrace::new(id, 1, 2, matches, 1)));
    }
}

fn record(trace_id: &[u8], severity_number: i32, severity_text: &str) -> LogRecord {
    let severity_text = severity_text.to_owned();
    LogRecord { trace_id: trace_id.to_vec(), severity_number, severity_text, ..LogRecord::default() }
}

fn batch(content: BatchContent, records: Vec<LogRecord>) -> Batch {
    let items = records.len() as u32;
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec().into();
    Batch { id: 7, received_ms: 0, content, items, body, verdicts: None }
}

/// The random bits of an id in the share of a half, and of one that is not.
const IN_SHARE: u128 = 3 << 54;
const NOT_IN_SHARE: u128 = 1 << 54;

#[tokio::test]
async fn log_records_follow_the_verdict_on_their_trace_but_errors_are_kept() {
    const ERROR: u128 = 1 << 64;
    const OTHER: u128 = 2 << 64;
    const UNKNOWN: u128 = 3 << 64;
    const DECIDED: u128 = 4 << 64;
    let mut deciding = Deciding::new(&[(&["error", "rate=0.5", "logs"], Signals::ALL)]);
    // The rule `error` is the first one.
    deciding.observe(ERROR | NOT_IN_SHARE, 1);
    deciding.observe(OTHER | NOT_IN_SHARE, 0);
    deciding.observe(OTHER | IN_SHARE, 0);
    let Decider { recent, keys, .. } = &mut deciding.decider;
    // Earlier verdicts, which the share would not give.
    recent.add(keys.of(DECIDED | NOT_IN_SHARE), TraceVerdict(Verdict::Kept.to_bits().into()), 1, 0);
    recent.add(keys.of(DECIDED | IN_SHARE), TraceVerdict::default(), 1, 0);
    let id = |id: u128| id.to_be_bytes().to_vec();
    let table = [
        ("an open trace with an error", id(ERROR | NOT_IN_SHARE), 9, "INFO", true),
        ("the same again", id(ERROR | NOT_IN_SHARE), 9, "INFO", true),
        ("another open trace", id(OTHER | NOT_IN_SHARE), 9, "INFO", false),
        ("its warning", id(OTHER | NOT_IN_SHARE), 13, "WARNING", false),
        ("its error", id(OTHER | NOT_IN_SHARE), 17, "ERROR", true),
        ("its error by text", id(OTHER | NOT_IN_SHARE), 0, "ERROR", true),
        ("an open trace in the share", id(OTHER | IN_SHARE), 9, "INFO", true),
        ("a trace without spans", id(UNKNOWN | NOT_IN_SHARE), 9, "INFO", false),
        ("an error of it", id(UNKNOWN | NOT_IN_SHARE), 21, "", true),
        ("a trace without spans in the share", id(UNKNOWN | IN_SHARE), 9, "INFO", true),
        ("a trace that was kept", id(DECIDED | NOT_IN_SHARE), 9, "INFO", true),
        ("a trace that was not kept", id(DECIDED | IN_SHARE), 9, "INFO", false),
        ("an error of it", id(DECIDED | IN_SHARE), 17, "", true),
        ("no trace", Vec::new(), 9, "INFO", true),
        ("a trace id of zeros", id(0), 9, "INFO", true),
        ("a trace id that is too short", vec![1; 8], 9, "INFO", true),
    ];
    let records = table.iter().map(|(_, id, number, text, _)| record(id, *number, text)).collect();
    let mut decisions = Decisions::default();
    deciding.decider.decide_logs(&batch(BatchContent::Logs, records), &mut decisions);
    let [(7, 0, verdicts)] = decisions.verdicts.as_slice() else { panic!("{:?}", decisions.verdicts) };
    for (index, (what, .., is_kept)) in table.iter().enumerate() {
        let expected = if *is_kept { Verdict::Kept } else { Verdict::NotKept };
        assert_eq!(verdicts.get(index), expected, "{what}");
    }
    // The three open traces are decided, and stored for their later spans. Those without spans are not.
    assert_eq!((deciding.decider.open.len(), decisions.traces.len()), (0, 3 * 20));
}

#[tokio::test]
async fn only_sinks_that_take_the_log_records_have_verdicts_on_them() {
    let rules: &[&str] = &["error", "logs"];
    let sinks: [(&[&str], Signals); 4] =
        [(rules, Signals::ALL), (rules, Signals::TRACES), (rules, RECEIVED), (&["error"], Signals::ALL)];
    let mut deciding = Deciding::new(&sinks);
    for (content, expected) in [(BatchContent::Logs, vec![0, 2]), (BatchContent::TailedLogs, vec![0])] {
        let mut decisions = Decisions::default();
        let records = vec![record(&IN_SHARE.to_be_bytes(), 9, "INFO")];
        deciding.decider.decide_logs(&batch(content, records), &mut decisions);
        let of: Vec<usize> = decisions.verdicts.iter().map(|(_, sink, _)| *sink).collect();
        assert_eq!(of, expected, "{content:?}");
    }
}

#[tokio::test]
async fn log_records_that_no_sink_with_rules_takes_are_not_decided() {
    for (signals, content, is_decided) in [
        (Signals::ALL, BatchContent::TailedLogs, true),
        (RECEIVED, BatchContent::TailedLogs, false),
        (RECEIVED, BatchContent::Logs, true),
        (Signals::TRACES, BatchContent::Logs, false),
    ] {
        let mut deciding = Deciding::new(&[(&["error", "logs"], signals)]);
        deciding.observe(IN_SHARE, 1);
        let Batch { body, items, .. } = batch(content, vec![record(&IN_SHARE.to_be_bytes(), 9, "INFO")]);
        deciding.outbox.append(content, body, items).await.unwrap();
        // A batch waits for a millisecond at least.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let Ok(Step::Decided(decisions)) = deciding.decider.step() else { panic!("{content:?}") };
        let count = usize::from(is_decided);
        assert_eq!((decisions.until, decisions.verdicts.len()), (1, count), "{signals:?} {content:?}");
        assert_eq!(deciding.decider.open.len(), 1 - count, "the trace of {content:?}");
    }
}

fn span(trace_id: &[u8], start: u64, name: &str) -> Span {
    Span {
        trace_id: trace_id.to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 10,
        name: name.to_owned(),
        ..Span::default()
    }
}

fn spans(spans: Vec<Span>) -> (Bytes, u32) {
    let items = spans.len() as u32;
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    (ExportTraceServiceRequest { resource_spans }.encode_to_vec().into(), items)
}

/// A batch is observed when it is appended. One of an earlier process, and one without room for what was observed, is read.
#[tokio::test]
async fn a_batch_that_is_read_is_decided_like_one_that_was_observed() {
    let failed = |span: Span| Span {
        status: Some(Status { code: StatusCode::Error.into(), ..Status::default() }),
        ..span
    };
    let batches = [
        spans(vec![span(&[1; 16], 5, "a"), span(&[1; 16], 7, "b"), span(&[2; 16], 1, "c")]),
        spans(vec![failed(span(&[2; 16], 3, "d")), span(&[3; 16], 5, "e"), span(&[1; 16], 2_000, "f")]),
        spans(vec![span(&[4; 16], 5, "g"), span(&[9; 3], 5, "h"), span(&[4; 16], 5, "i")]),
    ];
    let mut found = Vec::new();
    for is_read in [[false; 3], [true; 3], [true, false, false], [true, true, false]] {
        let opened = Opened::new(&[Signals::ALL]);
        let append = async |wanted: bool, outbox: &Outbox| {
            for ((body, items), _) in batches.iter().zip(is_read).filter(|(_, is_read)| *is_read == wanted) {
                outbox.append(Signal::Traces, body.clone(), *items).await.unwrap();
            }
        };
        append(true, &opened.outbox).await;
        let mut deciding = opened.decide(&[(&["error", "slower-than=1us"], Signals::ALL)]);
        append(false, &deciding.outbox).await;
        // The first batch is decided when the others are observed.
        deciding.decider.wait_ms = 100;
        let mut verdicts = Vec::new();
        while verdicts.len() < batches.len() {
            let Step::Decided(decisions) = deciding.decider.step().unwrap() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            verdicts.extend(decisions.verdicts.iter().cloned());
            deciding.decider.store(decisions, &mut Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF)).await;
        }
        let kept =
            |(_, _, of): &(i64, usize, Verdicts)| [0, 1, 2].map(|index| of.get(index) != Verdict::NotKept);
        found.push(verdicts.iter().map(kept).collect::<Vec<_>>());
        assert_eq!(deciding.decider.open.len(), 0);
    }
    assert!(found.iter().all(|of| *of == found[0]), "{found:?}");
    assert_eq!(found[0], [[true, true, true], [true, false, true], [false; 3]]);
}

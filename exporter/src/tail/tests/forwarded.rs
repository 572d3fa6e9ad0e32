//! Tests of the lines that sinks get.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use prost::Message;
use tokio::runtime::Runtime;

use super::*;
use crate::otlp::any_value::text;
use crate::outbox::{self, Batch, BatchContent, Limits, Signals, Subscription};
use crate::shutdown;
use crate::storage::DataDir;
use crate::tail::Host;

/// An outbox with one sink that takes the lines of files.
struct Sink {
    runtime: Runtime,
    outbox: Outbox,
    reader: outbox::Reader,
    stop: shutdown::Trigger,
    stopping: shutdown::Shutdown,
}

impl Sink {
    /// Opens the outbox, and makes the logs forward their lines to it.
    fn open(logs: &mut Logs, max_bytes: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let subscription =
            |sink: &str, signals| Subscription { sink: sink.to_owned(), signals, has_rules: false };
        let sinks = [subscription("logs", Signals::ALL), subscription("store", Signals::STORE)];
        let limits = Limits { max_bytes, max_age: Duration::from_secs(3600) };
        let dir = logs.dir.path();
        let (outbox, _) = outbox::open(
            &DataDir::unlocked(dir),
            &sinks,
            limits,
            DiskReserve::small(dir),
            logs.metrics.clone(),
        )
        .unwrap();
        let (stop, stopping) = shutdown::channel();
        let entered = runtime.enter();
        logs.forward =
            Forward::new(outbox.clone(), dir, Host::default(), logs.metrics.clone(), stopping.clone());
        drop(entered);
        assert!(logs.forward.is_some());
        let reader = outbox.reader(0).unwrap();
        Self { runtime, outbox, reader, stop, stopping }
    }

    fn has_more(&self) -> bool {
        self.outbox.backlogs().first().is_some_and(|backlog| *backlog > 0)
    }

    /// Takes the records that wait, each with the name of its service.
    fn take(&mut self) -> Vec<(String, LogRecord)> {
        let mut records = Vec::new();
        while self.has_more() {
            let batches: Vec<Batch> = self.runtime.block_on(self.reader.next()).unwrap();
            for batch in &batches {
                assert_eq!(batch.content, BatchContent::TailedLogs);
                let before = records.len();
                let request = ExportLogsServiceRequest::decode(batch.body.clone()).unwrap();
                for logs in request.resource_logs {
                    let service = logs
                        .resource
                        .unwrap_or_default()
                        .attributes
                        .first()
                        .map(|name| text(name.value.as_ref()));
                    let of_scopes = logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                    records.extend(of_scopes.map(|record| (service.clone().unwrap_or_default(), record)));
                }
                assert_eq!(records.len() - before, batch.items as usize);
            }
            let last = batches.last().unwrap().id;
            self.runtime.block_on(self.reader.cursor().advance(last, Vec::new())).unwrap();
            // As the sink "store" does, which takes none of them.
            let store = self.outbox.reader(1).unwrap().cursor();
            self.runtime.block_on(store.advance(last, Vec::new())).unwrap();
        }
        records
    }
}

fn body(record: &LogRecord) -> String {
    text(record.body.as_ref())
}

fn uid(record: &LogRecord) -> String {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == "log.record.uid");
    text(attribute.unwrap().value.as_ref())
}

#[test]
fn each_line_reaches_the_sinks_and_the_store_once() {
    let mut logs = Logs::new();
    let mut sink = Sink::open(&mut logs, 1 << 20);
    let mut reader = logs.reader(&["log"]);
    let untraced = "{\"message\":\"untraced\"}\n";
    logs.append(
        "log",
        &(line("shop - one") + &line("cart - two") + "noise\n" + untraced + &line("shop - three")),
    );
    logs.check(&mut reader, &["shop - one", "cart - two", "shop - three"]);
    let records = sink.take();
    // Both count a line once, so that none seems to be missing.
    let metrics = &logs.metrics;
    assert_eq!((metrics.received.log_records.get(), metrics.committed.log_records.get()), (4, 4));
    let got: Vec<_> = records.iter().map(|(service, record)| (service.as_str(), body(record))).collect();
    let expected =
        [("shop", "shop - one"), ("shop", "shop - three"), ("cart", "cart - two"), ("", "untraced")];
    assert_eq!(got, expected.map(|(service, body)| (service, body.to_owned())));

    // A restart at the committed positions.
    logs.append("log", &line("four"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["four"]);
    assert_eq!(sink.take().iter().map(|(_, record)| body(record)).collect::<Vec<_>>(), ["four"]);
}

#[test]
fn a_store_that_fails_repeats_no_line_at_the_sinks_and_a_crash_repeats_them_with_the_same_ids() {
    let mut logs = Logs::new();
    let mut sink = Sink::open(&mut logs, 1 << 20);
    let mut reader = logs.reader(&["log"]);
    logs.append("log", &line("zero"));
    logs.check(&mut reader, &["zero"]);
    sink.take();
    let other = rusqlite::Connection::open(logs.dir.path().join("store.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
    other.execute_batch(trigger).unwrap();
    // Equal lines have different ids.
    let same = line("same");
    logs.append("log", &(same.clone() + &same + &line("other")));
    for _ in 0..3 {
        assert!(matches!(reader.read(|_| true), Err(CommitError::Store(_))));
    }
    let first = sink.take();
    assert_eq!(first.iter().map(|(_, record)| body(record)).collect::<Vec<_>>(), ["same", "same", "other"]);
    let ids =
        |records: &[(String, LogRecord)]| records.iter().map(|(_, record)| uid(record)).collect::<Vec<_>>();
    assert!(ids(&first)[0] != ids(&first)[1], "{:?}", ids(&first));

    // The next process reads the lines again, with further ones, from a file that was rotated.
    other.execute_batch("DROP TRIGGER no").unwrap();
    logs.append("log", &line("more"));
    logs.rename("log", "log.1");
    logs.append("log", &line("new file"));
    let mut reader = logs.reader(&["log"]);
    logs.check(&mut reader, &["same", "same", "other", "more", "new file"]);
    let again = sink.take();
    assert_eq!(again.len(), 5);
    assert_eq!(ids(&again)[..3], ids(&first));
    let mut all = ids(&again);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn a_full_outbox_stops_the_tail_and_loses_no_line() {
    let mut logs = Logs::new();
    let mut sink = Sink::open(&mut logs, 64 << 10);
    let mut reader = logs.reader(&["log"]);
    // Texts that hardly shrink.
    let noise = |n: u64| {
        (0..10).map(|m| format!("{:x}", (n * 10 + m).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect::<String>()
    };
    let messages: Vec<String> = (0..2000).map(|n| format!("{n} {}", noise(n))).collect();
    logs.append("log", &messages.iter().map(|message| line(message)).collect::<String>());
    assert_eq!(reader.read(|_| true), Err(CommitError::Blocked));
    let waiting = logs.metrics.outbox_bytes.get();
    assert!((10 << 10..=32 << 10).contains(&waiting), "{waiting}");
    assert_eq!(reader.read(|_| true), Err(CommitError::Blocked));
    assert_eq!((logs.metrics.outbox_bytes.get(), logs.metrics.log_lines_tailed.get()), (waiting, 0));
    // A request has the other half of the outbox.
    let request = vec![7; 100].into();
    sink.runtime.block_on(sink.outbox.append(crate::otlp::Signal::Logs, request, 1)).unwrap();
    assert_eq!(logs.metrics.outbox_bytes.get(), waiting + 100);
    let mut cursor_past_request = sink.outbox.reader(0).unwrap();
    let mut got = Vec::new();
    let all = sink.runtime.block_on(cursor_past_request.next()).unwrap();
    for batch in &all {
        if batch.content == BatchContent::TailedLogs {
            let request = ExportLogsServiceRequest::decode(batch.body.clone()).unwrap();
            let records = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs[0].log_records);
            got.extend(records.map(body));
        }
    }
    for index in [0, 1] {
        let cursor = sink.outbox.reader(index).unwrap().cursor();
        sink.runtime.block_on(cursor.advance(all.last().unwrap().id, Vec::new())).unwrap();
    }
    for _ in 0..1000 {
        let result = reader.read(|_| true);
        got.extend(sink.take().iter().map(|(_, record)| body(record)));
        if result.is_ok() && got.len() >= messages.len() {
            break;
        }
    }
    assert!(got == messages, "{} lines", got.len());
    let expected: Vec<&str> = messages.iter().map(String::as_str).collect();
    logs.check(&mut reader, &expected);
}

#[test]
fn a_shutdown_does_not_wait_for_the_outbox() {
    let mut logs = Logs::new();
    let sink = Sink::open(&mut logs, 1 << 20);
    let mut reader = logs.reader(&["log"]);
    logs.append("log", &line("one"));
    sink.stop.pull();
    assert_eq!(reader.read(|_| true), Err(CommitError::Blocked));
    assert!(!sink.has_more());
}

/// Fills the half of the outbox that is for lines, with requests without records, and then reads a line of stdin.
fn blocked_stdin(logs: &Logs, sink: &Sink, line: &str) -> (tokio::task::JoinHandle<()>, shutdown::Trigger) {
    for bytes in [5000, 500, 10] {
        let resource_logs = vec![ResourceLogs { schema_url: noise(bytes), ..ResourceLogs::default() }];
        let filler = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let append = || sink.outbox.append(BatchContent::TailedLogs, filler.clone().into(), 0);
        while sink.runtime.block_on(append()).is_ok() {}
    }
    let (storing, stop) = shutdown::channel();
    let stop = Stop { reading: sink.stopping.clone(), storing: stop };
    let input = std::io::Cursor::new(line.as_bytes().to_vec());
    let tail = logs.tail();
    let run = async move {
        // The end of the input comes with the shutdown.
        stdin::run(tail, tokio::io::AsyncReadExt::chain(input, Pending), stop).await;
    };
    (sink.runtime.spawn(run), storing)
}

/// Returns a text that hardly shrinks.
fn noise(bytes: usize) -> String {
    (0..bytes.div_ceil(8) as u64).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b9) as u32)).collect()
}

/// Returns the messages in the store.
fn stored(logs: &Logs) -> Vec<String> {
    let trace = logs.store.trace(TRACE.parse().unwrap()).unwrap();
    trace.map_or(Vec::new(), |trace| trace.lines.into_iter().map(|line| line.message).collect())
}

/// An input that waits for ever.
struct Pending;

impl tokio::io::AsyncRead for Pending {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_line_of_stdin_that_waits_for_the_outbox_is_stored_during_the_shutdown() {
    let mut logs = Logs::new();
    let mut sink = Sink::open(&mut logs, 64 << 10);
    let (stdin, _storing) = blocked_stdin(&logs, &sink, &line("last"));
    std::thread::sleep(Duration::from_millis(200));
    sink.stop.pull();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!stdin.is_finished());
    sink.take();
    sink.runtime.block_on(stdin).unwrap();
    assert_eq!(sink.take().iter().map(|(_, record)| body(record)).collect::<Vec<_>>(), ["last"]);
    assert_eq!(stored(&logs), ["last"]);
    assert_eq!(logs.metrics.dropped("logs", "shutdown").log_records.get(), 0);
}

#[test]
fn a_line_of_stdin_that_the_outbox_does_not_take_is_stored_and_counted_as_dropped() {
    let mut logs = Logs::new();
    let sink = Sink::open(&mut logs, 64 << 10);
    let (stdin, storing) = blocked_stdin(&logs, &sink, &(line("last") + "noise\n"));
    std::thread::sleep(Duration::from_millis(200));
    sink.stop.pull();
    storing.pull();
    sink.runtime.block_on(stdin).unwrap();
    assert_eq!(stored(&logs), ["last"]);
    let dropped = |sink| logs.metrics.dropped(sink, "shutdown").log_records.get();
    assert_eq!((dropped("logs"), dropped("store")), (1, 0));
    assert_eq!((logs.metrics.log_lines_tailed.get(), logs.skipped("not json")), (2, 1));

    // A store that fails, too.
    let other = rusqlite::Connection::open(logs.dir.path().join("store.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
    other.execute_batch(trigger).unwrap();
    let (stdin, storing) = blocked_stdin(&logs, &sink, &line("lost"));
    storing.pull();
    sink.runtime.block_on(stdin).unwrap();
    assert_eq!((logs.metrics.log_lines_tailed.get(), logs.skipped("shutdown")), (3, 1));
}

#[test]
fn long_lines_fit_into_the_outbox() {
    let mut logs = Logs::new();
    // A third of the outbox is less than the line.
    let mut sink = Sink::open(&mut logs, 600 << 10);
    let mut reader = logs.reader(&["log"]);
    let noise: String =
        (0..60_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    logs.append("log", &(line(&noise) + &line("short")));
    logs.check(&mut reader, &[&noise, "short"]);
    let records = sink.take();
    let (_, long) = &records[0];
    let is_truncated = long.attributes.iter().any(|attribute| attribute.key == "logtracer.truncated");
    assert!(is_truncated && body(long).starts_with("{\"timestampSeconds\"") && body(long).len() > 50_000);
    assert_eq!(body(&records[1].1), "short");
}

//! The exporter's own log: JSON lines on stdout, written by [`logtracer_core::line`].

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use logtracer_core::line::{Format, Line};
pub(crate) use logtracer_core::line::{Severity, Value};

use crate::clock;

/// Writes one line: `logtracer-exporter - <message>` with these fields.
pub(crate) fn line(severity: Severity, message: &str, fields: &[(&str, Value<'_>)]) {
    let mut out = Vec::with_capacity(256);
    render(&mut out, clock::unix_nanos(), severity, message, fields);
    // Nobody can be told that stdout is gone.
    let _ = std::io::stdout().lock().write_all(&out);
}

/// Writes a line about a problem that may come again and again: the same message at most once a minute, with the
/// number of those that were left out. Each sink has a minute of its own.
pub(crate) fn repeated(severity: Severity, message: &'static str, fields: &[(&str, Value<'_>)]) {
    static SEEN: Mutex<Option<Repeats>> = Mutex::new(None);
    let verdict = SEEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(Repeats::default)
        .note(message, sink(fields), Instant::now());
    match verdict {
        Verdict::Quiet => {}
        Verdict::Tell { left_out: 0 } => line(severity, message, fields),
        Verdict::Tell { left_out } => {
            let mut fields = fields.to_vec();
            fields.push(("repeats_left_out", Value::U64(left_out)));
            line(severity, message, &fields);
        }
    }
}

/// Work at the start that may take long: a line every five seconds tells that it goes on.
pub(crate) struct SlowWork(#[allow(dead_code, reason = "the end of the work drops it")] mpsc::Sender<()>);

impl SlowWork {
    pub(crate) fn watch(what: &'static str, path: &Path) -> Self {
        const STEP: Duration = Duration::from_secs(5);
        let (work, end) = mpsc::channel::<()>();
        let (path, start) = (path.to_owned(), Instant::now());
        // Without the thread it is only told less.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while end.recv_timeout(STEP) == Err(mpsc::RecvTimeoutError::Timeout) {
                let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                line(
                    Severity::Info,
                    what,
                    &[
                        ("path", Value::Fmt(format_args!("{}", path.display()))),
                        ("bytes", Value::U64(bytes)),
                        ("seconds", Value::U64(start.elapsed().as_secs())),
                    ],
                );
            }
        });
        Self(work)
    }
}

const INTERVAL: Duration = Duration::from_secs(60);

/// The sink that a line is about.
fn sink<'a>(fields: &[(&str, Value<'a>)]) -> &'a str {
    let of_sink = |(name, value): &(&str, Value<'a>)| match value {
        Value::Str(sink) if *name == "sink" => Some(*sink),
        _ => None,
    };
    fields.iter().find_map(of_sink).unwrap_or_default()
}

/// When each message was last written, for each sink. Messages are literals, and sinks are options, so there are few.
#[derive(Default)]
struct Repeats(HashMap<(&'static str, String), (Instant, u64)>);

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Tell { left_out: u64 },
    Quiet,
}

impl Repeats {
    fn note(&mut self, message: &'static str, sink: &str, now: Instant) -> Verdict {
        let key = (message, sink.to_owned());
        match self.0.get_mut(&key) {
            Some((last, left_out)) if now.duration_since(*last) < INTERVAL => {
                *left_out += 1;
                Verdict::Quiet
            }
            Some((last, left_out)) => {
                *last = now;
                Verdict::Tell { left_out: std::mem::take(left_out) }
            }
            None => {
                self.0.insert(key, (now, 0));
                Verdict::Tell { left_out: 0 }
            }
        }
    }
}

fn render(
    out: &mut Vec<u8>,
    unix_nanos: u64,
    severity: Severity,
    message: &str,
    fields: &[(&str, Value<'_>)],
) {
    let mut line = Line::new(out, Format::Stackdriver, None);
    line.severity(severity).time(unix_nanos).message(|text| {
        text.push("logtracer-exporter - ");
        text.push(message);
    });
    for (name, value) in fields {
        line.field(name, *value);
    }
    line.finish();
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object() {
        let mut out = Vec::new();
        let fields = [("http", Value::Str("127.0.0.1:4318")), ("spans", Value::U64(3))];
        render(&mut out, 1_532_527_445_499_727_000, Severity::Info, "ready", &fields);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"severity":"INFO","time":"2018-07-25T14:04:05.499727000Z","message":"logtracer-exporter - ready","#,
                r#""http":"127.0.0.1:4318","spans":3}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_can_be_about_a_sink() {
        assert_eq!(sink(&[("error", Value::Str("no")), ("sink", Value::Str("zipkin"))]), "zipkin");
        assert_eq!(sink(&[("error", Value::Str("no"))]), "");
    }

    #[test]
    fn a_repeated_problem_is_told_once_a_minute() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        assert_eq!(repeats.note("a", "", start), Verdict::Tell { left_out: 0 });
        assert_eq!(repeats.note("a", "", start + Duration::from_secs(1)), Verdict::Quiet);
        assert_eq!(repeats.note("b", "", start + Duration::from_secs(1)), Verdict::Tell { left_out: 0 });
        assert_eq!(
            repeats.note("a", "zipkin", start + Duration::from_secs(1)),
            Verdict::Tell { left_out: 0 }
        );
        assert_eq!(repeats.note("a", "", start + Duration::from_secs(59)), Verdict::Quiet);
        assert_eq!(repeats.note("a", "", start + INTERVAL), Verdict::Tell { left_out: 2 });
    }
}

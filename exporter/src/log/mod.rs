//! The exporter's own log: JSON lines on stdout, written by [`logtracer_core::line`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use logtracer_core::line::{Format, Line};
pub(crate) use logtracer_core::line::{Severity, Value};

use crate::truncate::truncate;
use crate::{clock, stdout};

/// Writes one line: `logtracer-exporter - <message>` with these fields.
pub(crate) fn line(severity: Severity, message: &str, fields: &[(&str, Value<'_>)]) {
    let mut out = Vec::with_capacity(256);
    render(&mut out, clock::unix_nanos(), severity, message, fields);
    stdout::line(out);
}

/// Renders the line that reports dropped lines.
pub(crate) fn dropped_lines(lines: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let fields = [("lines", Value::U64(lines))];
    let message = "dropped log lines: stdout is blocked";
    render(&mut out, clock::unix_nanos(), Severity::Warning, message, &fields);
    out
}

/// Tells of an error that ends the program.
pub(crate) fn fatal(error: &str) {
    line(Severity::Critical, "ends with an error", &[("error", Value::Str(error))]);
}

/// Makes a panic a line, too.
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let error = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let mut fields = vec![
            ("error", Value::Str(error.unwrap_or("unknown"))),
            ("thread", Value::Str(thread.name().unwrap_or_default())),
        ];
        let origin = panic.location().map(ToString::to_string);
        if let Some(origin) = &origin {
            fields.push(("location", Value::Str(origin)));
        }
        line(Severity::Critical, "panic", &fields);
    }));
}

/// Writes a line about a problem that may come again and again: the same message at most once a minute, with the
/// number of those that were left out. Each sink and each reason has a minute of its own.
pub(crate) fn repeated(severity: Severity, message: &'static str, fields: &[(&str, Value<'_>)]) {
    static SEEN: Mutex<Option<Repeats>> = Mutex::new(None);
    let verdict = SEEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(Repeats::default)
        .note(message, cause(fields), Instant::now());
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

/// The sink that a line is about, and the reason or the error that it gives; without digits, for numbers differ from one
/// time to the next.
fn cause(fields: &[(&str, Value<'_>)]) -> String {
    const MAX_BYTES: usize = 200;
    let mut cause = String::new();
    for (name, value) in fields {
        if let Value::Str(text) = value
            && ["sink", "reason", "error"].contains(name)
        {
            cause.extend(truncate(text, MAX_BYTES).chars().filter(|c| !c.is_ascii_digit()));
            cause.push('\n');
        }
    }
    cause
}

/// When each message was last written, for each cause.
#[derive(Default)]
struct Repeats(HashMap<(&'static str, String), (Instant, u64)>);

/// So many causes are told apart; what an error says can be anything.
const MAX_CAUSES: usize = 256;

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Tell { left_out: u64 },
    Quiet,
}

impl Repeats {
    fn note(&mut self, message: &'static str, cause: String, now: Instant) -> Verdict {
        let mut key = (message, cause);
        if self.0.len() >= MAX_CAUSES && !self.0.contains_key(&key) {
            self.0.retain(|_, (last, _)| now.duration_since(*last) < INTERVAL);
            if self.0.len() >= MAX_CAUSES {
                key.1.clear();
            }
        }
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
    fn sinks_and_errors_are_told_apart_and_numbers_are_not() {
        let told = |sink, error| cause(&[("error", Value::Str(error)), ("sink", Value::Str(sink))]);
        assert_eq!(told("a", "batch 17 is bad"), told("a", "batch 4 is bad"));
        assert_ne!(told("a", "bad"), told("b", "bad"));
        assert_ne!(told("a", "bad"), told("a", "worse"));
    }

    #[test]
    fn causes_are_bounded() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        for n in 0..2 * MAX_CAUSES {
            repeats.note("a", "x".repeat(n), start);
        }
        assert!(repeats.0.len() <= MAX_CAUSES + 1);
        assert_eq!(repeats.note("a", "x".repeat(1000), start + INTERVAL), Verdict::Tell { left_out: 0 });
    }

    #[test]
    fn a_repeated_problem_is_told_once_a_minute() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        assert_eq!(repeats.note("a", String::new(), start), Verdict::Tell { left_out: 0 });
        assert_eq!(repeats.note("a", String::new(), start + Duration::from_secs(1)), Verdict::Quiet);
        assert_eq!(
            repeats.note("b", String::new(), start + Duration::from_secs(1)),
            Verdict::Tell { left_out: 0 }
        );
        assert_eq!(
            repeats.note("a", "zipkin".to_owned(), start + Duration::from_secs(1)),
            Verdict::Tell { left_out: 0 }
        );
        assert_eq!(repeats.note("a", String::new(), start + Duration::from_secs(59)), Verdict::Quiet);
        assert_eq!(repeats.note("a", String::new(), start + INTERVAL), Verdict::Tell { left_out: 2 });
    }
}

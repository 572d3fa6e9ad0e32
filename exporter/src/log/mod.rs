//! The exporter's own log: JSON lines on stdout, written by [`logtracer_core::line`].

mod panic_hook;
mod progress;
mod rate_limit;
pub(crate) mod stdout;

use logtracer_core::line::{Format, Line};
pub(crate) use logtracer_core::line::{Severity, Value};

use crate::clock;
pub(crate) use panic_hook::install_panic_hook;
pub(crate) use progress::ProgressLog;
pub(crate) use rate_limit::{error, info, rate_limited, warn};

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

/// Logs an error that ends the program.
pub(crate) fn fatal(error: &str) {
    line(Severity::Critical, "fatal error", &[("error", Value::Str(error))]);
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
    fn a_line_is_one_json_object() {
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
}

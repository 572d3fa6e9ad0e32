//! What a row shows of a log line, in the list and in its trace.

use logtracer_core::TraceId;

use crate::otlp::in_place::RecordRef;
use crate::store::{LineContent, LineRow, ReadResult, Snapshot, convert_record};
use crate::view::bounded;
use crate::view::visible::{self, Breaks};

/// The size of a message in a row.
pub(super) const MESSAGE_BYTES: usize = 600;

/// The longest name of a trace that has only lines.
const MAX_NAME_CHARS: usize = 120;

/// What a row shows of a line.
pub(super) struct Brief {
    pub(super) severity: String,
    pub(super) service: Option<String>,
    /// The beginning of the message, without the name of the service before it.
    pub(super) message: String,
}

impl Brief {
    /// Reads a line. The service of a line of a file is that of its span, or is before the message.
    pub(super) fn read(
        snapshot: &Snapshot<'_>,
        trace_id: TraceId,
        row: &LineRow<'_>,
        service_of_span: Option<&str>,
    ) -> ReadResult<Self> {
        Ok(match row.content {
            LineContent::File { severity, message, .. } => {
                let (start, _) = bounded::start(message, MESSAGE_BYTES);
                let (prefix, rest) = split_service(start);
                let service = service_of_span.or(prefix);
                let message = if service.is_some() && service == prefix { rest } else { start };
                Self {
                    severity: severity.to_owned(),
                    service: service.map(str::to_owned),
                    message: message.trim().to_owned(),
                }
            }
            LineContent::Record { body, origin } => {
                let converted = snapshot.emitter(origin, |emitter| {
                    let service = emitter.service_name().into_owned();
                    let names = (&*service, "");
                    let line = convert_record(&RecordRef::new(body), Some(trace_id), names, MESSAGE_BYTES);
                    let (prefix, rest) = split_service(&line.message);
                    let message = if prefix == Some(&*service) { rest } else { &line.message };
                    Self {
                        severity: line.severity.to_owned(),
                        message: message.trim().to_owned(),
                        service: Some(service),
                    }
                })?;
                converted.unwrap_or(Self { severity: String::new(), service: None, message: String::new() })
            }
        })
    }

    /// Reads the first line of a trace.
    pub(super) fn first(snapshot: &Snapshot<'_>, trace_id: TraceId) -> ReadResult<Option<Self>> {
        let Some((seq, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
        snapshot.line(seq, None, |row| Self::read(snapshot, trace_id, &row, None))
    }

    /// Returns the name of a trace that has only lines, of which this is the first.
    pub(super) fn name_of_trace(&self) -> String {
        visible::plain(&self.message, Breaks::Show, MAX_NAME_CHARS)
    }
}

/// Splits `service - message`.
fn split_service(message: &str) -> (Option<&str>, &str) {
    match message.split_once(" - ") {
        Some((service, rest))
            if !service.is_empty() && service.len() <= 200 && !service.contains(char::is_whitespace) =>
        {
            (Some(service), rest)
        }
        _ => (None, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_can_be_before_the_message() {
        for (message, expected) in [
            ("shop - basket is empty", (Some("shop"), "basket is empty")),
            ("basket is - empty", (None, "basket is - empty")),
            (" - x", (None, " - x")),
            ("x", (None, "x")),
        ] {
            assert_eq!(split_service(message), expected);
        }
    }
}

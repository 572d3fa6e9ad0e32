//! [`JsonLayer`]: one event, one line, one write.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use logtracer_core::line::{Format, Line, Severity};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::{self, SpanFields};
use super::output::Output;
use crate::carry::CarryTraces;
use crate::current::current_trace;

/// The layer that [`Logging`](crate::Logging) builds: writes lines, and carries traces as
/// [`carry_traces`](crate::carry_traces) does.
#[derive(Debug)]
pub struct JsonLayer {
    format: Format,
    project_id: Option<String>,
    /// What messages begin with: `<service> - `.
    prefix: String,
    output: Output,
}

/// Reused from line to line.
#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    /// The names of the fields that the line has.
    names: Vec<&'static str>,
}

/// A buffer that one long line has made larger than this is given back.
const MAX_KEPT_BYTES: usize = 32 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { line: Vec::new(), names: Vec::new() }) };
}

impl JsonLayer {
    pub(super) fn new(format: Format, project_id: Option<String>, service: &str, output: Output) -> Self {
        let prefix = if service.is_empty() { String::new() } else { format!("{service} - ") };
        Self { format, project_id, prefix, output }
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, buffers: &mut Buffers)
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let Buffers { line: out, names } = buffers;
        out.clear();
        names.clear();
        let metadata = event.metadata();

        let mut line = Line::new(out, self.format, self.project_id.as_deref());
        line.severity(severity(*metadata.level()))
            .message(|text| {
                text.push(&self.prefix);
                if !fields::write_message(event, text) {
                    text.push(metadata.target());
                }
            })
            .time(now());
        if let Some(file) = metadata.file() {
            line.source_location(file, metadata.line(), None);
        }
        if let Some(context) = current_trace() {
            line.trace(&context);
        }
        fields::write_event(event, &mut line, names);
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                fields.write(&mut line, names);
            }
        }
        line.finish();

        out.push(b'\n');
        self.output.write(out);
        if out.capacity() > MAX_KEPT_BYTES {
            *out = Vec::new();
        }
    }
}

impl<S> Layer<S> for JsonLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut fields = SpanFields::default();
            fields.record(self.format, |visit| attributes.record(visit));
            if !fields.is_empty() {
                span.extensions_mut().replace(fields);
            }
        }
        CarryTraces.on_new_span(attributes, id, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut extensions = span.extensions_mut();
            match extensions.get_mut::<SpanFields>() {
                Some(fields) => fields.record(self.format, |visit| values.record(visit)),
                None => {
                    let mut fields = SpanFields::default();
                    fields.record(self.format, |visit| values.record(visit));
                    extensions.insert(fields);
                }
            }
        }
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        CarryTraces.on_enter(id, ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        CarryTraces.on_exit(id, ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let written = BUFFERS.try_with(|buffers| {
            buffers.try_borrow_mut().map(|mut buffers| self.write(event, &ctx, &mut buffers)).is_ok()
        });
        // The buffers are gone when the thread ends, and taken when formatting a field logs.
        if !matches!(written, Ok(true)) {
            self.write(event, &ctx, &mut Buffers::default());
        }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

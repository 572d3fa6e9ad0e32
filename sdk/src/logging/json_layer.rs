//! [`JsonLayer`]: one event, one line, one write.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use logtracer_core::line::{ErrorReport, Line, MarkedField, Severity, TimeText, Value};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{ExtensionsMut, LookupSpan};

use super::callsite::Callsites;
use super::caught_panic;
use super::event_fields::{Collected, EventFields};
use super::key_values::{self, Owner};
#[cfg(feature = "log")]
use super::log_record;
use super::output::Output;
use super::panic;
use super::service::{SPANS, Service, SourceLocation, TARGET};
use super::span_fields::{FieldsByFormat, SpanFields};
use crate::current::{Scope, current_trace};
use crate::span_carrier::{SpanCarrier, scope_under};
use crate::{system, targets};

/// The layer that [`Logging`](crate::Logging) builds: writes lines, and carries traces as
/// [`carry_traces`](crate::carry_traces) does.
#[derive(Debug)]
pub(super) struct JsonLayer {
    service: Arc<Service>,
    output: Output,
    start: Start,
    is_started: Once,
}

/// What happens as soon as a subscriber contains the layer.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) logs_panics: bool,
    /// What was wrong with the environment.
    pub(super) warnings: Vec<String>,
}

/// Buffers that are reused from line to line.
struct Buffers {
    line: Vec<u8>,
    /// The names of the fields that the line has.
    names: Vec<&'static str>,
    collected: Collected,
    time: TimeText,
    callsites: Callsites,
}

impl Buffers {
    const fn new() -> Self {
        Self {
            line: Vec::new(),
            names: Vec::new(),
            collected: Collected::new(),
            time: TimeText::new(),
            callsites: Callsites::new(),
        }
    }
}

/// The name of a backtrace in a line.
const STACK_TRACE: &str = "stack_trace";

/// A buffer is freed if a long line makes it larger than this.
const MAX_BUFFER_BYTES: usize = 32 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::new()) };
}

impl JsonLayer {
    pub(super) fn new(service: Arc<Service>, output: Output, start: Start) -> Self {
        Self { service, output, start, is_started: Once::new() }
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, buffers: &mut Buffers)
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let service = &*self.service;
        let Buffers { line: out, names, collected, time, callsites } = buffers;
        out.clear();
        names.clear();
        #[cfg(feature = "log")]
        let normalized = log_record::normalized(event);
        #[cfg(not(feature = "log"))]
        let normalized = None::<tracing_core::Metadata<'_>>;
        let owner = match &normalized {
            #[cfg(feature = "log")]
            Some(_) => Some(Owner::LogRecord),
            _ => (event.metadata().target() == targets::SERVER).then_some(Owner::Request),
        };
        let key_values = owner.and_then(key_values::current);
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let callsite = callsites.get(event.metadata(), service);
        let fields = EventFields {
            event,
            callsite,
            key_values: key_values.as_deref().unwrap_or_default(),
            reserved: service.reserved_names(),
        };
        let mut known = callsite.known().with(normalized.is_some(), fields.key_values);
        let named_severity = fields.severity(known);
        // An unknown name stays visible as a plain field.
        known.has_severity = named_severity.is_some();
        collected.clear(known);
        let location = SourceLocation::of(metadata);

        let mut line = Line::new(out, service.format, service.project_id.as_deref());
        line.severity(named_severity.unwrap_or_else(|| severity_of(*metadata.level())))
            .message(|text| {
                service.write_name(location.target, text);
                if !fields.write_message(text, known, &mut collected.error) {
                    text.push(metadata.target());
                }
            })
            .time_with(time, system::unix_nanos());
        if normalized.is_some() {
            location.write(&mut line);
        } else {
            line.rendered_field(callsite.source_location());
        }
        let context = match event.parent() {
            None => current_trace(),
            named_parent => scope_under(named_parent, ctx).as_ref().map(Scope::context),
        };
        if let Some(context) = context {
            line.trace(&context);
        }
        let is_reported = service.is_reported(metadata);
        if is_reported {
            line.error_report(&ErrorReport {
                service: &service.name,
                version: &service.version,
                file: location.file.unwrap_or_default(),
                line: location.line,
            });
        } else {
            service.write_context(&mut line);
        }
        if service.parts.target {
            let value = Value::Str(metadata.target());
            line.marked_field(&MarkedField { name: TARGET, value, ..MarkedField::default() });
        }
        fields.write(&mut line, known, names, collected);
        if known.has_http_request {
            collected.request.write(&mut line);
        }
        if known.has_error && collected.error.has_backtrace() {
            // A key cannot be there twice. In an error report, a field of this name has another one.
            let has_field =
                names.contains(&STACK_TRACE) || fields.key_values.iter().any(|pair| pair.name == STACK_TRACE);
            if is_reported || !has_field {
                collected.error.write(&mut line);
                names.push(STACK_TRACE);
            }
        }
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(by_format) = span.extensions().get::<FieldsByFormat>() {
                let span_fields = by_format.get(service.format);
                span_fields.write(&mut line, names, fields.key_values);
                span_fields.collect(collected);
            }
        }
        if service.parts.spans {
            let spans = ctx.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
            line.text_list(SPANS, spans.map(|span| span.metadata().name()));
        }
        collected.entry.write(&mut line);
        collected.labels.write(&mut line, &service.labels);
        line.finish();

        out.push(b'\n');
        self.output.write(out);
        if out.capacity() > MAX_BUFFER_BYTES {
            *out = Vec::new();
        }
        collected.free_large(MAX_BUFFER_BYTES);
    }
}

impl JsonLayer {
    /// Merges fields into those of the span. If another JSON layer has the same format, it merges the same fields.
    fn merge_into_span(&self, newer: SpanFields, extensions: &mut ExtensionsMut<'_>) {
        if extensions.get_mut::<FieldsByFormat>().is_none() {
            extensions.insert(FieldsByFormat::default());
        }
        if let Some(fields) = extensions.get_mut::<FieldsByFormat>() {
            fields.get_mut(self.service.format).merge(newer);
        }
    }
}

impl<S> Layer<S> for JsonLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_register_dispatch(&self, _subscriber: &Dispatch) {
        self.is_started.call_once(|| {
            if self.start.logs_panics {
                panic::install_hook(Arc::clone(&self.service), self.output.clone());
            }
            for warning in &self.start.warnings {
                self.output.write(&self.service.render_warning(warning));
            }
        });
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut fields = SpanFields::default();
            fields.record(&self.service, |visit| attributes.record(visit));
            if !fields.is_empty() {
                self.merge_into_span(fields, &mut span.extensions_mut());
            }
        }
        SpanCarrier.on_new_span(attributes, id, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            // Format before locking the span: formatting may log, and a line reads the fields of the span.
            let mut newer = SpanFields::default();
            newer.record(&self.service, |visit| values.record(visit));
            self.merge_into_span(newer, &mut span.extensions_mut());
        }
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        SpanCarrier.on_enter(id, ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        SpanCarrier.on_exit(id, ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if caught_panic::is_logged(event) {
            return;
        }
        let written = BUFFERS.try_with(|buffers| {
            buffers.try_borrow_mut().map(|mut buffers| self.write(event, &ctx, &mut buffers)).is_ok()
        });
        // The buffers are unavailable while the thread ends, and while formatting a field logs.
        if !matches!(written, Ok(true)) {
            self.write(event, &ctx, &mut Buffers::new());
        }
    }
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

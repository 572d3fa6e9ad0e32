//! Reads whole traces, for tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logtracer_core::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{LineContent, LineKey, ServiceNames, Sort, Store, TraceFilter, TraceSummary, convert_record};
use crate::otlp::in_place::RecordRef;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trace {
    pub(crate) summary: TraceSummary,
    pub(crate) spans: Vec<StoredSpan>,
    pub(crate) lines: Vec<StoredLine>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredSpan {
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) span: Span,
    pub(crate) emitter: Arc<Emitter>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emitter {
    pub(crate) service_name: String,
    pub(crate) scope: InstrumentationScope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLine {
    pub(crate) time_unix_nano: u64,
    pub(crate) severity: String,
    pub(crate) message: String,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) line: String,
}

impl StoredSpan {
    pub(crate) fn duration_nano(&self) -> u64 {
        self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano)
    }
}

impl Store {
    /// Returns the newest traces.
    pub(crate) fn newest(&self, limit: usize) -> rusqlite::Result<Vec<TraceSummary>> {
        self.snapshot(|snapshot| {
            let (all, deadline) = (TraceFilter::default(), Instant::now() + Duration::from_secs(60));
            let keys = snapshot.find_traces(&all, Sort::Newest, None, limit, deadline)?.keys.into_iter();
            keys.filter_map(|key| snapshot.listed(key).transpose()).collect()
        })
    }

    /// Returns all of one trace.
    pub(crate) fn trace(&self, trace_id: TraceId) -> rusqlite::Result<Option<Trace>> {
        self.snapshot(|snapshot| {
            let Some((seq, summary)) = snapshot.trace(trace_id)? else { return Ok(None) };
            let mut names = ServiceNames::default();
            let bodies = self.bodies(summary.trace_id);
            let mut spans = Vec::new();
            for key in snapshot.span_keys(seq, None, usize::MAX)? {
                let span = snapshot.span(seq, key.span_id, |row| {
                    let parent_span_id = snapshot.parent(seq, key.span_id, &row, &mut names)?;
                    let emitter = snapshot.emitter(row.origin, |emitter| Emitter {
                        service_name: emitter.service_name().into_owned(),
                        scope: InstrumentationScope {
                            name: emitter.scope.name.to_owned(),
                            version: emitter.scope.version.to_owned(),
                            ..Default::default()
                        },
                    })?;
                    let body = bodies.iter().find(|(id, _)| *id == key.span_id).map(|(_, body)| &body[..]);
                    let span = Span::decode(body.unwrap_or_default()).unwrap();
                    Ok(StoredSpan { parent_span_id, span, emitter: Arc::new(emitter.unwrap()) })
                })?;
                spans.extend(span);
            }
            let mut lines = Vec::new();
            let mut after: Option<LineKey> = None;
            loop {
                let line = snapshot.line(seq, after, |row| {
                    after = Some(row.key);
                    let (severity, message, line) = match row.content {
                        LineContent::File { severity, message, line } => {
                            (severity.to_owned(), message.to_owned(), line.to_owned())
                        }
                        LineContent::Record { body, origin } => {
                            let names = snapshot.emitter(origin, |emitter| {
                                (emitter.service_name().into_owned(), emitter.scope.name.to_owned())
                            })?;
                            let (service, scope) = names.unwrap();
                            let record = RecordRef::new(body);
                            let line =
                                convert_record(&record, Some(trace_id), (&service, &scope), usize::MAX);
                            (line.severity.to_owned(), line.message, line.line)
                        }
                    };
                    let time_unix_nano = row.time_unix_nano();
                    Ok(StoredLine { time_unix_nano, severity, message, span_id: row.span_id, line })
                })?;
                match line {
                    Some(line) => lines.push(line),
                    None => break,
                }
            }
            Ok(Some(Trace { summary, spans, lines }))
        })
    }

    /// Returns the bodies of the spans of a trace.
    fn bodies(&self, trace_id: TraceId) -> Vec<(SpanId, Vec<u8>)> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT span_id, body FROM span JOIN trace ON seq = trace WHERE trace_id = ?",
                )?
                .query_map([trace_id.to_bytes()], |row| {
                    let id = SpanId::new(row.get::<_, i64>(0)?.cast_unsigned()).unwrap();
                    Ok((id, row.get(1)?))
                })?
                .collect()
        })
        .unwrap()
    }
}

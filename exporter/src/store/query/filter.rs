//! The filters of the lists, and whether a span or a line passes them.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use logtracer_core::TraceId;

use super::Snapshot;
use crate::otlp::in_place::{AnyRef, Attributes, RecordRef, SpanRef};
use crate::otlp::json;
use crate::store::index::{SpanFacts, Term, contains_text, span_text};
use crate::store::service_name::is_service;
use crate::store::summary::short;

/// The order of traces in a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Newest,
    Oldest,
    Longest,
}

/// What the status of a span has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusFilter {
    /// An HTTP status code, or the name of a gRPC status code.
    Code(String),
    /// `5xx`.
    Class(&'static str),
    /// The status of the span is an error.
    Error,
}

impl StatusFilter {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Code(code) => code,
            Self::Class(class) => class,
            Self::Error => "error",
        }
    }
}

/// A filter of traces.
///
/// One span of the trace has the service, the name, the route, the status and all attributes. Its duration, its time and
/// its text are those of the trace: the text is in the name of one of its spans, or in one of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceFilter {
    pub(crate) service: Option<String>,
    /// A part of the name, in upper or lower case.
    pub(crate) name: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) status: Option<StatusFilter>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: Option<String>,
    pub(crate) min_duration_nano: Option<u64>,
    pub(crate) max_duration_nano: Option<u64>,
    /// The first and the last time, in nanoseconds since 1970.
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

/// A filter of log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineFilter {
    /// A part of the line or its message, in upper or lower case.
    pub(crate) text: Option<String>,
    /// The least severity, by [`logtracer_core::line::Severity::ALL`].
    pub(crate) level: i64,
    pub(crate) service: Option<String>,
    pub(crate) trace: Option<TraceId>,
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

impl TraceFilter {
    fn is_of_spans(&self) -> bool {
        self.service.is_some()
            || self.name.is_some()
            || self.route.is_some()
            || self.status.is_some()
            || !self.attributes.is_empty()
    }

    /// Returns the first and the last place in the lists that passes.
    pub(super) fn times(&self) -> RangeInclusive<i64> {
        self.from.unwrap_or(i64::MIN)..=self.to.unwrap_or(i64::MAX)
    }

    /// Returns the shortest and the longest duration that passes, as the store has them.
    pub(super) fn durations(&self) -> RangeInclusive<i64> {
        let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
        self.min_duration_nano.map_or(i64::MIN, nanos)..=self.max_duration_nano.map_or(i64::MAX, nanos)
    }

    /// Returns whether the place of a trace in the lists and its duration pass.
    pub(super) fn has_in_range(&self, order_ns: i64, duration_ns: i64) -> bool {
        self.times().contains(&order_ns) && self.durations().contains(&duration_ns)
    }

    /// Returns terms that all traces of the result have.
    pub(super) fn terms(&self) -> Vec<Term> {
        let service = self.service.as_deref().map(short);
        let (service, route) = (service.as_deref(), self.route.as_deref());
        let mut terms = Vec::new();
        terms.extend(service.map(Term::service));
        terms.extend(route.map(|route| Term::route(service, route)));
        if let Some(status) = &self.status {
            terms.extend(Term::status(service, route, status.as_str()));
        }
        terms.extend(self.attributes.iter().map(|(key, value)| Term::attribute(key, value)));
        terms
    }

    /// Returns texts that all traces of the result have.
    pub(super) fn texts(&self) -> Vec<Vec<u8>> {
        [&self.name, &self.text].into_iter().flatten().map(|text| text.clone().into_bytes()).collect()
    }
}

/// What the resource of an origin has of a filter.
#[derive(Debug, Clone)]
struct OriginMatch {
    service: String,
    attributes: Vec<bool>,
}

/// Reads the spans and lines of a trace to find out whether it passes a filter.
#[derive(Debug)]
pub(super) struct Evaluation<'a> {
    filter: &'a TraceFilter,
    service: Option<String>,
    origins: HashMap<i64, OriginMatch>,
}

/// More origins are forgotten.
const MAX_ORIGINS: usize = 1024;

impl<'a> Evaluation<'a> {
    pub(super) fn new(filter: &'a TraceFilter) -> Self {
        let service = filter.service.as_deref().map(|service| short(service).into_owned());
        Self { filter, service, origins: HashMap::new() }
    }

    /// Returns whether a trace passes without a look at its spans and lines.
    pub(super) fn is_trivial(&self) -> bool {
        !self.filter.is_of_spans() && self.filter.text.is_none()
    }

    pub(super) fn passes(&mut self, snapshot: &Snapshot<'_>, trace: i64) -> rusqlite::Result<bool> {
        let (mut has_span, mut has_text) = (!self.filter.is_of_spans(), self.filter.text.is_none());
        if has_span && has_text {
            return Ok(true);
        }
        let mut spans = snapshot.0.prepare_cached("SELECT origin, body FROM span WHERE trace = ?")?;
        let mut rows = spans.query([trace])?;
        while !(has_span && has_text)
            && let Some(row) = rows.next()?
        {
            let span = SpanRef::new(row.get_ref(1)?.as_blob()?);
            has_span = has_span || self.has_span(snapshot, row.get(0)?, &span)?;
            has_text =
                has_text || self.filter.text.as_deref().is_none_or(|text| is_in(span_text(&span), text));
        }
        if !has_span || has_text {
            return Ok(has_span);
        }
        let text = self.filter.text.as_deref().unwrap_or_default();
        let mut lines =
            snapshot.0.prepare_cached("SELECT message, line, origin FROM line WHERE trace = ?")?;
        let mut rows = lines.query([trace])?;
        while let Some(row) = rows.next()? {
            if line_contains(row, text)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_span(
        &mut self,
        snapshot: &Snapshot<'_>,
        origin: i64,
        span: &SpanRef<'_>,
    ) -> rusqlite::Result<bool> {
        let filter = self.filter;
        if filter.name.as_deref().is_some_and(|name| !is_in(span.name, name)) {
            return Ok(false);
        }
        if self.service.is_some() || !filter.attributes.is_empty() {
            let service = self.service.clone();
            let known = self.origin(snapshot, origin)?;
            if service.is_some_and(|service| !is_service(&known.service, &service)) {
                return Ok(false);
            }
            let mut attributes = filter.attributes.iter().zip(&known.attributes);
            if !attributes
                .all(|(wanted, of_resource)| *of_resource || has_attribute(span.attributes(), wanted))
            {
                return Ok(false);
            }
        }
        if filter.route.is_none() && filter.status.is_none() {
            return Ok(true);
        }
        let facts = SpanFacts::new(span, "".into());
        Ok(filter.route.as_deref().is_none_or(|route| facts.route == route)
            && filter.status.as_ref().is_none_or(|status| match status {
                StatusFilter::Code(code) => facts.status == code.as_str(),
                StatusFilter::Class(class) => facts.class() == Some(*class),
                StatusFilter::Error => facts.is_error,
            }))
    }

    fn origin(&mut self, snapshot: &Snapshot<'_>, origin: i64) -> rusqlite::Result<&OriginMatch> {
        if self.origins.len() >= MAX_ORIGINS && !self.origins.contains_key(&origin) {
            self.origins.clear();
        }
        if !self.origins.contains_key(&origin) {
            let wanted = &self.filter.attributes;
            let found = snapshot.emitter(origin, |emitter| OriginMatch {
                service: emitter.service_name().into_owned(),
                attributes: wanted
                    .iter()
                    .map(|wanted| has_attribute(emitter.resource.attributes(), wanted))
                    .collect(),
            })?;
            let none = || OriginMatch { service: String::new(), attributes: vec![false; wanted.len()] };
            self.origins.insert(origin, found.unwrap_or_else(none));
        }
        self.origins.get(&origin).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

/// Returns whether a text is in a line, from its columns `message`, `line` and `origin`. The JSON of a line of a file is
/// searched as it is written, and without its escapes.
pub(super) fn line_contains(row: &rusqlite::Row<'_>, searched: &str) -> rusqlite::Result<bool> {
    let (message, line) = (row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?);
    if contains_text(message, searched.as_bytes()) {
        return Ok(true);
    }
    let (is_in_line, is_of_file) =
        (contains_text(line, searched.as_bytes()), row.get_ref(2)?.as_i64_or_null()?.is_none());
    Ok(if is_of_file {
        is_in_line || unescaped(line).is_some_and(|line| is_in(&line, searched))
    } else {
        // The bytes of ids and times can look like a text.
        is_in_line && RecordRef::new(line).has_text(usize::MAX, |text| is_in(text, searched))
    })
}

/// Returns the JSON of a line without its escapes, or `None` if it has none.
pub(in crate::store) fn unescaped(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.contains('\\'))?;
    Some(json::unescaped(line).into_owned())
}

fn is_in(text: &str, searched: &str) -> bool {
    contains_text(text.as_bytes(), searched.as_bytes())
}

fn has_attribute(attributes: Attributes<'_>, (key, value): &(String, String)) -> bool {
    attributes.iter().filter(|(found, _)| found == key).last().is_some_and(|(_, text)| match text {
        AnyRef::Text(text) => text == value,
        other => {
            let (text, is_whole) = other.text_within(value.len() + 1);
            is_whole && text == *value
        }
    })
}

//! The JSON API of the exporter's viewer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result, envoy, wait};

/// The store of an exporter.
pub struct Store {
    /// The URL of the page, with a slash at its end.
    pub page: String,
}

impl Store {
    /// Returns the newest traces.
    pub fn traces(&self, limit: usize) -> Result<Vec<TraceSummary>> {
        #[derive(Deserialize)]
        struct Body {
            traces: Vec<TraceSummary>,
        }
        let body: Option<Body> = self.get(&format!("api/traces?limit={limit}"))?;
        Ok(body.map_or_else(Vec::new, |body| body.traces))
    }

    /// Returns a trace if the store has a span or a line of it.
    pub fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.get(&format!("api/traces/{id}"))
    }

    /// Waits until a trace has at least a number of spans and lines.
    pub fn wait_for_trace(&self, id: &str, spans: usize, lines: usize) -> Result<Trace> {
        let mut seen = (0, 0);
        wait::try_until("the trace in the store", || {
            let trace = self.trace(id)?;
            seen = trace.as_ref().map_or((0, 0), |trace| (trace.spans.len(), trace.logs.len()));
            Ok(trace.filter(|_| seen.0 >= spans && seen.1 >= lines))
        })
        .map_err(|cause| {
            let (got_spans, got_lines) = seen;
            Error::new(format!(
                "{cause}; trace {id} has {got_spans} of {spans} spans and {got_lines} of {lines} lines"
            ))
        })
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>> {
        let url = format!("{}{path}", self.page);
        let response = envoy::client()?.get(&url).send().map_err(Error::when(&url))?;
        if response.status() == 404 {
            return Ok(None);
        }
        let status = response.status();
        let body = response.text().map_err(Error::when(&url))?;
        let parsed = serde_json::from_str(&body);
        parsed.map(Some).map_err(Error::when(format!("{url}: status {status}: {body}")))
    }
}

/// A trace in the list of traces.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct TraceSummary {
    pub trace_id: String,
    pub root_name: String,
    pub service_names: Vec<String>,
    pub span_count: u64,
    pub log_count: u64,
    pub error_count: u64,
}

/// A trace with its spans and log lines.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Trace {
    pub trace_id: String,
    pub spans: Vec<Span>,
    pub logs: Vec<Log>,
}

impl Trace {
    /// Returns the first span of a service and a kind.
    pub fn span(&self, service: &str, kind: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.service_name == service && span.kind == kind)
    }

    /// Returns the spans whose parent is not in the trace, oldest first.
    pub fn roots(&self) -> Vec<&Span> {
        let is_known = |id: &String| self.spans.iter().any(|span| span.span_id == *id);
        self.sorted(|span| !span.parent_span_id.as_ref().is_some_and(is_known))
    }

    /// Returns the children of a span, oldest first.
    pub fn children(&self, parent: &Span) -> Vec<&Span> {
        self.sorted(|span| span.parent_span_id.as_deref() == Some(&parent.span_id))
    }

    fn sorted(&self, filter: impl Fn(&Span) -> bool) -> Vec<&Span> {
        let mut spans: Vec<&Span> = self.spans.iter().filter(|span| filter(span)).collect();
        spans.sort_by_key(|span| span.start());
        spans
    }
}

/// A span of the store. Times are decimal nanoseconds since 1970.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Span {
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub name: String,
    pub kind: String,
    pub service_name: String,
    pub start_time_unix_nano: String,
    pub end_time_unix_nano: String,
    pub status: Status,
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
}

impl Span {
    /// The start in nanoseconds since 1970.
    pub fn start(&self) -> u64 {
        self.start_time_unix_nano.parse().unwrap_or(0)
    }

    /// The end in nanoseconds since 1970.
    pub fn end(&self) -> u64 {
        self.end_time_unix_nano.parse().unwrap_or(0)
    }
}

/// The status of a span: `unset`, `ok` or `error`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Status {
    pub code: String,
    #[serde(default)]
    pub message: Option<String>,
}

/// A log line of the store.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Log {
    pub severity: String,
    pub message: String,
    pub span_id: Option<String>,
    pub line: Value,
}

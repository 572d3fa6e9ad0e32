//! A receiver of OTLP that shows spans as trees. A real one is logtracer's exporter.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// The received spans, each with the name of its service.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<Vec<(String, Span)>>>);

impl Received {
    /// Receives spans until the program ends; returns the URL.
    pub(crate) async fn serve(&self) -> std::io::Result<String> {
        let received = self.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route("/v1/traces", post(async move |body: Bytes| received.add(body)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(url)
    }

    fn add(&self, body: Bytes) -> StatusCode {
        let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
        let mut all = self.0.lock().unwrap();
        for spans in request.resource_spans {
            let resource = spans.resource.unwrap_or_default();
            let name = resource.attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = match name.and_then(|name| name.value?.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            all.extend(spans.map(|span| (service.clone(), span)));
        }
        StatusCode::OK
    }

    /// Returns the ids of the spans.
    pub(crate) fn span_ids(&self) -> Vec<String> {
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.lock().unwrap().iter().map(|(_, span)| hex(&span.span_id)).collect()
    }

    /// Returns each trace as a tree: the service, name, kind and duration of its spans, below their parents.
    pub(crate) fn tree(&self) -> String {
        let mut spans = self.0.lock().unwrap().clone();
        spans.sort_by_key(|(_, span)| span.start_time_unix_nano);
        let ids: HashSet<&[u8]> = spans.iter().map(|(_, span)| &span.span_id[..]).collect();
        let mut rows = Vec::new();
        for root in spans.iter().filter(|(_, span)| !ids.contains(&span.parent_span_id[..])) {
            add_rows(&spans, root, "", "", &mut rows);
        }
        let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max();
        let (name, service) = (width(|row| &row.name).unwrap_or(0), width(|row| &row.service).unwrap_or(0));
        let line = |row: &Row| {
            let Row { name: text, service: of, kind, ms, outcome } = row;
            let line = format!("{text:<name$}  {of:<service$}  {kind:<8}  {ms:>7.1} ms  {outcome}");
            line.trim_end().to_owned() + "\n"
        };
        rows.iter().map(line).collect()
    }
}

struct Row {
    name: String,
    service: String,
    kind: &'static str,
    ms: f64,
    outcome: &'static str,
}

fn add_rows(
    spans: &[(String, Span)],
    (service, span): &(String, Span),
    branch: &str,
    indent: &str,
    rows: &mut Vec<Row>,
) {
    rows.push(Row {
        name: format!("{branch}{}", span.name),
        service: service.clone(),
        kind: match span.kind {
            2 => "server",
            3 => "client",
            4 => "producer",
            5 => "consumer",
            _ => "internal",
        },
        ms: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) as f64 / 1e6,
        outcome: if span.status.as_ref().is_some_and(|status| status.code == 2) { "error" } else { "" },
    });
    let mut children = spans.iter().filter(|(_, it)| it.parent_span_id == span.span_id).peekable();
    while let Some(child) = children.next() {
        let (elbow, below) =
            if children.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        add_rows(spans, child, &format!("{indent}{elbow}"), &format!("{indent}{below}"), rows);
    }
}

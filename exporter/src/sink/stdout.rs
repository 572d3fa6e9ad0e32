//! Spans as lines on stdout: each line is a `TracesData` with one span as OTLP JSON, as written by the
//! [OpenTelemetry file exporter](https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).
//!
//! The exporter's own log is on stdout, too. Its lines have a `severity`, those of spans have `resourceSpans`.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, TracesData};

use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink, decode};
use crate::log::stdout;

/// The sink `stdout`.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Sink for Stdout {
    fn pace(&self) -> Pace {
        Pace { calls: 1, items: 1024, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let lines = decode(chunk)
            .and_then(|request| lines(request).map_err(|reason| DeliveryError::Rejected { reason }))?;
        match stdout::write(lines).await {
            Ok(()) => Ok(Accepted::default()),
            Err(error) => {
                let reason = format!("failed to write to stdout: {error}");
                Err(DeliveryError::Unavailable { reason, retry_after: None })
            }
        }
    }
}

fn lines(request: ExportTraceServiceRequest) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for resource_spans in request.resource_spans {
        for scope_spans in resource_spans.scope_spans {
            for span in scope_spans.spans {
                let scope_spans = vec![ScopeSpans {
                    scope: scope_spans.scope.clone(),
                    spans: vec![span],
                    schema_url: scope_spans.schema_url.clone(),
                }];
                let resource_spans = vec![ResourceSpans {
                    resource: resource_spans.resource.clone(),
                    scope_spans,
                    schema_url: resource_spans.schema_url.clone(),
                }];
                serde_json::to_writer(&mut out, &TracesData { resource_spans })
                    .map_err(|error| error.to_string())?;
                out.push(b'\n');
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::Span;

    #[test]
    fn each_span_is_one_line() {
        let span = |id| Span {
            trace_id: vec![0x46; 16],
            span_id: vec![id; 8],
            name: "GET /\n\u{2028}".to_owned(),
            start_time_unix_nano: u64::MAX,
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span(1), span(2)], ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        let lines = String::from_utf8(lines(request).unwrap()).unwrap();
        assert_eq!(lines.lines().count(), 2);
        for (line, id) in lines.lines().zip(["0101010101010101", "0202020202020202"]) {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            let span = &object["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
            assert_eq!(span["traceId"], "46464646464646464646464646464646");
            assert_eq!(span["spanId"], id);
            assert_eq!(span["startTimeUnixNano"], "18446744073709551615");
        }
    }
}

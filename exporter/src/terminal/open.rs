//! `logtracer-exporter open FILE…`: sends files of OTLP/JSON to a receiver, and prints where their traces are shown.
//!
//! ```text
//!  FILE ──► documents ──► requests of a limited size ──► POST /v1/traces, /v1/logs ──► counts, URLs
//! ```
//!
//! The documents are read as the receiver reads them. What is refused costs nothing else, and is an error with its line.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::json;

use super::OpenOptions;
use super::client::{Client, Server};
use super::documents;
use super::text::{Colour, Paint, clean};
use crate::otlp::Signal;
use crate::otlp::envelope::Envelope;
use crate::otlp::in_place::{RecordRef, SpanFrame};
use crate::otlp::json as otlp_json;
use crate::otlp::left_out::LeftOut;

/// The size of a request. The receiver accepts 8 MiB, and one item more has to fit.
const MAX_BYTES: usize = 2 << 20;

/// The number of items in a request. What a receiver decodes is limited, too.
const MAX_ITEMS: u32 = 5_000;

pub(super) async fn run(options: &OpenOptions, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    let receiver = Client::of(&Server {
        url: &options.to,
        token_file: options.token_file.as_deref(),
        names: ("--to", "--token-file"),
    })?;
    let mut failures = Vec::new();
    for file in &options.files {
        let name = file.display().to_string();
        let shown = clean(&name, 1000);
        let mut fail = |line: Option<usize>, reason: &str| {
            let place = line.map_or_else(|| shown.to_string(), |line| format!("{shown}:{line}"));
            failures.push(format!("{place}: {}", clean(reason, 1000)));
        };
        let body = match read(file) {
            Ok(body) => body,
            Err(error) => {
                fail(None, &format!("{error:#}"));
                continue;
            }
        };
        let text = otlp_json::text(&body);
        let mut sent = Sent::default();
        for document in documents::split(&text) {
            let line = document.line;
            let result = match document.text {
                Ok(text) => send(&receiver, text, &mut sent, |reason| fail(Some(line), reason)).await,
                Err(reason) => {
                    fail(Some(line), &reason);
                    Ok(())
                }
            };
            result.with_context(|| shown.to_string())?;
        }
        let url = |trace: &String| options.output.server.join(&format!("/trace/{trace}"));
        let urls: Vec<_> = sent.traces.iter().filter_map(|trace| Some((trace, url(trace).ok()?))).collect();
        let [spans, records] = sent.items;
        if options.output.json {
            let traces: Vec<_> =
                urls.iter().map(|(id, url)| json!({ "trace_id": id, "url": url.as_str() })).collect();
            let line = json!({ "file": name, "spans": spans, "log_records": records, "traces": traces });
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{shown}: accepted {spans} spans and {records} log records")?;
        for (_, url) in urls {
            writeln!(out, "{}", paint.paint(Colour::Cyan, url.as_str()))?;
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file != Path::new("-") {
        return Ok(std::fs::read(file)?);
    }
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    Ok(body)
}

/// What the receiver has accepted of a file.
#[derive(Default)]
struct Sent {
    /// The spans and the log records.
    items: [u64; 2],
    traces: BTreeSet<String>,
}

/// Sends a document. Its error ends the command; `refuse` gets what is refused of the document.
async fn send(
    receiver: &Client,
    text: &str,
    sent: &mut Sent,
    mut refuse: impl FnMut(&str),
) -> anyhow::Result<()> {
    for (index, (signal, path)) in
        [(Signal::Traces, "/v1/traces"), (Signal::Logs, "/v1/logs")].into_iter().enumerate()
    {
        if !documents::has(signal, text) {
            continue;
        }
        let (body, left_out) = match otlp_json::to_protobuf(signal, text) {
            Ok(converted) => converted,
            Err(reason) => {
                refuse(&format!("it is not OTLP/JSON: {reason}"));
                continue;
            }
        };
        if let Some(reason) = reason_of(signal, &left_out) {
            refuse(&reason);
        }
        for request in requests(signal, body.into())? {
            let rejected = match receiver.post_protobuf(path, request.body).await? {
                Ok(response) => rejected(signal, &response)?,
                Err(error) => Rejected { items: request.items.into(), reason: format!("{error:#}") },
            };
            let accepted = u64::from(request.items).saturating_sub(rejected.items);
            if let Some(items) = sent.items.get_mut(index) {
                *items += accepted;
            }
            if accepted > 0 {
                sent.traces.extend(request.traces);
            }
            if !rejected.reason.is_empty() {
                refuse(&rejected.reason);
            }
        }
    }
    Ok(())
}

/// Returns what was left out of a document, or `None` if nothing was.
fn reason_of(signal: Signal, left_out: &LeftOut) -> Option<String> {
    let items = match signal {
        Signal::Traces => "spans rejected",
        Signal::Logs => "log records rejected",
    };
    let counts = [(items, &left_out.items), ("attributes, events, links or ids left out", &left_out.parts)];
    let reasons: Vec<_> = counts
        .into_iter()
        .flat_map(|(what, counts)| counts.iter().map(move |(reason, count)| (what, reason, count)))
        .map(|(what, reason, count)| format!("{count} {what}: {}", reason.as_str()))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// A part of a document that fits into one request.
struct Request {
    body: Bytes,
    items: u32,
    traces: BTreeSet<String>,
}

/// Divides the items of a request. The resource and the scope are repeated for each part of their items.
fn requests(signal: Signal, body: Bytes) -> anyhow::Result<Vec<Request>> {
    let whole = Envelope::from_body(&body)?;
    let of = |part: &Envelope| {
        let items =
            part.resources.iter().flat_map(|resource| &resource.scopes).flat_map(|scope| &scope.items);
        let traces = items.map(|item| match signal {
            Signal::Traces => SpanFrame::trace_id(item),
            Signal::Logs => RecordRef::new(item).trace_id,
        });
        let traces = traces.filter(|id| id.len() == 16).map(hex::encode).collect();
        Request { body: part.to_body(), items: part.items(), traces }
    };
    let parts = whole.parts(MAX_ITEMS, MAX_BYTES).into_iter().map(|part| {
        let mut envelope = whole.clone();
        envelope.retain_range(&part.items);
        of(&envelope)
    });
    Ok(parts.collect())
}

/// What the receiver has rejected of a request.
struct Rejected {
    /// Spans or log records.
    items: u64,
    /// Empty if nothing is rejected.
    reason: String,
}

/// Reads the response to a request.
fn rejected(signal: Signal, response: &[u8]) -> anyhow::Result<Rejected> {
    let partial = match signal {
        Signal::Traces => ExportTraceServiceResponse::decode(response)
            .map(|it| it.partial_success.map(|it| (it.rejected_spans, it.error_message))),
        Signal::Logs => ExportLogsServiceResponse::decode(response)
            .map(|it| it.partial_success.map(|it| (it.rejected_log_records, it.error_message))),
    };
    let partial = partial.map_err(|_| anyhow!("the receiver did not respond with OTLP"))?;
    let (items, reason) = partial.unwrap_or_default();
    let items = u64::try_from(items).unwrap_or(0);
    Ok(Rejected {
        items,
        reason: if items > 0 && reason.is_empty() { "rejected".to_owned() } else { reason },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    #[test]
    fn a_large_document_becomes_several_requests_with_all_items() {
        let span =
            |n: usize| json!({ "traceId": format!("{:032x}", n % 3 + 1), "spanId": format!("{n:016x}") });
        let scope = |from: usize, to: usize| json!({ "scope": { "name": "s" }, "spans": (from..to).map(span).collect::<Vec<_>>() });
        let document = json!({ "resourceSpans": [
            { "resource": { "attributes": [] }, "scopeSpans": [scope(1, 7_000), scope(7_000, 7_001)] },
            { "resource": {}, "scopeSpans": [scope(7_001, 9_001)] },
            { "scopeSpans": [] },
        ] });
        let parts = |document: &str| {
            let (body, _) = otlp_json::to_protobuf(Signal::Traces, document).unwrap();
            requests(Signal::Traces, body.into()).unwrap()
        };
        let of_document = parts(&document.to_string());
        assert_eq!(of_document.iter().map(|part| part.items).collect::<Vec<_>>(), [5_000, 4_000]);
        assert_eq!(of_document[1].traces.len(), 3);
        let ids: Vec<Vec<u8>> = of_document
            .into_iter()
            .flat_map(|part| ExportTraceServiceRequest::decode(part.body).unwrap().resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .inspect(|scope| assert_eq!(scope.scope.as_ref().unwrap().name, "s"))
            .flat_map(|scope| scope.spans)
            .map(|span| span.span_id)
            .collect();
        assert_eq!(ids, (1..9_001_u64).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());

        let large = |n: u64| json!({ "traceId": format!("{n:032x}"), "spanId": format!("{n:016x}"), "name": "x".repeat(1 << 20) });
        let document =
            json!({ "resource_spans": [{ "scope_spans": [{ "spans": [large(1), large(2), large(3)] }] }] });
        let parts = parts(&document.to_string());
        assert_eq!(parts.iter().map(|part| part.items).collect::<Vec<_>>(), [1, 1, 1]);
    }
}

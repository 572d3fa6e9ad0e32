//! `logtracer-exporter open FILE…`: sends files of OTLP/JSON to a receiver, and prints where their traces are shown.
//!
//! ```text
//!  FILE ──► documents ──► requests of a limited size ──► POST /v1/traces, /v1/logs ──► counts, URLs
//! ```

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::OpenOptions;
use super::client::{Client, Server};
use super::text::{Colour, Paint, clean};

/// The size of a request. The receiver accepts 8 MiB, and one item more has to fit.
const MAX_BYTES: usize = 2 << 20;

/// The number of items in a request. What a receiver decodes is limited, too.
const MAX_ITEMS: usize = 5_000;

/// The two signals in a document.
#[derive(Clone, Copy)]
struct Signal {
    path: &'static str,
    /// The lists of resources, of scopes and of items.
    resources: [&'static str; 2],
    scopes: [&'static str; 2],
    items: [&'static str; 2],
    /// The member of a response with the number of rejected items.
    rejected: &'static str,
}

/// Each name as ProtoJSON writes it, and as the definition has it.
const SIGNALS: [Signal; 2] = [
    Signal {
        path: "/v1/traces",
        resources: ["resourceSpans", "resource_spans"],
        scopes: ["scopeSpans", "scope_spans"],
        items: ["spans", "spans"],
        rejected: "rejectedSpans",
    },
    Signal {
        path: "/v1/logs",
        resources: ["resourceLogs", "resource_logs"],
        scopes: ["scopeLogs", "scope_logs"],
        items: ["logRecords", "log_records"],
        rejected: "rejectedLogRecords",
    },
];

pub(super) async fn run(options: &OpenOptions, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    let receiver = Client::of(&Server {
        url: &options.to,
        token_file: options.token_file.as_deref(),
        names: ("--to", "--token-file"),
    })?;
    let mut failures = Vec::new();
    for file in &options.files {
        let name = file.display().to_string();
        let documents = documents(file).with_context(|| clean(&name, 1000))?;
        let mut sent = [0, 0];
        let mut traces = BTreeSet::new();
        for document in documents {
            for (signal, sent) in SIGNALS.iter().zip(&mut sent) {
                for request in requests(*signal, &document) {
                    let rejected =
                        send(&receiver, *signal, &request).await.with_context(|| clean(&name, 1000))?;
                    *sent += request.items - rejected.items.min(request.items);
                    traces.extend(request.traces);
                    if !rejected.reason.is_empty() {
                        failures.push(format!("{}: {}", clean(&name, 1000), clean(&rejected.reason, 1000)));
                    }
                }
            }
        }
        let url = |trace: &String| options.output.server.join(&format!("/trace/{trace}"));
        let urls: Vec<_> = traces.iter().filter_map(|trace| Some((trace, url(trace).ok()?))).collect();
        let [spans, records] = sent;
        if options.output.json {
            let traces: Vec<_> =
                urls.iter().map(|(id, url)| json!({ "trace_id": id, "url": url.as_str() })).collect();
            let line = json!({ "file": name, "spans": spans, "log_records": records, "traces": traces });
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{}: accepted {spans} spans and {records} log records", clean(&name, 1000))?;
        for (_, url) in urls {
            writeln!(out, "{}", paint.paint(Colour::Cyan, url.as_str()))?;
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// Reads the documents of a file, one after the other: the viewer's download is one, and a Collector writes one a line.
fn documents(file: &Path) -> anyhow::Result<Vec<Map<String, Value>>> {
    let reader: Box<dyn Read> =
        if file == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) };
    let documents = serde_json::Deserializer::from_reader(BufReader::new(reader)).into_iter();
    let documents: Vec<Map<String, Value>> =
        documents.collect::<Result<_, _>>().context("it is not OTLP/JSON")?;
    let is_known = |document: &Map<String, Value>| {
        SIGNALS.iter().any(|signal| signal.resources.iter().any(|name| document.contains_key(*name)))
    };
    if documents.is_empty() || !documents.iter().all(is_known) {
        bail!("it is not OTLP/JSON: no \"resourceSpans\" and no \"resourceLogs\"");
    }
    Ok(documents)
}

/// A part of a document that fits into one request.
struct Request {
    /// Of resources, each with one scope.
    resources: Vec<Value>,
    bytes: usize,
    items: u64,
    traces: BTreeSet<String>,
}

impl Request {
    const fn new() -> Self {
        Self { resources: Vec::new(), bytes: 0, items: 0, traces: BTreeSet::new() }
    }
}

/// Divides the items of a signal. The resource and the scope are repeated for each part of their items.
fn requests(signal: Signal, document: &Map<String, Value>) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut request = Request::new();
    for resource in list(document, signal.resources) {
        let Some(resource) = resource.as_object() else {
            // The receiver says what is wrong with it.
            request.resources.push(resource.clone());
            continue;
        };
        for scope in list(resource, signal.scopes).iter().filter_map(Value::as_object) {
            let around = |items: Vec<Value>| {
                let mut scope = without(scope, signal.items);
                scope.insert(signal.items[0].to_owned(), items.into());
                let mut resource = without(resource, signal.scopes);
                resource.insert(signal.scopes[0].to_owned(), json!([scope]));
                Value::from(resource)
            };
            let frame = around(Vec::new()).to_string().len();
            let mut items = Vec::new();
            request.bytes += frame;
            for item in list(scope, signal.items) {
                let bytes = item.to_string().len() + 1;
                let is_full = request.bytes + bytes > MAX_BYTES || request.items >= MAX_ITEMS as u64;
                if is_full && request.items > 0 {
                    request.resources.push(around(std::mem::take(&mut items)));
                    requests.push(std::mem::replace(&mut request, Request::new()));
                    request.bytes += frame;
                }
                let trace = ["traceId", "trace_id"].iter().find_map(|name| item.get(*name)?.as_str());
                request.traces.extend(trace.filter(|id| id.len() == 32).map(str::to_ascii_lowercase));
                request.bytes += bytes;
                request.items += 1;
                items.push(item.clone());
            }
            if !items.is_empty() {
                request.resources.push(around(items));
            }
        }
    }
    if !request.resources.is_empty() {
        requests.push(request);
    }
    requests
}

fn list<'a>(object: &'a Map<String, Value>, names: [&str; 2]) -> &'a [Value] {
    names.iter().find_map(|name| object.get(*name)?.as_array()).map_or(&[], Vec::as_slice)
}

fn without(object: &Map<String, Value>, names: [&str; 2]) -> Map<String, Value> {
    let others = object.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What the receiver has rejected of a request.
struct Rejected {
    /// Spans or log records.
    items: u64,
    /// Empty if nothing is rejected.
    reason: String,
}

async fn send(receiver: &Client, signal: Signal, request: &Request) -> anyhow::Result<Rejected> {
    let body = json!({ signal.resources[0]: request.resources }).to_string();
    let response = receiver.post_json(signal.path, body).await?;
    let partial = &response["partialSuccess"];
    let number = &partial[signal.rejected];
    let items = number.as_str().and_then(|text| text.parse().ok()).or_else(|| number.as_u64()).unwrap_or(0);
    let reason = partial["errorMessage"].as_str().unwrap_or_default();
    Ok(Rejected {
        items,
        reason: if items > 0 && reason.is_empty() { "rejected" } else { reason }.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_document_becomes_several_requests_with_all_items() {
        let span =
            |n: usize| json!({ "traceId": format!("{:032x}", n % 3 + 1), "spanId": format!("{n:016x}") });
        let scope = |from: usize, to: usize| json!({ "scope": { "name": "s" }, "spans": (from..to).map(span).collect::<Vec<_>>() });
        let document = json!({ "resourceSpans": [
            { "resource": { "attributes": [] }, "scopeSpans": [scope(0, 7_000), scope(7_000, 7_001)] },
            { "resource": {}, "scopeSpans": [scope(7_001, 9_000)] },
            { "scopeSpans": [] },
        ] });
        let parts = requests(SIGNALS[0], document.as_object().unwrap());
        let items: Vec<u64> = parts.iter().map(|part| part.items).collect();
        assert_eq!(items, [5_000, 4_000]);
        let ids: Vec<String> = parts
            .iter()
            .flat_map(|part| &part.resources)
            .flat_map(|resource| resource["scopeSpans"].as_array().unwrap())
            .inspect(|scope| assert_eq!(scope["scope"]["name"], "s"))
            .flat_map(|scope| scope["spans"].as_array().unwrap())
            .map(|span| span["spanId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, (0..9_000).map(|n| format!("{n:016x}")).collect::<Vec<_>>());
        assert_eq!(parts[1].traces.len(), 3);

        let large = |n: u64| json!({ "traceId": format!("{n:032x}"), "name": "x".repeat(1 << 20) });
        let document =
            json!({ "resource_spans": [{ "scope_spans": [{ "spans": [large(1), large(2), large(3)] }] }] });
        let parts = requests(SIGNALS[0], document.as_object().unwrap());
        assert_eq!(parts.iter().map(|part| part.items).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(parts.iter().all(|part| part.resources.len() == 1));
        assert!(requests(SIGNALS[1], document.as_object().unwrap()).is_empty());
    }
}

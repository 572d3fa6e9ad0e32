//! The size and the time of the page of a long trace, also in a browser, and what slow readers of large views take of
//! memory.
//!
//! ```text
//!  a trace of 10,000 or 100,000 spans ──► exporter, started anew ◄── its pages, one request after the other
//!  a trace of 40 MB of attributes     ──► exporter, started anew ◄── eight clients that read slowly
//! ```

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, HttpClient, Result, envoy};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tempfile::TempDir;

use super::browser::Browser;
use super::content::{any, now_nanos, text};

/// The numbers of spans of the traces.
const SIZES: [u64; 2] = [10_000, 100_000];

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// Spans of a request.
const SPANS_OF_REQUEST: u64 = 5_000;

/// The views of the trace with large attributes: its spans, their size, the readers, and what each reads at once.
const LARGE_SPANS: u64 = 40;
const LARGE_BYTES: usize = 1_000_000;
const READERS: usize = 8;
const READ_BYTES: usize = 64 << 10;
const READ_PAUSE: Duration = Duration::from_millis(100);
const READ_TIME: Duration = Duration::from_secs(10);

/// A view of a trace.
#[derive(Debug, Clone)]
pub struct Page {
    /// The number of spans of the trace.
    pub spans: u64,
    /// What is requested.
    pub name: &'static str,
    /// The size of the response. `None` if a browser requests it.
    pub bytes: Option<usize>,
    /// The median of the times of all requests, in milliseconds.
    pub median_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// The peak memory of the exporter after the views of this trace so far, in MiB.
    pub peak_mib: f64,
}

/// What slow readers take.
#[derive(Debug, Clone, Copy)]
pub struct SlowReaders {
    /// The number of clients.
    pub readers: usize,
    /// The bytes of the attributes.
    pub bytes: usize,
    /// The peak memory of the exporter, in MiB.
    pub peak_mib: f64,
}

/// Measures the pages with this number of requests, and the slow readers.
pub fn measure(requests: usize) -> Result<(Vec<Page>, SlowReaders)> {
    let mut pages = Vec::new();
    for size in SIZES {
        let dir = TempDir::new().map_err(Error::when("a temporary folder"))?;
        fill(dir.path(), size, &[])?;
        let exporter = Exporter::start_with(&[], dir.path())?;
        let client = envoy::client()?;
        for (name, path) in [
            ("the page", format!("trace/{TRACE}")),
            ("the page with the last span", format!("trace/{TRACE}?span={size:016x}")),
            ("the critical path", format!("trace/{TRACE}?path=critical")),
            ("the first part of the JSON", format!("api/traces/{TRACE}")),
            ("the download", format!("api/traces/{TRACE}?format=otlp")),
        ] {
            let url = format!("{}{path}", exporter.page());
            let mut bytes = None;
            let mut millis = Vec::new();
            for _ in 0..requests {
                let (length, took) = get(&client, &url)?;
                bytes = Some(length);
                millis.push(took);
            }
            pages.push(page(&exporter, size, name, bytes, millis)?);
        }
        let browser = Browser::start()?;
        let url = format!("{}trace/{TRACE}", exporter.page());
        let millis = (0..requests).map(|_| browser.load(&url)).collect::<Result<_>>()?;
        pages.push(page(&exporter, size, "the page, loaded in Chromium", None, millis)?);
    }
    Ok((pages, slow_readers()?))
}

fn page(
    exporter: &Exporter,
    spans: u64,
    name: &'static str,
    bytes: Option<usize>,
    mut millis: Vec<f64>,
) -> Result<Page> {
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis.get((millis.len() as f64 * share) as usize).or(millis.last()).copied();
    Ok(Page {
        spans,
        name,
        bytes,
        median_ms: at(0.5).unwrap_or_default(),
        p95_ms: at(0.95).unwrap_or_default(),
        peak_mib: crate::ingest::peak_mib(exporter.id())?,
    })
}

fn get(client: &HttpClient, url: &str) -> Result<(usize, f64)> {
    let start = Instant::now();
    let response = client.get(url).send().and_then(|response| response.error_for_status()?.bytes());
    let bytes = response.map_err(Error::when(url))?.len();
    Ok((bytes, start.elapsed().as_secs_f64() * 1e3))
}

/// Stores a trace, and stops the exporter.
fn fill(dir: &Path, spans: u64, large: &[u8]) -> Result<()> {
    let exporter = Exporter::start_with(&[], dir)?;
    let client = envoy::client()?;
    let now = now_nanos();
    let of_request = if large.is_empty() { SPANS_OF_REQUEST } else { 1 };
    for from in (1..=spans).step_by(of_request as usize) {
        let spans = (from..(from + of_request).min(spans + 1)).map(|id| span(id, now, large));
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        super::post(&client, &format!("http://{}/v1/traces", exporter.http()), &body)?;
    }
    super::wait_until(&exporter, spans as f64)
}

fn span(id: u64, now: u64, large: &[u8]) -> Span {
    let mut attributes = vec![
        text("http.request.method", "GET".to_owned()),
        text("http.route", format!("/route-{}/{{id}}", id % 40)),
        any("http.response.status_code", Value::IntValue(200)),
        text("server.address", format!("service-{}.shop.svc.cluster.local", id % 12)),
    ];
    if !large.is_empty() {
        attributes.push(text("text", String::from_utf8_lossy(large).into_owned()));
    }
    Span {
        trace_id: u128::from_str_radix(TRACE, 16).unwrap_or(1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if id == 1 { Vec::new() } else { (id / 8).max(1).to_be_bytes().to_vec() },
        name: format!("GET /route-{}/{{id}}", id % 40),
        kind: 2,
        start_time_unix_nano: now + id * 1_000,
        end_time_unix_nano: now + id * 1_000 + 5_000_000,
        attributes,
        ..Default::default()
    }
}

fn slow_readers() -> Result<SlowReaders> {
    let dir = TempDir::new().map_err(Error::when("a temporary folder"))?;
    fill(dir.path(), LARGE_SPANS, &b"<".repeat(LARGE_BYTES))?;
    let exporter = Exporter::start_with(&[], dir.path())?;
    let address = exporter.page().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let paths = [format!("/trace/{TRACE}"), format!("/api/traces/{TRACE}?format=otlp")];
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (address, path) = (&address, &paths[n % paths.len()]);
                scope.spawn(move || read_slowly(address, path).map_err(Error::when(path)))
            })
            .collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().map_err(|_| Error::new("a reader panicked"))?)
    })?;
    let peak_mib = crate::ingest::peak_mib(exporter.id())?;
    Ok(SlowReaders { readers: READERS, bytes: LARGE_SPANS as usize * LARGE_BYTES, peak_mib })
}

/// Requests a view again and again, and reads it slowly.
fn read_slowly(address: &str, path: &str) -> std::io::Result<()> {
    let end = Instant::now() + READ_TIME;
    while Instant::now() < end {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut part = vec![0; READ_BYTES];
        while Instant::now() < end && stream.read(&mut part)? > 0 {
            std::thread::sleep(READ_PAUSE);
        }
    }
    Ok(())
}

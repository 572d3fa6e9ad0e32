//! The time of the first page of each filter of the viewer, while spans come in, for stores of several sizes.
//!
//! ```text
//!  spans and lines ──► exporter, its store grows to a size
//!  20,000 spans a second ──► exporter ◄── each filter, one request after the other
//! ```

mod browser;
mod content;
pub mod pages;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, envoy};
use tempfile::TempDir;

use content::{Content, RARE, Requests, SPANS_OF_LINE};

/// A filter, and the request for its first page.
pub const FILTERS: [(&str, &str); 24] = [
    ("traces, newest", "/api/traces"),
    ("the page of traces", "/"),
    ("sort=oldest", "/api/traces?sort=oldest"),
    ("sort=longest", "/api/traces?sort=longest"),
    ("service", "/api/traces?service=service-3"),
    ("route", "/api/traces?route=/route-7/%7Bid%7D"),
    ("route, rare", "/api/traces?route=/rare"),
    ("name, part of it", "/api/traces?name=route-11"),
    ("name, rare", "/api/traces?name=patch"),
    ("status=503", "/api/traces?status=503"),
    ("status=5xx", "/api/traces?status=5xx"),
    ("status=418, rare", "/api/traces?status=418"),
    (
        "status=error of a service on a route",
        "/api/traces?status=error&service=service-3&route=/route-7/%7Bid%7D",
    ),
    ("min_duration=1s", "/api/traces?min_duration=1s"),
    ("min_duration=30s, none", "/api/traces?min_duration=30s"),
    ("attribute, of many", "/api/traces?attribute=user.id=user-4242"),
    ("attribute, rare", "/api/traces?attribute=user.id=rare"),
    ("attribute, none", "/api/traces?attribute=user.id=nobody"),
    ("q, frequent", "/api/traces?q=declined"),
    ("q, rare", "/api/traces?q=extraordinary+reconciliation"),
    ("lines, newest", "/api/logs"),
    ("lines, severity=ERROR of a service", "/api/logs?severity=ERROR&service=service-3"),
    ("lines, q frequent", "/api/logs?q=declined"),
    ("lines, q rare", "/api/logs?q=extraordinary+reconciliation"),
];

/// The amount of load.
#[derive(Debug, Clone)]
pub struct Effort {
    /// The sizes of the store in spans, ascending.
    pub sizes: Vec<u64>,
    /// Requests for each filter and size.
    pub requests: usize,
    /// Spans a second while the filters are measured.
    pub intake: u64,
}

/// The figures of one size of the store.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The number of stored spans when the filters were measured.
    pub spans: u64,
    /// Spans a second while the store was filled.
    pub fill_rate: f64,
    /// The file of the store, in bytes for each span with its share of a line.
    pub bytes_of_span: f64,
    /// For each of [`FILTERS`], in milliseconds.
    pub filters: Vec<Times>,
    /// The peak memory of the exporter, in MiB.
    pub peak_mib: f64,
}

/// The times of the requests for one page, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The share of pages that ended because the time of their search was over.
    pub interrupted: f64,
}

/// What the tables and indexes of searches take, in bytes for each span with its share of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IndexBytes {
    /// The filters of blocks.
    pub blocks: f64,
    /// The indexes of traces, by time and by duration.
    pub traces: f64,
    /// The indexes of lines, by time.
    pub lines: f64,
}

/// Measures all sizes, one after the other in one growing store, and at the end its indexes.
pub fn measure(effort: &Effort) -> Result<(Vec<Figures>, IndexBytes)> {
    let dir = TempDir::new().map_err(Error::when("a temporary folder"))?;
    let options = ["--retention-bytes", "100GiB", "--outbox-max-bytes", "4GiB"].map(str::to_owned);
    let exporter = Exporter::start_with(&options, dir.path())?;
    let mut content = Content::new();
    let mut sent = 0;
    let mut all = Vec::new();
    for size in &effort.sizes {
        let (start, before) = (Instant::now(), sent);
        let client = envoy::client()?;
        while sent < *size {
            sent += send(&client, &exporter, &content.next())?;
        }
        wait_until_stored(&exporter, sent)?;
        let fill_rate = (sent - before) as f64 / start.elapsed().as_secs_f64();
        let store = dir.path().join("data/store.db");
        let bytes = fs::metadata(&store).map_err(Error::when(store.display()))?.len();
        let spans = sent;
        let filters = with_intake(&exporter, &mut content, &mut sent, effort)?;
        let peak_mib = crate::ingest::peak_mib(exporter.id())?;
        all.push(Figures { spans, fill_rate, bytes_of_span: bytes as f64 / spans as f64, filters, peak_mib });
    }
    // While the exporter runs, no other program can open the file.
    wait_until_stored(&exporter, sent)?;
    drop(exporter);
    Ok((all, index_bytes(&dir.path().join("data/store.db"), sent)?))
}

fn index_bytes(store: &Path, spans: u64) -> Result<IndexBytes> {
    let failed = |error: rusqlite::Error| Error::new(format!("{}: {error}", store.display()));
    let database = rusqlite::Connection::open(store).map_err(failed)?;
    let of = |names: &str| -> Result<f64> {
        let sql = format!("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN ({names})");
        let bytes: i64 = database.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
        Ok(bytes as f64 / spans as f64)
    };
    Ok(IndexBytes {
        blocks: of("'block'")?,
        traces: of("'trace_by_order', 'trace_by_duration'")?,
        lines: of("'line_by_time', 'error_by_time'")?,
    })
}

/// Measures the filters while spans come in.
fn with_intake(
    exporter: &Exporter,
    content: &mut Content,
    sent: &mut u64,
    effort: &Effort,
) -> Result<Vec<Times>> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let intake = scope.spawn(|| -> Result<()> {
            let client = envoy::client()?;
            let start = Instant::now();
            let mut spans = 0;
            while !is_over.load(Ordering::Relaxed) {
                spans += send(&client, exporter, &content.next())?;
                let due = Duration::from_secs_f64(spans as f64 / effort.intake as f64);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            *sent += spans;
            Ok(())
        });
        let filters = times(exporter, effort.requests);
        is_over.store(true, Ordering::Relaxed);
        intake.join().map_err(|_| Error::new("the intake panicked"))??;
        filters
    })
}

/// Returns the times of all filters. Their requests alternate, so that a disturbance does not hit one filter.
fn times(exporter: &Exporter, requests: usize) -> Result<Vec<Times>> {
    let client = envoy::client()?;
    let mut millis: Vec<Vec<f64>> = FILTERS.iter().map(|_| Vec::new()).collect();
    let mut interrupted = vec![0; FILTERS.len()];
    for _ in 0..requests {
        for (index, (name, path)) in FILTERS.iter().enumerate() {
            let url = format!("{}{}", exporter.page().trim_end_matches('/'), path);
            let start = Instant::now();
            let response = client
                .get(url)
                .send()
                .and_then(|response| response.error_for_status())
                .map_err(Error::when(name))?;
            let text = response.text().map_err(Error::when(name))?;
            millis[index].push(start.elapsed().as_secs_f64() * 1e3);
            interrupted[index] += usize::from(text.contains("\"is_interrupted\":true"));
        }
    }
    let times = millis.into_iter().zip(interrupted).map(|(mut millis, interrupted)| {
        millis.sort_by(f64::total_cmp);
        let at = |share: f64| millis.get((millis.len() as f64 * share) as usize).or(millis.last()).copied();
        Times {
            median: at(0.5).unwrap_or_default(),
            p95: at(0.95).unwrap_or_default(),
            interrupted: interrupted as f64 / requests as f64,
        }
    });
    Ok(times.collect())
}

/// Sends spans and their lines, and returns the number of spans.
fn send(client: &logtracer_harness::HttpClient, exporter: &Exporter, requests: &Requests) -> Result<u64> {
    for (path, body) in [("traces", &requests.traces), ("logs", &requests.logs)] {
        post(client, &format!("http://{}/v1/{path}", exporter.http()), body)?;
    }
    Ok(requests.spans)
}

/// Sends a request until it is accepted.
fn post(client: &logtracer_harness::HttpClient, url: &str, body: &[u8]) -> Result<()> {
    loop {
        let post = client.post(url).header("content-type", "application/x-protobuf").body(body.to_vec());
        match post.send().map_err(Error::when(url))?.status().as_u16() {
            200 => return Ok(()),
            429 | 503 => std::thread::sleep(Duration::from_millis(20)),
            status => return Err(Error::new(format!("{url}: status {status}"))),
        }
    }
}

/// Waits until the store has all spans and lines.
fn wait_until_stored(exporter: &Exporter, spans: u64) -> Result<()> {
    wait_until(exporter, (spans + spans / SPANS_OF_LINE) as f64)
}

/// Waits until the store has this number of items.
fn wait_until(exporter: &Exporter, wanted: f64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let stored =
            exporter.metric("spans_delivered_total")? + exporter.metric("log_records_delivered_total")?;
        if stored >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::new(format!("only {stored} of {wanted} are stored")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the share of traces that the rare filters find.
pub const fn rare() -> u64 {
    RARE
}

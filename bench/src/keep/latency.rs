//! How late a kept span arrives at the backend, beyond the decision wait, while many others are dropped.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use logtracer_harness::{Error, Result, wait, wire};

use super::{DECISION_WAIT, start};
use crate::folder;
use crate::ingest::{BATCH, Load, spans_in};

/// The delays of kept spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Spans received in a second.
    pub rate: f64,
    /// From the acknowledgement to the arrival at the backend, without the decision wait.
    pub median: Duration,
    /// The 95th percentile.
    pub p95: Duration,
    /// The maximum.
    pub max: Duration,
}

/// The time between two kept spans.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

impl Latency {
    /// Sends about this number of spans in a second for `time`, and now and then a span that the rules keep.
    pub fn measure(spans_per_second: u32, time: Duration) -> Result<Latency> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let (backend, arrivals) = backend()?;
        let sink = format!("otlp=http://{backend}");
        let exporter = start(&folder(dir.path(), "latency")?, &sink, Some("error"), DECISION_WAIT)?;
        let address = exporter.http();
        let (load, probe) = (&Load::new(), Load::failed_span());
        let end = Instant::now() + time;
        let (spans, sent) = std::thread::scope(|scope| {
            let interval = Duration::from_secs_f64(BATCH as f64 / f64::from(spans_per_second));
            let sender = scope.spawn(move || load.send_paced(address, interval, end));
            let mut sent = Vec::new();
            while Instant::now() < end {
                probe.send_spans(address, 1)?;
                sent.push(Instant::now());
                std::thread::sleep(PROBE_INTERVAL);
            }
            let spans = sender.join().map_err(|_| Error::new("a sender panicked"))?;
            Ok::<_, Error>((spans.map_err(Error::when("the load"))?, sent))
        })?;
        let delays = delays(&sent, &arrivals)?;
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
        Ok(Latency { rate: spans as f64 / time.as_secs_f64(), median: at(0.5), p95: at(0.95), max: at(1.) })
    }
}

/// Returns the delays in ascending order. Batches are decided and delivered in the order in which they came.
fn delays(sent: &[Instant], arrivals: &Receiver<(Instant, usize)>) -> Result<Vec<Duration>> {
    let mut arrived = Vec::new();
    wait::try_until("all kept spans", || {
        for (at, spans) in arrivals.try_iter() {
            arrived.extend(std::iter::repeat_n(at, spans));
        }
        Ok((arrived.len() >= sent.len()).then_some(()))
    })?;
    if arrived.len() != sent.len() {
        return Err(Error::new(format!("{} spans arrived instead of {}", arrived.len(), sent.len())));
    }
    let mut delays: Vec<Duration> = sent
        .iter()
        .zip(&arrived)
        .map(|(sent, arrived)| arrived.duration_since(*sent).saturating_sub(DECISION_WAIT))
        .collect();
    delays.sort();
    Ok(delays)
}

/// Starts a backend that reports when spans arrive and how many. It runs until the program ends.
fn backend() -> Result<(SocketAddr, Receiver<(Instant, usize)>)> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::when("the backend"))?;
    let address = listener.local_addr().map_err(Error::when("the backend"))?;
    let (sender, receiver) = channel();
    wire::serve(listener, move |stream| drop(serve(stream, &sender)));
    Ok((address, receiver))
}

fn serve(mut stream: TcpStream, arrivals: &Sender<(Instant, usize)>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = wire::read(&mut reader)? {
        let at = Instant::now();
        let spans = spans_in(&request.body);
        // The bench has ended if nobody receives.
        let _ = arrivals.send((at, spans));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

//! The cost of receiving spans and log records, beside rotel, which acknowledges what it only holds in memory.
//!
//! ```text
//! two connections, batches of 512 ──► one of the programs ──► nothing, or a backend that accepts everything
//! ```
//!
//! The programs get their load in turns, round after round, so that other work of the machine affects all alike. The
//! result is the median of the rounds.

mod load;
pub(crate) mod receiver;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use logtracer_harness::exporter::Exporter;
use logtracer_harness::rotel::Rotel;
use logtracer_harness::{Error, Result, ports};

use crate::median;
pub(crate) use load::{BATCH, Load, spans_in};

/// The amount of load.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Time of load for each program in each round.
    pub time: Duration,
    /// Rounds; the result is their median.
    pub rounds: usize,
}

/// The figures of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The name of the set-up.
    pub name: &'static str,
    /// Acknowledged spans or log records in a second.
    pub rate: f64,
    /// CPU time of a span or log record, user and system, in microseconds.
    pub micros: f64,
    /// Peak memory, in MiB.
    pub peak_mib: f64,
}

/// A program under load.
enum Program {
    Rotel(Rotel),
    Exporter(Exporter),
}

impl Program {
    fn id(&self) -> u32 {
        match self {
            Self::Rotel(rotel) => rotel.id(),
            Self::Exporter(exporter) => exporter.id(),
        }
    }
}

struct Candidate<'a> {
    name: &'static str,
    load: &'a Load,
    program: Program,
    address: SocketAddr,
    rates: Vec<f64>,
    micros: Vec<f64>,
}

/// Measures all programs. `rotel` is the path of its agent; `progress` is called before each round.
pub fn run(effort: Effort, rotel: &Path, mut progress: impl FnMut(usize)) -> Result<Vec<Figures>> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let backend = receiver::start()?;
    let closed = ports::reserve()?;
    let to_backend = [
        "--exporter",
        "otlp",
        "--otlp-exporter-endpoint",
        &format!("http://{backend}"),
        "--otlp-exporter-protocol",
        "http",
    ];
    let (to_nothing, sink) = (format!("otlp=http://127.0.0.1:{closed}"), format!("otlp=http://{backend}"));
    let (spans, logs, dir) = (&Load::new(), &Load::log_records(), dir.path());
    let mut candidates = vec![
        start_rotel("rotel, to nothing", spans, rotel, &["--exporter", "blackhole"], dir)?,
        start_exporter("exporter, on disk", spans, &to_nothing, dir)?,
        start_rotel("rotel, to a backend", spans, rotel, &to_backend, dir)?,
        start_exporter("exporter, on disk and to it", spans, &sink, dir)?,
        start_rotel("rotel, log records to a backend", logs, rotel, &to_backend, dir)?,
        start_exporter("exporter, log records on disk and to it", logs, &sink, dir)?,
    ];
    for candidate in &candidates {
        // Warm up: connections, caches, files.
        candidate.load.send(candidate.address, effort.time / 10)?;
    }
    for round in 0..effort.rounds {
        progress(round);
        for candidate in &mut candidates {
            let (before, start) = (cpu(candidate.program.id())?, Instant::now());
            let spans = candidate.load.send(candidate.address, effort.time)?;
            let seconds = start.elapsed().as_secs_f64();
            // Spans that it has received but not processed are part of its work.
            let spent = cpu_until_idle(candidate.program.id(), before)?;
            candidate.rates.push(spans as f64 / seconds);
            candidate.micros.push(spent.as_secs_f64() * 1e6 / spans as f64);
        }
    }
    candidates.iter().map(|candidate| candidate.figures()).collect()
}

impl Candidate<'_> {
    fn figures(&self) -> Result<Figures> {
        Ok(Figures {
            name: self.name,
            rate: median(&self.rates),
            micros: median(&self.micros),
            peak_mib: peak_mib(self.program.id())?,
        })
    }
}

fn start_rotel<'a>(
    name: &'static str,
    load: &'a Load,
    program: &Path,
    options: &[&str],
    dir: &Path,
) -> Result<Candidate<'a>> {
    let rotel = Rotel::start(&name.replace([' ', ','], "-"), program, options, dir)?;
    Ok(Candidate {
        name,
        load,
        address: rotel.http(),
        program: Program::Rotel(rotel),
        rates: Vec::new(),
        micros: Vec::new(),
    })
}

fn start_exporter<'a>(name: &'static str, load: &'a Load, sink: &str, dir: &Path) -> Result<Candidate<'a>> {
    let folder = dir.join(name.replace([' ', ','], "-"));
    fs::create_dir(&folder).map_err(Error::when(folder.display()))?;
    let options = ["--sink", sink, "--outbox-max-bytes", "64GiB"].map(str::to_owned);
    let exporter = Exporter::start_with(&options, &folder)?;
    let address = exporter.http();
    Ok(Candidate {
        name,
        load,
        address,
        program: Program::Exporter(exporter),
        rates: Vec::new(),
        micros: Vec::new(),
    })
}

/// Waits until the program is idle, and returns its CPU time since `before`.
fn cpu_until_idle(process: u32, before: Duration) -> Result<Duration> {
    const LOOK: Duration = Duration::from_millis(200);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = cpu(process)?;
    loop {
        std::thread::sleep(LOOK);
        let now = cpu(process)?;
        // An idle program still wakes up for its timers.
        if now - last <= LOOK / 20 || Instant::now() > deadline {
            return Ok(now - before);
        }
        last = now;
    }
}

/// Returns the CPU time of a process so far, including threads that have ended, with a resolution of 10 ms.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).map_err(Error::when(&path))?;
    // The name in parentheses can contain any character; user and system time are the 12th and 13th field after it.
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(Error::new(format!("{path}: {text:?}"))),
    }
}

/// Returns the peak of the resident memory of a process.
pub(crate) fn peak_mib(process: u32) -> Result<f64> {
    memory_mib(process, "VmHWM:")
}

/// Returns a line of a process's status, such as `VmRSS:`, in MiB.
pub(crate) fn memory_mib(process: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).map_err(Error::when(&path))?;
    let kib =
        text.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    kib.map(|kib: f64| kib / 1024.).ok_or_else(|| Error::new(format!("{path} has no {line}")))
}

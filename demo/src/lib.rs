//! The demo: two services behind Envoy, requests of different callers, and the lines and spans of one trace.
//!
//! ```text
//! requests ──► mesh: frontend ──► backend (HTTP and gRPC), each behind Envoy, and the exporter
//!                │
//!                ▼
//!              story: the lines and spans of one request ──► tree: its spans, indented
//!              kept:  the trace that a sink with rules gets
//! ```

mod kept;
pub mod mesh;
pub mod prices;
pub mod requests;
pub mod service;
pub mod story;
mod tree;

use std::io::Write;
use std::net::TcpListener;

use logtracer_harness::{Error, Result, signals};

use kept::{Kept, ORDINARY, ORDINARY_REQUESTS};
use mesh::Mesh;
use requests::{REQUESTS, send_ordinary};
use story::Story;

/// The address of the viewer's page, unless it is in use.
const PAGE: &str = "127.0.0.1:4380";
const ANY: &str = "127.0.0.1:0";

/// When the demo ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// After the trace is shown.
    AfterTrace,
    /// On Ctrl-C or SIGTERM.
    OnSignal,
}

/// Runs the demo and stops all programs that it started. If a line or span is missing, the error names it.
pub fn run(ending: Ending, out: &mut dyn Write, colours: bool) -> Result<()> {
    let signal = signals::listen()?;
    let mut page = Page { out, colours };

    page.title(
        "logtracer",
        "caller ──► Envoy ──► frontend ──► Envoy ──► Envoy ──► backend, by HTTP and gRPC",
    )?;
    let mesh = Mesh::start(view(ending))?;

    page.title("Requests", "four callers, each with its own kind of trace header")?;
    let mut responses = Vec::new();
    for request in REQUESTS {
        let response = request.send(&mesh.url(""))?;
        page.line(&format!(
            "  GET {:<13} {}   {:<22} {}",
            request.path, response.status, request.header, response.trace_id
        ))?;
        responses.push(response);
    }

    for _ in 0..ORDINARY_REQUESTS {
        send_ordinary(&mesh.url(""), ORDINARY)?;
    }
    page.line(&format!("  GET {ORDINARY:<13} 200   {:<22} {ORDINARY_REQUESTS} requests", "none"))?;

    let shown = REQUESTS.iter().position(|request| request.shown).unwrap_or(0);
    let story = Story::wait(&mesh, &REQUESTS[shown], &responses[shown])?;

    page.title(
        "Lines",
        &format!("every line for GET {}, of the proxies and of both services", REQUESTS[shown].path),
    )?;
    for line in &story.lines {
        page.line(line)?;
    }
    page.title("Spans", "of the same request, from the exporter's store")?;
    for line in tree::render(&story.trace) {
        page.line(&format!("  {line}"))?;
    }
    story.check(&REQUESTS[shown])?;

    let failed = REQUESTS.iter().position(|request| request.fails).unwrap_or(0);
    let (id, spans) = (responses[failed].trace_id.as_str(), REQUESTS[failed].spans());
    let traces = REQUESTS.len() + ORDINARY_REQUESTS;
    let kept = Kept::wait(&mesh, traces, id, spans)?;
    page.title("Kept", "what a sink with --keep error gets, decided 2 s later; the store has all")?;
    page.line(&format!(
        "  {} of {} traces: GET {}, {} spans   {id}",
        kept.kept.len(),
        kept.traces,
        REQUESTS[failed].path,
        kept.kept.get(id).copied().unwrap_or(0)
    ))?;
    kept.check(id)?;

    if ending == Ending::OnSignal {
        page.title("Page", &format!("{}   Ctrl-C ends the demo", mesh.exporter.page()))?;
        page.out.flush().map_err(Error::when("stdout"))?;
        signal.recv().map_err(Error::when("waiting for a signal"))?;
        page.line("")?;
    }
    Ok(())
}

fn view(ending: Ending) -> &'static str {
    let is_free = || TcpListener::bind(PAGE).is_ok();
    if ending == Ending::OnSignal && is_free() { PAGE } else { ANY }
}

struct Page<'a> {
    out: &'a mut dyn Write,
    colours: bool,
}

impl Page<'_> {
    fn title(&mut self, word: &str, explanation: &str) -> Result<()> {
        let (bold, dim, plain) = if self.colours { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        self.line(&format!("\n{bold}{word:<11}{plain}{dim}{explanation}{plain}"))
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").map_err(Error::when("stdout"))
    }
}

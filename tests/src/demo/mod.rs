//! The demo: a mesh of two services, a few requests in the headers of different callers, and one trace of them
//! with all that belongs to it.

pub(crate) mod requests;
pub(crate) mod signals;
pub(crate) mod story;
mod tree;

use std::io::Write;
use std::net::TcpListener;

use crate::mesh::Mesh;
use crate::{Error, Result};
use requests::REQUESTS;
use story::Story;

/// Where the viewer's page is, unless something else is there.
const PAGE: &str = "127.0.0.1:4380";
const ANY: &str = "127.0.0.1:0";

/// When the demo ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Once the trace is shown.
    AtOnce,
    /// On Ctrl-C or SIGTERM.
    OnSignal,
}

/// Runs the demo, and ends everything that it started. An error says what of the trace is missing.
pub fn run(ending: Ending, out: &mut dyn Write, colours: bool) -> Result<()> {
    let ended = signals::listen()?;
    let mut page = Page { out, colours };

    page.title("logtracer", "caller ──► Envoy ──► frontend ──► Envoy ──► Envoy ──► backend")?;
    let mesh = Mesh::start(view(ending))?;

    page.title("Requests", "four callers, each with the trace headers that it speaks")?;
    let mut answers = Vec::new();
    for request in REQUESTS {
        let answer = request.send(&mesh.url(""))?;
        page.line(&format!(
            "  GET {:<13} {}   {:<22} {}",
            request.path, answer.status, request.speaks, answer.trace_id
        ))?;
        answers.push(answer);
    }

    let shown = REQUESTS.iter().position(|request| request.shown).unwrap_or(0);
    let story = Story::wait(&mesh, &answers[shown])?;

    page.title(
        "Lines",
        &format!(
            "all that was printed for GET {}, by the proxies and by both services",
            REQUESTS[shown].path
        ),
    )?;
    for line in &story.lines {
        page.line(line)?;
    }
    page.title("Spans", "of the same request, from the exporter's store")?;
    for line in tree::render(&story.trace) {
        page.line(&format!("  {line}"))?;
    }
    story.check(&REQUESTS[shown])?;

    if ending == Ending::OnSignal {
        page.title("Page", &format!("{}   Ctrl-C ends the demo", mesh.exporter.page()))?;
        page.out.flush().map_err(Error::when("stdout"))?;
        ended.recv().map_err(Error::when("waiting for a signal"))?;
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

//! The lines and spans of one request.

use std::path::Path;

use logtracer_harness::store::{Span, Trace};
use logtracer_harness::{Error, Result, lines, wait};

use crate::mesh::Mesh;
use crate::requests::{Request, Response};

/// The lines and spans of a request.
pub(crate) struct Story {
    /// The lines as text, in the order of their times.
    pub(crate) lines: Vec<String>,
    pub(crate) trace: Trace,
}

impl Story {
    /// Waits for the lines of every program and the spans of every hop.
    pub(crate) fn wait(mesh: &Mesh, request: &Request, response: &Response) -> Result<Story> {
        let id = response.trace_id.as_str();
        let mut lines = Vec::new();
        for (who, file, least) in [
            ("the frontend", mesh.frontend.stdout(), 1),
            ("the backend", mesh.backend.stdout(), 1),
            ("the proxies", mesh.envoy.stdout(), request.spans()),
        ] {
            lines.extend(wait::try_until(&format!("{least} lines of {who} in trace {id}"), || {
                let found = lines_of_trace(file, id)?;
                Ok(Some(found).filter(|found| found.len() >= least))
            })?);
        }
        lines.sort();
        let trace = mesh.exporter.wait_for_trace(id, request.spans(), lines.len())?;
        Ok(Story { lines: lines.into_iter().map(|(_, line)| line).collect(), trace })
    }

    /// Checks that the spans are linked from the caller to the backend.
    pub(crate) fn check(&self, request: &Request) -> Result<()> {
        check_linked(&self.trace, request.parent)
    }
}

/// Checks that the spans of a trace are linked: the caller's span, the frontend, its calls, and the backend.
pub fn check_linked(trace: &Trace, caller: Option<&str>) -> Result<()> {
    let missing = |what: &str| Error::new(format!("no {what} in trace {}", trace.trace_id));
    let inbound = trace.span("frontend", "server").ok_or_else(|| missing("server span of the frontend"))?;
    child_of(inbound, caller)?;
    let calls = || trace.spans.iter().filter(|span| span.service_name == "frontend" && span.kind == "client");
    if calls().next().is_none() {
        return Err(missing("client span of the frontend"));
    }
    for outbound in calls() {
        child_of(outbound, Some(&inbound.span_id))?;
        let is_called =
            |span: &&&Span| (span.service_name.as_str(), span.kind.as_str()) == ("backend", "server");
        if trace.children(outbound).iter().filter(is_called).count() != 1 {
            return Err(missing(&format!("server span of the backend below {}", outbound.name)));
        }
    }
    Ok(())
}

fn child_of(span: &Span, parent: Option<&str>) -> Result<()> {
    if span.parent_span_id.as_deref() == parent {
        return Ok(());
    }
    Err(Error::new(format!(
        "the {} span of the {} has the parent {:?} instead of {parent:?}",
        span.kind, span.service_name, span.parent_span_id
    )))
}

/// Returns the lines of a trace in a file, each with its time.
fn lines_of_trace(file: &Path, id: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for raw in lines::raw(file)? {
        let line = lines::parse(&raw)?;
        if lines::trace_id(&line) == Some(id) {
            let time = line["time"].as_str().unwrap_or_default().trim_end_matches('Z').to_owned();
            found.push((time, raw));
        }
    }
    Ok(found)
}

//! One request as it can be seen afterwards: its lines and its spans.

use std::path::Path;

use super::requests::{Answer, Request};
use crate::mesh::Mesh;
use crate::store::{Span, Trace};
use crate::{Error, Result, lines, wait};

/// frontend in, frontend out, backend in.
pub(crate) const HOPS: usize = 3;

pub(super) struct Story {
    /// The raw lines of the trace, in the order of their times.
    pub lines: Vec<String>,
    pub trace: Trace,
}

impl Story {
    /// Waits until the lines of every program and the spans of every hop are there.
    pub(super) fn wait(mesh: &Mesh, answer: &Answer) -> Result<Story> {
        let id = answer.trace_id.as_str();
        let mut lines = Vec::new();
        for (who, file, least) in [
            ("the frontend", mesh.frontend.stdout(), 1),
            ("the backend", mesh.backend.stdout(), 1),
            ("the proxies", mesh.envoy.stdout(), HOPS),
        ] {
            lines.extend(wait::try_until(&format!("{least} lines of {who} in trace {id}"), || {
                let found = of_trace(file, id)?;
                Ok(Some(found).filter(|found| found.len() >= least))
            })?);
        }
        lines.sort();
        let trace = mesh.exporter.complete_trace(id, HOPS, lines.len())?;
        Ok(Story { lines: lines.into_iter().map(|(_, line)| line).collect(), trace })
    }

    /// That the spans hang together from the caller to the backend.
    pub(super) fn check(&self, request: &Request) -> Result<()> {
        check_linked(&self.trace, request.parent)
    }
}

/// That the three spans of a trace hang together, from the caller's span to the backend.
pub(crate) fn check_linked(trace: &Trace, caller: Option<&str>) -> Result<()> {
    let hop = |service, kind| {
        let missing = || Error::new(format!("no {kind} span of the {service} in trace {}", trace.trace_id));
        trace.span(service, kind).ok_or_else(missing)
    };
    let (inbound, outbound, last) =
        (hop("frontend", "server")?, hop("frontend", "client")?, hop("backend", "server")?);
    child_of(inbound, caller)?;
    child_of(outbound, Some(&inbound.span_id))?;
    child_of(last, Some(&outbound.span_id))
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

/// The lines of a trace in a file, each after its time.
fn of_trace(file: &Path, id: &str) -> Result<Vec<(String, String)>> {
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

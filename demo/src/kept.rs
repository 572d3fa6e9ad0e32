//! What a sink with rules gets: one failure among many successes.

use std::collections::BTreeMap;

use logtracer_harness::{Error, Result, lines, wait};

use crate::mesh::Mesh;

/// The options of the exporter: beside the store, which has all traces, a sink for those that matter.
pub(crate) const SINKS: [&str; 6] =
    ["--sink", "store", "--sink", "stdout,signals=traces,keep=error", "--decision-wait", "2s"];

/// The path of the requests that no rule keeps.
pub(crate) const ORDINARY: &str = "/orders/45";
/// The number of those requests.
pub(crate) const ORDINARY_REQUESTS: usize = 20;

/// The traces that the sink has got.
pub(crate) struct Kept {
    /// The traces that were decided.
    pub(crate) traces: usize,
    /// The number of spans of each kept trace, by its id.
    pub(crate) kept: BTreeMap<String, usize>,
}

impl Kept {
    /// Waits until this number of traces is decided, and this trace has reached the sink.
    pub(crate) fn wait(mesh: &Mesh, traces: usize, id: &str, spans: usize) -> Result<Kept> {
        wait::try_until(&format!("the decision on {traces} traces"), || {
            let decided =
                mesh.exporter.metric("traces_kept_total")? + mesh.exporter.metric("traces_not_kept_total")?;
            let kept = kept(mesh)?;
            let is_done = decided as usize >= traces && kept.get(id).is_some_and(|found| *found >= spans);
            Ok(is_done.then_some(Kept { traces: decided as usize, kept }))
        })
    }

    /// Checks that nothing but this trace was kept.
    pub(crate) fn check(&self, id: &str) -> Result<()> {
        if self.kept.keys().eq([id]) {
            return Ok(());
        }
        let kept: Vec<&String> = self.kept.keys().collect();
        Err(Error::new(format!("the sink with keep=error has the traces {kept:?} instead of {id}")))
    }
}

/// Reads the lines of the sink `stdout`, which have one span each.
fn kept(mesh: &Mesh) -> Result<BTreeMap<String, usize>> {
    let mut kept = BTreeMap::new();
    for line in lines::read(mesh.exporter.stdout())? {
        let id = line.pointer("/resourceSpans/0/scopeSpans/0/spans/0/traceId").and_then(|id| id.as_str());
        if let Some(id) = id {
            *kept.entry(id.to_owned()).or_default() += 1;
        }
    }
    Ok(kept)
}

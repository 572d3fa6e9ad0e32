//! The memory of traces that are not decided yet.

use std::time::Duration;

use logtracer_harness::{Error, Result, ports, wait};

use super::start;
use crate::folder;
use crate::ingest::{Load, memory_mib};

/// What a number of open traces takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenTraces {
    /// The number of open traces, as the exporter counts them.
    pub traces: f64,
    /// The memory that the exporter takes beyond one without rules after the same load, in bytes for each open trace.
    pub bytes: f64,
}

/// No trace is decided during the measurement.
const DECISION_WAIT: Duration = Duration::from_secs(3600);

impl OpenTraces {
    /// Measures an exporter with at least this number of open traces, of one span each, beside one without rules.
    pub fn measure(traces: u64) -> Result<OpenTraces> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let sink = format!("otlp=http://127.0.0.1:{}", ports::reserve()?);
        let load = Load::with_traces_of(1);
        let mut figures = Vec::new();
        for (name, rules) in [("plain", None), ("rules", Some("error"))] {
            let exporter = start(&folder(dir.path(), name)?, &sink, rules, DECISION_WAIT)?;
            load.send_spans(exporter.http(), traces)?;
            if rules.is_some() {
                wait::try_until("open traces", || {
                    Ok((exporter.metric("open_traces")? >= traces as f64).then_some(()))
                })?;
            }
            // The allocator returns freed memory after some time.
            std::thread::sleep(Duration::from_secs(10));
            figures.push((
                memory_mib(exporter.id(), "VmRSS:")? * f64::from(1 << 20),
                exporter.metric("open_traces")?,
            ));
        }
        match figures[..] {
            [(plain, _), (with_rules, traces)] => {
                Ok(OpenTraces { traces, bytes: (with_rules - plain).max(0.) / traces })
            }
            _ => Err(Error::new("not two exporters")),
        }
    }
}

//! `propagation` and `edge`: the header formats to read and to write, and what to do with the caller's context.

use logtracer_core::propagation::{Format, Formats, Propagator};
use logtracer_core::request::HostPattern;
use serde_json::Value;

use super::error::ConfigError;
use super::section::Section;
use super::values::{Expected, host};

/// Which trace headers are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Propagation {
    /// The formats to extract and to inject, in order.
    pub propagator: Propagator,
    /// Hosts to which no trace header is sent.
    pub strip_hosts: Vec<HostPattern>,
    /// What to do with the caller's context.
    pub edge: Edge,
}

/// What to do with the context that a caller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edge {
    /// Continue it.
    #[default]
    Trust,
    /// Continue its trace, ignore its sampling decision and its debug flag, and drop its baggage and tracestate.
    Resample,
    /// Ignore it, drop its baggage, and start a new trace.
    Restart,
    /// The same as `Restart`, and link the new root span to the caller's span.
    Link,
}

impl Propagation {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 3] = ["extract", "inject", "strip_hosts"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let edge = root.get("edge", edge)?.unwrap_or_default();
        let Some(section) = root.section("propagation", &Self::KEYS)? else {
            return Ok(Self { edge, ..Self::default() });
        };
        let formats = |key| section.list(key, FORMATS, format);
        let default = Propagator::default();
        Ok(Self {
            propagator: Propagator {
                extract: formats("extract")?.map_or(default.extract, |formats| Formats::of(&formats)),
                inject: formats("inject")?.map_or(default.inject, |formats| Formats::of(&formats)),
            },
            strip_hosts: section
                .list(
                    "strip_hosts",
                    "a list of hosts, such as [\"api.example.com\", \"*.example.com\"]",
                    host,
                )?
                .unwrap_or_default(),
            edge,
        })
    }
}

fn edge(value: &Value) -> Result<Edge, Expected> {
    match value.as_str() {
        Some("trust") => Ok(Edge::Trust),
        Some("resample") => Ok(Edge::Resample),
        Some("restart") => Ok(Edge::Restart),
        Some("link") => Ok(Edge::Link),
        _ => Err("one of trust, resample, restart, link"),
    }
}

const FORMATS: Expected = "a list with any of b3, b3multi, tracecontext, cloud-trace, grpc-trace-bin";
const FORMAT: Expected = "one of b3, b3multi, tracecontext, cloud-trace, grpc-trace-bin";

fn format(value: &Value) -> Result<Format, Expected> {
    value.as_str().and_then(|name| name.parse().ok()).ok_or(FORMAT)
}

//! `propagation` and `edge`: which headers are read and written, whose are trusted, and who gets none.

use logtracer_core::propagation::{Format, Formats, Propagator};
use logtracer_core::request::HostPattern;

use super::ConfigError;
use super::read::Section;

/// Which headers are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Propagation {
    /// The formats, in order.
    pub propagator: Propagator,
    /// Hosts to which no trace header is sent.
    pub strip_hosts: Vec<HostPattern>,
    /// What becomes of the caller's context.
    pub edge: Edge,
}

/// What becomes of the context that a caller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edge {
    /// It is continued.
    #[default]
    Trust,
    /// It is ignored, and its baggage dropped: a new trace begins.
    Restart,
    /// As with `Restart`, but the new root is linked to the caller's span.
    Link,
}

impl Propagation {
    /// Every key of the section.
    pub(crate) const KEYS: [&str; 3] = ["extract", "inject", "strip_hosts"];

    pub(super) fn read(root: &Section<'_>) -> Result<Self, ConfigError> {
        let edge = match root.word("edge", &["trust", "restart", "link"])? {
            Some("restart") => Edge::Restart,
            Some("link") => Edge::Link,
            _ => Edge::Trust,
        };
        let Some(section) = root.section("propagation")? else { return Ok(Self { edge, ..Self::default() }) };
        section.only(&Self::KEYS)?;
        let names = Format::ALL.map(Format::as_str);
        let formats = |key| -> Result<Option<Formats>, ConfigError> {
            let Some(words) = section.words(key, &names)? else { return Ok(None) };
            let formats: Vec<Format> = words.into_iter().filter_map(|name| name.parse().ok()).collect();
            Ok(Some(Formats::of(&formats)))
        };
        let default = Propagator::default();
        let propagator = Propagator {
            extract: formats("extract")?.unwrap_or(default.extract),
            inject: formats("inject")?.unwrap_or(default.inject),
        };
        Ok(Self { propagator, strip_hosts: section.hosts("strip_hosts")?, edge })
    }
}
